package hub

import (
	"context"
	"time"

	"lar.home/mqtt"
)

// limitsEvery is how often the limits are held against the disk.
const limitsEvery = 30 * time.Second

// setLimits puts limits in force, as the disk allows them.
func (h *Hub) setLimits(l mqtt.Limits) {
	h.limitsMu.Lock()
	defer h.limitsMu.Unlock()
	h.asked = l
	h.broker.SetLimits(limitsOn(l, h.store.Stats().FreeBytes))
}

// watchLimits follows the disk as it fills and is given room.
func (h *Hub) watchLimits(ctx context.Context) {
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.limitsMu.Lock()
			h.broker.SetLimits(limitsOn(h.asked, h.store.Stats().FreeBytes))
			h.limitsMu.Unlock()
		}
	}
}

// limitsOn returns limits for a disk: the queues of all clients, and large
// retained messages, take no more than a quarter each of what is free; but
// some room is always theirs, since it is for the store to say that the disk
// is full.
func limitsOn(l mqtt.Limits, free uint64) mqtt.Limits {
	const always = 8 << 20
	def := mqtt.DefaultLimits()
	quarter := max(always, int(min(free/4, 1<<40)))
	bound := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
		*v = min(*v, quarter)
	}
	bound(&l.AllQueuesBytes, def.AllQueuesBytes)
	bound(&l.RetainedLargeBytes, def.RetainedLargeBytes)
	return l
}
