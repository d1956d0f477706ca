package mqtt_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
	"lar.home/mqtt/packet"
)

// A wire is a transport without a network: what the broker writes stays in it
// until the client looks.
type wire struct {
	mu     sync.Mutex // guards the rest: a commit writes from elsewhere
	out    []byte
	killed bool
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, p...)
	return len(p), nil
}

func (w *wire) Kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = true
}

func (w *wire) dead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

func (w *wire) WantWrite()     {}
func (w *wire) Remote() string { return "127.0.0.1:1" }

// A link is a client's end of a wire.
type link struct {
	b    *mqtt.Broker
	c    *mqtt.Conn
	wire *wire
	t    mqtt.Batch
}

func dial(t *testing.T, b *mqtt.Broker) *link {
	l := &link{b: b, wire: &wire{}}
	c, err := b.Open(l.wire)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	l.c = c
	return l
}

func (l *link) send(p packet.Packet) {
	if l == nil || l.wire.dead() {
		return
	}
	err := l.b.Feed(l.c, packet.Append(nil, packet.V311, p), &l.t)
	l.b.Flush(&l.t)
	if err != nil {
		l.close()
	}
}

func (l *link) close() {
	l.b.Close(l.c, &l.t)
	l.b.Flush(&l.t)
	l.wire.Kill()
}

// next takes one packet off the wire, or nil.
func (l *link) next(t *testing.T) packet.Packet {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	first, body, n, err := packet.Split(l.wire.out, 0)
	if err != nil {
		t.Fatalf("the broker sent %x: %v", l.wire.out, err)
	}
	if n == 0 {
		return nil
	}
	p, err := packet.Decode(packet.V311, first, bytes.Clone(body))
	if err != nil {
		t.Fatalf("the broker sent %x: %v", l.wire.out[:n], err)
	}
	l.wire.out = l.wire.out[n:]
	return p
}

// An outgoing is a message a publisher has sent and not seen the end of.
type outgoing struct {
	id       uint16
	qos      mqtt.QoS
	topic    string
	payload  string
	retain   bool
	released bool // PUBREC came
}

// A peer is a client that keeps the rules, and its memory of what it was told.
// It can be copied, to be asked what it finds after a power cut.
type peer struct {
	id          string
	link        *link
	everPresent bool // a CONNACK came: its session must be there
	ready       bool // it came on this connection
	subscribed  bool // a SUBACK came

	outgoing []outgoing
	nextID   uint16
	promised []string // payloads of QoS 1 and 2 that were acknowledged, in order of publication

	open      map[uint16]bool   // inbound QoS 2 identifiers
	unacked   []uint16          // QoS 1 received, PUBACK not sent yet
	seen      map[uint16]string // what stood under an identifier that is not settled
	early     map[uint16]bool   // those of seen whose turn may be lost with a cut
	delivered []string
}

func newPeer(id string) *peer {
	return &peer{id: id, open: map[uint16]bool{}, seen: map[uint16]string{}}
}

// clone returns what the client knows, having read what is on its wire, or
// not. early says that the turn of what is there may not be on disk.
func (p *peer) clone(t *testing.T, read, early bool) *peer {
	q := *p
	q.link = nil
	defer func() {
		if p.link == nil || !read {
			return
		}
		p.link.wire.mu.Lock()
		l := &link{wire: &wire{out: slices.Clone(p.link.wire.out)}}
		p.link.wire.mu.Unlock()
		known := maps.Clone(q.seen)
		for in := l.next(t); in != nil; in = l.next(t) {
			q.take(t, in, false) // its answers are lost
		}
		q.early = map[uint16]bool{}
		for id := range q.seen {
			q.early[id] = early && known[id] == ""
		}
	}()
	q.outgoing = slices.Clone(p.outgoing)
	q.promised = slices.Clone(p.promised)
	q.open = maps.Clone(p.open)
	q.unacked = slices.Clone(p.unacked)
	q.seen = maps.Clone(p.seen)
	q.delivered = slices.Clone(p.delivered)
	return &q
}

func (p *peer) connect(t *testing.T, b *mqtt.Broker) {
	p.link = dial(t, b)
	p.ready = false
	p.unacked = nil
	p.link.send(&packet.Connect{Version: packet.V311, ClientID: p.id})
}

