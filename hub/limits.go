package hub

import (
	"cmp"
	"context"
	"time"

	"lar.home/hub/config"
	"lar.home/mqtt"
)

// limitsEvery is how often the limits are held against the disk.
const limitsEvery = 30 * time.Second

// setLimits puts limits in force, as the disk allows them: percent of what is
// free there, 0 for the default.
func (h *Hub) setLimits(l mqtt.Limits, percent int) {
	h.limitsMu.Lock()
	defer h.limitsMu.Unlock()
	h.asked, h.diskPercent = l, percent
	h.broker.SetLimits(limitsOn(l, percent, h.store.Stats().FreeBytes))
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
			h.broker.SetLimits(limitsOn(h.asked, h.diskPercent, h.store.Stats().FreeBytes))
			h.limitsMu.Unlock()
		}
	}
}

// limitsOn returns limits for a disk: the queues of all clients, and large
// retained messages, take no more than so many percent each of what is free
// (0: config.DefaultDiskPercent); but some room is always theirs, since it is
// for the store to say that the disk is full.
func limitsOn(l mqtt.Limits, percent int, free uint64) mqtt.Limits {
	const always = 8 << 20
	def := mqtt.DefaultLimits()
	share := max(always, int(min(free/100*uint64(cmp.Or(percent, config.DefaultDiskPercent)), 1<<40)))
	bound := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
		*v = min(*v, share)
	}
	bound(&l.AllQueuesBytes, def.AllQueuesBytes)
	bound(&l.RetainedLargeBytes, def.RetainedLargeBytes)
	return l
}
