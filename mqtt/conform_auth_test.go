package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// riddle is an enhanced authentication of the simplest kind: the client names
// somebody, is asked, and answers with the name and "!". Who is asked answers
// with "bye" to have it go on without end.
type riddle struct{ name string }

func (r *riddle) Next(data []byte) (answer []byte, done bool, identity string, reason packet.Reason) {
	switch text := string(data); {
	case r.name == "" && text == "nobody":
		return nil, false, "", packet.BadUserNameOrPassword
	case r.name == "":
		r.name = text
		return []byte("prove it, " + text), false, "", packet.Success
	case text == "bye":
		return []byte("and?"), false, "", packet.Success
	case text == r.name+"!":
		return []byte("welcome"), true, r.name, packet.Success
	}
	return nil, false, "", packet.NotAuthorized
}

// riddles has a house ask them, and refuse others.
func riddles(c *mqtt.Config) {
	c.Enhanced = func(method string, _ mqtt.Login) mqtt.Exchange {
		if method != "RIDDLE" {
			return nil
		}
		return &riddle{}
	}
	c.Authenticate = func(l mqtt.Login) (string, packet.Reason) { return l.Username, packet.Success }
}

func method(name, data string) option {
	return func(p *packet.Connect) {
		p.HasAuthenticationMethod, p.AuthenticationMethod = true, name
		if data != "" {
			p.AuthenticationData = []byte(data)
		}
	}
}

func auth(reason packet.Reason, data string) *packet.Auth {
	return &packet.Auth{Reason: reason, HasMethod: true, Method: "RIDDLE", Data: []byte(data)}
}

// begin sends CONNECT with a method and returns what comes first.
func (c *client) begin(id, data string, options ...option) packet.Packet {
	c.t.Helper()
	c.name = id
	p := &packet.Connect{Version: v5, ClientID: id, RequestProblemInfo: true}
	for _, fn := range append(options, method("RIDDLE", data)) {
		fn(p)
	}
	c.send(p)
	return c.next()
}

// enhanced connects by a riddle.
func (h *house) enhanced(id, name string, options ...option) *client {
	h.t.Helper()
	c := h.dial(v5)
	if got, ok := c.begin(id, name, options...).(*packet.Auth); !ok || got.Reason != packet.ContinueAuthentication ||
		got.Method != "RIDDLE" || string(got.Data) != "prove it, "+name {
		h.t.Fatalf("CONNECT was answered with %s", show(got))
	}
	c.send(auth(packet.ContinueAuthentication, name+"!"))
	ack, ok := c.next().(*packet.Connack)
	if !ok || ack.Reason != packet.Success || ack.AuthenticationMethod != "RIDDLE" || string(ack.AuthenticationData) != "welcome" {
		h.t.Fatalf("got %+v", ack)
	}
	c.connack = ack
	return c
}

