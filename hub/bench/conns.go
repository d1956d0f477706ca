package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lar.home/mqtt/packet"
)

// A Crowd measures connections: how fast clients are served that come at
// once, each with a subscription, and what memory each takes, idle and after
// every one was sent a message and said one.
type Crowd struct {
	Clients int
	Dialers int
	Kept    bool    // the clients have sessions that are kept
	Logins  []Login // one for each client; none: the target's
}

// A Login is the credential of a client.
type Login struct{ Username, Password string }

// of returns the target as the i-th client sees it.
func (cr Crowd) of(t Target, i int) Target {
	if i < len(cr.Logins) {
		t.Username, t.Password = cr.Logins[i].Username, cr.Logins[i].Password
	}
	return t
}

// hold connects everybody. The caller releases the connections, with an error
// too.
func (cr Crowd) hold(ctx context.Context, t Target) (conns []*conn, row Row, err error) {
	row.Name = fmt.Sprintf("%d clients connect", cr.Clients)
	if cr.Kept {
		row.Name = fmt.Sprintf("%d clients come back at once", cr.Clients)
	}
	if t.TLS != nil {
		row.Name += ", TLS"
	}
	conns = make([]*conn, cr.Clients)
	cpu, at := CPU(t.PID), time.Now()
	took := make([]time.Duration, cr.Clients)
	err = each(cr.Clients, cr.Dialers, func(i int) error {
		ask := packet.Connect{ClientID: fmt.Sprintf("%s-c%d", prefix, i), CleanStart: !cr.Kept}
		if cr.Kept {
			ask.SessionExpiry = 3600
		}
		from := time.Now()
		c, err := dial(ctx, cr.of(t, i), ask, littleRoom)
		if err != nil {
			return err
		}
		conns[i] = c
		err = c.subscribe(fmt.Sprintf("%s/crowd/%d/set", prefix, i), packet.AtLeastOnce)
		took[i] = time.Since(from)
		return err
	})
	all := time.Since(at)
	row.Messages = cr.Clients
	row.CPU = cost(CPU(t.PID)-cpu, cr.Clients)
	row.PerSecond = float64(cr.Clients) / all.Seconds()
	row.Last = micros(all)
	var h hist
	for _, d := range took {
		h.add(d)
	}
	row.P50, row.P99 = micros(h.at(0.5)), micros(h.at(0.99))
	return conns, row, err
}

func release(conns []*conn) {
	for _, c := range conns {
		if c != nil {
			c.nc.Close()
		}
	}
}

// Run measures t, which has just been started if its memory is to be right.
func (cr Crowd) Run(ctx context.Context, t Target) (Row, error) {
	before := Settled(ctx, t)
	conns, row, err := cr.hold(ctx, t)
	defer release(conns)
	if err != nil || before == 0 {
		return row, err
	}
	row.Memory = float64(Settled(ctx, t)-before) / float64(cr.Clients)
	if err := each(len(conns), cr.Dialers, func(i int) error { return conns[i].talk(i) }); err != nil {
		return row, err
	}
	row.After = float64(Settled(ctx, t)-before) / float64(cr.Clients)
	return row, nil
}

// talk publishes to the connection's own subscription, and waits until the
// message has come and everything is acknowledged.
func (c *conn) talk(i int) error {
	c.nc.SetDeadline(time.Now().Add(patience))
	defer c.nc.SetDeadline(time.Time{})
	c.mu.Lock()
	c.out = packet.AppendPublish(c.out, c.v, &packet.Publish{
		QoS: packet.AtLeastOnce, PacketID: 2, Topic: fmt.Appendf(nil, "%s/crowd/%d/set", prefix, i), Payload: make([]byte, 64)})
	c.mu.Unlock()
	for got, acked := false, false; !got || !acked; {
		c.mu.Lock()
		err := c.flush()
		c.mu.Unlock()
		if err != nil {
			return err
		}
		first, body, err := c.next()
		if err != nil {
			return err
		}
		switch packet.Type(first >> 4) {
		case packet.PUBACK:
			if refused(body) {
				return errNotTaken
			}
			acked = true
		case packet.PUBLISH:
			var p packet.Publish
			if err := packet.DecodeDelivery(c.v, first, body, &p); err != nil {
				return err
			}
			acknowledge(c, &p)
			got = true
		case packet.DISCONNECT:
			return errors.New("the broker disconnects a client")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// Settled returns a broker's memory once it has stopped changing.
func Settled(ctx context.Context, t Target) int {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	now, _ := Resident(t.PID)
	for still := 0; still < 5 && now > 0; still++ {
		select {
		case <-ctx.Done():
			return now
		case <-look.C:
		}
		next, _ := Resident(t.PID)
		if next-now > 64<<10 || now-next > 64<<10 {
			still = -1
		}
		now = next
	}
	return now
}

// Calm waits until a broker has nothing more to do of its own: for a second it
// has taken less than a fiftieth of a core. It waits for most at most.
func Calm(ctx context.Context, t Target, most time.Duration) {
	const look = time.Second
	for end := time.Now().Add(most); time.Now().Before(end); {
		before := CPU(t.PID)
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
		}
		if CPU(t.PID)-before < look/50 {
			return
		}
	}
}

// Reconnect measures how long a house takes to come back: clients with kept
// sessions connect once, lose the connection, and all come back together.
func (cr Crowd) Reconnect(ctx context.Context, t Target) (Row, error) {
	cr.Kept, cr.Dialers = true, cr.Clients
	conns, row, err := cr.hold(ctx, t)
	release(conns)
	if err != nil {
		return row, err
	}
	if conns, row, err = cr.hold(ctx, t); err == nil {
		for _, c := range conns {
			if !c.present {
				row.Lost++
			}
		}
	}
	release(conns)
	return row, errors.Join(err, each(cr.Clients, 8, func(i int) error {
		c, err := dial(ctx, cr.of(t, i), packet.Connect{ClientID: fmt.Sprintf("%s-c%d", prefix, i), CleanStart: true}, littleRoom)
		if err == nil {
			c.close()
		}
		return err
	}))
}

// Silence measures for d what a broker does while n connected clients say
// nothing, and nothing has happened for quiet, in which a start comes to its
// end. CPU is microseconds for each second.
func Silence(ctx context.Context, t Target, n int, quiet, d time.Duration) (Row, error) {
	conns, _, err := Crowd{Clients: n, Dialers: 8}.hold(ctx, t)
	defer release(conns)
	row := Row{Name: fmt.Sprintf("%d silent clients", n)}
	if err != nil {
		return row, err
	}
	var cpu, at = time.Duration(0), time.Now()
	for _, wait := range []time.Duration{quiet, d} {
		cpu, at = CPU(t.PID), time.Now()
		select {
		case <-ctx.Done():
			return row, ctx.Err()
		case <-time.After(wait):
		}
	}
	row.CPU = micros(CPU(t.PID)-cpu) / Micros(time.Since(at).Seconds())
	return row, nil
}
