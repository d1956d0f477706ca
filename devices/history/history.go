// Package history keeps what the house was like: numbers, on and off, and one
// of several words, as they change.
//
// A [History] is a devices.Watcher that takes changes in their turn, and a
// mqtt.Consumer so that it is woken; it decides without I/O. What it keeps
// goes to the store in three forms. A journal of the last points is written
// lazily, so that a power cut costs at most [Lag]. Once an hour the points of
// each series become one block, and the hour and the home's day are rolled up,
// in the same turn, so that nothing is counted twice whenever the power goes.
// Readers ([History.Chart], [History.Points] and so on) are outside the turn.
//
// A gap stays a gap: while a device cannot be reached, says nothing that is
// known, or the hub is off, a series has no value.
package history

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// Bounds of what is kept, whatever devices do.
const (
	// MaxSeries is how many series there are at most, and MaxDeviceSeries how
	// many of one device. What goes beyond has no history.
	MaxSeries       = 20_000
	MaxDeviceSeries = 256
	// maxPoints is how many points a series keeps of an hour. One that has
	// more is thinned: its shape stays, its lowest and highest values too.
	maxPoints = 1200
	// maxDevicePoints and maxHousePoints are how many points one device and
	// the whole house have in an hour; what goes beyond is kept once a minute
	// for each series.
	maxDevicePoints = 6000
	maxHousePoints  = 200_000
	// maxEarly is how many points wait for a clock that can be trusted, and
	// maxEarlyEach how many of one series: then the last one is replaced.
	maxEarly     = 20_000
	maxEarlyEach = 100
)

const (
	// flushEvery is how long points are gathered before the journal is
	// written; the store may take 5 s more.
	flushEvery = 25 * time.Second
	// Lag is what a power cut can cost.
	Lag = 30 * time.Second
	// aliveEvery is how often it is noted that the hub runs when nothing
	// else is written: so exactly is the beginning of a gap known after a cut.
	aliveEvery = 5 * time.Minute
	// stepMin is from when on a step of the clock is one; less is slewed.
	stepMin = time.Minute
	// refineAfter is when a change below the threshold is kept all the same.
	refineAfter = 10 * time.Minute
	// slowPace is how often a series is kept that has no share left.
	slowPace = time.Minute
	// slicePause parts the slices of longer work.
	slicePause = 5 * time.Millisecond
	// lookAfter is when entities are looked through after some came or went.
	lookAfter = 5 * time.Second
)

// Options is what a History needs.
type Options struct {
	// Scan reads records, as mqtt.Store does; nil if nothing is kept.
	Scan func(prefix, from []byte, fn func(key, value []byte) bool) error
	// House returns the devices as they are now.
	House func() *devices.House
	// Low tells that little space is left on the disk: then nothing is kept.
	Low func() bool
	// Location is where the home's days begin; nil is time.Local.
	Location *time.Location
	// Raw is how long single points are kept, and Budget how many bytes there
	// may be in all; [History.Prune] keeps to them.
	Raw    time.Duration
	Budget int64
	Log    *slog.Logger
}

// DefaultRaw and DefaultBudget are used where Options say nothing.
const (
	DefaultRaw    = 10 * 24 * time.Hour
	DefaultBudget = 256 << 20
)

// A History keeps what was. All but its readers is called under the house's
// lock.
type History struct {
	scan     func(prefix, from []byte, fn func(key, value []byte) bool) error
	poked    chan struct{} // of capacity 1: there is something to sweep
	house    func() *devices.House
	low      func() bool
	location *time.Location
	raw      time.Duration
	budget   int64
	log      *slog.Logger

	// mu guards what readers see besides the store. The house's lock alone
	// changes it, so deciders take it for writing only.
	mu     sync.RWMutex
	series map[name]*series
	byID   map[uint64]*series
	epochs []epoch // when each began, in their order

	list     []*series // all of them, to be gone through in slices
	calendar calendar
	rates    map[string]*rate // of devices, by ID
	rate     rate             // of the house
	held     []*series        // with a point that waits for its share
	early    int              // points that wait for the clock
	journal  journal

	sealing []*series // to be gone through now
	sealTo  int64     // the hour up to which
	sealed  int64     // the hour up to which that was done
	dayPass bool      // all are gone through, because a day has ended
	stale   bool      // an epoch has ended: all is to be sealed

	started bool      // the clock was trusted once, and gaps are set
	base    time.Time // wall time when Run was 0
	now     int64     // the last instant that was kept; never goes back within an epoch
	alive   int64     // up to when the last hub ran; 0: there was none
	paused  bool      // for want of space
	aliveAt time.Duration
	flushAt time.Duration // 0: nothing waits
	lookAt  time.Duration // 0: no look is due
	looking int           // place in a look; -1: none is under way
	asked   time.Duration
	taken   int // series made in turn number takenIn
	takenIn uint64
	damaged int // records that could not be read
}

// A name finds a series.
type name struct{ entity, aspect string }

// An epoch is a time in which the clock was not set back, and the home did not
// move to another time zone.
type epoch struct {
	number uint16
	from   int64
	zone   string // in which its days are
}

// A rate counts the points of an hour.
type rate struct {
	hour   int64
	n      int
	series int
}

