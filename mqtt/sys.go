package mqtt

import (
	"fmt"
	"math"
	"runtime/metrics"
	"strings"
	"time"
)

// What the broker tells of itself stands under the names that Mosquitto has
// given it, because dashboards and exporters read these. It is told while
// somebody who is connected has subscribed to some of it, and costs nothing
// else: the messages are made of counters that run anyway, lie in memory only,
// and count in no limit.
const sysTopics = "$SYS/"

// sys is what telling takes. The house's lock guards it.
type sys struct {
	subs    map[*subscription]struct{} // to topics of its own
	tick    *deadline                  // nil: nobody is told
	told    map[string]string
	peak    int // most clients connected at a time
	heap    uint64
	expired uint64 // sessions
	loads   [len(loadNames)]load
	loadAt  time.Duration // Run time
}

// isSys tells whether a topic filter is for what the broker tells of itself.
func isSys(filter string) bool { return filter == "$SYS" || strings.HasPrefix(filter, sysTopics) }

// A load is how often something happens a minute, on average over the last 1,
// 5 and 15 minutes, as systems tell their load.
type load struct {
	last     uint64
	averages [3]float64
}

// loadNames are what loads are told of, in the order of loadCounts.
var loadNames = [...]string{"messages/received", "messages/sent", "publish/received", "publish/sent", "publish/dropped",
	"bytes/received", "bytes/sent", "connections", "sockets"}

func (s *counters) loadCounts() [len(loadNames)]uint64 {
	return [...]uint64{s.packetsIn.Load(), s.packetsOut(), s.received.Load(), s.sent.Load(), s.dropped.Load(),
		s.bytesIn.Load(), s.bytesOut.Load(), s.connects.Load(), s.sockets.Load()}
}

var loadSpans = [...]struct {
	name string
	over time.Duration
}{{"1min", time.Minute}, {"5min", 5 * time.Minute}, {"15min", 15 * time.Minute}}

// leastLoadStep is how far apart averages are taken, at least.
const leastLoadStep = 5 * time.Second

// averageLoad takes the averages further, whenever the keeper of deadlines is
// awake. The house's lock is held.
func (b *Broker) averageLoad(now time.Duration) {
	step := now - b.sys.loadAt
	if step < leastLoadStep {
		return
	}
	b.sys.loadAt = now
	counts := b.stats.loadCounts()
	for i := range b.sys.loads {
		l := &b.sys.loads[i]
		rate := float64(counts[i]-l.last) / step.Minutes()
		l.last = counts[i]
		for j, span := range loadSpans {
			l.averages[j] += (rate - l.averages[j]) * (1 - math.Exp(-float64(step)/float64(span.over)))
		}
	}
}

// tellFrom begins to tell, if somebody is to be told and nobody was.
func (b *Broker) tellFrom(t *Turn) {
	interval := b.limits().SysInterval
	if b.sys.tick != nil || interval <= 0 {
		return
	}
	b.tell(t)
	b.sys.tick = b.at(t.Now.Run+interval, func(t *Turn) {
		b.sys.tick = nil
		if b.limits().SysInterval <= 0 || !b.toldTo() {
			b.tellNobody()
			return
		}
		b.tellFrom(t)
	})
}

// toldTo tells whether somebody who is connected wants to be told.
func (b *Broker) toldTo() bool {
	for sub := range b.sys.subs {
		if sub.sess.conn != nil {
			return true
		}
	}
	return false
}

// tellNobody forgets what was told.
func (b *Broker) tellNobody() {
	for name := range b.sys.told {
		b.retained.Delete(name)
	}
	b.sys.told = nil
}

// tell publishes what has changed, as retained messages of QoS 0.
func (b *Broker) tell(t *Turn) {
	if b.sys.told == nil {
		b.sys.told = make(map[string]string)
	}
	b.facts(t.Now.Run, func(name, value string) {
		name = "$SYS/broker/" + name
		if b.sys.told[name] == value {
			return
		}
		b.sys.told[name] = value
		m := &Message{Topic: name, Payload: []byte(value), Retain: true}
		pub := &publication{m: m, topic: name, gathered: true}
		r := b.route(name)
		if b.walking > 0 {
			b.showFirst(t, name, r)
		}
		b.each(pub, r, AtMostOnce, true, func(d *delivery, _ QoS, retain bool, subIDs []uint32) {
			b.deliver(t, d, pub, AtMostOnce, retain, subIDs)
		})
		kept := &retainedMessage{m: m, size: len(value)}
		if old, _ := b.retained.Get(name); old != nil {
			kept.live = old.live
		}
		b.retained.Set(name, kept)
	})
}

// facts names what is told, and its values.
func (b *Broker) facts(now time.Duration, fn func(name, value string)) {
	count := func(name string, n int) { fn(name, fmt.Sprint(n)) }
	total := func(name string, n uint64) { fn(name, fmt.Sprint(n)) }
	subs, shared, queued := 0, 0, 0
	for _, s := range b.sessions {
		subs += len(s.subs)
		queued += s.waiting
	}
	for _, g := range b.shares {
		shared += len(g.members)
	}
	s := &b.stats
	fn("version", "lar version "+b.version)
	fn("uptime", fmt.Sprintf("%d seconds", now/time.Second))
	away := len(b.sessions) - b.connected
	count("clients/total", len(b.sessions))
	count("clients/connected", b.connected)
	count("clients/active", b.connected)
	count("clients/disconnected", away)
	count("clients/inactive", away)
	count("clients/maximum", b.sys.peak)
	total("clients/expired", b.sys.expired)
	count("connections/socket/count", len(b.conns))
	total("messages/received", s.packetsIn.Load())
	total("messages/sent", s.packetsOut())
	total("publish/messages/received", s.received.Load())
	total("publish/messages/sent", s.sent.Load())
	total("publish/messages/dropped", s.dropped.Load())
	total("publish/bytes/received", s.payloadIn.Load())
	total("publish/bytes/sent", s.payloadOut.Load())
	total("bytes/received", s.bytesIn.Load())
	total("bytes/sent", s.bytesOut.Load())
	retained := b.retainedCount()
	count("retained messages/count", retained)
	count("messages/stored", retained+queued)
	count("store/messages/count", retained+queued)
	count("store/messages/bytes", b.retainedBytes+b.retainedLarge+b.queuedBytes)
	count("subscriptions/count", subs)
	count("shared_subscriptions/count", shared)
	for _, name := range limitNames {
		if n := b.limitHits[name].count.Load(); n > 0 {
			total("limits/"+name, n)
		}
	}
	heap := [...]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap[:])
	if v := heap[0].Value; v.Kind() == metrics.KindUint64 {
		b.sys.heap = max(b.sys.heap, v.Uint64())
		total("heap/current", v.Uint64())
		total("heap/maximum", b.sys.heap)
	}
	for i, name := range loadNames {
		for j, span := range loadSpans {
			fn("load/"+name+"/"+span.name, fmt.Sprintf("%.2f", b.sys.loads[i].averages[j]))
		}
	}
}

// retainedCount is how many retained messages there are but for the broker's
// own.
func (b *Broker) retainedCount() int { return b.retained.Len() - len(b.sys.told) }
