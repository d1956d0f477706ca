package packet

import (
	"strings"
	"testing"
)

// value is a well-formed value of each property, as the wire has it.
var value = map[propertyID]string{
	0x01: "\x01", 0x02: "\x00\x00\x00\x01", 0x03: "\x00\x01a", 0x08: "\x00\x01a", 0x09: "\x00\x01a", 0x0B: "\x01",
	0x11: "\x00\x00\x00\x01", 0x12: "\x00\x01a", 0x13: "\x00\x01", 0x15: "\x00\x01a", 0x16: "\x00\x01a", 0x17: "\x01",
	0x18: "\x00\x00\x00\x01", 0x19: "\x01", 0x1A: "\x00\x01a", 0x1C: "\x00\x01a", 0x1F: "\x00\x01a", 0x21: "\x00\x01",
	0x22: "\x00\x01", 0x23: "\x00\x01", 0x24: "\x01", 0x25: "\x01", 0x26: "\x00\x01a\x00\x01b", 0x27: "\x00\x00\x00\x01",
	0x28: "\x01", 0x29: "\x01", 0x2A: "\x01",
}

// frame is each packet that has properties, cut where their length begins.
var frame = map[Type]struct{ first, before, after string }{
	will:        {"\x10", "\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01p", "\x00\x01w\x00\x01w"},
	CONNECT:     {"\x10", "\x00\x04MQTT\x05\x02\x00\x3c", "\x00\x01p"},
	CONNACK:     {"\x20", "\x00\x00", ""},
	PUBLISH:     {"\x30", "\x00\x01a", "x"},
	PUBACK:      {"\x40", "\x00\x01\x00", ""},
	PUBREC:      {"\x50", "\x00\x01\x00", ""},
	PUBREL:      {"\x62", "\x00\x01\x00", ""},
	PUBCOMP:     {"\x70", "\x00\x01\x00", ""},
	SUBSCRIBE:   {"\x82", "\x00\x01", "\x00\x01a\x00"},
	SUBACK:      {"\x90", "\x00\x01", "\x00"},
	UNSUBSCRIBE: {"\xa2", "\x00\x01", "\x00\x01a"},
	UNSUBACK:    {"\xb0", "\x00\x01", "\x00"},
	DISCONNECT:  {"\xe0", "\x00", ""},
	AUTH:        {"\xf0", "\x18", ""},
}

// allowed is table 2-4 by packet.
var allowed = map[Type]string{
	will:        "\x01\x02\x03\x08\x09\x18\x26",
	CONNECT:     "\x11\x15\x16\x17\x19\x21\x22\x26\x27",
	CONNACK:     "\x11\x12\x13\x15\x16\x1a\x1c\x1f\x21\x22\x24\x25\x26\x27\x28\x29\x2a",
	PUBLISH:     "\x01\x02\x03\x08\x09\x0b\x23\x26",
	PUBACK:      "\x1f\x26",
	PUBREC:      "\x1f\x26",
	PUBREL:      "\x1f\x26",
	PUBCOMP:     "\x1f\x26",
	SUBSCRIBE:   "\x0b\x26",
	SUBACK:      "\x1f\x26",
	UNSUBSCRIBE: "\x26",
	UNSUBACK:    "\x1f\x26",
	DISCONNECT:  "\x11\x1c\x1f\x26",
	AUTH:        "\x15\x16\x1f\x26",
}

// with decodes a packet that has the given property block.
func with(in Type, block string) error {
	f := frame[in]
	body := f.before + string(appendVarint(nil, uint32(len(block)))) + block + f.after
	_, err := Decode(V5, f.first[0], []byte(body))
	return err
}

// TestProperties tries every identifier in every packet, once, twice and cut short.
func TestProperties(t *testing.T) {
	for in := range frame {
		for id := range propertyID(0x80) {
			one := string([]byte{byte(id)}) + value[id]
			once, twice := Success, ProtocolError
			switch {
			case !strings.Contains(allowed[in], string([]byte{byte(id)})):
				once = MalformedPacket
				if value[id] == "" { // none of that name at all
					twice = MalformedPacket
				}
			case id == propUser, id == propSubscriptionID && in == PUBLISH:
				twice = Success
			}
			also := ""
			if id == propAuthData && in == CONNECT {
				also = "\x15" + value[propAuthMethod] // which it may not come without
			}
			if got := reasonOf(t, with(in, one+also)); got != once {
				t.Errorf("%v with property %#x: %v, want %v", in, byte(id), got, once)
			}
			if got := reasonOf(t, with(in, one+one+also)); got != twice {
				t.Errorf("%v with property %#x twice: %v, want %v", in, byte(id), got, twice)
			}
			for cut := range len(one) {
				if cut == 0 || in == PUBLISH && id == propSubscriptionID && cut == len(one) {
					continue
				}
				if got := reasonOf(t, with(in, one[:cut])); got != MalformedPacket {
					t.Errorf("%v with property %#x cut to %d bytes: %v, want %v", in, byte(id), cut, got, MalformedPacket)
				}
			}
		}
	}
}

