package packet

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// samples are packets of every type, to start the fuzzers from and to go round
// in TestRoundTrip. 5.0 only fields are dropped by older versions.
func samples() []Packet {
	users := []UserProperty{{"b", "2"}, {"a", "1"}, {"a", ""}}
	will := &Will{Topic: "home/hall/lamp", Payload: []byte("offline"), QoS: AtLeastOnce, Retain: true, Delay: 30,
		HasExpiry: true, Expiry: 60, Properties: (&Forwarded{ContentType: "text/plain", UserProperties: users}).Append(nil)}
	return []Packet{
		&Connect{Version: V31, CleanStart: true, KeepAlive: 60, ClientID: "old", ReceiveMaximum: 65_535, RequestProblemInfo: true},
		&Connect{Version: V311, Bridge: true, ClientID: "lamp", ReceiveMaximum: 65_535, RequestProblemInfo: true,
			Will:        &Will{Topic: "home/hall/lamp", Payload: []byte{}, QoS: ExactlyOnce},
			HasUsername: true, Username: "lamp", HasPassword: true, Password: []byte{0, 0xff}},
		&Connect{Version: V5, ReceiveMaximum: 10, SessionExpiry: 3600, MaximumPacketSize: 1 << 20, TopicAliasMaximum: 5,
			RequestResponseInfo: true, HasAuthenticationMethod: true, AuthenticationMethod: "SCRAM-SHA-256",
			AuthenticationData: []byte("n,,"), UserProperties: users, Will: will, HasPassword: true, Password: []byte("secret")},
		&Connack{SessionPresent: true},
		&Connack{Reason: 5},
		&Connack{Reason: NotAuthorized, ReasonString: "no", UserProperties: users},
		&Connack{SessionExpiry: new(uint32(1)), ReceiveMaximum: 20, MaximumQoS: new(AtLeastOnce), RetainAvailable: new(true),
			MaximumPacketSize: 8 << 20, AssignedClientID: "x", TopicAliasMaximum: 10, WildcardAvailable: new(false),
			SubscriptionIDAvailable: new(false), SharedAvailable: new(true), ServerKeepAlive: new(uint16(3600)),
			ResponseInformation: "r", ServerReference: "s", AuthenticationMethod: "m", AuthenticationData: []byte{1}},
		&Publish{Topic: []byte("home/hall/lamp/set"), Payload: []byte("ON")},
		&Publish{Topic: []byte("a"), QoS: ExactlyOnce, Dup: true, Retain: true, PacketID: 65_535, Payload: bytes.Repeat([]byte("x"), 200),
			Alias: 3, HasExpiry: true, Expiry: 9, SubscriptionIDs: []uint32{1, maxVarint}, Properties: will.Properties},
		&Ack{Kind: PUBACK, PacketID: 1},
		&Ack{Kind: PUBREC, PacketID: 2, Reason: QuotaExceeded},
		&Ack{Kind: PUBREL, PacketID: 3, Reason: PacketIDNotFound, ReasonString: "gone"},
		&Ack{Kind: PUBCOMP, PacketID: 4, UserProperties: users},
		&Subscribe{PacketID: 5, SubscriptionID: 300, UserProperties: users, Filters: []Subscription{
			{Filter: "home/+/lamp/#", QoS: ExactlyOnce, NoLocal: true, RetainAsPublished: true, RetainHandling: 2},
			{Filter: "$share/g/#", QoS: AtLeastOnce}}},
		&Suback{PacketID: 5, Reasons: []Reason{GrantedQoS2, NotAuthorized, UnspecifiedError}, ReasonString: "some"},
		&Unsubscribe{PacketID: 6, Filters: []string{"a", "b/+"}, UserProperties: users},
		&Unsuback{PacketID: 6, Reasons: []Reason{Success, NoSubscriptionExisted}, UserProperties: users},
		&Pingreq{},
		&Pingresp{},
		&Disconnect{},
		&Disconnect{Reason: SessionTakenOver},
		&Disconnect{Reason: DisconnectWithWill, SessionExpiry: new(uint32(0)), ReasonString: "bye", ServerReference: "r", UserProperties: users},
		&Auth{},
		&Auth{Reason: ContinueAuthentication, HasMethod: true, Method: "m", Data: []byte{}, ReasonString: "r", UserProperties: users},
	}
}

