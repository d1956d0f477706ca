package mqtt

import (
	"errors"
	"fmt"
	"time"
)

// A consumer that panics may have left what it has in memory half-changed, and
// what it had written in that call is dropped. None of them decides on anything
// from then on until all are made anew from the store: before the next turn,
// under the house's lock, because that is rare and quick, and nothing comes
// between. A message at which one panicked is not brought to them again.
const (
	// settleWithin is how long the house waits for the store to have all that
	// was given to it. If it has not, a worker waits, for settleAgain at a time,
	// and the broker goes on without its consumers.
	settleWithin = time.Second
	settleAgain  = 2 * time.Second
	// rebuildAgain is how long after a rebuild that failed it is tried again.
	rebuildAgain = time.Second
	// maxRebuilds within rebuildsWithin are too many: then the consumers rest
	// until the first of them is so long ago.
	maxRebuilds    = 20
	rebuildsWithin = 10 * time.Minute
	// maxPanicsAt is at how many messages of a topic consumers may panic before
	// no more of it are brought to them.
	maxPanicsAt = 3
	// wakesSoon is how soon what consumers ask for as they are rebuilt counts
	// as part of that; maxWakes bounds how often.
	wakesSoon = 2 * time.Millisecond
	maxWakes  = 2000
)

// broken is what is known of consumers that panicked. The house's lock guards
// it.
type broken struct {
	is      bool            // they are to be rebuilt, and not asked until then
	mending bool            // they are being rebuilt
	waits   bool            // a worker waits for the store
	resting bool            // it came too often
	after   time.Duration   // Run time before which they are not rebuilt
	times   []time.Duration // of the last rebuilds
	at      map[string]int  // panics by topic
}

var errRebuild = errors.New("after an error inside, what decides on this has yet to begin anew")

// whole says why consumers decide on nothing, or nil.
func (b *broken) whole() error {
	if b.is {
		return errRebuild
	}
	return nil
}

// refuses says why a message that is to be decided on for certain cannot be
// taken, or nil. While the consumers rest for long all others are served without
// them.
func (b *broken) refuses() error {
	if b.resting {
		return nil
	}
	return b.whole()
}

// off tells whether a message is not brought to consumers.
func (b *broken) off(m *Message) bool {
	return b.is || len(b.at) > 0 && b.at[m.Topic] >= maxPanicsAt
}

// maxBrokenTopics bounds the topics of which panics are counted.
const maxBrokenTopics = 1000

// consumerBroke reports a panic of a consumer and has all of them rebuilt.
func (b *Broker) consumerBroke(r any, m *Message) {
	b.consumerPanicked(r, m)
	if b.rebuild == nil {
		return
	}
	b.toRebuild()
	if m == nil {
		return
	}
	if b.broken.at == nil || len(b.broken.at) >= maxBrokenTopics {
		b.broken.at = map[string]int{}
	}
	if b.broken.at[m.Topic]++; b.broken.at[m.Topic] == maxPanicsAt {
		b.log.Error("messages of a topic are not brought to consumers until the next start", "topic", m.Topic)
	}
	if kept, _ := b.retained.Get(m.Topic); kept != nil && (m.Retained || kept.m == m) {
		kept.aside = true
	}
}

// toRebuild has the consumers rebuilt before the next turn, which comes at once.
func (b *Broker) toRebuild() {
	if b.rebuild != nil && !b.broken.is {
		b.broken.is = true
		b.exactly(0, func(*Turn) {})
	}
}

// dropPanicked drops a turn that panicked. What consumers took in in it is in
// their memory, and will not be on disk.
func (b *Broker) dropPanicked() {
	if b.turn.consumed {
		b.toRebuild()
	}
	b.turn.drop()
}

