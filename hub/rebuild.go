package hub

import (
	"context"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// missingAfter is how long after a rebuild all is back that the broker has
// retained.
const missingAfter = 3 * time.Second

// rebuild makes the model and the rules anew from the store, as one of them has
// panicked: in place, so that whoever has them goes on with what they are now.
func (h *Hub) rebuild(t *mqtt.Turn) error {
	select {
	case h.rebuilt <- h.model.House():
	default: // one before this had the whole house
	}
	if err := h.model.Rebuild(t); err != nil {
		return err
	}
	return h.rules.Rebuild(t)
}

// findMissing asks all devices to announce themselves, as at a start, if one is
// missing after a rebuild: its announcement was not retained.
func (h *Hub) findMissing(ctx context.Context) {
	for {
		var before *devices.House
		select {
		case <-ctx.Done():
			return
		case before = <-h.rebuilt:
		}
		timer := time.NewTimer(missingAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		d := notBack(before, h.model.House())
		if d == nil {
			continue
		}
		h.log.Info("a device is missing after an error inside: all are asked to announce themselves", "device", d.Name)
		if err := h.Do(ctx, func(t *mqtt.Turn) error { h.model.Birth(t); return nil }); err != nil && ctx.Err() == nil {
			h.log.Error("birth message not sent", "err", err)
		}
	}
}

// notBack returns a device that was there before and is not now, or nil.
func notBack(before, now *devices.House) *devices.Device {
	for _, d := range before.Devices {
		if now.Device(d.ID) == nil {
			return d
		}
	}
	return nil
}
