package packet

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// TestReturnCodes shows what a CONNECT that is refused, or taken, is answered
// in each version; nothing means that the connection is closed in silence.
func TestReturnCodes(t *testing.T) {
	tests := []struct {
		reason        Reason
		v31, v311, v5 string
	}{
		{Success, "20020000", "20020100", "2003010000"},
		{UnsupportedProtocolVersion, "20020001", "20020001", "2003008400"},
		{ClientIDNotValid, "20020002", "20020002", "2003008500"},
		{ServerUnavailable, "20020003", "20020003", "2003008800"},
		{QuotaExceeded, "20020003", "20020003", "2003009700"},
		{BadUserNameOrPassword, "20020004", "20020004", "2003008600"},
		{NotAuthorized, "20020005", "20020005", "2003008700"},
		{Banned, "20020005", "20020005", "2003008a00"},
		{MalformedPacket, "", "", "2003008100"},
		{ProtocolError, "", "", "2003008200"},
		{TopicNameInvalid, "", "", "2003009000"},
	}
	for _, tt := range tests {
		for v, want := range map[Version]string{0: "", V31: tt.v31, V311: tt.v311, V5: tt.v5} {
			if got := hex.EncodeToString(Append(nil, v, &Connack{SessionPresent: true, Reason: tt.reason})); got != want {
				t.Errorf("CONNACK %v, version %d: %s, want %s", tt.reason, v, got, want)
			}
		}
	}
}

// TestOlderVersions shows that nothing of 5.0 reaches an older client
// (X3-OUT-1), and that the fixed headers are those of table 2-2.
func TestOlderVersions(t *testing.T) {
	users := []UserProperty{{"a", "b"}}
	tests := []struct {
		packet Packet
		want   string
	}{
		{&Publish{Topic: []byte("a"), QoS: 1, PacketID: 2, Alias: 3, HasExpiry: true, SubscriptionIDs: []uint32{4},
			Properties: appendUsers(nil, users), Payload: []byte("x")}, "32060001610002" + "78"},
		{&Publish{Topic: []byte("a"), Dup: true}, "3003000161"}, // [MQTT-3.3.1-2]
		{&Ack{Kind: PUBACK, PacketID: 2, Reason: QuotaExceeded, ReasonString: "r"}, "40020002"},
		{&Ack{Kind: PUBREC, PacketID: 2, UserProperties: users}, "50020002"},
		{&Ack{Kind: PUBREL, PacketID: 2, Reason: PacketIDNotFound}, "62020002"},
		{&Ack{Kind: PUBCOMP, PacketID: 2}, "70020002"},
		{&Subscribe{PacketID: 2, SubscriptionID: 7, UserProperties: users, Filters: []Subscription{{Filter: "a", QoS: 1, NoLocal: true,
			RetainAsPublished: true, RetainHandling: 2}}}, "8206000200016101"},
		{&Suback{PacketID: 2, Reasons: []Reason{0, 1, 2, 0x80, 0x87, 0xA2}, ReasonString: "r", UserProperties: users}, "90080002000102808080"},
		{&Unsubscribe{PacketID: 2, Filters: []string{"a"}, UserProperties: users}, "a2050002000161"},
		{&Unsuback{PacketID: 2, Reasons: []Reason{0, NoSubscriptionExisted}, ReasonString: "r"}, "b0020002"},
		{&Pingreq{}, "c000"},
		{&Pingresp{}, "d000"},
		{&Disconnect{SessionExpiry: new(uint32(1)), ReasonString: "r"}, "e000"},
		{&Disconnect{Reason: SessionTakenOver}, ""},
		{&Disconnect{Reason: ServerShuttingDown, ReasonString: "r"}, ""},
		{&Auth{Reason: ContinueAuthentication, HasMethod: true}, ""},
	}
	for _, tt := range tests {
		for _, v := range []Version{V31, V311} {
			if got := hex.EncodeToString(Append(nil, v, tt.packet)); got != tt.want {
				t.Errorf("%v %+v, version %d: %s, want %s", tt.packet.Type(), tt.packet, v, got, tt.want)
			}
		}
	}
}

