package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt/packet"
)

// A Shape is who hears whom.
type Shape string

// The shapes of a house's traffic.
const (
	Pipe   Shape = "pipe"    // each publisher has a subscriber of its own
	FanOut Shape = "fan-out" // all subscribers hear all publishers
	FanIn  Shape = "fan-in"  // one wildcard subscriber hears all publishers
)

// A Flow measures forwarding in a closed loop: each publisher keeps Window
// messages on their way, where a message is on its way until it was both
// acknowledged and delivered to everybody. So no broker gains by
// acknowledging early, and none is driven into dropping.
type Flow struct {
	Shape       Shape
	Publishers  int
	Subscribers int // of a fan-out; the others follow from the shape
	QoS         packet.QoS
	Size        int // bytes of a payload, at least 20
	Window      int
	Warm, For   time.Duration
}

func (f Flow) name() string {
	_, subs := f.subscribers()
	if f.Window == 1 && f.Publishers == 1 {
		return fmt.Sprintf("round trip, QoS %d", f.QoS)
	}
	return fmt.Sprintf("%s %d:%d, QoS %d", f.Shape, f.Publishers, subs, f.QoS)
}

// subscribers returns how many hear one publisher, and how many there are.
func (f Flow) subscribers() (copies, all int) {
	switch f.Shape {
	case FanOut:
		return f.Subscribers, f.Subscribers
	case FanIn:
		return 1, 1
	}
	return 1, f.Publishers
}

// stampSize is what each payload begins with: publisher, number, time sent.
const stampSize = 4 + 8 + 8

// begin is what times are counted from.
var begin = time.Now()

// A publisher sends whenever a delivery or an acknowledgement makes room. The
// goroutine that brought it does the sending, so no message wakes another one.
type publisher struct {
	c       *conn
	index   int
	topic   []byte
	qos     packet.QoS
	copies  int
	window  int
	payload []byte
	going   *atomic.Bool

	// guarded by c.mu
	sent, acked, delivered, given int
	err                           error
}

// settle counts what has arrived and sends what there is room for now.
func (p *publisher) settle(acked, delivered int) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.acked += acked
	p.delivered += delivered
	p.fill()
}

// fill sends until the window is full. The caller holds c.mu.
func (p *publisher) fill() {
	if p.err != nil {
		return
	}
	if p.going.Load() {
		done := (p.delivered + p.given) / p.copies
		if p.qos > 0 {
			done = min(done, p.acked)
		}
		for room := p.window - (p.sent - done); room > 0; room-- {
			binary.BigEndian.PutUint32(p.payload, uint32(p.index))
			binary.BigEndian.PutUint64(p.payload[4:], uint64(p.sent))
			binary.BigEndian.PutUint64(p.payload[12:], uint64(time.Since(begin)))
			p.c.out = packet.AppendPublish(p.c.out, p.c.v, &packet.Publish{
				QoS: p.qos, Topic: p.topic, PacketID: uint16(p.sent%65535) + 1, Payload: p.payload,
			})
			p.sent++
		}
	}
	if err := p.c.flush(); err != nil {
		p.err = err
	}
}

