package packet

// decodeConnack reads section 3.2.
func decodeConnack(v Version, body []byte) (*Connack, error) {
	d := decoder{packet: CONNACK, buf: body}
	c := &Connack{}
	flags := d.byte("acknowledge flags")
	if flags > 1 && v > V31 {
		d.fail("acknowledge flags", MalformedPacket) // [MQTT-3.2.2-1]
	}
	c.SessionPresent = flags == 1 && v > V31 // the byte is reserved in 3.1
	if v < V5 {
		if c.Reason = Reason(d.byte("return code")); c.Reason > 5 {
			d.fail("return code", ProtocolError)
		}
	} else {
		c.Reason = d.reason()
		c.properties(&d)
	}
	if c.SessionPresent && c.Reason != Success {
		d.fail("session present", ProtocolError) // [MQTT-3.2.2-6]
	}
	return c, d.end()
}

// properties reads section 3.2.2.3.
func (c *Connack) properties(d *decoder) {
	props := d.properties(CONNACK)
	var v property
	for props.next(d, &v) {
		switch v.id {
		case propSessionExpiry:
			c.SessionExpiry = new(v.number)
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(v.number)
		case propMaximumQoS:
			c.MaximumQoS = new(QoS(v.number))
		case propRetainAvailable:
			c.RetainAvailable = new(v.number == 1)
		case propMaximumPacketSize:
			c.MaximumPacketSize = v.number
		case propAssignedClientID:
			c.AssignedClientID = string(v.value)
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(v.number)
		case propReasonString:
			c.ReasonString = string(v.value)
		case propUser:
			c.UserProperties = append(c.UserProperties, v.user())
		case propWildcardAvailable:
			c.WildcardAvailable = new(v.number == 1)
		case propSubscriptionIDAllowed:
			c.SubscriptionIDAvailable = new(v.number == 1)
		case propSharedAvailable:
			c.SharedAvailable = new(v.number == 1)
		case propServerKeepAlive:
			c.ServerKeepAlive = new(uint16(v.number))
		case propResponseInformation:
			c.ResponseInformation = string(v.value)
		case propServerReference:
			c.ServerReference = string(v.value)
		case propAuthMethod:
			c.AuthenticationMethod = string(v.value)
		case propAuthData:
			c.AuthenticationData = clone(v.value)
		}
	}
}

func appendConnack(dst []byte, v Version, c *Connack) []byte {
	present := byte(0)
	if c.SessionPresent && c.Reason == Success { // [MQTT-3.2.2-6]
		present = 1
	}
	if v < V5 {
		code, ok := c.Reason.returnCode()
		if !ok || v < V31 {
			return dst
		}
		if v == V31 {
			present = 0 // the byte is reserved in 3.1
		}
		return append(dst, byte(CONNACK)<<4, 2, present, code)
	}
	dst, at := begin(append(dst, byte(CONNACK)<<4))
	dst = append(dst, present, byte(c.Reason))
	dst = c.appendProperties(dst)
	return finish(dst, at)
}

func (c *Connack) appendProperties(dst []byte) []byte {
	dst, at := begin(dst)
	// In the order in which the field's brokers write them.
	if c.TopicAliasMaximum != 0 {
		dst = appendUint16(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	if c.SessionExpiry != nil {
		dst = appendUint32(dst, propSessionExpiry, *c.SessionExpiry)
	}
	dst = appendString(dst, propAssignedClientID, c.AssignedClientID)
	if c.ServerKeepAlive != nil {
		dst = appendUint16(dst, propServerKeepAlive, *c.ServerKeepAlive)
	}
	dst = appendString(dst, propAuthMethod, c.AuthenticationMethod)
	if c.AuthenticationData != nil {
		dst = appendBinary(append(dst, byte(propAuthData)), c.AuthenticationData)
	}
	if c.RetainAvailable != nil {
		dst = appendFlag(dst, propRetainAvailable, *c.RetainAvailable)
	}
	if c.MaximumPacketSize != 0 {
		dst = appendUint32(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	if c.ReceiveMaximum != 0 {
		dst = appendUint16(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.MaximumQoS != nil {
		dst = appendByte(dst, propMaximumQoS, byte(*c.MaximumQoS))
	}
	if c.WildcardAvailable != nil {
		dst = appendFlag(dst, propWildcardAvailable, *c.WildcardAvailable)
	}
	if c.SubscriptionIDAvailable != nil {
		dst = appendFlag(dst, propSubscriptionIDAllowed, *c.SubscriptionIDAvailable)
	}
	if c.SharedAvailable != nil {
		dst = appendFlag(dst, propSharedAvailable, *c.SharedAvailable)
	}
	dst = appendString(dst, propResponseInformation, c.ResponseInformation)
	dst = appendString(dst, propServerReference, c.ServerReference)
	dst = appendString(dst, propReasonString, c.ReasonString)
	dst = appendUsers(dst, c.UserProperties)
	return finish(dst, at)
}
