package history

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// A Rollup is what is kept of a stretch of time in the long run.
type Rollup struct {
	Covered        time.Duration // for so long a value was known
	Min, Mean, Max float64       // Mean is weighted by time
	Last           float64
	Increase       float64     // of a counter, resets taken into account
	States         []StateTime // of one of several words, longest first
	LastState      string
	Known          bool // false: nothing was known at any time
}

// A StateTime is how long a series had a word.
type StateTime struct {
	State string
	For   time.Duration
}

// maxStates is how many words a roll-up tells apart; the time of others is
// counted as covered only.
const maxStates = 16

// A sum is a Rollup that is being made.
type sum struct {
	known    bool
	covered  int64 // milliseconds
	min, max float64
	weighted float64 // value times milliseconds
	last     Point
	increase float64
	states   []stateMS
}

type stateMS struct {
	text string
	ms   int64
}

// see notes that a value was there, if only for an instant.
func (s *sum) see(p Point) {
	if !s.known {
		s.known, s.min, s.max = true, p.Num, p.Num
	}
	s.min, s.max = math.Min(s.min, p.Num), math.Max(s.max, p.Num)
	s.last = p
}

// hold notes that a value stood for ms milliseconds.
func (s *sum) hold(p Point, ms int64, kind byte) {
	s.see(p)
	s.covered += ms
	s.weighted += p.Num * float64(ms)
	if kind != kindEnum {
		return
	}
	for i := range s.states {
		if s.states[i].text == p.Str {
			s.states[i].ms += ms
			return
		}
	}
	if len(s.states) < maxStates {
		s.states = append(s.states, stateMS{p.Str, ms})
	}
}

func (s *sum) empty() bool { return !s.known && s.increase == 0 }

// rollup returns what the sum has come to.
func (s *sum) rollup() Rollup {
	r := Rollup{
		Covered: time.Duration(s.covered) * time.Millisecond, Known: s.known,
		Min: s.min, Max: s.max, Last: s.last.Num, LastState: s.last.Str, Mean: s.last.Num, Increase: s.increase,
	}
	if s.covered > 0 {
		r.Mean = s.weighted / float64(s.covered)
	}
	for _, st := range s.states {
		r.States = append(r.States, StateTime{st.text, time.Duration(st.ms) * time.Millisecond})
	}
	slices.SortStableFunc(r.States, func(a, b StateTime) int { return int(min(max(b.For-a.For, -1), 1)) })
	return r
}

// merge adds what s2 has of a later time.
func (s *sum) merge(s2 *sum) {
	s.increase += s2.increase
	if !s2.known {
		return
	}
	if !s.known {
		s.known, s.min, s.max = true, s2.min, s2.max
	}
	s.min, s.max = math.Min(s.min, s2.min), math.Max(s.max, s2.max)
	s.covered += s2.covered
	s.weighted += s2.weighted
	s.last = s2.last
next:
	for _, st := range s2.states {
		for i := range s.states {
			if s.states[i].text == st.text {
				s.states[i].ms += st.ms
				continue next
			}
		}
		if len(s.states) < maxStates {
			s.states = append(s.states, st)
		}
	}
}

// append writes a sum.
func (s *sum) append(b []byte, kind byte) []byte {
	flags := byte(0)
	if s.known {
		flags |= 1
	}
	if s.increase != 0 {
		flags |= 2
	}
	b = append(b, flags)
	if s.known {
		b = binary.AppendUvarint(b, uint64(s.covered))
		if kind == kindEnum {
			b = appendText(b, s.last.Str)
			b = binary.AppendUvarint(b, uint64(len(s.states)))
			for _, st := range s.states {
				b = appendText(b, st.text)
				b = binary.AppendUvarint(b, uint64(st.ms))
			}
		} else {
			b = appendNumber(b, s.min)
			b = appendNumber(b, s.max)
			b = appendNumber(b, s.last.Num)
			b = appendNumber(b, s.weighted)
		}
	}
	if s.increase != 0 {
		b = appendNumber(b, s.increase)
	}
	return b
}

// sum takes a sum.
func (d *decoder) sum(kind byte) (s sum) {
	flags := d.byte()
	if flags > 3 {
		d.bad = true
		return s
	}
	if s.known = flags&1 != 0; s.known {
		covered := d.uvarint()
		if covered > 40*dayMS {
			d.bad = true
			return s
		}
		s.covered = int64(covered)
		if kind == kindEnum {
			s.last.Str = d.text()
			n := d.uvarint()
			if n > maxStates {
				d.bad = true
				return s
			}
			for range n {
				st := stateMS{text: d.text()}
				ms := d.uvarint()
				if ms > covered {
					d.bad = true
				}
				st.ms = int64(ms)
				s.states = append(s.states, st)
			}
		} else {
			s.min = d.number()
			s.max = d.number()
			s.last.Num = d.number()
			s.weighted = d.number()
			if s.max < s.min {
				d.bad = true
			}
		}
	}
	if flags&2 != 0 {
		s.increase = d.number()
	}
	return s
}