// fail keeps the first error.
func (p *publisher) fail(err error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

var errNotTaken = errors.New("the broker does not take a message")

// hear reads acknowledgements until the connection ends.
func (p *publisher) hear() {
	acked := 0
	for {
		if !p.c.whole() {
			p.settle(acked, 0)
			acked = 0
		}
		first, body, err := p.c.next()
		if err != nil {
			p.fail(err)
			return
		}
		switch packet.Type(first >> 4) {
		case packet.PUBACK, packet.PUBCOMP:
			acked++
		case packet.PUBREC:
			p.c.mu.Lock()
			p.c.out = packet.AppendAck(p.c.out, p.c.v, packet.PUBREL, binary.BigEndian.Uint16(body), packet.Success)
			p.c.mu.Unlock()
		case packet.DISCONNECT:
			p.fail(errors.New("the broker disconnects the publisher"))
			return
		}
		if refused(body) && packet.Type(first>>4) != packet.PUBLISH {
			p.fail(errNotTaken)
			return
		}
	}
}

// A subscriber acknowledges, counts and measures.
type subscriber struct {
	c         *conn
	from      []*publisher
	measuring *atomic.Bool
	next      []int // number of the next message of each publisher
	batch     []int // deliveries of each publisher that are not settled yet
	touched   []int
	took      hist
	repeated  int
	skipped   int
	err       error
	done      chan struct{}
}

// settle answers the broker and lets publishers go on.
func (s *subscriber) settle() error {
	s.c.mu.Lock()
	err := s.c.flush()
	s.c.mu.Unlock()
	for _, i := range s.touched {
		s.from[i].settle(0, s.batch[i])
		s.batch[i] = 0
	}
	s.touched = s.touched[:0]
	return err
}

// hear reads messages until the connection ends.
func (s *subscriber) hear() {
	defer close(s.done)
	var p packet.Publish
	for {
		if !s.c.whole() {
			if s.err = s.settle(); s.err != nil {
				return
			}
		}
		first, body, err := s.c.next()
		if err != nil {
			s.err = err
			return
		}
		switch packet.Type(first >> 4) {
		case packet.PUBLISH:
			if s.err = packet.DecodeDelivery(s.c.v, first, body, &p); s.err != nil {
				return
			}
			s.answer(&p)
			if len(p.Payload) >= stampSize {
				s.take(p.Payload)
			}
		case packet.PUBREL:
			s.c.mu.Lock()
			s.c.out = packet.AppendAck(s.c.out, s.c.v, packet.PUBCOMP, binary.BigEndian.Uint16(body), packet.Success)
			s.c.mu.Unlock()
		case packet.DISCONNECT:
			s.err = errors.New("the broker disconnects the subscriber")
			return
		}
	}
}

func (s *subscriber) answer(p *packet.Publish) { acknowledge(s.c, p) }

// acknowledge gathers the answer to a delivery.
func acknowledge(c *conn, p *packet.Publish) {
	kind := packet.PUBACK
	switch p.QoS {
	case packet.AtMostOnce:
		return
	case packet.ExactlyOnce:
		kind = packet.PUBREC
	}
	c.mu.Lock()
	c.out = packet.AppendAck(c.out, c.v, kind, p.PacketID, packet.Success)
	c.mu.Unlock()
}

// take counts one delivery.
func (s *subscriber) take(payload []byte) {
	i := int(binary.BigEndian.Uint32(payload))
	if i >= len(s.from) {
		return // of an earlier run
	}
	number := int(binary.BigEndian.Uint64(payload[4:]))
	if number < s.next[i] {
		s.repeated++
		return
	}
	s.skipped += number - s.next[i]
	s.next[i] = number + 1
	if s.measuring.Load() {
		s.took.add(time.Since(begin) - time.Duration(binary.BigEndian.Uint64(payload[12:])))
	}
	if s.batch[i] == 0 {
		s.touched = append(s.touched, i)
	}
	s.batch[i]++
}

// Run measures t.
func (f Flow) Run(ctx context.Context, t Target) (Row, error) {
	row := Row{Name: f.name()}
	copies, all := f.subscribers()
	var going, measuring atomic.Bool
	topicOf := func(i int) string {
		if f.Shape == FanOut {
			return prefix + "/house/state"
		}
		return fmt.Sprintf("%s/house/%d/state", prefix, i)
	}
	pubs := make([]*publisher, f.Publishers)
	for i := range pubs {
		pubs[i] = &publisher{index: i, topic: []byte(topicOf(i)), qos: f.QoS, copies: copies,
			payload: make([]byte, max(f.Size, stampSize)), going: &going}
	}
	var conns []*conn
	defer func() {
		for _, c := range conns {
			c.nc.Close()
		}
	}()
	subs := make([]*subscriber, all)
	for i := range subs {
		c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: fmt.Sprintf("%s-s%d", prefix, i)}, readRoom)
		if err != nil {
			return row, err
		}
		conns = append(conns, c)
		filter := topicOf(i)
		if f.Shape == FanIn {
			filter = prefix + "/house/#"
		}
		if err := c.subscribe(filter, f.QoS); err != nil {
			return row, err
		}
		subs[i] = &subscriber{c: c, from: pubs, measuring: &measuring, next: make([]int, len(pubs)),
			batch: make([]int, len(pubs)), done: make(chan struct{})}
	}
	for i, p := range pubs {
		c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: fmt.Sprintf("%s-p%d", prefix, i)}, readRoom)
		if err != nil {
			return row, err
		}
		conns = append(conns, c)
		p.c, p.window = c, f.Window
		if f.QoS > 0 {
			p.window = min(p.window, c.receiveMaximum)
		}
	}
	var hearing sync.WaitGroup
	for _, s := range subs {
		hearing.Go(s.hear)
	}
	for _, p := range pubs {
		hearing.Go(p.hear)
	}

	going.Store(true)
	for _, p := range pubs {
		p.settle(0, 0)
	}
	err := watch(ctx, pubs, f.Warm)
	measuring.Store(true)
	before, cpu, at := delivered(pubs), CPU(t.PID), time.Now()
	if err == nil {
		err = watch(ctx, pubs, f.For)
	}
	row.Messages = delivered(pubs) - before
	row.CPU = cost(CPU(t.PID)-cpu, row.Messages)
	row.PerSecond = float64(row.Messages) / time.Since(at).Seconds()
	measuring.Store(false)
	going.Store(false)
	if err == nil {
		err = drain(ctx, pubs)
	}
	for _, p := range pubs {
		p.c.mu.Lock()
		row.Lost += p.sent*p.copies - p.delivered
		p.c.mu.Unlock()
	}
	for _, c := range conns {
		c.nc.Close()
	}
	hearing.Wait()
	var took hist
	for _, s := range subs {
		took.merge(&s.took)
		row.Repeated += s.repeated
		row.Disorder += s.skipped
	}
	row.P50, row.P99 = micros(took.at(0.5)), micros(took.at(0.99))
	return row, err
}

