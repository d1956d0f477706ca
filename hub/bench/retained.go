package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"lar.home/mqtt/packet"
)

// A Shelf measures retained messages: so many are set, then one client that
// subscribes to all of them is sent them.
type Shelf struct {
	Topics int
	Size   int
}

func (s Shelf) topic(i int) []byte {
	return fmt.Appendf(nil, "%s/shelf/%s/device%d/attribute%d", prefix, rooms[i%len(rooms)], i/50, i%50)
}

// set publishes every message, with QoS 1 and a window, and an empty payload
// takes one away.
func (s Shelf) set(ctx context.Context, t Target, size int) error {
	c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: prefix + "-shelf"}, readRoom)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, func() { c.nc.Close() })()
	window := min(20, c.receiveMaximum)
	body := make([]byte, size)
	for sent, acked := 0, 0; acked < s.Topics; {
		if !c.whole() {
			for ; sent < s.Topics && sent-acked < window; sent++ {
				if size >= 4 {
					binary.BigEndian.PutUint32(body, uint32(sent))
				}
				c.out = packet.AppendPublish(c.out, c.v, &packet.Publish{QoS: packet.AtLeastOnce, Retain: true,
					PacketID: idOf(sent), Topic: s.topic(sent), Payload: body})
			}
			if err := c.flush(); err != nil {
				return err
			}
			c.nc.SetReadDeadline(time.Now().Add(patience))
		}
		first, answer, err := c.next()
		if err != nil {
			return err
		}
		if packet.Type(first>>4) == packet.PUBACK {
			if refused(answer) {
				return errNotTaken
			}
			acked++
		}
	}
	return nil
}

// Run measures t: Lost are those that never came, Last when the last came.
func (s Shelf) Run(ctx context.Context, t Target) (row Row, err error) {
	row = Row{Name: fmt.Sprintf("%d retained to one #", s.Topics)}
	if err := s.set(ctx, t, max(s.Size, 4)); err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, s.set(ctx, t, 0)) }()
	c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: prefix + "-reader"}, readRoom)
	if err != nil {
		return row, err
	}
	defer c.close()
	defer context.AfterFunc(ctx, func() { c.nc.Close() })()
	c.out = packet.Append(c.out, c.v, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: prefix + "/shelf/#"}}})
	cpu, at := CPU(t.PID), time.Now()
	if err := c.flush(); err != nil {
		return row, err
	}
	came := make([]bool, s.Topics)
	var p packet.Publish
	for row.Messages < s.Topics {
		if !c.whole() {
			c.nc.SetReadDeadline(time.Now().Add(silence))
		}
		first, body, err := c.next()
		if err != nil {
			break // what did not come is counted as lost
		}
		if packet.Type(first>>4) != packet.PUBLISH {
			continue
		}
		if err := packet.DecodeDelivery(c.v, first, body, &p); err != nil {
			return row, err
		}
		if len(p.Payload) < 4 {
			continue
		}
		if i := int(binary.BigEndian.Uint32(p.Payload)); i < s.Topics && !came[i] {
			came[i] = true
			if row.Messages++; row.Messages == 1 {
				row.First = micros(time.Since(at))
			}
			row.Last = micros(time.Since(at))
		}
	}
	row.Lost = s.Topics - row.Messages
	row.CPU = cost(CPU(t.PID)-cpu, row.Messages)
	if row.Last > 0 {
		row.PerSecond = float64(row.Messages) / float64(row.Last) * 1e6
	}
	return row, nil
}
