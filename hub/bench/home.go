package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt/packet"
)

// A Home measures a house: devices that each hear their command topic and
// say their state in turn, at a fixed pace whatever the broker does, and one
// client that hears all of them, as a page or a logger does. Times count from
// the moment a message was due, so a stall counts for all that it held up.
type Home struct {
	Devices   int
	PerSecond int
	QoS       packet.QoS
	Warm, For time.Duration
}

// rooms are where devices are.
var rooms = [...]string{"kitchen", "living", "bedroom", "bath", "hall", "garage", "garden", "office", "attic", "cellar"}

// said is what a device says, some 120 bytes; due is read back from it.
func said(b []byte, number int, due time.Duration) []byte {
	b = append(b[:0], `{"due":`...)
	b = strconv.AppendInt(b, int64(due), 10)
	b = append(b, `,"n":`...)
	b = strconv.AppendInt(b, int64(number), 10)
	return append(b, `,"temperature":21.37,"humidity":48.2,"battery":97,"linkquality":132,"voltage":2980}`...)
}

func dueOf(b []byte) (time.Duration, bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"due":`))
	n, _, found := bytes.Cut(rest, []byte{','})
	due, err := strconv.ParseInt(string(n), 10, 64)
	return time.Duration(due), ok && found && err == nil
}

// A device is one of the house's.
type device struct {
	c     *conn
	topic []byte
	sent  int
	acked atomic.Int64
}

// hear reads what a device is sent until the connection ends.
func (d *device) hear() {
	for {
		first, body, err := d.c.next()
		if err != nil {
			return
		}
		switch packet.Type(first >> 4) {
		case packet.PUBACK, packet.PUBCOMP:
			d.acked.Add(1)
		case packet.PUBREC:
			d.c.mu.Lock()
			d.c.out = packet.AppendAck(d.c.out, d.c.v, packet.PUBREL, binary.BigEndian.Uint16(body), packet.Success)
			d.c.flush()
			d.c.mu.Unlock()
		}
	}
}

// An observer hears the whole house.
type observer struct {
	c         *conn
	measuring *atomic.Bool
	got       atomic.Int64
	took      hist
}

func (o *observer) hear() {
	var p packet.Publish
	n := int64(0)
	for {
		if !o.c.whole() {
			o.c.mu.Lock()
			o.c.flush()
			o.c.mu.Unlock()
			o.got.Add(n)
			n = 0
		}
		first, body, err := o.c.next()
		if err != nil {
			return
		}
		switch packet.Type(first >> 4) {
		case packet.PUBLISH:
			if packet.DecodeDelivery(o.c.v, first, body, &p) != nil {
				return
			}
			acknowledge(o.c, &p)
			if due, ok := dueOf(p.Payload); ok {
				n++
				if o.measuring.Load() {
					o.took.add(time.Since(begin) - due)
				}
			}
		case packet.PUBREL:
			o.c.mu.Lock()
			o.c.out = packet.AppendAck(o.c.out, o.c.v, packet.PUBCOMP, binary.BigEndian.Uint16(body), packet.Success)
			o.c.mu.Unlock()
		}
	}
}

// Run measures t.
func (h Home) Run(ctx context.Context, t Target) (Row, error) {
	row := Row{Name: fmt.Sprintf("home %d devices, %d/s, QoS %d", h.Devices, h.PerSecond, h.QoS)}
	var conns []*conn
	defer func() {
		for _, c := range conns {
			c.nc.Close()
		}
	}()
	var measuring atomic.Bool
	c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: prefix + "-observer"}, readRoom)
	if err != nil {
		return row, err
	}
	conns = append(conns, c)
	if err := c.subscribe(prefix+"/home/#", h.QoS); err != nil {
		return row, err
	}
	seen := &observer{c: c, measuring: &measuring}
	devices := make([]*device, h.Devices)
	for i := range devices {
		c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: fmt.Sprintf("%s-d%d", prefix, i)}, littleRoom)
		if err != nil {
			return row, err
		}
		conns = append(conns, c)
		name := fmt.Sprintf("%s/device%03d", rooms[i%len(rooms)], i)
		if err := c.subscribe(prefix+"/command/"+name+"/set", h.QoS); err != nil {
			return row, err
		}
		devices[i] = &device{c: c, topic: []byte(prefix + "/home/" + name + "/state")}
	}
	var hearing sync.WaitGroup
	hearing.Go(seen.hear)
	for _, d := range devices {
		hearing.Go(d.hear)
	}
	if _, err = h.pace(ctx, devices, h.Warm); err == nil {
		err = seen.wait(ctx, devices)
	}
	measuring.Store(true)
	before, cpu, at := seen.got.Load(), CPU(t.PID), time.Now()
	sent := 0
	if err == nil {
		sent, err = h.pace(ctx, devices, h.For)
	}
	pacing := time.Since(at)
	if err == nil {
		err = seen.wait(ctx, devices)
	}
	row.Messages = int(seen.got.Load() - before)
	row.CPU = cost(CPU(t.PID)-cpu, row.Messages)
	row.PerSecond = float64(sent) / pacing.Seconds()
	row.Lost = max(0, sent-row.Messages)
	for _, c := range conns {
		c.nc.Close()
	}
	hearing.Wait()
	row.P50, row.P99 = micros(seen.took.at(0.5)), micros(seen.took.at(0.99))
	return row, err
}

// pace sends for d and returns how many messages.
func (h Home) pace(ctx context.Context, devices []*device, d time.Duration) (sent int, err error) {
	gap := time.Second / time.Duration(h.PerSecond)
	start := time.Since(begin)
	var body []byte
	for sent < int(d/gap) {
		due := start + time.Duration(sent)*gap
		if wait := due - time.Since(begin); wait > 0 {
			pause(wait)
			continue
		}
		if sent%h.PerSecond == 0 && ctx.Err() != nil {
			return sent, ctx.Err()
		}
		d := devices[sent%len(devices)]
		if h.QoS > 0 && d.sent-int(d.acked.Load()) >= d.c.receiveMaximum {
			if time.Since(begin)-due > patience {
				return sent, errors.New("the broker does not acknowledge")
			}
			pause(gap) // it may not be sent more now; the time goes on
			continue
		}
		body = said(body, d.sent, due)
		d.c.mu.Lock()
		d.c.out = packet.AppendPublish(d.c.out, d.c.v, &packet.Publish{
			QoS: h.QoS, Topic: d.topic, PacketID: uint16(d.sent%65535) + 1, Payload: body})
		err := d.c.flush()
		d.c.mu.Unlock()
		if err != nil {
			return sent, err
		}
		d.sent++
		sent++
	}
	return sent, nil
}

// wait returns when all that was sent has come, or nothing does any more.
func (o *observer) wait(ctx context.Context, devices []*device) error {
	want := int64(0)
	for _, d := range devices {
		want += int64(d.sent)
	}
	look := time.NewTicker(lookEvery / 10)
	defer look.Stop()
	for have, still := int64(-1), 0; have < want && still < stuckAfter*10; still++ {
		if now := o.got.Load(); now != have {
			have, still = now, 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}
