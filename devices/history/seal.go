package history

import (
	"lar.home/mqtt"
)

const (
	// sealWrites and sealPoints bound a slice of sealing.
	sealWrites = 200
	sealPoints = 3000
)

// seal makes blocks of the hours that have ended, and rolls them up: each
// series in one turn, many in slices. Where a day has ended, all series are
// gone through: a value that has not changed all day is rolled up too, and is
// noted at the beginning of the next, so that nobody has to look back further
// to find it.
func (h *History) seal(t *mqtt.Turn) {
	if !h.started {
		return
	}
	h.now = max(h.now, h.at(t))
	if len(h.sealing) == 0 && !h.wantSeal() {
		return
	}
	writes, points := 0, 0
	var done []*series
	for len(h.sealing) > 0 && writes < sealWrites && points < sealPoints {
		s := h.sealing[0]
		h.sealing[0], h.sealing = nil, h.sealing[1:]
		w, p := h.sealSeries(t, s)
		if writes, points = writes+w, points+p+1; len(s.stored) > 0 {
			done = append(done, s)
		}
	}
	if len(done) > 0 {
		sealed := make([][]*block, len(done))
		for i, s := range done {
			sealed[i] = s.stored
		}
		t.Durable(func() { h.onDisk(done, sealed) })
	}
	if len(h.sealing) == 0 {
		h.sealed, h.dayPass = h.sealTo, false
		h.dropJournal(t)
	}
}

// onDisk lets go of blocks that readers find in the store now.
func (h *History) onDisk(done []*series, sealed [][]*block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range done {
		left := s.stored[:0:0]
		for _, b := range s.stored {
			if !contains(sealed[i], b) {
				left = append(left, b)
			}
		}
		s.stored = left
	}
}

func contains(list []*block, b *block) bool {
	for _, x := range list {
		if x == b {
			return true
		}
	}
	return false
}

// wantSeal tells whether an hour or an epoch has ended, and lists what is to
// be gone through.
func (h *History) wantSeal() bool {
	hour := h.now / hourMS
	if hour <= h.sealed && !h.stale {
		return false
	}
	from := h.sealed * hourMS
	dayOf := func(at int64) int64 { number, _, _ := h.calendar.day(at); return number }
	h.dayPass = h.sealed == 0 || from/dayMS != h.now/dayMS || dayOf(from) != dayOf(hour*hourMS)
	h.sealTo, h.stale = hour, false
	for _, s := range h.list {
		if h.dayPass || s.open != nil || len(s.full) > 0 {
			h.sealing = append(h.sealing, s)
		}
	}
	if len(h.sealing) == 0 {
		h.sealed = hour
		return false
	}
	return true
}

// sealSeries writes the blocks of a series that are complete, and where its
// roll-ups stand then.
func (h *History) sealSeries(t *mqtt.Turn, s *series) (writes, points int) {
	if h.byID[s.id] != s {
		return 0, 0 // forgotten meanwhile
	}
	s.turnOver(h.epoch().number, h.now/hourMS)
	start := max(h.sealTo*hourMS, h.epoch().from)
	changed := false
	out := func(kind byte, number int64, epoch uint16, value []byte) {
		t.Write(timeKey(kind, s.id, number, epoch), value)
		writes++
	}
	for _, b := range s.full {
		from, to := span(h.epochs, b.epoch)
		s.run.block(&h.calendar, b, from, to, out)
		t.Write(timeKey(recBlock, s.id, b.hour, b.epoch), b.buf)
		writes++
		points += b.n
		changed = true
	}
	s.stored = append(s.stored, s.full...)
	s.full = nil
	if h.dayPass && s.run.until > 0 && s.run.until < start && s.run.epoch == h.epoch().number && !s.run.idle() {
		s.run.advance(&h.calendar, s.meta, start, out)
		changed = true
	}
	if h.dayPass && s.known && s.open == nil {
		carry := s.last
		carry.At = max(start, carry.At)
		h.journal.add(s, carry)
		s.take(h.epoch().number, carry)
		h.wantFlush(t)
	}
	if changed {
		if !s.written {
			s.written = true
			t.Write(seriesKey(recSeries, s.id), s.meta.encode())
			writes++
		}
		t.Write(seriesKey(recRunning, s.id), s.run.encode(s.meta))
		writes++
	}
	return writes, points
}

// dropJournal deletes the records of the journal that blocks have replaced.
func (h *History) dropJournal(t *mqtt.Turn) {
	if h.stale {
		return // an epoch has ended meanwhile
	}
	j := &h.journal
	left := j.keys[:0]
	for _, k := range j.keys {
		if k.hour >= h.sealTo && k.epoch == h.epoch().number {
			left = append(left, k)
			continue
		}
		t.Write(k.key(), nil)
	}
	j.keys = left
}

// block takes a block in, up to its end or to limit, where its epoch ends or
// the present is; from is when the epoch began. What was taken in before
// changes nothing.
func (r *running) block(c *calendar, b *block, from, limit int64, out emit) {
	if r.epoch != b.epoch {
		if r.until > 0 {
			r.advance(c, b.meta, from, out)
			r.finish(c, b.meta, out)
		}
		*r = running{epoch: b.epoch, counted: r.counted, counter: r.counter}
	}
	end := min((b.hour+1)*hourMS, limit)
	if r.until >= end {
		return
	}
	points, _, _, _ := decodeBlock(b.buf, b.hour, nil)
	for _, p := range points {
		if p.At >= r.until && p.At <= end {
			r.point(c, b.meta, p, out)
		}
	}
	r.advance(c, b.meta, end, out)
}

// span returns when an epoch began, and when the next one did.
func span(epochs []epoch, number uint16) (from, to int64) {
	to = maxTime
	for _, e := range epochs {
		switch {
		case e.number == number:
			from = e.from
		case e.number > number:
			to = min(to, e.from)
		}
	}
	return from, to
}

// finish hands out what has not ended yet.
func (r *running) finish(c *calendar, m *meta, out emit) {
	if !r.hour.empty() {
		r.hours = append(r.hours, byte(r.until/hourMS%24))
		r.hours = r.hour.append(r.hours, m.Type)
	}
	if len(r.hours) > 0 {
		out(recHours, r.utcDay, r.epoch, hoursValue(m, r.hours))
	}
	if !r.day.empty() {
		number, _, _ := c.day(r.until)
		out(recDay, number, r.epoch, dayValue(m, &r.day))
	}
}

// idle tells whether nothing is known and nothing waits to be handed out.
func (r *running) idle() bool {
	return !r.known && r.hour.empty() && r.day.empty() && len(r.hours) == 0
}
