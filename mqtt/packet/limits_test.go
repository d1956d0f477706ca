package packet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lar.home/mqtt/topic"
)

// roundTrip writes a packet and reads it as the broker would.
func roundTrip(v Version, p Packet) error {
	return read(v, Append(nil, v, p), 0)
}

// reasonOf returns the reason of an *Error, Success if err is nil.
func reasonOf(t *testing.T, err error) Reason {
	t.Helper()
	if err == nil {
		return Success
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is a %T, want *Error", err)
	}
	if e.Reason == Success {
		return silence
	}
	return e.Reason
}

// silence is how reasonOf tells of an error that is not to be spoken of.
const silence Reason = 0xff

// TestLimits tries each bound at the limit and one beyond.
func TestLimits(t *testing.T) {
	users := func(n, size int) []UserProperty {
		list := make([]UserProperty, n)
		for i := range list {
			list[i].Key = strings.Repeat("k", size)
		}
		return list
	}
	tests := []struct {
		name        string
		packet      func(n int) Packet
		limit       int
		want        Reason
		beforeFive  bool // holds for 3.1.1 too
		alsoBetween int  // a size far beyond, if one is worth trying
	}{
		{"topic name", func(n int) Packet { return &Publish{Topic: []byte(strings.Repeat("a", n))} },
			topic.MaxLength, MalformedPacket, true, 65_535},
		{"topic name separators", func(n int) Packet { return &Publish{Topic: []byte(strings.Repeat("/", n))} },
			topic.MaxSeparators, MalformedPacket, true, 65_535},
		{"topic filter", func(n int) Packet {
			return &Subscribe{PacketID: 1, Filters: []Subscription{{Filter: strings.Repeat("a", n)}}}
		}, topic.MaxLength, MalformedPacket, true, 65_535},
		{"topic filter separators", func(n int) Packet {
			return &Unsubscribe{PacketID: 1, Filters: []string{strings.Repeat("/", n)}}
		}, topic.MaxSeparators, MalformedPacket, true, 65_535},
		{"topic filters of SUBSCRIBE", func(n int) Packet {
			s := &Subscribe{PacketID: 1, Filters: make([]Subscription, n)}
			for i := range s.Filters {
				s.Filters[i].Filter = "a"
			}
			return s
		}, MaxFilters, QuotaExceeded, true, 0},
		{"topic filters of UNSUBSCRIBE", func(n int) Packet {
			u := &Unsubscribe{PacketID: 1, Filters: make([]string, n)}
			for i := range u.Filters {
				u.Filters[i] = "a"
			}
			return u
		}, MaxFilters, QuotaExceeded, true, 0},
		{"user properties", func(n int) Packet { return &Publish{Topic: []byte("a"), Properties: appendUsers(nil, users(n, 1))} },
			MaxUserProperties, QuotaExceeded, false, 0},
		{"user property bytes", func(n int) Packet {
			return &Subscribe{PacketID: 1, UserProperties: users(1, n), Filters: []Subscription{{Filter: "a"}}}
		}, MaxUserPropertyBytes, QuotaExceeded, false, 0},
		{"will topic", func(n int) Packet {
			return &Connect{Version: V5, Will: &Will{Topic: strings.Repeat("a", n)}}
		}, topic.MaxLength, MalformedPacket, false, 0},
		{"user properties of CONNECT and will", func(n int) Packet {
			return &Connect{Version: V5, UserProperties: users(10, 1), Will: &Will{Topic: "a", Properties: appendUsers(nil, users(n-10, 1))}}
		}, MaxUserProperties, QuotaExceeded, false, 0},
		{"client identifier", func(n int) Packet { return &Connect{Version: V5, ClientID: strings.Repeat("c", n)} },
			MaxClientID, ClientIDNotValid, false, 65_535},
		{"client identifier, 3.1.1", func(n int) Packet { return &Connect{Version: V311, ClientID: strings.Repeat("c", n)} },
			MaxClientID, ClientIDNotValid, false, 65_535},
		{"user name", func(n int) Packet {
			return &Connect{Version: V5, HasUsername: true, Username: strings.Repeat("u", n)}
		}, MaxUsername, BadUserNameOrPassword, false, 65_535},
	}
	for _, tt := range tests {
		versions := []Version{V5}
		if tt.beforeFive {
			versions = append(versions, V311, V31)
		}
		for _, v := range versions {
			for _, n := range []int{tt.limit, tt.limit + 1, tt.alsoBetween} {
				want := Success
				if n == 0 {
					continue
				}
				if n > tt.limit {
					want = tt.want
				}
				if got := reasonOf(t, roundTrip(v, tt.packet(n))); got != want {
					t.Errorf("%s of %d, version %d: %v, want %v", tt.name, n, v, got, want)
				}
			}
		}
	}
}