// mend rebuilds the consumers, if it can be done now. The house's lock is held,
// and no turn is under way.
func (b *Broker) mend(batch *Batch) {
	x := &b.broken
	begun := b.clock().Run
	if x.mending || x.waits || begun < x.after {
		return
	}
	x.mending = true
	defer func() { x.mending = false }()
	for x.is {
		now := b.clock().Run
		for len(x.times) > 0 && now-x.times[0] >= rebuildsWithin {
			x.times = x.times[1:]
		}
		if x.resting = len(x.times) >= maxRebuilds; x.resting {
			b.mendAt(x.times[0] + rebuildsWithin)
			b.rest(fmt.Sprintf("something went wrong in them %d times within %v; they begin anew in %v", maxRebuilds, rebuildsWithin, (x.after - now).Round(time.Second)))
			return
		}
		if b.settled != nil && !b.settled(settleWithin) {
			b.rest("the disk does not answer, from which they are to begin anew")
			b.mendOnceSettled()
			return
		}
		x.times = append(x.times, now)
		x.is = false // what follows is decided by them
		if err := b.readAgain(batch); err != nil {
			b.rest("they could not begin anew: " + err.Error())
			x.is = true
			b.mendAt(b.clock().Run + rebuildAgain)
			return
		}
	}
	b.resting.Store(nil)
	b.log.Warn("consumers were rebuilt", "took", b.clock().Run-begun, "undecided", b.stats.undecided.Load())
}

// rest says that the consumers are not asked for a while.
func (b *Broker) rest(why string) {
	b.resting.Store(&why)
	b.log.Error("consumers rest", "err", why)
}

// Resting says why consumers are not asked for anything now, or nothing.
func (b *Broker) Resting() string {
	if why := b.resting.Load(); why != nil {
		return *why
	}
	return ""
}

func (b *Broker) mendAt(at time.Duration) {
	b.broken.after = at
	b.exactly(at, func(*Turn) {})
}

// mendOnceSettled has a worker wait for the store to have all, or, as others go on
// meanwhile, to have had some of it, so that it answers again.
func (b *Broker) mendOnceSettled() {
	b.broken.waits = true
	b.jobs.add(func() {
		before := b.durable.Load()
		settled := b.settled(settleAgain) || b.durable.Load() > before
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return
		}
		if !settled {
			b.mendOnceSettled()
			return
		}
		b.broken.waits = false
		b.exactly(0, func(*Turn) {})
	})
}

// readAgain is what a start does: the consumers are made from the store, place
// their deadlines, and are shown the retained messages that they want. What
// they ask to do at once follows.
func (b *Broker) readAgain(batch *Batch) error {
	t := b.begin(batch)
	err := b.try(t, b.rebuild)
	if err != nil {
		t.drop()
		b.finish(t)
		return err
	}
	b.generation.Add(1)
	b.finish(t)
	b.retained.Visit("", func(_ string, kept *retainedMessage) bool {
		kept.shown = 0
		return true
	})
	t = b.begin(batch)
	for _, c := range b.consumers {
		b.wake(t, c)
	}
	b.finish(t)

	underWay := b.showing
	b.showing = true // what is asked for meanwhile is done here
	large := false
	for again := true; again && !b.broken.is; again = b.showAgain {
		b.showAgain = false
		large = b.showHere(batch) || large
		b.wakeSoon(batch)
	}
	b.showing, b.showAgain = underWay, underWay
	if large && !underWay {
		b.showing = true
		b.jobs.add(func() { b.showOn(&showing{}) })
	}
	return nil
}

// showHere brings the retained messages to the consumers at once, but for the
// large ones that lie on disk. It tells whether there are any.
func (b *Broker) showHere(batch *Batch) (large bool) {
	recalls := b.recalls
	b.recalls = nil
	for after, done := "", false; !done && !b.broken.is; {
		t := b.begin(batch)
		after, done = b.retained.Match("#", after, walkSlice, func(name string, kept *retainedMessage) bool {
			b.recall(recalls, kept, name)
			if kept.stored {
				large = large || b.wanted(name)&^kept.shown != 0
			} else {
				b.showConsumers(t, kept, kept.m)
			}
			return !t.heavy()
		})
		b.finish(t)
	}
	return large
}

// wakeSoon does what the consumers have asked to do as good as at once.
func (b *Broker) wakeSoon(batch *Batch) {
	for range maxWakes {
		due := false
		for i, c := range b.consumers {
			d := b.wakes[i]
			if d == nil || d.at > b.clock().Run+wakesSoon || b.broken.is {
				continue
			}
			due = true
			b.cancel(d)
			b.wakes[i] = nil
			t := b.begin(batch)
			b.wake(t, c)
			b.finish(t)
		}
		if !due {
			return
		}
	}
}
