package history

import (
	"bytes"
	"errors"
	"slices"
	"time"
)

// ErrNone says that an aspect has no history.
var ErrNone = errors.New("there is no history of that")

// An Info says what a series is of.
type Info struct {
	Entity, Aspect string
	Unit           string
	Bool, Enum     bool // neither: a number
	Counter        bool // whose increase is of interest, not its value
}

func (m *meta) info() Info {
	return Info{m.Entity, m.Aspect, m.Unit, m.Type == kindBool, m.Type == kindEnum, m.Counter != notCounter}
}

// Series tells what a series is of, and whether there is one.
func (h *History) Series(entity, aspect string) (Info, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s := h.series[name{entity, aspect}]
	if s == nil {
		return Info{}, false
	}
	return s.meta.info(), true
}

// A view is a series as it is at one instant, for one reader.
type view struct {
	h      *History
	id     uint64
	meta   *meta
	zone   *time.Location
	run    running
	memory []*block // not on disk, or not certainly
	later  []record // roll-ups that are not on disk
	epochs []epoch
	now    int64
}

type record struct {
	kind   byte
	number int64
	epoch  uint16
	value  []byte
}

// view takes a series as it is now.
func (h *History) view(entity, aspect string, now time.Time) (*view, error) {
	h.mu.RLock()
	s := h.series[name{entity, aspect}]
	if s == nil {
		h.mu.RUnlock()
		return nil, ErrNone
	}
	v := &view{h: h, id: s.id, meta: s.meta, zone: h.location, run: s.run, epochs: slices.Clone(h.epochs), now: max(h.now, now.UnixMilli())}
	v.run.hour.states = slices.Clone(s.run.hour.states)
	v.run.day.states = slices.Clone(s.run.day.states)
	v.run.hours = slices.Clone(s.run.hours)
	v.memory = append(append(v.memory, s.stored...), s.full...)
	sums := s.full
	if s.open != nil {
		b := *s.open
		b.buf = bytes.Clone(b.buf)
		v.memory = append(v.memory, &b)
		sums = append(slices.Clip(sums), &b)
	}
	h.mu.RUnlock()

	c := calendar{location: v.zone}
	out := func(kind byte, number int64, epoch uint16, value []byte) {
		v.later = append(v.later, record{kind, number, epoch, value})
	}
	for _, b := range sums {
		from, to := span(v.epochs, b.epoch)
		v.run.block(&c, b, from, min(to, v.now), out)
	}
	if v.run.until > 0 && v.run.until < v.now {
		v.run.advance(&c, v.meta, v.now, out)
	}
	v.run.finish(&c, v.meta, out) // as far as it got
	return v, nil
}

// ends returns from when on what an epoch kept is not shown: the clock was
// set back to there.
func (v *view) ends(number uint16) int64 {
	_, to := span(v.epochs, number)
	return to
}

// readBatch is how many records are read before they are worked on: a scan
// does not wait for whoever reads.
const readBatch = 64