func TestSplitLimit(t *testing.T) {
	p := AppendPublish(nil, V311, &Publish{Topic: []byte("a"), Payload: make([]byte, 200)})
	for n := range len(p) + 1 {
		total, ok, err := Size(p[:n])
		if wantOK := n >= 3; ok != wantOK || ok && total != len(p) || err != nil {
			t.Errorf("Size of %d bytes = %d, %v, %v", n, total, ok, err)
		}
		_, _, got, err := Split(p[:n], len(p))
		if want := len(p) * (n / len(p)); got != want || err != nil {
			t.Errorf("Split of %d bytes, limit %d = %d, %v, want %d", n, len(p), got, err, want)
		}
		_, _, _, err = Split(p[:n], len(p)-1)
		if got := reasonOf(t, err); n >= 3 && got != PacketTooLarge || n < 3 && err != nil {
			t.Errorf("Split of %d bytes, limit %d: %v", n, len(p)-1, err)
		}
	}
}

// TestTexts states rule 1.5.4 for each kind of string.
func TestTexts(t *testing.T) {
	subjects := []struct {
		name  string
		named bool // control characters are refused
		make  func(s string) Packet
	}{
		{"client identifier", true, func(s string) Packet { return &Connect{Version: V5, ClientID: s} }},
		{"user name", true, func(s string) Packet {
			return &Connect{Version: V311, CleanStart: true, HasUsername: true, Username: s}
		}},
		{"topic name", true, func(s string) Packet { return &Publish{Topic: []byte(s)} }},
		{"topic filter", true, func(s string) Packet { return &Unsubscribe{PacketID: 1, Filters: []string{s}} }},
		{"will topic", true, func(s string) Packet { return &Connect{Version: V5, Will: &Will{Topic: s}} }},
		{"response topic", true, func(s string) Packet {
			return &Publish{Topic: []byte("a"), Properties: (&Forwarded{ResponseTopic: s}).Append(nil)}
		}},
		{"content type", false, func(s string) Packet {
			return &Publish{Topic: []byte("a"), Properties: (&Forwarded{ContentType: s}).Append(nil)}
		}},
		{"user property name", false, func(s string) Packet {
			return &Publish{Topic: []byte("a"), Properties: appendUsers(nil, []UserProperty{{s, "v"}})}
		}},
		{"user property value", false, func(s string) Packet {
			return &Publish{Topic: []byte("a"), Properties: appendUsers(nil, []UserProperty{{"k", s}})}
		}},
		{"reason string", false, func(s string) Packet { return &Ack{Kind: PUBACK, PacketID: 1, ReasonString: s} }},
		{"authentication method", false, func(s string) Packet {
			return &Connect{Version: V5, HasAuthenticationMethod: true, AuthenticationMethod: s}
		}},
	}
	texts := []struct {
		text         string
		plain, named bool // allowed
	}{
		{"a", true, true},
		{"lampe im flur \u00fc \U0001f4a1", true, true},
		{"\ufeffa", true, true}, // [MQTT-1.5.4-3]
		{"a\uffff", true, true}, // a non-character
		{"a\x00b", false, false},
		{"a\x01", true, false},
		{"a\x1fb", true, false},
		{"\x7f", true, false},
		{"\u0080", true, false},
		{"a\u009f", true, false},
		{"\u00a0", true, true},
		{"\xff", false, false},
		{"a\xed\xa0\x80", false, false}, // a surrogate
		{"a\xc0\x80", false, false},     // overlong
		{"\xf4\x90\x80\x80", false, false},
		{"a\xc2", false, false},
	}
	for _, s := range subjects {
		for _, tt := range texts {
			allowed := tt.plain && !s.named || tt.named && s.named
			want := MalformedPacket
			switch {
			case allowed:
				want = Success
			case s.name == "client identifier":
				want = ClientIDNotValid
			case s.name == "user name":
				want = silence
			}
			if got := reasonOf(t, roundTrip(V5, s.make(tt.text))); got != want {
				t.Errorf("%s %q: %v, want %v", s.name, tt.text, got, want)
			}
		}
	}
}

// TestLongStringIsCut shows that no string can break the frame it stands in.
func TestLongStringIsCut(t *testing.T) {
	for cut := range 4 {
		long := strings.Repeat("a", maxString-cut) + "\U0001f4a1 and more"
		got := Append(nil, V5, &Connack{ReasonString: long})
		if err := func() error {
			first, body, _, err := Split(got, 0)
			if err != nil {
				return err
			}
			p, err := Decode(V5, first, body)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(long, p.(*Connack).ReasonString) {
				return fmt.Errorf("text has changed")
			}
			return nil
		}(); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}
