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
	base, address string
	topic         string
	payload       []byte
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
	return &inquiry{base: base, address: d.IEEE, topic: base + "/" + d.Name + "/get", payload: payload}
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

// inquire asks the next device in line of which nothing is known.
func (m *Model) inquire(t *mqtt.Turn) {
	if len(m.inquiries) == 0 || t.Now.Run < m.inquireAt {
		return
	}
	for len(m.inquiries) > 0 {
		q := m.inquiries[0]
		m.inquiries = m.inquiries[1:]
		d := m.devices[m.memory.deviceID(zigbee2mqtt.Identifier(q.address))]
		g := m.gateways[q.base]
		if d == nil || g == nil || !g.Online || d.base != q.base || d.heard() {
			continue
		}
		t.Publish(&mqtt.Message{Topic: q.topic, Payload: q.payload})
		m.inquireAt = t.Now.Run + inquireEvery
		return
	}
	m.inquiries = nil
}

// heard tells whether any value of a device is known.
func (d *device) heard() bool {
	return slices.ContainsFunc(d.nodes, func(n *node) bool {
		return slices.ContainsFunc(n.live.Load().Readings, func(r Reading) bool { return r.Value.Known() })
	})
}
