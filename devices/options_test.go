package devices

import (
	"strings"
	"testing"
)

// TestOptions holds that a house may have several Zigbee2MQTTs, also with
// topics of two levels, and another discovery prefix; and what neither can be.
func TestOptions(t *testing.T) {
	b := newBench(t)
	m, err := New(Options{Prefix: "hass", Zigbee2MQTT: []string{"house/zigbee", "a/b/c"}})
	if err != nil {
		t.Fatal(err)
	}
	b.model, b.quiet = m, true
	list := func(address, name string) string {
		return `[{"ieee_address":"` + address + `","friendly_name":"` + name + `","type":"Router","definition":{"exposes":[{"type":"numeric","name":"power","property":"power","access":1,"unit":"W"}]}}]`
	}
	b.feed("house/zigbee/bridge/devices", list("0x0000000000000001", "first"))
	b.feed("a/b/c/bridge/devices", list("0x0000000000000002", "second"))
	b.feed("cellar/bridge/devices", list("0x0000000000000003", "third"))
	b.feed("x/y/bridge/devices", list("0x0000000000000004", "fourth"))
	b.feed("hass/sensor/s/config", `{"name":"Own","stat_t":"s"}`)
	b.feed("homeassistant/sensor/t/config", `{"name":"Other","stat_t":"t"}`)
	b.feed("a/b/c/second", `{"power":7}`)
	var names []string
	for _, d := range m.House().Devices {
		names = append(names, d.Name)
	}
	if got, want := strings.Join(names, " "), "first Own second third"; got != want {
		t.Errorf("devices %q, want %q", got, want)
	}
	if e := m.House().Entity("sensor.second_power"); e == nil || e.State().Readings[0].Value != NumberValue(7) {
		t.Errorf("a device below two levels is %+v", e)
	}
	if n := len(m.Gateways()); n != 3 {
		t.Errorf("%d gateways, want 3", n)
	}
	for _, o := range []Options{
		{Prefix: "a/#"}, {Zigbee2MQTT: []string{"/a"}}, {Zigbee2MQTT: []string{"a/"}}, {Zigbee2MQTT: []string{"$SYS/a"}},
		{Zigbee2MQTT: []string{""}}, {Zigbee2MQTT: make([]string, MaxGateways+1)},
	} {
		if m, err := New(o); err == nil || m != nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