func (p *peer) cut() {
	if p.link != nil {
		p.link.close()
		p.link = nil
	}
}

func (p *peer) publish(topic, payload string, qos mqtt.QoS, retain bool) {
	if p.link == nil || !p.ready {
		return // what is open goes first, once CONNACK is there
	}
	p.nextID++
	o := outgoing{id: p.nextID, qos: qos, topic: topic, payload: payload, retain: retain}
	if qos > mqtt.AtMostOnce {
		p.outgoing = append(p.outgoing, o)
	}
	p.link.send(o.packet(false))
}

func (o outgoing) packet(dup bool) packet.Packet {
	return &packet.Publish{Dup: dup && o.qos > 0, QoS: o.qos, Retain: o.retain, Topic: []byte(o.topic), PacketID: o.id, Payload: []byte(o.payload)}
}

// read takes up to n packets that came, and answers as a client should; with
// lazyAck it keeps its PUBACKs back.
func (p *peer) read(t *testing.T, n int, lazyAck bool) (any bool) {
	for ; n > 0 && p.link != nil; n-- {
		in := p.link.next(t)
		if in == nil {
			break
		}
		any = true
		p.take(t, in, lazyAck)
	}
	return any
}

func (p *peer) take(t *testing.T, in packet.Packet, lazyAck bool) {
	switch in := in.(type) {
	case *packet.Connack:
		if in.Reason != packet.Success {
			t.Fatalf("%s: CONNACK %v", p.id, in.Reason)
		}
		if p.everPresent && !in.SessionPresent {
			t.Fatalf("%s: the session is gone that a CONNACK had promised", p.id)
		}
		if !in.SessionPresent {
			p.open, p.seen = map[uint16]bool{}, map[uint16]string{}
		}
		p.everPresent, p.ready = true, true
		for _, o := range p.outgoing { // [MQTT-4.4.0-1]
			if o.released {
				p.link.send(&packet.Ack{Kind: packet.PUBREL, PacketID: o.id})
			} else {
				p.link.send(o.packet(true))
			}
		}
	case *packet.Suback:
		p.subscribed = true
	case *packet.Publish:
		payload := string(in.Payload)
		switch in.QoS {
		case mqtt.AtLeastOnce:
			p.sameAsBefore(t, in)
			p.delivered = append(p.delivered, payload)
			p.unacked = append(p.unacked, in.PacketID)
			if !lazyAck {
				p.ack()
			}
		case mqtt.ExactlyOnce:
			if !p.open[in.PacketID] {
				p.sameAsBefore(t, in)
				p.open[in.PacketID] = true
				p.delivered = append(p.delivered, payload)
			}
			p.link.send(&packet.Ack{Kind: packet.PUBREC, PacketID: in.PacketID})
		default:
			p.delivered = append(p.delivered, payload)
		}
	case *packet.Ack:
		i := slices.IndexFunc(p.outgoing, func(o outgoing) bool { return o.id == in.PacketID })
		switch in.Kind {
		case packet.PUBREL:
			delete(p.open, in.PacketID)
			delete(p.seen, in.PacketID)
			p.link.send(&packet.Ack{Kind: packet.PUBCOMP, PacketID: in.PacketID})
		case packet.PUBREC:
			if i >= 0 && !p.outgoing[i].released {
				p.outgoing[i].released = true
				p.promised = append(p.promised, p.outgoing[i].payload)
			}
			p.link.send(&packet.Ack{Kind: packet.PUBREL, PacketID: in.PacketID})
		case packet.PUBACK:
			if i >= 0 {
				p.promised = append(p.promised, p.outgoing[i].payload)
				p.outgoing = slices.Delete(p.outgoing, i, i+1)
			}
		case packet.PUBCOMP:
			if i >= 0 {
				p.outgoing = slices.Delete(p.outgoing, i, i+1)
			}
		}
	}
}

