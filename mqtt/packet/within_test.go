package packet

import "testing"

// TestAppendWithin tries each packet of a server with room for all, with one
// byte less, with room for what must be said, and with one byte less.
func TestAppendWithin(t *testing.T) {
	users := []UserProperty{{"k", "v"}}
	tests := []struct {
		long, short Packet
		always      bool // also without Request Problem Information
	}{
		{&Connack{Reason: Banned, ReasonString: "r", UserProperties: users}, &Connack{Reason: Banned}, true},
		{&Ack{Kind: PUBACK, PacketID: 1, ReasonString: "r", UserProperties: users}, &Ack{Kind: PUBACK, PacketID: 1}, false},
		{&Ack{Kind: PUBREL, PacketID: 1, Reason: PacketIDNotFound, ReasonString: "r"}, &Ack{Kind: PUBREL, PacketID: 1, Reason: PacketIDNotFound}, false},
		{&Suback{PacketID: 1, Reasons: []Reason{1}, UserProperties: users}, &Suback{PacketID: 1, Reasons: []Reason{1}}, false},
		{&Unsuback{PacketID: 1, Reasons: []Reason{0}, ReasonString: "r"}, &Unsuback{PacketID: 1, Reasons: []Reason{0}}, false},
		{&Disconnect{Reason: ServerBusy, ReasonString: "r", UserProperties: users}, &Disconnect{Reason: ServerBusy}, true},
		{&Auth{Reason: ContinueAuthentication, HasMethod: true, ReasonString: "r"}, &Auth{Reason: ContinueAuthentication, HasMethod: true}, false},
	}
	for _, tt := range tests {
		long, short := string(Append(nil, V5, tt.long)), string(Append(nil, V5, tt.short))
		quiet := short
		if tt.always {
			quiet = long
		}
		for _, c := range []struct {
			limit    int
			problems bool
			want     string
		}{
			{0, true, long}, {len(long), true, long}, {len(long) - 1, true, short}, {len(short), true, short},
			{len(short) - 1, true, ""}, {0, false, quiet}, {len(short), false, short}, {len(short) - 1, false, ""},
		} {
			if got := string(AppendWithin([]byte("x"), V5, tt.long, uint32(c.limit), c.problems)); got != "x"+c.want {
				t.Errorf("%v within %d, problems %v: %x, want %x", tt.long.Type(), c.limit, c.problems, got[1:], c.want)
			}
		}
	}
	p := &Publish{Topic: []byte("a"), Properties: appendUsers(nil, users)}
	if got := AppendWithin(nil, V5, p, 0, false); string(got) != string(Append(nil, V5, p)) {
		t.Errorf("PUBLISH without problem information: %x", got) // [MQTT-3.3.2-17]
	}
	if got := AppendWithin(nil, V5, p, 5, true); len(got) != 0 {
		t.Errorf("PUBLISH within 5 bytes: %x, want nothing", got)
	}
}