// TestEnhancedAuthentication plays section 4.12 and what may go wrong in it.
func TestEnhancedAuthentication(t *testing.T) {
	shows(t, "V5_4_12_0_2 V5_4_12_0_5", func(t *testing.T, h *house) {
		c := h.enhanced("c", "ann", expiry(100))
		c.subscribe(packet.AtLeastOnce, "t")
		if s, ok := h.Session("c"); !ok || s.Identity != "ann" {
			t.Errorf("the session is of %q", s.Identity)
		}
		c.cut()
		if c = h.enhanced("c", "ann", expiry(100)); !c.connack.SessionPresent {
			t.Error("the session was not resumed")
		}
		other := h.dial(v5)
		other.begin("c", "bob")
		other.send(auth(packet.ContinueAuthentication, "bob!"))
		other.expect(&packet.Connack{Reason: packet.ClientIDNotValid}) // it is ann's
		other.expectEnd()
		c.expectNothing()
		// A CONNECT that gets no further disturbs nobody.
		other = h.dial(v5)
		other.begin("c", "ann")
		c.expectNothing()
		c.publish(packet.AtLeastOnce, "t", "x")
		c.receive("t", "x")
	}, riddles)

	shows(t, "V5_4_12_0_1 V5_4_12_0_4", func(t *testing.T, h *house) {
		c := h.dial(v5)
		if a := c.connectAs("c", method("ODE", "")); a == nil || a.Reason != packet.BadAuthenticationMethod {
			t.Errorf("an unknown method: %+v", a)
		}
		c.expectEnd()
		c = h.dial(v5)
		if a, ok := c.begin("c", "nobody").(*packet.Connack); !ok || a.Reason != packet.BadUserNameOrPassword {
			t.Errorf("refused at the first step: %+v", a)
		}
		c.expectEnd()
		c = h.dial(v5)
		c.begin("c", "ann")
		c.send(auth(packet.ContinueAuthentication, "wrong"))
		c.expect(&packet.Connack{Reason: packet.NotAuthorized})
		c.expectEnd()
	}, riddles)

	// What may not come instead of the next step.
	for name, tt := range map[string]struct {
		send []packet.Packet
		want packet.Reason
	}{
		"V5_3_1_2_30":                  {[]packet.Packet{&packet.Publish{Topic: []byte("t")}}, packet.ProtocolError},
		"V5_3_1_2_30 V5_3_1_4_6":       {[]packet.Packet{&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "a"}}}, auth(packet.ContinueAuthentication, "ann!")}, packet.ProtocolError},
		"V5_3_1_2_30 V5_3_1_0_2":       {[]packet.Packet{&packet.Connect{Version: v5, ClientID: "d", CleanStart: true}}, packet.ProtocolError},
		"V5_3_1_2_30 V5_3_12_4_1":      {[]packet.Packet{&packet.Pingreq{}}, packet.ProtocolError},
		"V5_4_12_0_3":                  {[]packet.Packet{auth(packet.ReAuthenticate, "ann!")}, packet.ProtocolError},
		"V5_4_12_0_3 V5_3_15_2_1":      {[]packet.Packet{auth(packet.Success, "ann!")}, packet.ProtocolError},
		"V5_4_12_0_5":                  {[]packet.Packet{&packet.Auth{Reason: packet.ContinueAuthentication, HasMethod: true, Method: "ODE"}}, packet.BadAuthenticationMethod},
		"V5_4_12_0_5 without a method": {[]packet.Packet{&packet.Auth{Reason: packet.ContinueAuthentication, Data: []byte("ann!")}}, packet.ProtocolError},
	} {
		shows(t, name, func(t *testing.T, h *house) {
			c := h.dial(v5)
			c.begin("c", "ann")
			c.send(tt.send...)
			c.expect(&packet.Connack{Reason: tt.want})
			c.expectEnd()
			if _, there := h.Session("c"); there {
				t.Error("there is a session")
			}
		}, riddles)
	}
	shows(t, "V5_3_15_1_1", func(t *testing.T, h *house) {
		c := h.dial(v5)
		c.begin("c", "ann")
		b := packet.Append(nil, v5, auth(packet.ContinueAuthentication, "ann!"))
		b[0] |= 1
		c.sendRaw(b)
		c.expect(&packet.Connack{Reason: packet.MalformedPacket})
		c.expectEnd()
	}, riddles)
	shows(t, "V5_3_1_2_30", func(t *testing.T, h *house) {
		c := h.dial(v5)
		c.begin("c", "ann", will(packet.Will{Topic: "w"}))
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "w")
		c.send(&packet.Disconnect{Reason: packet.DisconnectWithWill})
		c.expectEnd()
		w.expectNothing() // nobody was there whose will it is
	}, riddles)
	// All in one write: whoever does not wait gets the same answers.
	shows(t, "V5_3_2_0_1", func(t *testing.T, h *house) {
		c := h.dial(v5)
		p := &packet.Connect{Version: v5, ClientID: "c", RequestProblemInfo: true}
		method("RIDDLE", "ann")(p)
		c.send(p, auth(packet.ContinueAuthentication, "ann!"), &packet.Pingreq{})
		for _, want := range []packet.Type{packet.AUTH, packet.CONNACK, packet.PINGRESP} {
			if got := c.next(); got == nil || got.Type() != want {
				t.Fatalf("got %s, want %v", show(got), want)
			}
		}
	}, riddles)
}

// TestAuthBounds has an exchange without end, in steps and in time.
func TestAuthBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.dial(v5)
		c.begin("c", "ann")
		for range 14 {
			c.send(auth(packet.ContinueAuthentication, "bye"))
			if _, ok := c.next().(*packet.Auth); !ok {
				t.Fatal("it ends early")
			}
		}
		c.send(auth(packet.ContinueAuthentication, "bye"), auth(packet.ContinueAuthentication, "bye"))
		c.next()
		c.expect(&packet.Connack{Reason: packet.NotAuthorized})
		c.expectEnd()

		c = h.dial(v5)
		c.begin("c", "ann")
		for range 3 { // each in time, together too slow
			time.Sleep(3 * time.Second)
			c.send(auth(packet.ContinueAuthentication, "bye"))
			c.next()
		}
		time.Sleep(2 * time.Second)
		c.expectEnd()

		c = h.enhanced("c", "ann", keepAlive(600))
		c.send(auth(packet.ReAuthenticate, "ann"))
		c.next()
		time.Sleep(11 * time.Second)
		c.send(auth(packet.ContinueAuthentication, "ann!"))
		c.expectClosed(packet.NotAuthorized)
	}, riddles)
}