func delivered(pubs []*publisher) (n int) {
	for _, p := range pubs {
		p.c.mu.Lock()
		n += p.delivered
		p.c.mu.Unlock()
	}
	return n
}

// lookEvery is how often a run is looked at, and stuckAfter after how many
// looks without any arrival what is on its way is given up as lost.
const (
	lookEvery  = 100 * time.Millisecond
	stuckAfter = 20
)

// watch lets the publishers go on for d. Where nothing arrives any more, what
// is on its way is taken for lost, so that one drop does not end the run.
func watch(ctx context.Context, pubs []*publisher, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	seen, still := make([]int, len(pubs)), make([]int, len(pubs))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return failed(pubs)
		case <-look.C:
		}
		if err := failed(pubs); err != nil {
			return err
		}
		for i, p := range pubs {
			p.c.mu.Lock()
			still[i]++
			if now := p.delivered + p.acked; now != seen[i] {
				seen[i], still[i] = now, 0
			}
			if still[i] >= stuckAfter {
				still[i] = 0
				p.given = p.sent*p.copies - p.delivered
				if p.qos > 0 && p.acked < p.sent && p.err == nil {
					p.err = errors.New("the broker does not acknowledge")
				}
				p.fill()
			}
			p.c.mu.Unlock()
		}
	}
}

// drain waits for what is on its way.
func drain(ctx context.Context, pubs []*publisher) error {
	look := time.NewTicker(lookEvery / 10)
	defer look.Stop()
	have, still := -1, 0
	for still < stuckAfter*10 {
		want := 0
		for _, p := range pubs {
			p.c.mu.Lock()
			want += p.sent*p.copies - p.given
			p.c.mu.Unlock()
		}
		now := delivered(pubs)
		if now >= want {
			return failed(pubs)
		}
		if still++; now != have {
			have, still = now, 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return failed(pubs)
}

func failed(pubs []*publisher) error {
	for _, p := range pubs {
		p.c.mu.Lock()
		err := p.err
		p.c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