// records calls fn for the records of a kind from number first to last, in
// order of time, those on disk first.
func (v *view) records(kind byte, first, last int64, fn func(record) error) error {
	prefix := seriesKey(kind, v.id)
	from := timeKey(kind, v.id, max(first, 0), 0)
	for from != nil {
		var batch []record
		next := []byte(nil)
		err := v.h.scan(prefix, from, func(key, value []byte) bool {
			_, number, epoch, ok := parseTimeKey(key)
			if !ok {
				return true
			}
			if number > last {
				return false
			}
			if len(batch) == readBatch {
				next = bytes.Clone(key)
				return false
			}
			batch = append(batch, record{kind, number, epoch, bytes.Clone(value)})
			return true
		})
		if err != nil {
			return err
		}
		for _, r := range batch {
			if err := fn(r); err != nil {
				return err
			}
		}
		from = next
	}
	for _, r := range v.later {
		if r.kind == kind && r.number >= first && r.number <= last {
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// points calls fn with each point from the one that holds at from to those
// before to. What is not known at from begins with a gap.
func (v *view) points(from, to int64, fn func(Point) error) error {
	to = min(to, v.now+1)
	begun := false
	last := Point{Gap: true}
	var buf []Point
	block := func(r record) error {
		if slices.ContainsFunc(v.memory, func(b *block) bool { return b.hour == r.number && b.epoch == r.epoch }) && r.kind == recBlock {
			return nil
		}
		points, kind, unit, err := decodeBlock(r.value, r.number, buf[:0])
		if buf = points; err != nil && len(points) == 0 || kind != v.meta.Type || unit != v.meta.Unit {
			return nil // what is damaged is a hole
		}
		ends := v.ends(r.epoch)
		for _, p := range points {
			if p.At >= ends || p.At < last.At {
				continue
			}
			if p.At >= to {
				return errEnough
			}
			if p.At <= from {
				last = p
				continue
			}
			if !begun {
				begun = true
				last.At = from
				if err := fn(last); err != nil {
					return err
				}
			}
			if p.same(last) {
				continue // noted again at the beginning of an hour
			}
			last = p
			if err := fn(p); err != nil {
				return err
			}
		}
		return nil
	}
	// What holds at from was noted that day at the latest.
	err := v.records(recBlock, from/dayMS*24, (to-1)/hourMS, block)
	for _, b := range v.memory {
		if err == nil {
			err = block(record{0, b.hour, b.epoch, b.buf})
		}
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if !begun && from < to {
		last.At = from
		return fn(last)
	}
	return nil
}

// rollups calls fn with the sums of each hour (recHours) or day (recDay) that
// begins from from to before to.
func (v *view) rollups(kind byte, from, to int64, fn func(begins, ends int64, s sum) error) error {
	c := calendar{location: v.zone}
	first, last := from/dayMS, (to-1)/dayMS
	if kind == recDay {
		first, _, _ = c.day(from)
		last, _, _ = c.day(to - 1)
	}
	return v.records(kind, first, last, func(r record) error {
		limit := min(v.ends(r.epoch), to)
		if kind == recDay {
			s, t, unit, err := decodeDay(r.value)
			begins, ends := c.begins(r.number), c.begins(r.number+1)
			if err != nil || t != v.meta.Type || unit != v.meta.Unit || begins < from || begins >= limit {
				return nil
			}
			return fn(begins, ends, s)
		}
		var failed error
		head := decoder{buf: r.value}
		if t, unit := head.rollupHead(); t != v.meta.Type || unit != v.meta.Unit {
			return nil
		}
		decodeHours(r.value, func(hour int64, s sum) {
			begins := r.number*dayMS + hour*hourMS
			if failed == nil && begins >= from && begins < limit {
				failed = fn(begins, begins+hourMS, s)
			}
		})
		return failed
	})
}

// A Slot is what was in a stretch of time.
type Slot struct {
	From, To time.Time
	Rollup
}

// MaxSlots is into how many stretches a range is cut at most.
const MaxSlots = 4000

// Chart cuts a range into n stretches of the same length, such as the pixels
// of a picture, and rolls each up: lowest, highest and mean value, and how
// long it was known. Where a stretch is an hour or more, and for times whose
// single points are not kept any more, it goes by the hours.
func (h *History) Chart(entity, aspect string, from, to time.Time, n int, now time.Time) ([]Slot, error) {
	v, err := h.view(entity, aspect, now)
	if err != nil {
		return nil, err
	}
	n = min(max(n, 1), MaxSlots)
	g := grid{from: clampTime(from), to: clampTime(to), kind: v.meta.Type}
	if g.to <= g.from {
		return nil, nil
	}
	g.slots = make([]sum, n)
	raw, err := v.rawFrom()
	if err != nil {
		return nil, err
	}
	if (g.to-g.from)/int64(n) >= hourMS {
		raw = v.now / hourMS * hourMS // but of the present hour
	}
	raw = min(max(raw, g.from), g.to)
	err = v.rollups(recHours, g.from/hourMS*hourMS, raw, func(begins, ends int64, s sum) error {
		g.sum(begins, min(ends, v.now), &s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	before := Point{Gap: true, At: raw}
	err = v.points(raw, g.to, func(p Point) error {
		g.hold(before, p.At)
		before = p
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.hold(before, min(g.to, v.now))
	slots := make([]Slot, n)
	for i := range slots {
		slots[i] = Slot{time.UnixMilli(g.begins(i)), time.UnixMilli(g.begins(i + 1)), g.slots[i].rollup()}
	}
	return slots, nil
}

func clampTime(t time.Time) int64 { return min(max(t.UnixMilli(), 0), maxTime) }

// rawFrom returns from when on single points are kept.
func (v *view) rawFrom() (int64, error) {
	at := v.now
	if len(v.memory) > 0 {
		at = v.memory[0].hour * hourMS
	}
	err := v.h.scan(seriesKey(recBlock, v.id), nil, func(key, _ []byte) bool {
		if _, hour, _, ok := parseTimeKey(key); ok {
			at = min(at, hour*hourMS)
			return false
		}
		return true
	})
	return max(at, v.now-v.h.raw.Milliseconds()), err
}

// A grid is a range in slots.
type grid struct {
	from, to int64
	kind     byte
	slots    []sum
}

func (g *grid) begins(i int) int64 { return g.from + (g.to-g.from)*int64(i)/int64(len(g.slots)) }

func (g *grid) slot(at int64) int {
	i := int((at - g.from) * int64(len(g.slots)) / (g.to - g.from))
	for i > 0 && g.begins(i) > at {
		i--
	}
	for i < len(g.slots)-1 && g.begins(i+1) <= at {
		i++
	}
	return i
}

// hold has a point's value stand until to.
func (g *grid) hold(p Point, to int64) {
	if p.Gap {
		return
	}
	from := max(p.At, g.from)
	if from == to && from < g.to {
		g.slots[g.slot(from)].see(p)
	}
	for from < to {
		i := g.slot(from)
		end := min(to, g.begins(i+1))
		if end <= from {
			return
		}
		g.slots[i].hold(p, end-from, g.kind)
		from = end
	}
}

// sum spreads a roll-up over the slots it is of.
func (g *grid) sum(begins, ends int64, s *sum) {
	length := ends - begins
	at := max(begins, g.from)
	for at < min(ends, g.to) {
		i := g.slot(at)
		end := min(ends, g.begins(i+1))
		part := *s
		part.states = slices.Clone(s.states)
		if end-at != length {
			share := float64(end-at) / float64(length)
			part.covered = int64(float64(s.covered) * share)
			part.weighted *= share
			part.increase *= share
			for j := range part.states {
				part.states[j].ms = int64(float64(part.states[j].ms) * share)
			}
		}
		g.slots[i].merge(&part)
		at = end
	}
}

// Points calls fn with each single point of a range, in order, the first being
// what held at its beginning. Single points are kept for [Options.Raw].
func (h *History) Points(entity, aspect string, from, to, now time.Time, fn func(Point) error) error {
	v, err := h.view(entity, aspect, now)
	if err != nil {
		return err
	}
	return v.points(clampTime(from), clampTime(to), fn)
}

// Hours returns the roll-ups of the hours that begin in a range; those in
// which nothing was known are left out.
func (h *History) Hours(entity, aspect string, from, to, now time.Time) ([]Slot, error) {
	return h.slots(recHours, entity, aspect, from, to, now)
}

// Days returns the roll-ups of the home's days that begin in a range; those in
// which nothing was known are left out. Where clocks change a day has 23 or 25
// hours.
func (h *History) Days(entity, aspect string, from, to, now time.Time) ([]Slot, error) {
	return h.slots(recDay, entity, aspect, from, to, now)
}

func (h *History) slots(kind byte, entity, aspect string, from, to, now time.Time) ([]Slot, error) {
	v, err := h.view(entity, aspect, now)
	if err != nil {
		return nil, err
	}
	var list []Slot
	var sums []sum
	err = v.rollups(kind, clampTime(from), clampTime(to), func(begins, ends int64, s sum) error {
		// The clock may have been set back in an hour or a day.
		if n := len(list); n > 0 && list[n-1].From.UnixMilli() == begins {
			sums[n-1].merge(&s)
			list[n-1].Rollup = sums[n-1].rollup()
			return nil
		}
		list = append(list, Slot{time.UnixMilli(begins), time.UnixMilli(ends), s.rollup()})
		sums = append(sums, s)
		return nil
	})
	return list, err
}

// DayBegins returns the beginning of the home's day that t is in.
func (h *History) DayBegins(t time.Time) time.Time {
	c := calendar{location: h.Location()}
	_, from, _ := c.day(t.UnixMilli())
	return time.UnixMilli(from).In(c.location)
}

// Location is where the home's days begin.
func (h *History) Location() *time.Location {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.location
}
