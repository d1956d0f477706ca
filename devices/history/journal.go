package history

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"lar.home/mqtt"
)

// A journal is what has happened since the last blocks were sealed. Records of
// it gather the points of all series for flushEvery:
//
//	1, then points: series, ticks since the point before, what follows, value
//
// The first point counts from 1970.
type journal struct {
	buf  []byte
	prev int64 // ticks
	last int64 // the latest time in it
	keys []journalKey
}

// A journalKey is a record on disk.
type journalKey struct {
	epoch  uint16
	hour   int64 // of its latest point
	number uint64
}

func (k journalKey) key() []byte {
	key := binary.BigEndian.AppendUint16([]byte{'h', recJournal}, k.epoch)
	key = binary.BigEndian.AppendUint32(key, uint32(k.hour))
	return binary.BigEndian.AppendUint64(key, k.number)
}

const (
	journalFormat = 1
	// journalLong is how many bytes are not kept waiting.
	journalLong = 48 << 10

	// What follows, beside the digits after the point of a decimal.
	opJournalFloat = maxScale + 1
	opJournalGap   = maxScale + 2
	opJournalText  = maxScale + 3
)

func (j *journal) long() bool { return len(j.buf) >= journalLong }

// add notes a point.
func (j *journal) add(s *series, p Point) {
	if len(j.buf) == 0 {
		j.buf, j.prev = append(j.buf, journalFormat), 0
	}
	at := p.At / tick
	j.buf = binary.AppendUvarint(j.buf, s.id)
	j.buf = binary.AppendVarint(j.buf, at-j.prev)
	j.prev = at
	j.last = max(j.last, p.At)
	switch {
	case p.Gap:
		j.buf = append(j.buf, opJournalGap)
	case s.meta.Type == kindEnum:
		j.buf = appendText(append(j.buf, opJournalText), p.Str)
	default:
		j.buf = appendNumber(j.buf, p.Num)
	}
}

// decodeJournal calls fn for each point of a record.
func decodeJournal(value []byte, fn func(id uint64, p Point)) error {
	d := decoder{buf: value}
	if d.byte() != journalFormat {
		return errBlock
	}
	at := int64(0)
	for len(d.buf) > 0 {
		id := d.uvarint()
		at += d.varint()
		p := Point{}
		switch op := d.byte(); {
		case op <= maxScale:
			p.Num = float64(d.varint()) / powers[op]
		case op == opJournalFloat:
			p.Num = d.float()
		case op == opJournalGap:
			p.Gap = true
		case op == opJournalText:
			p.Str = d.text()
		default:
			d.bad = true
		}
		if d.bad || at < 0 || at > maxTime/tick {
			return errBlock
		}
		p.At = at * tick
		fn(id, p)
	}
	return nil
}

// flush hands the journal to the store.
func (h *History) flush(t *mqtt.Turn) {
	h.flushAt = 0
	j := &h.journal
	if len(j.buf) > 0 {
		k := journalKey{h.epoch().number, j.last / hourMS, t.Number}
		if n := len(j.keys); n > 0 && j.keys[n-1].number >= k.number {
			k.number = j.keys[n-1].number + 1 // more than one in a turn
		}
		t.Lazy(k.key(), j.buf)
		j.keys = append(j.keys, k)
		j.buf, j.last = nil, 0
		h.noteAlive(t)
	}
	if len(h.held) > 0 {
		h.wantFlush(t)
	}
}

var aliveKey = []byte{'h', recAlive}

// noteAlive notes that the hub runs.
func (h *History) noteAlive(t *mqtt.Turn) {
	h.now = max(h.now, h.at(t))
	h.aliveAt = t.Now.Run + aliveEvery
	value := binary.BigEndian.AppendUint16([]byte{1}, h.epoch().number)
	t.Lazy(slices.Clone(aliveKey), binary.BigEndian.AppendUint64(value, uint64(h.now)))
}

func epochKey(number uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{'h', recEpoch}, number)
}

func epochValue(e epoch) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{1}, uint64(e.from)), e.zone...)
}