// TestShortForms shows that 5.0 packets are written as short as they may be,
// and read in all lengths they may have (X5-FRAME-5).
func TestShortForms(t *testing.T) {
	writes := []struct {
		packet Packet
		want   string
	}{
		{&Ack{Kind: PUBACK, PacketID: 1}, "40020001"},
		{&Ack{Kind: PUBREC, PacketID: 1, Reason: NoMatchingSubscribers}, "5003000110"},
		{&Ack{Kind: PUBREL, PacketID: 1, ReasonString: "r"}, "6208000100041f000172"},
		{&Disconnect{}, "e000"},
		{&Disconnect{Reason: KeepAliveTimeout}, "e0018d"},
		{&Disconnect{SessionExpiry: new(uint32(0))}, "e00700051100000000"},
		{&Auth{}, "f000"},
		{&Auth{Reason: ContinueAuthentication, HasMethod: true, Method: "m"}, "f006180415" + "00016d"},
		{&Suback{PacketID: 1, Reasons: []Reason{NotAuthorized}}, "900400010087"},
	}
	for _, tt := range writes {
		if got := hex.EncodeToString(Append(nil, V5, tt.packet)); got != tt.want {
			t.Errorf("%v %+v: %s, want %s", tt.packet.Type(), tt.packet, got, tt.want)
		}
	}
	reads := []struct {
		packet string
		v      Version
		want   Reason // of the *Error
	}{
		{"40020001", V5, Success},
		{"4003000100", V5, Success},
		{"400400010000", V5, Success},
		{"40050001000000", V5, MalformedPacket},
		{"400100", V5, MalformedPacket},
		{"40020000", V5, ProtocolError},
		{"40020000", V311, ProtocolError},
		{"4003000100", V311, MalformedPacket},
		{"e000", V5, Success},
		{"e00100", V5, Success},
		{"e0020000", V5, Success},
		{"e00100", V311, MalformedPacket},
		{"e0018e", V5, silence}, // a server's
		{"e00104", V5, Success},
		{"f00118", V5, MalformedPacket}, // [MQTT-2.2.2-1]
		{"f0021800", V5, Success},
		{"f0020000", V5, ProtocolError}, // [MQTT-4.12.0-3]
		{"f000", V311, MalformedPacket},
		{"c000", V31, Success},
		{"c00100", V5, silence},
		{"38030001" + "61", V31, Success}, // DUP with QoS 0 is overlooked before 3.1.1
		{"38030001" + "61", V311, MalformedPacket},
		{"36050001610001", V311, MalformedPacket},
		{"e00600041c000173", V5, Success}, // a server reference, from who goes anyway
		{"e00600031f000173", V5, MalformedPacket},
		{"8207000100000161" + "40", V5, MalformedPacket},
		{"8207000100000161" + "80", V5, MalformedPacket},
		{"8206000100016103", V311, MalformedPacket},
		{"8206000100016180", V311, MalformedPacket},
	}
	for _, tt := range reads {
		b, err := hex.DecodeString(tt.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := reasonOf(t, read(tt.v, b, 0)); got != tt.want {
			t.Errorf("%s, version %d: %v, want %v", tt.packet, tt.v, got, tt.want)
		}
	}
}

// TestReasonsByPacket is table 4-2 of reason codes, tried from both sides.
func TestReasonsByPacket(t *testing.T) {
	table := map[Type]string{
		CONNACK:    "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
		PUBACK:     "00 10 80 83 87 90 91 97 99",
		PUBREC:     "00 10 80 83 87 90 91 97 99",
		PUBREL:     "00 92",
		PUBCOMP:    "00 92",
		SUBACK:     "00 01 02 80 83 87 8f 91 97 9e a1 a2",
		UNSUBACK:   "00 11 80 83 87 8f 91",
		DISCONNECT: "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
		AUTH:       "00 18 19",
	}
	for kind, codes := range table {
		f := frame[kind]
		for code := range 256 {
			r := Reason(code)
			body := f.before[:len(f.before)-1] + string([]byte{byte(r)}) + "\x00"
			if kind == SUBACK || kind == UNSUBACK {
				body = f.before + "\x00" + string([]byte{byte(r)})
			}
			want := ProtocolError
			if kind == DISCONNECT {
				want = silence
			}
			if slices.Contains(strings.Fields(codes), hex.EncodeToString([]byte{byte(r)})) {
				want = Success
			}
			if _, err := Decode(V5, f.first[0], []byte(body)); reasonOf(t, err) != want {
				t.Errorf("%v with reason %#x: %v, want %v", kind, code, err, want)
			}
		}
	}
}

// TestConnectVersion shows how far DecodeConnect says it came.
func TestConnectVersion(t *testing.T) {
	tests := []struct {
		start  string // of the body
		want   Version
		bridge bool
		reason Reason
	}{
		{"\x00\x04MQTT\x04", V311, false, Success},
		{"\x00\x04MQTT\x84", V311, true, Success},
		{"\x00\x06MQIsdp\x03", V31, false, Success},
		{"\x00\x06MQIsdp\x83", V31, true, Success},
		{"\x00\x06MQIsdp\x04", V31, false, UnsupportedProtocolVersion},
		{"\x00\x04MQTT\x03", V31, false, UnsupportedProtocolVersion},
		{"\x00\x04MQTT\x06", V5, false, UnsupportedProtocolVersion},
		{"\x00\x04MQTT\x85", V5, false, UnsupportedProtocolVersion},
		{"\x00\x04MQTT\x00", V5, false, UnsupportedProtocolVersion},
		{"\x00\x04mqtt\x04", 0, false, UnsupportedProtocolVersion},
		{"\x00\x04MQTT", 0, false, MalformedPacket},
		{"\x00\x04MQ", 0, false, MalformedPacket},
		{"", 0, false, MalformedPacket},
	}
	for _, tt := range tests {
		body := tt.start
		if len(body) > 6 {
			body += "\x02\x00\x3c\x00\x01c"
		}
		c, err := DecodeConnect([]byte(body))
		if got := reasonOf(t, err); c == nil || c.Version != tt.want || c.Bridge != tt.bridge || got != tt.reason {
			t.Errorf("DecodeConnect(%q) = %+v, %v, want version %d, bridge %v, %v", body, c, err, tt.want, tt.bridge, tt.reason)
		}
	}
	// What is wrong after the version is known does not hide it.
	if c, err := DecodeConnect([]byte("\x00\x04MQTT\x05\xff")); c == nil || c.Version != V5 || reasonOf(t, err) != MalformedPacket {
		t.Errorf("a CONNECT of 5.0 that is cut gives %+v, %v", c, err)
	}
	if p, err := Decode(V311, 0x10, []byte("\x00\x04MQTT\x05\xff")); p == nil || p.(*Connect).Version != V5 || err == nil {
		t.Errorf("Decode of it gives %+v, %v", p, err)
	}
}

// TestServerPackets shows what Decode takes from a server, and DecodeFromClient
// does not take from a client.
func TestServerPackets(t *testing.T) {
	tests := []struct {
		packet             string
		v                  Version
		server, fromClient Reason
	}{
		{"300600016102" + "0b07", V5, Success, ProtocolError}, // [MQTT-3.3.4-6]
		{"e0069c041c000173", V5, Success, silence},
		{"e00700051100000001", V5, Success, Success},
		{"20020000", V311, Success, ProtocolError},
		{"20020102", V311, ProtocolError, ProtocolError},
		{"20020006", V311, ProtocolError, ProtocolError},
		{"20020200", V311, MalformedPacket, ProtocolError},
		{"9003000180", V311, Success, ProtocolError},
		{"9003000187", V311, ProtocolError, ProtocolError},
		{"90020001", V311, MalformedPacket, ProtocolError},
		{"b0020001", V311, Success, ProtocolError},
		{"b003000100", V311, MalformedPacket, ProtocolError},
		{"d000", V31, Success, ProtocolError},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.packet)
		if err != nil {
			t.Fatal(err)
		}
		first, body, n, err := Split(b, 0)
		if n != len(b) || err != nil {
			t.Fatalf("Split(%s) = %d, %v", tt.packet, n, err)
		}
		_, err = Decode(tt.v, first, body)
		if got := reasonOf(t, err); got != tt.server {
			t.Errorf("Decode of %s, version %d: %v, want %v", tt.packet, tt.v, got, tt.server)
		}
		_, err = DecodeFromClient(tt.v, first, body)
		if got := reasonOf(t, err); got != tt.fromClient {
			t.Errorf("DecodeFromClient of %s, version %d: %v, want %v", tt.packet, tt.v, got, tt.fromClient)
		}
	}
}

func TestReaddress(t *testing.T) {
	p := Publish{Topic: []byte("home/hall"), QoS: 2, PacketID: 1, Retain: true, Payload: make([]byte, 300)}
	encoded := AppendPublish(nil, V5, &p)
	for _, dup := range []bool{true, false} {
		Readdress(encoded, 0xabcd, dup)
		p.PacketID, p.Dup = 0xabcd, dup
		if want := AppendPublish(nil, V5, &p); string(encoded) != string(want) {
			t.Errorf("Readdress gives %x, want %x", encoded, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	_, _, _, err := Split([]byte{0xc1}, 0)
	if got, want := err.Error(), "PINGREQ flags: malformed packet"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := Reason(0x42).String(), "reason 0x42"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}
