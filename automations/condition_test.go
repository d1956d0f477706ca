package automations

import (
	"testing"
	"time"

	"lar.home/mqtt"
)

func TestTimeCondition(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	fri, sat := Weekday(time.Friday), Weekday(time.Saturday)
	tests := []struct {
		from, to TimeOfDay
		days     []Weekday
		now      string // in UTC
		want     Result
	}{
		// Winter: Berlin is an hour ahead. 2026-03-06 is a Friday.
		{Clock(8, 0), Clock(9, 0), nil, "2026-03-06T06:59:59Z", HoldsNot},
		{Clock(8, 0), Clock(9, 0), nil, "2026-03-06T07:00:00Z", Holds},
		{Clock(8, 0), Clock(9, 0), nil, "2026-03-06T07:59:59Z", Holds},
		{Clock(8, 0), Clock(9, 0), nil, "2026-03-06T08:00:00Z", HoldsNot},
		// Over midnight.
		{Clock(22, 0), Clock(6, 0), nil, "2026-03-06T20:59:59Z", HoldsNot},
		{Clock(22, 0), Clock(6, 0), nil, "2026-03-06T21:00:00Z", Holds},
		{Clock(22, 0), Clock(6, 0), nil, "2026-03-06T23:00:00Z", Holds},
		{Clock(22, 0), Clock(6, 0), nil, "2026-03-07T04:59:59Z", Holds},
		{Clock(22, 0), Clock(6, 0), nil, "2026-03-07T05:00:00Z", HoldsNot},
		{Clock(22, 0), 0, nil, "2026-03-06T22:59:59Z", Holds},
		{Clock(22, 0), 0, nil, "2026-03-06T23:00:00Z", HoldsNot},
		{0, Clock(6, 0), nil, "2026-03-06T23:00:00Z", Holds},
		// The day is that on which the window begins.
		{Clock(22, 0), Clock(6, 0), []Weekday{fri}, "2026-03-06T04:00:00Z", HoldsNot},
		{Clock(22, 0), Clock(6, 0), []Weekday{fri}, "2026-03-06T22:00:00Z", Holds},
		{Clock(22, 0), Clock(6, 0), []Weekday{fri}, "2026-03-07T04:00:00Z", Holds},
		{Clock(22, 0), Clock(6, 0), []Weekday{fri}, "2026-03-07T22:00:00Z", HoldsNot},
		{Clock(22, 0), Clock(6, 0), []Weekday{Weekday(time.Sunday)}, "2026-03-09T04:00:00Z", Holds},
		// Days alone are whole days, by the local clock.
		{0, 0, []Weekday{sat}, "2026-03-06T22:59:59Z", HoldsNot},
		{0, 0, []Weekday{sat}, "2026-03-06T23:00:00Z", Holds},
		{0, 0, []Weekday{fri, sat}, "2026-03-06T12:00:00Z", Holds},
		// On 2026-03-29 the hour from 02:00 to 03:00 does not exist.
		{Clock(2, 0), Clock(3, 0), nil, "2026-03-29T00:59:59Z", HoldsNot}, // 01:59:59
		{Clock(2, 0), Clock(3, 0), nil, "2026-03-29T01:00:00Z", HoldsNot}, // 03:00:00
		// On 2026-10-25 the hour from 02:00 to 03:00 comes twice.
		{Clock(2, 0), Clock(3, 0), nil, "2026-10-25T00:00:00Z", Holds},
		{Clock(2, 0), Clock(3, 0), nil, "2026-10-25T01:59:59Z", Holds},
		{Clock(2, 0), Clock(3, 0), nil, "2026-10-25T02:00:00Z", HoldsNot},
	}
	for _, tt := range tests {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		w := &TimeCondition{From: tt.from, To: tt.to, Days: tt.days}
		s := scene{now: mqtt.Now{Wall: now, Trusted: true}, location: berlin}
		if got, _ := s.time(w); got != tt.want {
			t.Errorf("%v at %v = %v, want %v", w, tt.now, got, tt.want)
		}
		s.now.Trusted = false
		if got, _ := s.time(w); got != Unknown {
			t.Errorf("%v at %v by a clock not to be trusted = %v, want unknown", w, tt.now, got)
		}
	}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		payload, path string
		op            Op
		value         Value
		want          Result
	}{
		{"on", "", Equal, On(), Holds},
		{"ON", "", Equal, On(), Holds},
		{" 1\n", "", Equal, On(), Holds},
		{"off", "", Equal, On(), HoldsNot},
		{"open", "", Equal, On(), Unknown},
		{"open", "", NotEqual, On(), Unknown},
		{"open", "", Equal, Text("open"), Holds},
		{"Open", "", Equal, Text("open"), HoldsNot},
		{"", "", Equal, Text(""), Holds},
		{"21.50", "", Equal, Number(21.5), Holds},
		{"21.5", "", Greater, Number(21.5), HoldsNot},
		{"21.5", "", GreaterEq, Number(21.5), Holds},
		{"-3", "", Less, Number(0), Holds},
		{"1e2", "", LessEq, Number(100), Holds},
		{"NaN", "", NotEqual, Number(0), Unknown},
		{"0x10", "", Equal, Number(16), Unknown},
		{"inf", "", Greater, Number(0), Unknown},
		{"warm", "", Less, Number(0), Unknown},
		{`{"a":{"b":[10,{"c":"x"}]}}`, "a.b.1.c", Equal, Text("x"), Holds},
		{`{"a":{"b":[10]}}`, "a.b.0", Greater, Number(9), Holds},
		{`{"a":{"b":[10]}}`, "a.b.1", Greater, Number(9), Unknown},
		{`{"a":{"b":[10]}}`, "a.b.-1", Greater, Number(9), Unknown},
		{`{"a":true}`, "a", Equal, On(), Holds},
		{`{"a":"ON"}`, "a", Equal, On(), Holds},
		{`{"a":null}`, "a", NotEqual, On(), Unknown},
		{`{"a":1}`, "b", NotEqual, Number(1), Unknown},
		{`{"a":[1, 2]}`, "a", Equal, Text("[1,2]"), Holds},
		{`{"a":1} {"a":2}`, "a", Equal, Number(1), Unknown},
		{`{"a":12345678901234567890}`, "a", Equal, Text("12345678901234567890"), Holds},
		{`{"a"`, "a", Equal, Number(1), Unknown},
		{``, "a", Equal, Number(1), Unknown},
	}
	for _, tt := range tests {
		c := &Compare{Path: tt.path, Op: tt.op, Value: tt.value}
		s := scene{message: true, payload: []byte(tt.payload)}
		if tt.path != "" {
			s.parts = payloadParts(s.payload, []string{tt.path})
		}
		if got, _ := s.compare(c); got != tt.want {
			t.Errorf("%v of %s = %v, want %v", c, tt.payload, got, tt.want)
		}
	}
}

