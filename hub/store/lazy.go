package store

import (
	"time"

	"lar.home/mqtt"
)

const (
	lazySoon  = 1 << 20 // bytes of lazy writes that are not kept waiting longer
	lazyBound = 8 << 20 // bytes of lazy writes beyond which new keys are refused

	lazyOverhead = 64 // of a map entry, about
)

// lazies are writes that may be some seconds old after a crash, the last one of
// each key. They gather in fresh and move together to ready, where they wait
// for every turn that was given before they moved.
type lazies struct {
	fresh map[string][]byte
	since time.Time // when the first of fresh was given
	ready map[string][]byte
	after uint64 // the last turn given before ready was filled
	bytes int    // of both
	lost  uint64 // refused for want of room
}

func (l *lazies) init() {
	l.fresh = map[string][]byte{}
	l.ready = map[string][]byte{}
}

// add merges writes. It tells whether somebody must look at the time.
func (l *lazies) add(writes []mqtt.Write, now time.Time) bool {
	if len(writes) == 0 {
		return false
	}
	nudge := len(l.fresh) == 0
	if nudge {
		l.since = now
	}
	before := l.bytes
	for _, w := range writes {
		old, known := l.fresh[string(w.Key)]
		if !known && l.bytes > lazyBound {
			l.lost++
			continue
		}
		if known {
			l.bytes += len(w.Value) - len(old)
		} else {
			l.bytes += lazyWeight(len(w.Key), w.Value)
		}
		l.fresh[string(w.Key)] = w.Value
	}
	return nudge || before < lazySoon && l.bytes >= lazySoon
}

// cancel drops the lazy writes of keys that a turn now writes.
func (l *lazies) cancel(writes []mqtt.Write) {
	if len(l.fresh) == 0 && len(l.ready) == 0 {
		return
	}
	for _, w := range writes {
		for _, m := range []map[string][]byte{l.fresh, l.ready} {
			if value, ok := m[string(w.Key)]; ok {
				l.bytes -= lazyWeight(len(w.Key), value)
				delete(m, string(w.Key))
			}
		}
	}
}

// due makes the fresh writes ready if it is time, and tells whether any are.
func (l *lazies) due(now time.Time, submitted uint64, closing bool) bool {
	if len(l.ready) == 0 && len(l.fresh) > 0 &&
		(closing || l.bytes >= lazySoon || now.Sub(l.since) >= lazyPeriod) {
		l.ready, l.fresh = l.fresh, l.ready
		l.after = submitted
	}
	return len(l.ready) > 0
}

// wait returns how long it is until fresh writes are due, 0 if there are none.
func (l *lazies) wait(now time.Time) time.Duration {
	if len(l.fresh) == 0 {
		return 0
	}
	return max(time.Millisecond, lazyPeriod-now.Sub(l.since))
}

// took notes that a ready write has joined a group.
func (l *lazies) took(key string, value []byte) {
	l.bytes -= lazyWeight(len(key), value)
	delete(l.ready, key)
}

func lazyWeight(key int, value []byte) int { return key + len(value) + lazyOverhead }
