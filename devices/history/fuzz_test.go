package history

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

// FuzzBlock: what was taken into a block comes out of it again, and bytes of
// no block are refused or read, but never panic.
func FuzzBlock(f *testing.F) {
	f.Add(byte(kindNumber), []byte("\x01n\x03\xc2\xb0C\x03\x01\x84\x03\x00\x02\x02"))
	f.Add(byte(kindEnum), []byte("\x01e\x00\x03\x04heat\x08\x00"))
	f.Add(byte(kindBool), []byte{1, 'b', 0, 3, 0, 2, 4, 1, 2})
	f.Fuzz(func(t *testing.T, k byte, data []byte) {
		points, kind, unit, err := decodeBlock(data, 500_000, nil)
		if err == nil {
			// Written again, it says the same.
			b := newBlock(&meta{Type: kind, Unit: unit}, 1, 500_000)
			for _, p := range points {
				b.add(p)
			}
			again, k2, u2, err := decodeBlock(b.buf, 500_000, nil)
			if err != nil && len(b.buf) <= maxBlock || k2 != kind || u2 != unit || err == nil && !slices.Equal(again, points) {
				t.Fatalf("%v became %v, %v", points, again, err)
			}
		}
		m := &meta{Entity: "e", Aspect: "a", Type: []byte{kindNumber, kindBool, kindEnum}[k%3], Unit: "x"}
		var want []Point
		at := int64(0)
		for d := (decoder{buf: data}); len(d.buf) > 0 && len(want) < maxPoints; {
			at += int64(d.byte()) * int64(d.byte())
			p := Point{At: 500_000*hourMS + at*tick}
			if at >= hourMS/tick {
				break
			}
			switch op := d.byte(); {
			case op < 30:
				p.Gap = true
			case m.Type == kindEnum:
				p.Str = d.text()
			case op < 200:
				p.Num = float64(int8(d.byte())) / powers[op%4]
			default:
				p.Num = d.float()
			}
			if d.bad {
				break
			}
			want = append(want, p)
		}
		b := newBlock(m, 1, 500_000)
		for _, p := range want {
			b.add(p)
		}
		got, kind, unit, err := decodeBlock(b.buf, 500_000, nil)
		if err != nil || kind != m.Type || unit != m.Unit || !slices.Equal(got, want) {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
		// A power cut's journal brings the same.
		j := journal{}
		s := &series{id: 77, meta: m}
		for _, p := range want {
			j.add(s, p)
		}
		var back []Point
		if len(want) > 0 {
			if err := decodeJournal(j.buf, func(id uint64, p Point) { back = append(back, p) }); err != nil || !slices.Equal(back, want) {
				t.Fatalf("%v became %v in the journal, %v", want, back, err)
			}
		}
	})
}

// FuzzRecords: the other records are read or refused, whatever is in them, and
// what is read is written again as it was.
func FuzzRecords(f *testing.F) {
	m := &meta{Type: kindNumber, Unit: "W"}
	r := running{epoch: 3, until: 1e12, utcDay: 11574, known: true, now: Point{Num: 2.5}}
	r.hour.hold(r.now, 1000, m.Type)
	f.Add(r.encode(m))
	f.Add(dayValue(m, &r.hour))
	f.Add(hoursValue(m, r.hour.append([]byte{7}, m.Type)))
	f.Add([]byte{1, 'e', 0, 1, 1, 1, 'a', 1, 1, 'a', 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		decodeHours(data, func(hour int64, s sum) {
			if hour < 0 || hour > 23 || s.covered < 0 || math.IsNaN(s.weighted) {
				t.Fatalf("hour %d: %+v", hour, s)
			}
		})
		decodeJournal(data, func(_ uint64, p Point) {
			if p.At < 0 || p.At > maxTime || math.IsNaN(p.Num) {
				t.Fatalf("point %+v", p)
			}
		})
		for _, kind := range []byte{kindNumber, kindEnum} {
			m := &meta{Type: kind, Unit: "W"}
			if r, err := decodeRunning(data, m); err == nil {
				again, err := decodeRunning(r.encode(m), m)
				if err != nil || !bytes.Equal(again.encode(m), r.encode(m)) {
					t.Fatalf("%+v became %+v, %v", r, again, err)
				}
				c := calendar{location: time.UTC}
				r.advance(&c, m, min(r.until+3*dayMS, maxTime), func(byte, int64, uint16, []byte) {})
			}
		}
		if s, kind, unit, err := decodeDay(data); err == nil {
			again, _, _, err := decodeDay(dayValue(&meta{Type: kind, Unit: unit}, &s))
			if err != nil || again.covered != s.covered || again.min != s.min || again.weighted != s.weighted || len(again.states) != len(s.states) {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
		if len(data) > 8 {
			h, err := New(Options{Scan: func(prefix, _ []byte, fn func(key, value []byte) bool) error {
				key := append(slices.Clone(prefix), data[:8]...)
				fn(key, data[8:])
				fn(binary.BigEndian.AppendUint64(slices.Clone(prefix), 1), data[8:])
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			_ = h
		}
	})
}