func (r *rate) take(hour int64, most int) bool {
	if r.hour != hour {
		r.hour, r.n = hour, 0
	}
	r.n++
	return r.n <= most
}

// A series is an aspect of an entity.
type series struct {
	id      uint64
	meta    *meta // what it is of now; never changed, only replaced
	rate    *rate // of its device
	written bool  // its record is on disk for certain

	known  bool  // it has a value now
	last   Point // what was kept last
	loose  Point // came after it and was not kept
	held   bool  // but is to be, when its time has come
	early  []earlyPoint
	open   *block   // of the present hour; nil: nothing yet
	full   []*block // that wait to be sealed
	stored []*block // that are sealed and not yet on disk
	run    running
}

// An earlyPoint waits for the clock.
type earlyPoint struct {
	run time.Duration
	p   Point
}

// Records have keys that begin with 'h' and what they are. Numbers in them are
// big-endian, so that they come in order of time.
const (
	recSeries  = 's' // series → meta, JSON
	recRunning = 'c' // series → running, with the block or day that changed it
	recBlock   = 'b' // series, hour, epoch → block
	recHours   = 'r' // series, UTC day, epoch → roll-ups of its hours
	recDay     = 'd' // series, day, epoch → roll-up of the home's day
	recJournal = 'j' // epoch, hour, number → the last points (lazily)
	recEpoch   = 'e' // epoch → when it began
	recAlive   = 'a' // → epoch and up to when the hub ran (lazily)
)

func seriesKey(kind byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'h', kind}, id)
}

func timeKey(kind byte, id uint64, number int64, epoch uint16) []byte {
	key := binary.BigEndian.AppendUint32(seriesKey(kind, id), uint32(number))
	return binary.BigEndian.AppendUint16(key, epoch)
}

// parseTimeKey is the other way; ok is false if it is no such key.
func parseTimeKey(key []byte) (id uint64, number int64, epoch uint16, ok bool) {
	if len(key) != 2+8+4+2 {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint64(key[2:]), int64(binary.BigEndian.Uint32(key[10:])), binary.BigEndian.Uint16(key[14:]), true
}

// New returns a history that goes on where the last one was cut off.
func New(o Options) (*History, error) {
	h := &History{
		scan: o.Scan, house: o.House, low: o.Low, location: o.Location,
		raw: o.Raw, budget: o.Budget, log: o.Log,
		series: map[name]*series{}, byID: map[uint64]*series{},
		rates: map[string]*rate{}, looking: -1, asked: -1,
		poked: make(chan struct{}, 1),
	}
	if h.scan == nil {
		h.scan = func(_, _ []byte, _ func(_, _ []byte) bool) error { return nil }
	}
	if h.house == nil {
		h.house = func() *devices.House { return &devices.House{} }
	}
	if h.low == nil {
		h.low = func() bool { return false }
	}
	if h.location == nil {
		h.location = time.Local
	}
	if h.raw <= 0 {
		h.raw = DefaultRaw
	}
	if h.budget <= 0 {
		h.budget = DefaultBudget
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.calendar.location = h.location
	if err := h.load(); err != nil {
		return nil, err
	}
	return h, nil
}

// Wants is that of mqtt.Consumer: no message as such.
func (h *History) Wants(string) bool { return false }

// Prepare is that of mqtt.Consumer.
func (h *History) Prepare(string, []byte) any { return nil }

// Accept is that of mqtt.Consumer.
func (h *History) Accept(*mqtt.Turn, *mqtt.Message, any) {}

// Wake does what is due.
func (h *History) Wake(t *mqtt.Turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = -2 // nothing stands any more
	h.clock(t)
	h.pause(t)
	if h.flushAt > 0 && t.Now.Run >= h.flushAt {
		h.release(t)
		h.flush(t)
	}
	if h.started && t.Now.Run >= h.aliveAt {
		h.noteAlive(t)
	}
	h.seal(t)
	h.look(t)
	h.ask(t)
}

// Flush hands to the store what waits: at a clean stop nothing is lost.
func (h *History) Flush(t *mqtt.Turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock(t)
	if !h.started {
		return
	}
	h.now = max(h.now, h.at(t))
	for _, s := range h.held {
		if s.held {
			s.held = false
			h.put(t, s, s.loose)
		}
	}
	h.held = nil
	h.flush(t)
	h.noteAlive(t)
}

// ask asks to be woken for what is due next.
func (h *History) ask(t *mqtt.Turn) {
	next := time.Duration(-1)
	sooner := func(at time.Duration) {
		if next < 0 || at < next {
			next = at
		}
	}
	if h.flushAt > 0 {
		sooner(h.flushAt)
	}
	if h.started {
		sooner(h.aliveAt)
		hourEnd := time.Duration((h.at(t)/hourMS+1)*hourMS-h.base.UnixMilli()) * time.Millisecond
		sooner(hourEnd + time.Second)
	}
	if h.lookAt > 0 && h.started && !h.paused {
		sooner(h.lookAt)
	}
	if len(h.sealing) > 0 || h.looking >= 0 && !h.paused {
		next = t.Now.Run + slicePause
	}
	if next != h.asked {
		h.asked = next
		t.WakeAt(h, next)
	}
}