// appendNumber writes a number as a short decimal if it is one, or as it is.
func appendNumber(b []byte, f float64) []byte {
	if m, scale, ok := (coder{}).decimal(f); ok {
		return binary.AppendVarint(append(b, scale), m)
	}
	return binary.LittleEndian.AppendUint64(append(b, maxScale+1), math.Float64bits(f))
}

func (d *decoder) number() float64 {
	scale := d.byte()
	switch {
	case scale <= maxScale:
		return float64(d.varint()) / powers[scale]
	case scale == maxScale+1:
		return d.float()
	}
	d.bad = true
	return 0
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A running is where the roll-ups of a series stand: a pure function of the
// points it was given. It is stored with each block that it has taken in, in
// the same turn, so that nothing is taken in twice.
type running struct {
	epoch uint16
	until int64 // unix ms up to which all is taken in; 0: nothing yet
	now   Point // the value at that time
	known bool  // there is one

	counted bool // a counter was read before
	counter float64

	hour   sum // of the hour that until is in
	hours  []byte
	utcDay int64 // of hours
	day    sum   // of the home's day that until is in
}

// A calendar tells where the days of a home begin.
type calendar struct {
	location *time.Location
	// Of the day asked for last:
	number, from, to int64
}

// day returns the number of the home's day that an instant is in, since 1 Jan
// 1970, and when it begins and ends. It has 23 or 25 hours where clocks change.
func (c *calendar) day(at int64) (number, from, to int64) {
	if at >= c.from && at < c.to {
		return c.number, c.from, c.to
	}
	y, m, d := time.UnixMilli(at).In(c.location).Date()
	noon := time.Date(y, m, d, 12, 0, 0, 0, time.UTC)
	c.number = noon.Unix() / 86400
	c.from, c.to = c.begins(c.number), c.begins(c.number+1)
	return c.number, c.from, c.to
}

// begins returns the first instant of a day. Midnight may not exist, or twice.
func (c *calendar) begins(day int64) int64 {
	date := time.Unix(day*86400, 0).UTC()
	y, m, d := date.Date()
	before := func(at int64) bool {
		ay, am, ad := time.UnixMilli(at).In(c.location).Date()
		return ay < y || ay == y && (am < m || am == m && ad < d)
	}
	// Zones lie between 12 hours behind and 14 ahead of UTC.
	low, high := date.UnixMilli()-16*hourMS, date.UnixMilli()+14*hourMS
	for high-low > 1 {
		if middle := low + (high-low)/2; before(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// An emit is told what is complete: the hours of a UTC day, or a day.
type emit func(kind byte, number int64, epoch uint16, value []byte)

// point takes in a point, whose time is not before until.
func (r *running) point(c *calendar, m *meta, p Point, out emit) {
	r.advance(c, m, p.At, out)
	if p.Gap {
		r.known = false
		return
	}
	r.count(m, p.Num)
	r.known, r.now = true, p
	r.hour.see(p)
	r.day.see(p)
}

// resetBelow is the share of a counter's last value below which a reset is
// seen; a smaller step back is noise and counts as negative, as it does in
// Home Assistant.
const resetBelow = 0.9

// count takes a reading of a counter in.
func (r *running) count(m *meta, v float64) {
	if m.Counter == notCounter {
		return
	}
	if r.counted {
		more := v - r.counter
		if m.Counter == increasing && v < resetBelow*r.counter {
			more = v // it began anew, from 0
		}
		r.hour.increase += more
		r.day.increase += more
	}
	r.counted, r.counter = true, v
}

// advance lets time pass, with the value there is. What ends on the way is
// handed out.
func (r *running) advance(c *calendar, m *meta, to int64, out emit) {
	if r.until == 0 {
		r.until = to
		r.utcDay = to / dayMS
	}
	for r.until < to {
		_, _, midnight := c.day(r.until)
		hourEnd := (r.until/hourMS + 1) * hourMS
		next := min(to, midnight, hourEnd)
		if !r.known && to > next {
			// Nothing is known for long: only what was begun is to be ended.
			r.until = next
			r.endings(c, m, midnight, out)
			if r.hour.empty() && r.day.empty() && len(r.hours) == 0 {
				r.until, r.utcDay = to, to/dayMS
				return
			}
			continue
		}
		if r.known {
			r.hour.hold(r.now, next-r.until, m.Type)
			r.day.hold(r.now, next-r.until, m.Type)
		}
		r.until = next
		r.endings(c, m, midnight, out)
	}
}

// endings hands out what has ended at until.
func (r *running) endings(c *calendar, m *meta, midnight int64, out emit) {
	if r.until%hourMS == 0 {
		if !r.hour.empty() {
			r.hours = append(r.hours, byte((r.until/hourMS-1)%24))
			r.hours = r.hour.append(r.hours, m.Type)
		}
		r.hour = sum{}
	}
	if day := r.until / dayMS; day != r.utcDay {
		if len(r.hours) > 0 {
			out(recHours, r.utcDay, r.epoch, hoursValue(m, r.hours))
		}
		r.hours, r.utcDay = nil, day
	}
	if r.until >= midnight {
		if !r.day.empty() {
			number, _, _ := c.day(midnight - 1)
			out(recDay, number, r.epoch, dayValue(m, &r.day))
		}
		r.day = sum{}
	}
}

const rollupFormat = 1

func hoursValue(m *meta, hours []byte) []byte {
	b := append([]byte{rollupFormat, m.Type, byte(len(m.Unit))}, m.Unit...)
	return append(b, hours...)
}

func dayValue(m *meta, s *sum) []byte {
	b := append([]byte{rollupFormat, m.Type, byte(len(m.Unit))}, m.Unit...)
	return s.append(b, m.Type)
}

// rollupHead takes the head of a roll-up record off.
func (d *decoder) rollupHead() (kind byte, unit string) {
	if d.byte() != rollupFormat {
		d.bad = true
		return 0, ""
	}
	kind = d.byte()
	n := int(d.byte())
	if !knownKind(kind) || n > len(d.buf) {
		d.bad = true
		return 0, ""
	}
	unit = string(d.buf[:n])
	d.buf = d.buf[n:]
	return kind, unit
}

// decodeHours calls fn for each hour of a record of hours.
func decodeHours(value []byte, fn func(hour int64, s sum)) (kind byte, unit string, err error) {
	d := decoder{buf: value}
	kind, unit = d.rollupHead()
	for len(d.buf) > 0 && !d.bad {
		hour := d.byte()
		s := d.sum(kind)
		if !d.bad && hour < 24 {
			fn(int64(hour), s)
		}
	}
	if d.bad {
		return kind, unit, errBlock
	}
	return kind, unit, nil
}

// decodeDay reads a record of a day.
func decodeDay(value []byte) (s sum, kind byte, unit string, err error) {
	d := decoder{buf: value}
	kind, unit = d.rollupHead()
	if !d.bad {
		s = d.sum(kind)
	}
	if d.bad || len(d.buf) > 0 {
		return sum{}, 0, "", errBlock
	}
	return s, kind, unit, nil
}

// encode writes where roll-ups stand.
func (r *running) encode(m *meta) []byte {
	b := append([]byte{rollupFormat, m.Type, byte(len(m.Unit))}, m.Unit...)
	b = binary.BigEndian.AppendUint16(b, r.epoch)
	b = binary.AppendVarint(b, r.until)
	flags := byte(0)
	if r.known {
		flags |= 1
	}
	if r.counted {
		flags |= 2
	}
	b = append(b, flags)
	if r.known {
		b = appendNumber(b, r.now.Num)
		b = appendText(b, r.now.Str)
	}
	if r.counted {
		b = appendNumber(b, r.counter)
	}
	b = r.hour.append(b, m.Type)
	b = r.day.append(b, m.Type)
	b = binary.AppendVarint(b, r.utcDay)
	return append(b, r.hours...)
}

// decodeRunning reads where roll-ups stood. Those of another unit or type are
// as good as none.
func decodeRunning(value []byte, m *meta) (r running, err error) {
	d := decoder{buf: value}
	kind, unit := d.rollupHead()
	if d.bad || kind != m.Type || unit != m.Unit || len(d.buf) < 2 {
		return r, errBlock
	}
	r.epoch = binary.BigEndian.Uint16(d.buf)
	d.buf = d.buf[2:]
	r.until = d.varint()
	flags := d.byte()
	if r.known = flags&1 != 0; r.known {
		r.now.Num = d.number()
		r.now.Str = d.text()
	}
	if r.counted = flags&2 != 0; r.counted {
		r.counter = d.number()
	}
	r.hour = d.sum(kind)
	r.day = d.sum(kind)
	r.utcDay = d.varint()
	if d.bad || r.until < 0 || r.until > maxTime || r.utcDay < 0 || r.utcDay > maxTime/dayMS {
		return running{}, errBlock
	}
	if r.hours = slices.Clone(d.buf); len(r.hours) == 0 {
		r.hours = nil
	}
	return r, nil
}

// maxTime is the last instant that is kept: 9999-12-31.
const maxTime = 253_370_764_800_000
