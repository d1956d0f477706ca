package history

import (
	"math"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// Changed takes changes in; see devices.Watcher.
func (h *History) Changed(t *mqtt.Turn, changes []devices.Change, structure bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock(t)
	for i := range changes {
		h.change(t, &changes[i])
	}
	if structure && h.lookAt == 0 {
		h.lookAt = t.Now.Run + lookAfter
	}
	h.ask(t)
}

func (h *History) change(t *mqtt.Turn, c *devices.Change) {
	e := c.Entity
	if e == nil || h.paused {
		return
	}
	if c.Aspect == "" {
		h.reach(t, e, c.Available)
		return
	}
	for i := range e.Aspects {
		if a := &e.Aspects[i]; a.Name == c.Aspect {
			h.record(t, e, a, c.New, c.Available)
			return
		}
	}
}

// reach begins a gap in all series of an entity, or ends it with what is known.
func (h *History) reach(t *mqtt.Turn, e *devices.Entity, available bool) {
	st := e.State()
	for i := range e.Aspects {
		v := devices.Value{}
		if available && i < len(st.Readings) && h.usable(t, st.Readings[i]) {
			v = st.Readings[i].Value
		}
		h.record(t, e, &e.Aspects[i], v, available)
	}
}

// usable tells whether a reading was said since the start: one that comes from
// the store only may not be true any more, and starts no curve.
func (h *History) usable(t *mqtt.Turn, r devices.Reading) bool {
	return r.Value.Known() && (!r.Restored || !r.At.Before(t.Now.Wall.Add(-t.Now.Run)) && !r.At.After(t.Now.Wall))
}

// record takes a value of an aspect in, or that there is none.
func (h *History) record(t *mqtt.Turn, e *devices.Entity, a *devices.Aspect, v devices.Value, available bool) {
	if a.Type != devices.Number && a.Type != devices.Bool && a.Type != devices.Enum {
		return
	}
	p := point(a, v)
	if !available {
		p = Point{Gap: true}
	}
	s := h.series[name{e.ID, a.Name}]
	if s == nil || s.meta.Unit != a.Unit || s.meta.Type != kindOf(a.Type) {
		if s = h.find(t, e, a, p.Gap); s == nil {
			return
		}
	}
	if !h.started {
		h.wait(t, s, p)
		return
	}
	h.now = max(h.now, h.at(t))
	p.At = h.now
	h.offer(t, s, p)
}

func kindOf(t devices.Type) byte {
	switch t {
	case devices.Bool:
		return kindBool
	case devices.Number:
		return kindNumber
	}
	return kindEnum
}

// point is a value as it is kept.
func point(a *devices.Aspect, v devices.Value) Point {
	switch {
	case a.Type == devices.Bool && v.Type == devices.Bool:
		if v.Bool {
			return Point{Num: 1}
		}
		return Point{}
	case a.Type == devices.Number && v.Type == devices.Number && !math.IsNaN(v.Num) && !math.IsInf(v.Num, 0):
		return Point{Num: v.Num + 0} // -0 is 0
	case a.Type == devices.Enum && v.Type == devices.Text:
		return Point{Str: cut(v.Str, maxText)}
	}
	return Point{Gap: true}
}

// find returns the series of an aspect, a new one if there is none; nil if it
// has no history, or only begins with a gap.
func (h *History) find(t *mqtt.Turn, e *devices.Entity, a *devices.Aspect, gap bool) *series {
	m, ok := describe(e, a)
	s := h.series[name{e.ID, a.Name}]
	if s != nil && ok && s.meta.is(&m) {
		return s
	}
	if s != nil {
		h.retire(t, s)
	}
	if !ok || gap {
		return nil
	}
	for _, s := range h.list {
		if s.meta.Ended && s.meta.Entity == m.Entity && s.meta.Aspect == m.Aspect && s.meta.is(&m) {
			h.redefine(t, s, &m)
			h.series[name{e.ID, a.Name}] = s
			return s
		}
	}
	return h.create(t, e, &m)
}

// create makes a series.
func (h *History) create(t *mqtt.Turn, e *devices.Entity, m *meta) *series {
	r := h.rateOf(e.Device)
	if len(h.list) >= MaxSeries || r.series >= MaxDeviceSeries {
		return nil
	}
	if h.takenIn != t.Number {
		h.takenIn, h.taken = t.Number, 0
	}
	id := t.Number<<12 | uint64(h.taken)
	for h.byID[id] != nil {
		h.taken++
		id++
	}
	if h.taken++; h.taken >= 1<<12 {
		return nil // the next turn has numbers again
	}
	s := &series{id: id, meta: m, rate: r}
	r.series++
	h.add(s)
	t.Lazy(seriesKey(recSeries, s.id), m.encode())
	return s
}

// retire ends a series whose aspect has come to have another unit or type:
// what was before is not mixed with what comes. It is shown again if the unit
// comes back.
func (h *History) retire(t *mqtt.Turn, s *series) {
	if s.known {
		h.now = max(h.now, h.at(t))
		h.put(t, s, Point{At: h.now, Gap: true})
	}
	delete(h.series, name{s.meta.Entity, s.meta.Aspect})
	m := *s.meta
	m.Ended = true
	h.redefine(t, s, &m)
}

func (h *History) redefine(t *mqtt.Turn, s *series, m *meta) {
	s.meta, s.written = m, false
	t.Lazy(seriesKey(recSeries, s.id), m.encode())
}

func (h *History) add(s *series) {
	if !s.meta.Ended {
		h.series[name{s.meta.Entity, s.meta.Aspect}] = s
	}
	h.byID[s.id] = s
	h.list = append(h.list, s)
}

func (h *History) rateOf(d *devices.Device) *rate {
	id := ""
	if d != nil {
		id = d.ID
	}
	r := h.rates[id]
	if r == nil {
		r = &rate{}
		h.rates[id] = r
	}
	return r
}

// offer keeps a point if it is news and the device has a share left.
func (h *History) offer(t *mqtt.Turn, s *series, p Point) {
	if s.rate == nil { // known from before the start
		s.rate = h.rateOf(h.deviceOf(s))
		s.rate.series++
	}
	switch {
	case p.Gap && !s.known, s.known && p.same(s.last):
		s.held = false // what waited is over
		return
	case s.meta.Type == kindNumber && s.known && !p.Gap && !s.meta.differs(s.last.Num, p.Num) &&
		p.At-s.last.At < refineAfter.Milliseconds():
		s.held = false
		return
	}
	hour := p.At / hourMS
	share := s.rate.take(hour, maxDevicePoints) && h.rate.take(hour, maxHousePoints)
	if !share && s.open != nil && p.At-s.last.At < slowPace.Milliseconds() {
		s.loose = p
		if !s.held {
			s.held = true
			h.held = append(h.held, s)
			h.wantFlush(t)
		}
		return
	}
	h.put(t, s, p)
}

func (h *History) deviceOf(s *series) *devices.Device {
	if e := h.house().Entity(s.meta.Entity); e != nil {
		return e.Device
	}
	return nil
}

// release keeps the points that waited for their share.
func (h *History) release(t *mqtt.Turn) {
	h.now = max(h.now, h.at(t))
	waiting := h.held[:0]
	for _, s := range h.held {
		switch {
		case !s.held:
		case h.now-s.last.At >= slowPace.Milliseconds():
			s.held = false
			h.put(t, s, s.loose)
		default:
			waiting = append(waiting, s)
		}
	}
	clear(h.held[len(waiting):])
	h.held = waiting
	if len(waiting) > 0 {
		h.wantFlush(t)
	}
}

// put keeps a point.
func (h *History) put(t *mqtt.Turn, s *series, p Point) {
	p.At = max(p.At, s.last.At)
	s.held = false
	epoch := h.epoch()
	if s.turnOver(epoch.number, p.At/hourMS); s.open == nil && s.known {
		carry := s.last
		carry.At = max(p.At/hourMS*hourMS, epoch.from)
		if carry.At < p.At {
			h.journal.add(s, carry)
			s.take(epoch.number, carry)
		}
	}
	h.journal.add(s, p)
	s.take(epoch.number, p)
	h.wantFlush(t)
	if h.journal.long() {
		h.flush(t)
	}
}

// turnOver puts a block of another hour or epoch aside.
func (s *series) turnOver(epoch uint16, hour int64) {
	if b := s.open; b != nil && (b.hour != hour || b.epoch != epoch) {
		s.full, s.open = append(s.full, b), nil
	}
}

// take adds a point to the block of its hour.
func (s *series) take(epoch uint16, p Point) {
	s.turnOver(epoch, p.At/hourMS)
	if s.open == nil {
		s.open = newBlock(s.meta, epoch, p.At/hourMS)
	}
	s.open.add(p)
	if s.open.n > maxPoints {
		s.open.thin()
	}
	s.known, s.last = !p.Gap, p
}

// wait keeps a point until the clock can be trusted.
func (h *History) wait(t *mqtt.Turn, s *series, p Point) {
	n := len(s.early)
	if n > 0 && p.same(s.early[n-1].p) {
		return
	}
	switch {
	case n > 0 && (n >= maxEarlyEach || h.early >= maxEarly):
		s.early[n-1] = earlyPoint{t.Now.Run, p}
	case h.early < maxEarly:
		s.early = append(s.early, earlyPoint{t.Now.Run, p})
		h.early++
	}
}

// look goes through series and entities after some came or went, and after a
// start: what is gone has a gap, what is known and had none goes on. It finds
// what no change has told: a retained message that says what was known before.
func (h *History) look(t *mqtt.Turn) {
	if !h.started || h.paused {
		return
	}
	if h.looking < 0 {
		if h.lookAt == 0 || t.Now.Run < h.lookAt {
			return
		}
		h.lookAt, h.looking = 0, 0
	}
	house := h.house()
	end := min(h.looking+lookBatch, len(h.list)+len(house.Devices))
	budget := lookBatch
	for ; h.looking < end && budget > 0; h.looking++ {
		if h.looking < len(h.list) {
			if s := h.list[h.looking]; s.known && !describes(house.Entity(s.meta.Entity), s.meta.Aspect) {
				h.now = max(h.now, h.at(t))
				h.put(t, s, Point{At: h.now, Gap: true})
			}
			continue
		}
		d := house.Devices[h.looking-len(h.list)]
		budget -= len(d.Entities)
		for _, e := range d.Entities {
			h.lookAtEntity(t, e)
		}
	}
	if h.looking >= len(h.list)+len(house.Devices) {
		h.looking = -1
	}
}

// lookBatch is how many series or entities are looked at in one turn.
const lookBatch = 200

func describes(e *devices.Entity, aspect string) bool {
	if e == nil {
		return false
	}
	for i := range e.Aspects {
		if e.Aspects[i].Name == aspect {
			return true
		}
	}
	return false
}

func (h *History) lookAtEntity(t *mqtt.Turn, e *devices.Entity) {
	st := e.State()
	if !st.Available {
		return
	}
	for i := range e.Aspects {
		if i >= len(st.Readings) || !h.usable(t, st.Readings[i]) {
			continue
		}
		if s := h.series[name{e.ID, e.Aspects[i].Name}]; s == nil || !s.known {
			h.record(t, e, &e.Aspects[i], st.Readings[i].Value, true)
		}
	}
}

// pause stops and starts with the space on the disk.
func (h *History) pause(t *mqtt.Turn) {
	low := h.low()
	if low == h.paused || !h.started {
		return
	}
	if low {
		h.gapAll(t, max(h.now, h.at(t)))
		h.log.Warn("history is not kept: little space is left")
	} else {
		h.lookAt, h.looking = t.Now.Run, -1
		h.log.Info("history is kept again")
	}
	h.paused = low
}

// gapAll begins a gap in every series that has a value.
func (h *History) gapAll(t *mqtt.Turn, at int64) {
	for _, s := range h.list {
		if s.known {
			h.put(t, s, Point{At: at, Gap: true})
		}
	}
}

// at is the present instant, in whole ticks.
func (h *History) at(t *mqtt.Turn) int64 {
	return h.base.Add(t.Now.Run).UnixMilli() / tick * tick
}

func (h *History) wantFlush(t *mqtt.Turn) {
	if h.flushAt == 0 {
		h.flushAt = t.Now.Run + flushEvery
	}
}

func (h *History) epoch() epoch {
	if len(h.epochs) == 0 {
		return epoch{}
	}
	return h.epochs[len(h.epochs)-1]
}

// clock follows the wall clock as far as it can be trusted. A step forward is
// a gap, as if the hub had been off. A small step back holds the time until it
// has passed; a greater one begins an epoch, and what was kept of times that
// are yet to come is not shown: the clock was ahead.
func (h *History) clock(t *mqtt.Turn) {
	if !t.Now.Trusted {
		return // what was right goes on with the time that passes
	}
	was := h.base
	h.base = t.Now.Wall.Add(-t.Now.Run)
	if !h.started {
		h.start(t)
		return
	}
	step := h.base.Sub(was)
	switch {
	case step >= stepMin:
		values := map[*series]Point{}
		for _, s := range h.list {
			if s.known {
				values[s] = s.last
			}
		}
		h.gapAll(t, max(h.now, was.Add(t.Now.Run).UnixMilli()/tick*tick))
		h.now = max(h.now, h.at(t))
		for _, s := range h.list {
			if p, ok := values[s]; ok {
				p.At = h.now
				h.put(t, s, p)
			}
		}
	case h.now-h.at(t) >= stepMin.Milliseconds():
		h.log.Info("the clock went back, history goes on from there", "to", t.Now.Wall)
		h.newEpoch(t, h.at(t))
	}
}

// newEpoch begins an epoch at an instant that lies before the last one kept.
func (h *History) newEpoch(t *mqtt.Turn, at int64) {
	if len(h.epochs) >= maxEpochs {
		h.now = max(h.now, at) // time stands still: the clock cannot be right
		return
	}
	h.flush(t)
	e := epoch{h.epoch().number + 1, at, h.location.String()}
	h.epochs = append(h.epochs, e)
	t.Lazy(epochKey(e.number), epochValue(e))
	h.now = at
	h.rate = rate{}
	for _, s := range h.list {
		if s.open != nil {
			s.full, s.open = append(s.full, s.open), nil
		}
		if s.last.At = min(s.last.At, at); s.known {
			carry := s.last
			carry.At = at
			h.journal.add(s, carry)
			s.take(e.number, carry)
			h.wantFlush(t)
		}
	}
	h.stale = true
}

// SetLocation moves the home to another time zone: its days begin at other
// times from now on.
func (h *History) SetLocation(t *mqtt.Turn, zone *time.Location) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.location = zone
	h.calendar = calendar{location: zone}
	h.clock(t)
	h.moved(t)
	h.ask(t)
}