func TestPropertyValues(t *testing.T) {
	tests := []struct {
		in    Type
		block string
		want  Reason
	}{
		{PUBLISH, "\x01\x02", ProtocolError},
		{will, "\x01\x02", ProtocolError},
		{CONNECT, "\x17\x02", ProtocolError},
		{CONNECT, "\x19\xff", ProtocolError},
		{CONNACK, "\x24\x02", ProtocolError},
		{CONNECT, "\x21\x00\x00", ProtocolError},
		{CONNECT, "\x27\x00\x00\x00\x00", ProtocolError},
		{CONNECT, "\x22\x00\x00", Success},
		{CONNECT, "\x16\x00\x01a", ProtocolError}, // no method
		{PUBLISH, "\x23\x00\x00", TopicAliasInvalid},
		{PUBLISH, "\x0b\x00", ProtocolError},
		{SUBSCRIBE, "\x0b\xff\xff\xff\x7f", Success},
		{SUBSCRIBE, "\x0b\xff\xff\xff\xff\x01", MalformedPacket},
		{SUBSCRIBE, "\x0b\x81\x00", MalformedPacket}, // not minimal
		{PUBLISH, "\x81\x00\x01", MalformedPacket},   // nor this identifier
		{PUBLISH, "\x08\x00\x03r/+", ProtocolError},  // [MQTT-3.3.2-14]
		{will, "\x08\x00\x01#", ProtocolError},
		{PUBLISH, "\x08\x00\x00", ProtocolError},
		{PUBLISH, "\x03\x00\x00", Success},
		{PUBLISH, "\x26\x00\x00\x00\x00", Success},
	}
	for _, tt := range tests {
		if got := reasonOf(t, with(tt.in, tt.block)); got != tt.want {
			t.Errorf("%v with properties %x: %v, want %v", tt.in, tt.block, got, tt.want)
		}
	}
}

// TestForwardedBlock shows that alias and expiry are taken out wherever they
// stand, and that the rest keeps its order.
func TestForwardedBlock(t *testing.T) {
	const (
		format, kind, user = "\x01\x01", "\x03\x00\x01t", "\x26\x00\x01k\x00\x01v"
		alias, expiry      = "\x23\x00\x07", "\x02\x00\x00\x00\x09"
	)
	for _, block := range []string{
		"", format, format + kind + user + user,
		alias + format + user, user + alias, expiry + user + alias,
		format + alias + user, format + alias + kind + expiry + user + user, user + expiry + user + alias + user,
	} {
		body := "\x00\x01a" + string(appendVarint(nil, uint32(len(block)))) + block + "x"
		want := strings.NewReplacer(alias, "", expiry, "").Replace(block)
		var p Publish
		if err := DecodePublish(V5, 0x30, []byte(body), &p); err != nil {
			t.Errorf("properties %x: %v", block, err)
		}
		if string(p.Properties) != want || string(p.Payload) != "x" || body != "\x00\x01a"+string(rune(len(block)))+block+"x" {
			t.Errorf("properties %x give %x, want %x", block, p.Properties, want)
		}
		if (p.Alias == 7) != strings.Contains(block, alias) || (p.HasExpiry && p.Expiry == 9) != strings.Contains(block, expiry) {
			t.Errorf("properties %x give alias %d, expiry %v %d", block, p.Alias, p.HasExpiry, p.Expiry)
		}
		if f, err := ParseForwarded(p.Properties); err != nil || len(f.UserProperties) != strings.Count(block, user) {
			t.Errorf("ParseForwarded(%x) = %+v, %v", p.Properties, f, err)
		} else if got := f.Append(nil); string(got) != want {
			t.Errorf("Append of ParseForwarded(%x) = %x", p.Properties, got)
		}
		n := 0
		for k, v := range UserPropertiesOf(p.Properties) {
			if n++; k != "k" || v != "v" {
				t.Errorf("UserPropertiesOf(%x) gives %q, %q", p.Properties, k, v)
			}
		}
		if n != strings.Count(block, user) {
			t.Errorf("UserPropertiesOf(%x) gives %d", p.Properties, n)
		}
	}
	if _, err := ParseForwarded([]byte(alias)); reasonOf(t, err) != ProtocolError {
		t.Errorf("ParseForwarded of a topic alias: %v, want %v", err, ProtocolError)
	}
}
