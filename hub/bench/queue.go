package bench

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt/packet"
)

// A Queue measures what a broker keeps for clients that are away: messages
// are published to kept sessions without a connection, and each is on its way
// until it is acknowledged; then the clients come back and take them.
type Queue struct {
	Sessions   int
	Each       int // messages for each session
	Publishers int
	Window     int // of each publisher
	Size       int
	QoS        packet.QoS // 1 or 2
	// Silence is after what time without any message a backlog is taken for
	// ended, and what has not come for lost [30 s]. A broker may be late, and
	// late is not lost.
	Silence time.Duration
}

func (q Queue) session(i int) packet.Connect {
	return packet.Connect{ClientID: fmt.Sprintf("%s-q%d", prefix, i), SessionExpiry: 3600}
}

func (q Queue) topic(i int) string { return fmt.Sprintf("%s/queue/%d/state", prefix, i) }

// forget ends the sessions.
func (q Queue) forget(ctx context.Context, t Target) error {
	return each(q.Sessions, 8, func(i int) error {
		ask := q.session(i)
		ask.CleanStart, ask.SessionExpiry = true, 0
		c, err := dial(ctx, t, ask, littleRoom)
		if err == nil {
			c.close()
		}
		return err
	})
}

// park makes the sessions afresh and leaves them without a connection.
func (q Queue) park(ctx context.Context, t Target) error {
	if err := q.forget(ctx, t); err != nil {
		return err
	}
	return each(q.Sessions, 8, func(i int) error {
		c, err := dial(ctx, t, q.session(i), littleRoom)
		if err != nil {
			return err
		}
		defer c.close()
		return c.subscribe(q.topic(i), q.QoS)
	})
}

// A teller publishes to sessions: number k of it goes to the session that is
// due, as that session's message k / sessions. Every session has one teller.
type teller struct {
	sessions []int
	total    int
	sent     int
	acked    []bool // for each message
	done     int
	took     hist
	at       []time.Duration
}

// idOf is the packet identifier of message k: fewer than ids are on their way.
const ids = 60_000

func idOf(k int) uint16 { return uint16(k%ids) + 1 }

// tell publishes until all is acknowledged or the connection ends. The
// acknowledgements set the pace, in one goroutine.
func (q Queue) tell(c *conn, tl *teller, acked *atomic.Int64) error {
	window := min(q.Window, c.receiveMaximum, ids)
	body := make([]byte, max(q.Size, stampSize))
	oldest := 0 // no message before it is on its way
	for tl.done < tl.total {
		if !c.whole() {
			for tl.sent < tl.total && tl.sent-tl.done < window {
				k := tl.sent
				session := tl.sessions[k%len(tl.sessions)]
				binary.BigEndian.PutUint32(body, uint32(session))
				binary.BigEndian.PutUint64(body[4:], uint64(k/len(tl.sessions)))
				tl.at[k] = time.Since(begin)
				c.out = packet.AppendPublish(c.out, c.v, &packet.Publish{
					QoS: q.QoS, Topic: []byte(q.topic(session)), PacketID: idOf(k), Payload: body})
				tl.sent++
			}
			if err := c.flush(); err != nil {
				return err
			}
		}
		first, answer, err := c.next()
		if err != nil {
			return err
		}
		if len(answer) < 2 {
			continue
		}
		if refused(answer) {
			return errNotTaken
		}
		id := binary.BigEndian.Uint16(answer)
		if packet.Type(first>>4) == packet.PUBREC {
			c.out = packet.AppendAck(c.out, c.v, packet.PUBREL, id, packet.Success)
			continue
		}
		for k := oldest; k < tl.sent; k++ {
			if idOf(k) == id && !tl.acked[k] {
				tl.acked[k] = true
				tl.took.add(time.Since(begin) - tl.at[k])
				tl.done++
				acked.Add(1)
				break
			}
		}
		for oldest < tl.sent && tl.acked[oldest] {
			oldest++
		}
	}
	return nil
}

// tellers deals the sessions out to the publishers.
func (q Queue) tellers() []*teller {
	all := make([]*teller, min(q.Publishers, q.Sessions))
	for i := range all {
		all[i] = &teller{}
	}
	for i := range q.Sessions {
		tl := all[i%len(all)]
		tl.sessions = append(tl.sessions, i)
	}
	for _, tl := range all {
		tl.total = len(tl.sessions) * q.Each
		tl.acked, tl.at = make([]bool, tl.total), make([]time.Duration, tl.total)
	}
	return all
}

// publish lets all tellers tell and returns how long it took.
func (q Queue) publish(ctx context.Context, t Target, all []*teller, acked *atomic.Int64) (time.Duration, error) {
	conns := make([]*conn, len(all))
	for i := range all {
		c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: fmt.Sprintf("%s-t%d", prefix, i)}, readRoom)
		if err != nil {
			return 0, err
		}
		defer c.nc.Close()
		conns[i] = c
	}
	at := time.Now()
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			c.nc.Close()
		}
	})
	defer stop()
	err := each(len(all), len(all), func(i int) error {
		conns[i].nc.SetDeadline(at.Add(3 * patience))
		return q.tell(conns[i], all[i], acked)
	})
	return time.Since(at), err
}

// A taken is what one session was sent when its client came back.
type taken struct {
	got      []int // how often each message came
	highest  int
	repeated int
	disorder int
}