// moved begins an epoch if the days of the last one were others.
func (h *History) moved(t *mqtt.Turn) {
	if h.started && h.epoch().zone != h.location.String() {
		h.now = max(h.now, h.at(t))
		h.newEpoch(t, h.now)
	}
}

// maxEpochs bounds how often the clock may go back.
const maxEpochs = 1000

// start sets the gaps of the time in which no hub ran, and takes in what had
// to wait for the clock.
func (h *History) start(t *mqtt.Turn) {
	h.started = true
	boot := h.at(t) - t.Now.Run.Milliseconds()/tick*tick
	if len(h.epochs) == 0 {
		e := epoch{1, 0, h.location.String()}
		h.epochs = append(h.epochs, e)
		t.Lazy(epochKey(e.number), epochValue(e))
	}
	h.gapAll(t, h.alive)
	h.now = h.alive
	if h.alive-boot >= stepMin.Milliseconds() {
		h.newEpoch(t, boot)
	}
	h.now = max(h.now, boot)
	h.moved(t)
	for _, s := range h.list {
		for _, e := range s.early {
			e.p.At = max(h.base.Add(e.run).UnixMilli()/tick*tick, boot)
			h.offer(t, s, e.p)
		}
		s.early = nil
	}
	h.early = 0
	h.now = max(h.now, h.at(t))
	h.aliveAt = t.Now.Run + aliveEvery
	h.lookAt = t.Now.Run + lookAfter
	h.sealed = 0
}