// FuzzDecode states that what can be read can be written and read again to the
// same, that every error is an *Error, and that nothing panics.
func FuzzDecode(f *testing.F) {
	for _, p := range samples() {
		for _, v := range []Version{V31, V311, V5} {
			if first, body, n, err := Split(Append(nil, v, p), 0); n > 0 && err == nil {
				f.Add(byte(v), first, body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, version, first byte, body []byte) {
		v := V31 + Version(version%3)
		p, err := Decode(v, first, body)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error is a %T, want *Error", err)
			}
			return
		}
		if _, err := DecodeFromClient(v, first, body); err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error is a %T, want *Error", err)
			}
		}
		encoded := Append(nil, v, p)
		if d, ok := p.(*Disconnect); ok && v < V5 && d.Reason == Success && len(encoded) != 2 {
			t.Fatalf("%+v of version %d encodes to %x", p, v, encoded)
		}
		first2, body2, n, err := Split(encoded, 0)
		if err != nil || n != len(encoded) {
			t.Fatalf("Split(%x) = %d bytes, %v, want all", encoded, n, err)
		}
		again, err := Decode(v, first2, body2)
		if err != nil {
			t.Fatalf("%+v encodes to %x: %v", p, encoded, err)
		}
		if !reflect.DeepEqual(normal(p), normal(again)) {
			t.Fatalf("%+v\nbecame %+v", p, again)
		}
		if pub, ok := p.(*Publish); ok && PublishSize(v, pub) != len(encoded) {
			t.Fatalf("PublishSize = %d, want %d", PublishSize(v, pub), len(encoded))
		}
	})
}

// normal makes empty and absent slices of a Publish equal.
func normal(p Packet) Packet {
	if p, ok := p.(*Publish); ok {
		q := *p
		q.Topic, q.Payload, q.Properties = clone(q.Topic), clone(q.Payload), clone(q.Properties)
		if len(q.SubscriptionIDs) == 0 {
			q.SubscriptionIDs = nil
		}
		return &q
	}
	return p
}

// FuzzSplit states that a stream gives the same packets and the same end
// however it is cut, and that Size agrees with Split.
func FuzzSplit(f *testing.F) {
	var all []byte
	for _, p := range samples() {
		all = Append(all, V5, p)
	}
	f.Add(all, uint16(7))
	f.Add([]byte{0x10, 0xff, 0xff, 0xff, 0xff, 0x7f}, uint16(1))
	f.Add([]byte{0xc0, 0x80, 0x00}, uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		const limit = 4096
		want, wantErr := split(stream, len(stream), limit)
		got, gotErr := split(stream, int(cut%97)+1, limit)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotErr, wantErr) {
			t.Fatalf("cut every %d bytes: %x, %v; whole: %x, %v", cut%97+1, got, gotErr, want, wantErr)
		}
	})
}

// split reads packets from a stream that arrives in pieces, as a connection does.
func split(stream []byte, piece, limit int) (packets [][]byte, err error) {
	var buf []byte
	for {
		first, body, n, err := Split(buf, limit)
		switch {
		case err != nil:
			return packets, err
		case n > 0:
			packets = append(packets, append([]byte{first}, body...))
			if total, ok, err := Size(buf); total != n || !ok || err != nil {
				return packets, errors.New("Size does not agree with Split")
			}
			buf = buf[n:]
		case len(stream) == 0:
			return packets, nil
		default:
			k := min(piece, len(stream))
			buf = append(buf[:len(buf):len(buf)], stream[:k]...)
			stream = stream[k:]
		}
	}
}