func TestLogic(t *testing.T) {
	yes := Condition{Payload: &Compare{Op: Equal, Value: Text("x")}}
	no := Condition{Payload: &Compare{Op: Equal, Value: Text("y")}}
	dunno := Condition{Payload: &Compare{Op: Equal, Value: Number(1)}}
	tests := []struct {
		name string
		c    Condition
		want Result
		seen int
	}{
		{"all of yes, yes", Condition{All: []Condition{yes, yes}}, Holds, 3},
		{"all of yes, unknown", Condition{All: []Condition{yes, dunno}}, Unknown, 3},
		{"all of unknown, no", Condition{All: []Condition{dunno, no}}, HoldsNot, 3},
		{"all of no, yes stops early", Condition{All: []Condition{no, yes}}, HoldsNot, 2},
		{"any of no, yes", Condition{Any: []Condition{no, yes}}, Holds, 3},
		{"any of yes, no stops early", Condition{Any: []Condition{yes, no}}, Holds, 2},
		{"any of no, unknown", Condition{Any: []Condition{no, dunno}}, Unknown, 3},
		{"any of no, no", Condition{Any: []Condition{no, no}}, HoldsNot, 3},
		{"not yes", Condition{Not: &yes}, HoldsNot, 2},
		{"not no", Condition{Not: &no}, Holds, 2},
		{"not unknown", Condition{Not: &dunno}, Unknown, 2},
		{"not any of no, no", Condition{Not: &Condition{Any: []Condition{no, no}}}, Holds, 4},
	}
	for _, tt := range tests {
		s := scene{message: true, payload: []byte("x")}
		got, seen := s.judge([]Condition{tt.c}, nil, nil)
		if got != tt.want || len(seen) != tt.seen {
			t.Errorf("%s = %v with %d seen, want %v with %d", tt.name, got, len(seen), tt.want, tt.seen)
		}
		if seen[0].result != got || seen[0].depth != 0 || seen[1].depth != 1 {
			t.Errorf("%s: seen %+v", tt.name, seen)
		}
	}
}