// TestAuthFits gives a client that takes small packets no larger one.
func TestAuthFits(t *testing.T) {
	shows(t, "V5_3_15_2_2 V5_3_15_2_3", func(t *testing.T, h *house) {
		c := h.dial(v5)
		name := strings.Repeat("n", 100)
		if got := c.begin("c", name, maximumPacketSize(60)); got != nil {
			t.Errorf("got %s", show(got))
		}
		c.expectEnd()
		// What fits, at the limit, comes; nothing is added that would not.
		size := uint32(len(packet.Append(nil, v5, auth(packet.ContinueAuthentication, "prove it, "+name))))
		if got, ok := h.dial(v5).begin("c", name, maximumPacketSize(size)).(*packet.Auth); !ok || got.ReasonString != "" || len(got.UserProperties) > 0 {
			t.Errorf("got %s", show(got))
		}
		if got := h.dial(v5).begin("c", name, maximumPacketSize(size-1)); got != nil {
			t.Errorf("got %s", show(got))
		}
	}, riddles)
}

// TestReAuthentication plays section 4.12.1.
func TestReAuthentication(t *testing.T) {
	shows(t, "V5_4_12_0_5", func(t *testing.T, h *house) {
		c := h.enhanced("c", "ann")
		c.subscribe(packet.AtMostOnce, "t")
		for range 2 {
			c.send(auth(packet.ReAuthenticate, "ann"))
			c.expect(auth(packet.ContinueAuthentication, "prove it, ann"))
			// Everything else goes on.
			c.publish(packet.AtLeastOnce, "t", "meanwhile")
			c.expectPublish("t", "meanwhile")
			c.send(auth(packet.ContinueAuthentication, "ann!"))
			c.expect(auth(packet.Success, "welcome"))
		}
		c.publish(packet.AtLeastOnce, "t", "after")
		c.expectPublish("t", "after")
	}, riddles)
	for i, tt := range []struct {
		keys string
		send []*packet.Auth
		want packet.Reason
	}{
		{"V5_4_12_1_1", []*packet.Auth{{Reason: packet.ReAuthenticate, HasMethod: true, Method: "ODE"}}, packet.BadAuthenticationMethod},
		{"V5_4_12_1_1", []*packet.Auth{auth(packet.ReAuthenticate, "ann"), {Reason: packet.ContinueAuthentication, HasMethod: true, Method: "ODE"}}, packet.BadAuthenticationMethod},
		{"V5_4_12_1_1", []*packet.Auth{{Reason: packet.ReAuthenticate}}, packet.ProtocolError},
		{"V5_4_12_1_2", []*packet.Auth{auth(packet.ReAuthenticate, "nobody")}, packet.NotAuthorized},
		{"V5_4_12_1_2", []*packet.Auth{auth(packet.ReAuthenticate, "ann"), auth(packet.ContinueAuthentication, "wrong")}, packet.NotAuthorized},
		{"V5_4_12_1_2", []*packet.Auth{auth(packet.ReAuthenticate, "bob"), auth(packet.ContinueAuthentication, "bob!")}, packet.NotAuthorized}, // somebody else
		{"V5_4_12_0_3", []*packet.Auth{auth(packet.ContinueAuthentication, "ann")}, packet.ProtocolError},
		{"V5_4_12_0_3", []*packet.Auth{auth(packet.ReAuthenticate, "ann"), auth(packet.ReAuthenticate, "ann")}, packet.ProtocolError},
		{"V5_3_15_2_1", []*packet.Auth{auth(packet.Success, "ann")}, packet.ProtocolError},
	} {
		shows(t, fmt.Sprint(tt.keys, " ", i), func(t *testing.T, h *house) {
			w := h.connect(v5, "w", clean)
			w.subscribe(packet.AtMostOnce, "w")
			c := h.enhanced("c", "ann", will(packet.Will{Topic: "w", Payload: []byte("gone")}))
			for _, p := range tt.send {
				c.drain()
				c.send(p)
			}
			c.expectClosed(tt.want)
			w.expectPublish("w", "gone")
		}, riddles)
	}
	// Without a method in CONNECT there is none later.
	shows(t, "V5_4_12_0_7 V5_4_12_0_6 X5_AUTH_1", func(t *testing.T, h *house) {
		for _, p := range []*packet.Auth{auth(packet.ReAuthenticate, "ann"), auth(packet.ContinueAuthentication, "ann")} {
			c := h.connect(v5, "c", user("ann", ""))
			if c.connack.AuthenticationMethod != "" || c.connack.AuthenticationData != nil {
				t.Errorf("got %+v", c.connack)
			}
			c.send(p)
			c.expectClosed(packet.ProtocolError)
		}
		c := h.dial(v5)
		c.send(auth(packet.ContinueAuthentication, "ann"))
		c.expectEnd()
	}, riddles)
}
