package packet

import (
	"reflect"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, p := range samples() {
		encoded := Append(nil, V5, p)
		v := V5
		if c, ok := p.(*Connect); ok {
			v = c.Version
		}
		if c, ok := p.(*Connack); ok && c.Reason == 5 {
			v = V311
			encoded = Append(nil, v, p)
		}
		first, body, n, err := Split(encoded, 0)
		if err != nil || n != len(encoded) {
			t.Fatalf("Split of %+v = %d, %v, want %d bytes", p, n, err, len(encoded))
		}
		got, err := Decode(v, first, body)
		if err != nil {
			t.Errorf("Decode(Append(%+v)): %v", p, err)
		} else if !reflect.DeepEqual(normal(got), normal(p)) {
			t.Errorf("Decode(Append(%+v)) = %+v", p, got)
		}
	}
}

func TestAllocations(t *testing.T) {
	props := (&Forwarded{ContentType: "application/json", UserProperties: []UserProperty{{"a", "b"}}}).Append(nil)
	p := Publish{Topic: []byte("zigbee2mqtt/küche/lampe"), QoS: AtLeastOnce, PacketID: 7, HasExpiry: true, Expiry: 10,
		Properties: props, Payload: []byte(`{"state":"ON"}`)}
	encoded := AppendPublish(nil, V5, &p)
	buf := make([]byte, 0, 256)
	allocs := testing.AllocsPerRun(100, func() {
		first, body, _, err := Split(encoded, 1024)
		if err == nil {
			err = DecodePublish(V5, first, body, &p)
		}
		if err != nil {
			t.Fatal(err)
		}
		buf = AppendPublish(buf[:0], V5, &p)
		buf = AppendAck(buf, V5, PUBACK, p.PacketID, NoMatchingSubscribers)
	})
	if allocs != 0 {
		t.Errorf("decoding and encoding a PUBLISH makes %v allocations, want 0", allocs)
	}
}