// sameAsBefore checks that a resend carries the identifier it had.
func (p *peer) sameAsBefore(t *testing.T, in *packet.Publish) {
	payload := string(in.Payload)
	before, ok := p.seen[in.PacketID]
	if p.early[in.PacketID] {
		ok = false // the broker may know nothing of it
		delete(p.early, in.PacketID)
	}
	if ok && before != payload {
		t.Fatalf("%s: %q came under identifier %d, which was %q", p.id, payload, in.PacketID, before)
	} else if ok && !in.Dup {
		t.Fatalf("%s: %q came again without DUP", p.id, payload)
	}
	p.seen[in.PacketID] = payload
}

// ack sends the PUBACKs that were kept back.
func (p *peer) ack() {
	if p.link == nil {
		return
	}
	for _, id := range p.unacked {
		delete(p.seen, id)
		p.link.send(&packet.Ack{Kind: packet.PUBACK, PacketID: id})
	}
	p.unacked = nil
}

// A world is a broker, two kept clients and what they were promised.
type world struct {
	t        *testing.T
	store    *mqtttest.Store
	b        *mqtt.Broker
	pub, sub *peer
	others   []*peer           // made on the way
	retained map[string]string // acknowledged state of retained topics; "" cleared
	n        int
	checks   int
	trace    []string
}

func newBroker(t *testing.T, store mqtt.Store) *mqtt.Broker {
	b, err := mqtt.New(mqtt.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// settle lets both clients read until nothing comes any more.
func settle(t *testing.T, peers ...*peer) {
	for again := true; again; {
		synctest.Wait()
		again = false
		for _, p := range peers {
			if p.read(t, 1000, false) {
				again = true
			}
			p.ack()
		}
	}
}

// check restarts on what the disk shows at this moment and lets the clients,
// with what they know at this moment, finish what they began.
func (w *world) check(why string) {
	t := w.t
	t.Helper()
	durable, _ := w.store.Last()
	b := newBroker(t, w.store.At(durable, false))
	defer stop(t, b)
	w.checks++
	read := w.checks%4 < 2 // both before and after commits
	early := why == "before the commit"
	pub, sub := w.pub.clone(t, read, early), w.sub.clone(t, read, early)
	sub.connect(t, b)
	pub.connect(t, b)
	settle(t, pub, sub)
	defer func() {
		if t.Failed() {
			t.Logf("%s, after:\n%s", why, strings.Join(w.trace, "\n"))
		}
	}()
	count := make(map[string]int)
	for _, d := range sub.delivered {
		count[d]++
	}
	for _, payload := range pub.promised {
		if !strings.Contains(payload, "sub") {
			continue
		}
		if count[payload] == 0 {
			t.Fatalf("%s: %q was acknowledged and is lost; delivered %v", why, payload, sub.delivered)
		}
	}
	for payload, n := range count {
		if strings.HasPrefix(payload, "2") && n > 1 {
			t.Fatalf("%s: %q was delivered %d times", why, payload, n)
		}
	}
	if len(pub.outgoing) > 0 {
		t.Fatalf("%s: handshakes without end: %+v", why, pub.outgoing)
	}
	// Subscription and session are alive: a probe arrives.
	var others []*peer
	for _, o := range w.others {
		if o = o.clone(t, read, early); o.everPresent {
			o.connect(t, b)
			others = append(others, o)
		}
	}
	settle(t, others...)
	pub.publish("t/probe", "1sub-probe", mqtt.AtLeastOnce, false)
	settle(t, append(others, pub, sub)...)
	for _, p := range append(others, sub) {
		if (p == sub || p.subscribed) && !slices.Contains(p.delivered, "1sub-probe") {
			t.Fatalf("%s: the subscription of %s is lost", why, p.id)
		}
		defer p.cut()
	}
	// Retained messages are what was acknowledged last.
	fresh := dial(t, b)
	fresh.send(&packet.Connect{Version: packet.V311, ClientID: "fresh", CleanStart: true})
	fresh.send(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "r/#", QoS: 0}}})
	synctest.Wait()
	found := make(map[string]string)
	for in := fresh.next(t); in != nil; in = fresh.next(t) {
		if p, ok := in.(*packet.Publish); ok {
			found[string(p.Topic)] = string(p.Payload)
		}
	}
	for topic, want := range w.retained {
		if got := found[topic]; got != want {
			t.Fatalf("%s: retained %s is %q, want %q", why, topic, got, want)
		}
	}
	fresh.close()
	pub.cut()
}

