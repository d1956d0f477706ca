package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"lar.home/mqtt"
)

const (
	// pruneAfter is when the store is gone through first after a start, and
	// pruneEvery how often later.
	pruneAfter = 10 * time.Minute
	pruneEvery = 24 * time.Hour
	// pruneBatch is how many records are read at a time, and deleted in a
	// turn; prunePause parts them.
	pruneBatch = 500
	prunePause = 20 * time.Millisecond
	// recordOverhead is what the store has of its own for each record, about.
	recordOverhead = 24
	// roomAfter is what is left of a budget that was exceeded, in percent, so
	// that it is not exceeded again at once.
	roomAfter = 95
)

// A Do runs a turn and returns when what it wrote is on disk.
type Do func(ctx context.Context, fn func(t *mqtt.Turn) error) error

// Keep deletes what is too old, or too much, until ctx ends: once a day, and
// soon after something was forgotten.
func (h *History) Keep(ctx context.Context, do Do) {
	wait := pruneAfter
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-h.poked:
			timer.Stop()
		case <-timer.C:
		}
		wait = pruneEvery
		if err := h.Prune(ctx, do); err != nil && ctx.Err() == nil {
			h.log.Error("history not pruned", "err", err)
			wait = pruneAfter
		}
	}
}

// Prune deletes single points older than [Options.Raw], what belongs to no
// series any more or was kept under a clock that was wrong, and, if more bytes
// are left than [Options.Budget], the oldest of all.
func (h *History) Prune(ctx context.Context, do Do) error {
	h.mu.RLock()
	started, now := h.started, h.now
	epochs := view{epochs: slices.Clone(h.epochs)}
	h.mu.RUnlock()
	if !started {
		return nil // nobody knows what is old
	}
	raw := now - h.raw.Milliseconds()
	days := map[int64]int64{} // bytes by UTC day
	all := int64(0)
	count := map[uint64]int{}
	err := h.sweep(ctx, do, func(kind byte, id uint64, at int64, epoch uint16, size int) (remove bool) {
		ends := epochs.ends(epoch)
		if !h.has(id) || at >= ends && ends <= now || kind == recBlock && at+hourMS <= raw {
			return true
		}
		days[at/dayMS] += int64(size)
		all += int64(size)
		count[id]++
		return false
	})
	if err != nil {
		return err
	}
	if all > h.budget {
		before := int64(0)
		left := all
		for _, day := range slices.Sorted(maps.Keys(days)) {
			if left <= h.budget/100*roomAfter || day >= now/dayMS {
				break
			}
			left -= days[day]
			before = day + 1
		}
		h.log.Info("history is over its budget, the oldest goes", "bytes", all, "before", time.UnixMilli(before*dayMS).UTC().Format(time.DateOnly))
		err := h.sweep(ctx, do, func(_ byte, id uint64, at int64, _ uint16, _ int) bool {
			remove := at/dayMS < before
			if remove {
				count[id]--
			}
			return remove
		})
		if err != nil {
			return err
		}
	}
	return h.bury(ctx, do, count)
}

func (h *History) has(id uint64) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byID[id] != nil
}

// sweep deletes of all blocks and roll-ups those that remove tells to.
func (h *History) sweep(ctx context.Context, do Do, remove func(kind byte, id uint64, at int64, epoch uint16, size int) bool) error {
	for _, kind := range []byte{recBlock, recHours, recDay} {
		length := int64(dayMS)
		if kind == recBlock {
			length = hourMS
		}
		prefix := []byte{'h', kind}
		for from := prefix; from != nil; {
			var keys [][]byte
			next, n := []byte(nil), 0
			err := h.scan(prefix, from, func(key, value []byte) bool {
				if n++; n > pruneBatch {
					next = bytes.Clone(key)
					return false
				}
				id, number, epoch, ok := parseTimeKey(key)
				if !ok || remove(kind, id, number*length, epoch, len(key)+len(value)+recordOverhead) {
					keys = append(keys, bytes.Clone(key))
				}
				return true
			})
			if err != nil {
				return err
			}
			if err := h.remove(ctx, do, keys); err != nil {
				return err
			}
			from = next
		}
	}
	return nil
}

// remove deletes some records and rests a little.
func (h *History) remove(ctx context.Context, do Do, keys [][]byte) error {
	if len(keys) > 0 {
		err := do(ctx, func(t *mqtt.Turn) error {
			for _, key := range keys {
				t.Write(key, nil)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	timer := time.NewTimer(prunePause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// bury drops series that are over and of which nothing is left, and what is
// left of those that were forgotten.
func (h *History) bury(ctx context.Context, do Do, count map[uint64]int) error {
	var keys [][]byte
	err := h.scan([]byte{'h', recRunning}, nil, func(key, _ []byte) bool {
		if len(key) == 10 && !h.has(binary.BigEndian.Uint64(key[2:])) {
			keys = append(keys, bytes.Clone(key))
		}
		return len(keys) < pruneBatch
	})
	if err != nil {
		return err
	}
	return errors.Join(h.remove(ctx, do, keys), do(ctx, func(t *mqtt.Turn) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(t, func(s *series) bool {
			return s.meta.Ended && count[s.id] == 0 && s.open == nil && len(s.full)+len(s.stored) == 0
		})
		return nil
	}))
}

// Forget drops all that is kept of an entity, as of this turn; its records are
// swept soon after.
func (h *History) Forget(t *mqtt.Turn, entity string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drop(t, func(s *series) bool { return s.meta.Entity == entity }) {
		select {
		case h.poked <- struct{}{}:
		default:
		}
	}
}

// drop takes series out, and tells whether there were any.
func (h *History) drop(t *mqtt.Turn, which func(s *series) bool) bool {
	left := h.list[:0]
	for _, s := range h.list {
		if !which(s) {
			left = append(left, s)
			continue
		}
		if n := (name{s.meta.Entity, s.meta.Aspect}); h.series[n] == s {
			delete(h.series, n)
		}
		delete(h.byID, s.id)
		if s.rate != nil {
			s.rate.series--
		}
		h.early -= len(s.early)
		s.early, s.held = nil, false
		t.Write(seriesKey(recSeries, s.id), nil)
		t.Write(seriesKey(recRunning, s.id), nil)
	}
	gone := len(left) < len(h.list)
	clear(h.list[len(left):])
	h.list = left
	if gone && h.looking > 0 {
		h.looking = 0 // places have moved
	}
	return gone
}
