package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/devices/history"
	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
)

// A home is a whole house: broker, model, rules, pages, and devices that
// answer their commands within the turn.
type home struct {
	*mqtt.Broker
	t        *testing.T
	people   *people
	settings *settings
	model    *devices.Model
	rules    *automations.Engine
	history  *history.History
	ui       *Server
	ts       *httptest.Server
	gear     *gear
}

// gear is the devices: what comes on …/set is said on …/state, unless the
// device is deaf.
type gear struct {
	mu   sync.Mutex
	deaf map[string]bool
	got  []string // "topic payload"

	asked chan<- string // what a Zigbee2MQTT was asked for; nil: there is none
}

func (g *gear) Wants(topic string) bool {
	return strings.HasSuffix(topic, "/set") || strings.HasPrefix(topic, zigbeeRequest)
}
func (g *gear) Prepare(string, []byte) any { return nil }
func (g *gear) Wake(*mqtt.Turn)            {}
func (g *gear) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if what, ok := strings.CutPrefix(m.Topic, zigbeeRequest); ok {
		g.answer(t, what, m.Payload)
		return
	}
	g.got = append(g.got, m.Topic+" "+string(m.Payload))
	base := strings.TrimSuffix(m.Topic, "/set")
	if !g.deaf[base] {
		t.Publish(&mqtt.Message{Topic: base + "/state", Payload: m.Payload})
	}
}

func (g *gear) heard() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.got...)
}

func (g *gear) deafen(base string, deaf bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf[base] = deaf
}

// emptyHome is a home with an owner and no devices.
func emptyHome(t *testing.T) (*home, *browser) {
	t.Helper()
	return homeOn(t, mqtttest.NewStore())
}

// homeOn is a home with an owner and the history that a store has.
func homeOn(t *testing.T, past *mqtttest.Store) (*home, *browser) {
	t.Helper()
	h := &home{t: t, people: &people{}, settings: &settings{}, gear: &gear{deaf: map[string]bool{}}}
	var err error
	if h.model, err = devices.New(devices.Options{}); err != nil {
		t.Fatal(err)
	}
	if h.rules, err = automations.New(automations.Config{Model: h.model}); err != nil {
		t.Fatal(err)
	}
	if h.history, err = history.New(history.Options{Scan: past.Scan, House: h.model.House, Location: time.UTC}); err != nil {
		t.Fatal(err)
	}
	h.Broker, err = mqtt.New(mqtt.Config{Store: past, Consumers: []mqtt.Consumer{h.model, h.rules, h.gear, h.history}})
	if err != nil {
		t.Fatal(err)
	}
	var b *browser
	h.ui, h.ts, b = signedIn(t, h.model, func(c *Config) {
		c.House, c.People, c.Rules, c.Settings, c.History = h.Broker, h.people, h.rules, h.settings, h.history
	})
	h.model.Watch(h.rules)
	h.model.Watch(h.ui)
	h.model.Watch(h.history)
	return h, b
}