func stop(t *testing.T, b *mqtt.Broker) {
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// step does one thing at random.
func (w *world) step(r *rand.Rand) string {
	w.n++
	switch k := r.IntN(13); k {
	case 0, 1, 2, 3:
		qos := mqtt.QoS(r.IntN(3))
		payload := fmt.Sprintf("%dsub-%d", qos, w.n)
		w.pub.publish(fmt.Sprintf("t/%d", r.IntN(3)), payload, qos, false)
		return "publish " + payload
	case 4:
		topic := fmt.Sprintf("r/%d", r.IntN(2))
		payload := fmt.Sprintf("keep-%d", w.n)
		if r.IntN(3) == 0 {
			payload = ""
		}
		before := len(w.pub.outgoing)
		w.pub.publish(topic, payload, mqtt.AtLeastOnce, true)
		if len(w.pub.outgoing) > before {
			w.retained[topic] = payload // checked once acknowledged, see run
		}
		return "retain " + topic + " " + payload
	case 5, 6:
		w.sub.read(w.t, 1+r.IntN(4), true)
		return "subscriber reads, keeps its PUBACK"
	case 7:
		w.sub.read(w.t, 1+r.IntN(4), false)
		w.sub.ack()
		return "subscriber reads and acknowledges"
	case 8:
		w.pub.read(w.t, 1+r.IntN(4), false)
		return "publisher reads"
	case 9:
		if w.sub.link == nil {
			w.sub.connect(w.t, w.b)
			return "subscriber connects"
		}
		w.sub.cut()
		return "subscriber's connection breaks"
	case 10:
		if w.pub.link == nil {
			w.pub.connect(w.t, w.b)
			return "publisher connects"
		}
		w.pub.cut()
		return "publisher's connection breaks"
	case 11:
		if len(w.others) == 0 || w.others[len(w.others)-1].subscribed {
			o := newPeer(fmt.Sprintf("other%d", w.n))
			w.others = append(w.others, o)
			o.connect(w.t, w.b)
			return o.id + " connects"
		}
		o := w.others[len(w.others)-1]
		if o.everPresent && r.IntN(2) == 0 {
			o.link.send(&packet.Subscribe{PacketID: 9, Filters: []packet.Subscription{{Filter: "t/#", QoS: 1}}})
			return o.id + " subscribes"
		}
		o.read(w.t, 100, true)
		return o.id + " reads"
	default:
		w.sub.ack()
		return "subscriber acknowledges"
	}
}

// TestCutAfterEachTurn stops the store after each turn of random scenarios,
// and also between the decision of a turn and its commit, and starts again on
// what the disk shows. Nothing acknowledged is lost, no QoS 2 message comes
// twice, identifiers stay.
func TestCutAfterEachTurn(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runCuts(t, seed) })
		})
	}
}

func runCuts(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, store: mqtttest.NewStore(), pub: newPeer("pub"), sub: newPeer("sub"), retained: map[string]string{}}
	w.b = newBroker(t, w.store)
	defer func() {
		w.store.Resume()
		stop(t, w.b)
	}()
	w.sub.connect(t, w.b)
	w.sub.link.send(&packet.Subscribe{PacketID: 7, Filters: []packet.Subscription{{Filter: "t/#", QoS: 2}}})
	w.pub.connect(t, w.b)
	settle(t, w.sub, w.pub)
	for range 40 {
		before := maps.Clone(w.retained)
		w.store.Hold()
		w.trace = append(w.trace, w.step(r))
		synctest.Wait()
		// What was asked in this step is not promised yet.
		after := w.retained
		w.retained = before
		for topic := range after {
			if after[topic] != before[topic] {
				delete(w.retained, topic)
			}
		}
		w.check("before the commit")
		w.store.Resume()
		synctest.Wait()
		w.retained = after
		w.check("after the commit")
	}
	settle(t, append(w.others, w.sub, w.pub)...)
	w.check("at the end")
	for _, p := range append(w.others, w.sub, w.pub) {
		p.cut()
	}
}
