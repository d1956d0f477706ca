package packet

import (
	"bytes"
	"reflect"
	"testing"

	peer "github.com/eclipse/paho.golang/packets"
	peer311 "github.com/eclipse/paho.mqtt.golang/packets"
)

// TestPeers sends what Append writes through codecs that were written
// elsewhere, and reads back what they write.
func TestPeers(t *testing.T) {
	for _, p := range samples() {
		v := V5
		switch p := p.(type) { // what the peer of 5.0 does not keep
		case *Connect:
			if p.Version == V5 {
				p.Will.HasExpiry, p.Will.Expiry = false, 0
				p.Will.Properties = appendUsers(nil, p.UserProperties)
			}
		case *Connack:
			if p.Reason == 5 { // of 3.1.1
				v = V311
			}
		case *Publish:
			p.SubscriptionIDs = p.SubscriptionIDs[:min(len(p.SubscriptionIDs), 1)]
		case *Disconnect:
			if p.Reason == Success { // it cannot read an empty one
				v = V311
			}
		case *Auth:
			if p.HasMethod {
				p.Data = []byte("d")
			}
		}
		if c, ok := p.(*Connect); ok {
			v = c.Version
		}
		if v == V5 {
			through(t, v, p, func(r *bytes.Reader, w *bytes.Buffer) error {
				c, err := peer.ReadPacket(r)
				if err == nil {
					_, err = c.WriteTo(w)
				}
				return err
			})
		}
		if _, ok := p.(*Auth); ok || v == V5 && p.Type() == CONNECT {
			continue
		}
		if len(Append(nil, V311, p)) == 0 {
			continue
		}
		through(t, V311, p, func(r *bytes.Reader, w *bytes.Buffer) error {
			c, err := peer311.ReadPacket(r)
			if err == nil {
				err = c.Write(w)
			}
			return err
		})
	}
}

// through encodes p, sends it through a peer and compares what comes back.
func through(t *testing.T, v Version, p Packet, peer func(*bytes.Reader, *bytes.Buffer) error) {
	t.Helper()
	encoded := Append(nil, v, p)
	var back bytes.Buffer
	if err := peer(bytes.NewReader(encoded), &back); err != nil {
		t.Errorf("peer, version %d, on %v %x: %v", v, p.Type(), encoded, err)
		return
	}
	want, got := decoded(t, v, encoded), decoded(t, v, back.Bytes())
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%v of version %d: %x\ncame back as %x:\n%+v, want\n%+v", p.Type(), v, encoded, back.Bytes(), got, want)
	}
}

func decoded(t *testing.T, v Version, encoded []byte) any {
	t.Helper()
	first, body, n, err := Split(encoded, 0)
	if err != nil || n != len(encoded) {
		t.Fatalf("Split(%x) = %d, %v", encoded, n, err)
	}
	p, err := Decode(v, first, body)
	if err != nil {
		t.Fatalf("Decode(%x): %v", encoded, err)
	}
	p = normal(p)
	// Properties may come in another order, but user properties may not.
	forwarded := func(b *[]byte) Forwarded {
		f, err := ParseForwarded(*b)
		if err != nil {
			t.Fatal(err)
		}
		*b = nil
		return f
	}
	switch p := p.(type) {
	case *Publish:
		return []any{forwarded(&p.Properties), p}
	case *Connect:
		if p.Will != nil {
			return []any{forwarded(&p.Will.Properties), p}
		}
	}
	return p
}