// publish brings in a message as if a device had sent it.
func (h *home) publish(topic, payload string) {
	h.t.Helper()
	err := h.Do(context.Background(), func(t *mqtt.Turn) error {
		t.Publish(&mqtt.Message{Topic: topic, Payload: []byte(payload), Retain: strings.HasSuffix(topic, "/config")})
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// announce brings in a device by Home Assistant discovery.
func (h *home) announce(component, id, name, device, area string, more map[string]any) {
	h.t.Helper()
	h.publish(announcement(h.t, component, id, name, device, area, more))
}

// announcement is the message that announces an entity.
func announcement(t testing.TB, component, id, name, device, area string, more map[string]any) (topic, payload string) {
	t.Helper()
	config := map[string]any{
		"unique_id":   id,
		"name":        nil,
		"state_topic": "home/" + id + "/state",
		"device":      map[string]any{"identifiers": []string{device}, "name": device, "suggested_area": area, "manufacturer": "Acme", "model": "One"},
	}
	if name != "" {
		config["name"] = name
	}
	for k, v := range more {
		config[k] = v
	}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("homeassistant/%s/%s/config", component, id), string(b)
}

// furnish brings in the devices of a small flat.
func (h *home) furnish() {
	h.t.Helper()
	set := func(id string) map[string]any { return map[string]any{"command_topic": "home/" + id + "/set"} }
	light := map[string]any{
		"schema": "json", "command_topic": "home/hall_lamp/set", "brightness": true,
		"supported_color_modes": []string{"color_temp", "rgb"}, "effect": true, "effect_list": []string{"none", "candle", "rainbow"},
	}
	h.announce("light", "hall_lamp", "", "Hall lamp", "Hall", light)
	h.announce("sensor", "hall_lamp_power", "Power", "Hall lamp", "Hall", map[string]any{"device_class": "power", "unit_of_measurement": "W"})
	h.announce("binary_sensor", "hall_motion", "Motion", "Hall motion", "Hall", map[string]any{"device_class": "motion"})
	h.announce("sensor", "hall_motion_battery", "Battery", "Hall motion", "Hall", map[string]any{"device_class": "battery", "unit_of_measurement": "%", "entity_category": "diagnostic"})
	h.announce("sensor", "bath_temp", "Temperature", "Bath sensor", "Bathroom", map[string]any{"device_class": "temperature", "unit_of_measurement": "°C"})
	h.announce("sensor", "bath_hum", "Humidity", "Bath sensor", "Bathroom", map[string]any{"device_class": "humidity", "unit_of_measurement": "%"})
	h.announce("switch", "kettle", "", "Kettle", "Kitchen", set("kettle"))
	h.announce("binary_sensor", "leak", "Leak", "Sink leak sensor", "Kitchen", map[string]any{"device_class": "moisture"})
	h.announce("binary_sensor", "window", "Window", "Kitchen window", "Kitchen", map[string]any{"device_class": "window"})
	h.announce("switch", "strip_1", "Television", "Power strip with a really long name", "Living room", set("strip_1"))
	h.announce("switch", "strip_2", "Speakers", "Power strip with a really long name", "Living room", set("strip_2"))
	h.announce("switch", "strip_led", "Status light", "Power strip with a really long name", "Living room", map[string]any{"command_topic": "home/strip_led/set", "entity_category": "config"})
	h.announce("light", "reading", "", "Reading lamp", "Living room", map[string]any{
		"schema": "json", "command_topic": "home/reading/set", "brightness": true, "availability_topic": "home/reading/online",
	})
	h.announce("sensor", "meter", "Energy", "Electricity meter", "", map[string]any{"device_class": "energy", "unit_of_measurement": "kWh"})

	h.publish("home/hall_lamp/state", `{"state":"ON","brightness":158,"color_mode":"color_temp","color_temp":320}`)
	h.publish("home/hall_lamp_power/state", "4.1")
	h.publish("home/hall_motion/state", "ON")
	h.publish("home/hall_motion_battery/state", "87")
	h.publish("home/bath_temp/state", "21.4")
	h.publish("home/bath_hum/state", "61")
	h.publish("home/kettle/state", "OFF")
	h.publish("home/leak/state", "ON")
	h.publish("home/window/state", "OFF")
	h.publish("home/strip_1/state", "ON")
	h.publish("home/strip_2/state", "OFF")
	h.publish("home/reading/online", "offline")
	h.publish("home/meter/state", "1284.63")
}

// furnished is a home with an owner and the devices of a small flat.
func furnished(t *testing.T) (*home, *browser) {
	h, b := emptyHome(t)
	h.furnish()
	return h, b
}

// automate saves a rule and lets it run.
func (h *home) automate() *automations.Rule {
	h.t.Helper()
	on := automations.On()
	rule := automations.Rule{
		Name: "Hall lamp when somebody comes in", Enabled: true, Mode: automations.Restart,
		Triggers: []automations.Trigger{{State: &automations.StateTrigger{Entity: "binary_sensor.hall_motion_motion", Aspect: "on", To: &on}}},
		Conditions: []automations.Condition{
			{State: &automations.StateCondition{Entity: "sensor.bath_sensor_temperature", Aspect: "value", Op: automations.Less, Value: automations.Number(25)}},
		},
		Actions: []automations.Action{
			{Command: &automations.CommandAction{Entity: "light.hall_lamp", Command: "turn_on", Args: map[string]automations.Value{"brightness": automations.Number(60)}}},
			{Wait: &automations.WaitAction{For: automations.Duration(10 * time.Minute)}},
			{Publish: &automations.PublishAction{Topic: "home/note", Payload: "lamp goes off"}},
			{Command: &automations.CommandAction{Entity: "light.hall_lamp", Command: "turn_off"}},
		},
	}
	var saved *automations.Rule
	err := h.Do(context.Background(), func(t *mqtt.Turn) (err error) {
		saved, err = h.rules.Save(t, rule, "Jo", 0)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.publish("home/hall_motion/state", "OFF")
	h.publish("home/hall_motion/state", "ON")
	return saved
}

// patience is how long a test waits for what is there in well under a second,
// on a machine that is busy with other tests.
const patience = 60 * time.Second

// until waits for something to hold in the house.
func (h *home) until(holds func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			h.t.Fatal("it does not hold in time")
		}
		<-time.After(5 * time.Millisecond)
	}
}

const zigbeeRequest = "zigbee2mqtt/bridge/request/"

// answer is that of a Zigbee2MQTT, which lets nobody go.
func (g *gear) answer(t *mqtt.Turn, what string, request []byte) {
	if g.asked == nil {
		return
	}
	g.asked <- what
	var q struct{ Transaction string }
	json.Unmarshal(request, &q)
	answer := map[string]string{"status": "ok", "transaction": q.Transaction}
	if what == "device/remove" {
		answer["status"], answer["error"] = "error", "no such luck"
	}
	payload, _ := json.Marshal(answer)
	t.Publish(&mqtt.Message{Topic: "zigbee2mqtt/bridge/response/" + what, Payload: payload})
}

// gateway has a Zigbee2MQTT answer, and tells what it is asked for.
func (h *home) gateway(asked chan<- string) {
	h.gear.mu.Lock()
	defer h.gear.mu.Unlock()
	h.gear.asked = asked
}
