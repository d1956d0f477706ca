package devices

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"lar.home/devices/zigbee2mqtt"
	"lar.home/mqtt"
)

// Zigbee2MQTT says a device's state when it changes, and keeps it for late
// comers only if it is told to. So a lamp that is new to us is asked once, if
// it hangs on the mains and nothing is known of it: one device after the other,
// as the radio is slow.

// inquireEvery is the time between two devices that are asked.
const inquireEvery = 500 * time.Millisecond

// An inquiry is a device that is to be asked for its state.
type inquiry struct {
	base, ident string // of its gateway; one of its identifiers
	messages    []mqtt.Message
}

// inquiryOf returns what to ask a device; nil if it is better left alone.
func inquiryOf(base string, d *zigbee2mqtt.Device) *inquiry {
	if d.Type != "Router" || strings.Contains(strings.ToLower(d.PowerSource), "battery") {
		return nil
	}
	properties := map[string]string{}
	for _, name := range zigbee2mqtt.Readable(d) {
		properties[name] = ""
	}
	payload, err := json.Marshal(properties)
	if err != nil || len(properties) == 0 {
		return nil
	}
	return &inquiry{base: base, ident: zigbee2mqtt.Identifier(d.IEEE), messages: []mqtt.Message{{Topic: base + "/" + d.Name + "/get", Payload: payload}}}
}

// inquireLater puts a device in line.
func (m *Model) inquireLater(t *mqtt.Turn, q *inquiry) {
	if q == nil || len(m.inquiries) >= MaxDevices {
		return
	}
	if len(m.inquiries) == 0 {
		m.inquireAt = max(m.inquireAt, t.Now.Run) + inquireEvery
	}
	m.inquiries = append(m.inquiries, q)
}

// inquire asks the next device in line of which nothing is known, or that is
// its own gateway: that does not go by radio.
func (m *Model) inquire(t *mqtt.Turn) {
	if len(m.inquiries) == 0 || t.Now.Run < m.inquireAt {
		return
	}
	for len(m.inquiries) > 0 {
		q := m.inquiries[0]
		m.inquiries = m.inquiries[1:]
		d := m.devices[m.memory.deviceID(q.ident)]
		if d == nil || d.base != q.base {
			continue
		}
		if g := m.gateways[q.base]; d.gatewayed() && (g == nil || !g.Online || d.heard()) || !d.gatewayed() && !d.reachable() {
			continue
		}
		for i := range q.messages {
			t.Publish(&q.messages[i])
		}
		m.inquireAt = t.Now.Run + inquireEvery
		return
	}
	m.inquiries = nil
}

// reachable tells whether a device says that it is there.
func (d *device) reachable() bool {
	return slices.ContainsFunc(d.nodes, func(n *node) bool { return n.group != nil && n.group.available })
}

// heard tells whether any value of a device is known.
func (d *device) heard() bool {
	return slices.ContainsFunc(d.nodes, func(n *node) bool {
		return slices.ContainsFunc(n.live.Load().Readings, func(r Reading) bool { return r.Value.Known() })
	})
}