// take connects one session and reads until it has had want messages that it
// did not have, or nothing comes any more.
func (q Queue) take(ctx context.Context, t Target, i, want int, got *atomic.Int64) (*taken, error) {
	tk := &taken{got: make([]int, q.Each), highest: -1}
	c, err := dial(ctx, t, q.session(i), readRoom)
	if err != nil {
		return tk, err
	}
	defer c.close()
	if !c.present {
		return tk, nil // the session is lost with all that it held
	}
	var p packet.Publish
	for n := 0; n < want; {
		if !c.whole() {
			if err := c.flush(); err != nil {
				return tk, err
			}
			c.nc.SetReadDeadline(time.Now().Add(cmp.Or(q.Silence, silence)))
		}
		first, body, err := c.next()
		if err != nil {
			return tk, nil // what did not come is counted as lost
		}
		switch packet.Type(first >> 4) {
		case packet.PUBREL:
			c.out = packet.AppendAck(c.out, c.v, packet.PUBCOMP, binary.BigEndian.Uint16(body), packet.Success)
		case packet.PUBLISH:
			if err := packet.DecodeDelivery(c.v, first, body, &p); err != nil {
				return tk, err
			}
			acknowledge(c, &p)
			if len(p.Payload) < stampSize || int(binary.BigEndian.Uint32(p.Payload)) != i {
				continue
			}
			k := binary.BigEndian.Uint64(p.Payload[4:])
			if k >= uint64(q.Each) {
				continue
			}
			if tk.got[k]++; tk.got[k] > 1 {
				tk.repeated++
				continue
			}
			if int(k) < tk.highest {
				tk.disorder++
			}
			tk.highest = max(tk.highest, int(k))
			n++
			got.Add(1)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return tk, c.flush()
}

const silence = 30 * time.Second

// Run measures t: publish, then drain.
func (q Queue) Run(ctx context.Context, t Target) (publish, drain Row, err error) {
	total := q.Sessions * q.Each
	publish = Row{Name: fmt.Sprintf("queue for %d sessions away, QoS %d, %d in flight", q.Sessions, q.QoS, q.Publishers*q.Window)}
	drain = Row{Name: fmt.Sprintf("drain %d sessions, QoS %d", q.Sessions, q.QoS)}
	if err := q.park(ctx, t); err != nil {
		return publish, drain, err
	}
	tellers := q.tellers()
	var acked, got atomic.Int64
	cpu := CPU(t.PID)
	took, err := q.publish(ctx, t, tellers, &acked)
	publish.Messages = int(acked.Load())
	publish.CPU = cost(CPU(t.PID)-cpu, publish.Messages)
	publish.PerSecond = float64(publish.Messages) / took.Seconds()
	var all hist
	for _, tl := range tellers {
		all.merge(&tl.took)
	}
	publish.P50, publish.P99 = micros(all.at(0.5)), micros(all.at(0.99))
	if err != nil {
		return publish, drain, errors.Join(err, q.forget(ctx, t))
	}

	cpu = CPU(t.PID)
	at := time.Now()
	var mu sync.Mutex
	var last time.Duration
	err = each(q.Sessions, q.Sessions, func(i int) error {
		tk, err := q.take(ctx, t, i, q.Each, &got)
		mu.Lock()
		defer mu.Unlock()
		drain.Repeated += tk.repeated
		drain.Disorder += tk.disorder
		last = max(last, time.Since(at))
		return err
	})
	drain.Messages = int(got.Load())
	drain.Lost = total - drain.Messages
	drain.CPU = cost(CPU(t.PID)-cpu, drain.Messages)
	drain.PerSecond = float64(drain.Messages) / last.Seconds()
	drain.Last = micros(last)
	return publish, drain, errors.Join(err, q.forget(ctx, t))
}

// A Process is a broker that can be killed and started again on its data.
type Process interface {
	Kill() error            // with SIGKILL, and waits for its end
	Start() (Target, error) // and waits until it takes connections
}

// Kill measures what a kill loses: at half of the acknowledgements the broker
// is killed and started again, and everything that it had acknowledged must
// come. PerSecond is the rate before the kill.
func (q Queue) Kill(ctx context.Context, t Target, p Process) (Row, error) {
	row := Row{Name: "killed under load, acknowledged"}
	if err := q.park(ctx, t); err != nil {
		return row, err
	}
	tellers := q.tellers()
	var acked, got atomic.Int64
	half := int64(q.Sessions * q.Each / 2)
	type end struct {
		took time.Duration
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		took, err := q.publish(ctx, t, tellers, &acked)
		ended <- end{took, err}
	}()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	var e end
	for over := false; !over && acked.Load() < half; {
		select {
		case e = <-ended:
			over = true
		case <-look.C:
		}
	}
	if e.err != nil {
		return row, e.err
	}
	at := time.Now()
	if err := p.Kill(); err != nil {
		return row, err
	}
	if e.took == 0 {
		e = <-ended // the error is the kill
	}
	row.Messages = int(acked.Load())
	row.PerSecond = float64(row.Messages) / e.took.Seconds()
	t, err := p.Start()
	if err != nil {
		return row, err
	}
	row.Away = micros(time.Since(at))

	promised := make([][]bool, q.Sessions)
	for i := range promised {
		promised[i] = make([]bool, q.Each)
	}
	mustCome := make([]int, q.Sessions)
	for _, tl := range tellers {
		for k := range tl.sent {
			if session := tl.sessions[k%len(tl.sessions)]; tl.acked[k] {
				promised[session][k/len(tl.sessions)] = true
				mustCome[session]++
			}
		}
	}
	var mu sync.Mutex
	err = each(q.Sessions, q.Sessions, func(i int) error {
		tk, err := q.take(ctx, t, i, mustCome[i], &got)
		mu.Lock()
		defer mu.Unlock()
		row.Disorder += tk.disorder
		for k, must := range promised[i] {
			if must && tk.got[k] == 0 {
				row.Lost++
			}
		}
		return err
	})
	return row, errors.Join(err, q.forget(ctx, t))
}