// load reads where the last hub was cut off. What cannot be read is left out:
// a history with a hole is better than none.
func (h *History) load() error {
	scan := func(kind byte, fn func(key, value []byte) bool) error {
		err := h.scan([]byte{'h', kind}, nil, func(key, value []byte) bool {
			if !fn(key, value) {
				h.damaged++
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		return nil
	}
	err := scan(recSeries, func(key, value []byte) bool {
		m := &meta{}
		if len(key) != 10 || json.Unmarshal(value, m) != nil || !knownKind(m.Type) || m.Entity == "" || m.Aspect == "" ||
			len(m.Unit) > maxUnit || len(h.list) >= MaxSeries || !m.Ended && h.series[name{m.Entity, m.Aspect}] != nil {
			return false
		}
		h.add(&series{id: binary.BigEndian.Uint64(key[2:]), meta: m, written: true})
		return true
	})
	if err != nil {
		return err
	}
	err = scan(recRunning, func(key, value []byte) bool {
		if len(key) != 10 {
			return false
		}
		s := h.byID[binary.BigEndian.Uint64(key[2:])]
		if s == nil {
			return false
		}
		run, err := decodeRunning(value, s.meta)
		if err != nil {
			return false
		}
		s.run, s.known, s.last = run, run.known, run.now
		s.last.At = run.until
		h.alive = max(h.alive, run.until)
		return true
	})
	if err != nil {
		return err
	}
	err = scan(recEpoch, func(key, value []byte) bool {
		if len(key) != 4 || len(value) < 9 || value[0] != 1 || len(h.epochs) >= maxEpochs {
			return false
		}
		from := binary.BigEndian.Uint64(value[1:])
		if from > maxTime {
			return false
		}
		h.epochs = append(h.epochs, epoch{binary.BigEndian.Uint16(key[2:]), int64(from), string(value[9:])})
		return true
	})
	if err != nil {
		return err
	}
	return h.replay(scan)
}

// replay makes the blocks of the present hour again.
func (h *History) replay(scan func(kind byte, fn func(key, value []byte) bool) error) error {
	present := h.epoch().number
	h.alive = 0
	for _, s := range h.list {
		if s.run.epoch > present { // its record was lost with a cut
			present = s.run.epoch
			h.epochs = append(h.epochs, epoch{number: present, from: s.run.until})
		}
	}
	for _, s := range h.list {
		if s.run.epoch == present {
			h.alive = max(h.alive, s.run.until)
		}
	}
	err := scan(recJournal, func(key, value []byte) bool {
		if len(key) != 16 {
			return false
		}
		k := journalKey{binary.BigEndian.Uint16(key[2:]), int64(binary.BigEndian.Uint32(key[4:])), binary.BigEndian.Uint64(key[8:])}
		h.journal.keys = append(h.journal.keys, k)
		if k.epoch > present {
			present = k.epoch
			h.epochs = append(h.epochs, epoch{number: present, from: k.hour * hourMS})
			h.alive = 0
		}
		return decodeJournal(value, func(id uint64, p Point) {
			s := h.byID[id]
			if k.epoch == present {
				h.alive = max(h.alive, p.At)
			}
			if s == nil || k.epoch < s.run.epoch || p.At < s.last.At && k.epoch == s.run.epoch ||
				k.epoch == s.run.epoch && (p.At/hourMS+1)*hourMS <= s.run.until ||
				s.meta.Type != kindEnum && p.Str != "" {
				return // sealed before the cut
			}
			s.take(k.epoch, p)
		}) == nil
	})
	if err != nil {
		return err
	}
	return scan(recAlive, func(_, value []byte) bool {
		if len(value) != 11 || value[0] != 1 {
			return false
		}
		at := binary.BigEndian.Uint64(value[3:])
		if at > math.MaxInt64 || int64(at) > maxTime {
			return false
		}
		if binary.BigEndian.Uint16(value[1:]) == present {
			h.alive = max(h.alive, int64(at))
		}
		return true
	})
}
