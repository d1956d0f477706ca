package hub

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
)

const patience = 60 * time.Second

// start runs a hub on free ports until the test ends or stop is called.
func start(t *testing.T, dir string) (h *Hub, stop func()) {
	t.Helper()
	return startWith(t, Config{Dir: dir})
}

// A logBuffer can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// client connects one that nobody here wrote.
func client(t *testing.T, h *Hub, id string) mqttclient.Client {
	t.Helper()
	c := mqttclient.NewClient(mqttclient.NewClientOptions().
		AddBroker("tcp://" + h.mqttLn.Addr().String()).SetClientID(id).SetAutoReconnect(false))
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

func wait(t *testing.T, token mqttclient.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatal("the broker does not answer")
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}

// hears subscribes and returns what comes.
func hears(t *testing.T, c mqttclient.Client, filter string) <-chan string {
	t.Helper()
	heard := make(chan string, 100)
	wait(t, c.Subscribe(filter, 1, func(_ mqttclient.Client, m mqttclient.Message) {
		heard <- fmt.Sprintf("%s %s", m.Topic(), m.Payload())
	}))
	return heard
}

func expect(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("heard nothing, want %q", want)
	}
}

// entity waits for an entity to appear; its device is announced in a turn
// that goes on after the publisher has its acknowledgement.
func entity(t *testing.T, h *Hub, name string) *devices.Entity {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		for _, d := range h.model.House().Devices {
			for _, e := range d.Entities {
				if e.Name == name {
					return e
				}
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("there is no entity %q", name)
	return nil
}

const lamp = `{"name":"Hall lamp","unique_id":"hall","command_topic":"hall/set","state_topic":"hall/state"}`

// From a message on the wire to the message a rule sends: all parts are joined.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	device := client(t, h, "lamp")
	sets := hears(t, device, "hall/set")
	wait(t, device.Publish("homeassistant/switch/hall/config", 1, true, lamp))
	e := entity(t, h, "Hall lamp")

	// Pages: a command goes out to the device.
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error { return h.model.Command(turn, e.ID, "turn_on", nil) })
	if err != nil {
		t.Fatal(err)
	}
	expect(t, sets, "hall/set ON")

	// Rules: a message sets off another.
	err = h.Do(t.Context(), func(turn *mqtt.Turn) error {
		_, err := h.rules.Save(turn, automations.Rule{
			Name: "Doorbell", Enabled: true,
			Triggers: []automations.Trigger{{Message: &automations.MessageTrigger{Filter: "bell/+"}}},
			Actions:  []automations.Action{{Publish: &automations.PublishAction{Topic: "hall/set", Payload: "{{payload}}", QoS: mqtt.AtLeastOnce}}},
		}, "Jo", 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, device.Publish("bell/front", 1, false, "OFF"))
	expect(t, sets, "hall/set OFF")

	// Everything is there again after a restart, before the device is.
	device.Disconnect(0)
	stop()
	h, _ = start(t, dir)
	if entity(t, h, "Hall lamp").ID != e.ID {
		t.Errorf("the lamp is %s after a restart, was %s", entity(t, h, "Hall lamp").ID, e.ID)
	}
	device = client(t, h, "lamp")
	sets = hears(t, device, "hall/set")
	wait(t, device.Publish("bell/front", 1, false, "ON"))
	expect(t, sets, "hall/set ON")
}

// Devices announce themselves when they hear that the hub is there, also those
// that came back a little later.
func TestBirth(t *testing.T) {
	t.Parallel() // it waits ten seconds
	h, _ := start(t, t.TempDir())
	expect(t, hears(t, client(t, h, "bridge"), "homeassistant/status"), "homeassistant/status online")
}

// No part of a hub is shared: two in one process know nothing of each other.
func TestTwoHubs(t *testing.T) {
	a, _ := start(t, t.TempDir())
	b, _ := start(t, t.TempDir())
	wait(t, client(t, a, "lamp").Publish("homeassistant/switch/hall/config", 1, true, lamp))
	entity(t, a, "Hall lamp")
	if n := len(b.model.House().Devices); n != 0 {
		t.Errorf("the other hub has %d devices", n)
	}
	if _, err := a.people.FirstRun(t.Context(), "Elm Street", "Jo", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if b.people.HasOwner() || a.name() != "Elm Street" || b.name() != "Lar "+b.people.Installation() {
		t.Errorf("the hubs are called %q and %q", a.name(), b.name())
	}
	for _, h := range []*Hub{a, b} {
		for _, address := range h.Addresses() {
			if address.Kind != "web" {
				continue
			}
			resp, err := http.Get(address.Text + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s answers %s", address.Text, resp.Status)
			}
		}
	}
}

// as connects with a credential and keeps its session.
func as(t *testing.T, h *Hub, id, username, password string, lost chan<- string) (c mqttclient.Client, present bool, err error) {
	t.Helper()
	c = mqttclient.NewClient(mqttclient.NewClientOptions().
		AddBroker("tcp://" + h.mqttLn.Addr().String()).SetClientID(id).SetCleanSession(false).
		SetUsername(username).SetPassword(password).SetAutoReconnect(false).
		SetConnectionLostHandler(func(mqttclient.Client, error) { lost <- id }))
	token := c.Connect().(*mqttclient.ConnectToken)
	if !token.WaitTimeout(patience) {
		t.Fatal("the broker does not answer")
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c, token.SessionPresent(), token.Error()
}

// A device that came while the house stood open goes on with its session when
// it has been given a credential, and loses it with that.
func TestCredentialAndSession(t *testing.T) {
	h, _ := start(t, t.TempDir())
	lost := make(chan string, 10)
	device, _, err := as(t, h, "device", "", "", lost)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, device.Subscribe("x", 1, nil))
	device.Disconnect(0)
	open := connectRaw(t, h, "open", "", "")

	if _, err := h.people.FirstRun(t.Context(), "Elm Street", "Jo", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := as(t, h, "device", "", "", lost); err == nil {
		t.Fatal("a device without a credential is let in")
	}
	open.gone("a client without a credential, once there is an owner")
	if _, ok := h.broker.Session("open"); !ok {
		t.Error("its session is gone, too")
	}
	lamp, err := h.people.AddCredential(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	plug, err := h.people.AddCredential(t.Context(), "plug")
	if err != nil {
		t.Fatal(err)
	}
	_, present, err := as(t, h, "device", "lamp", lamp, lost)
	if err != nil || !present {
		t.Fatalf("with its credential the device has a session: %v, %v", present, err)
	}
	if _, _, err := as(t, h, "device", "plug", plug, lost); err == nil {
		t.Error("another credential takes the session over")
	}

	if err := h.people.RemoveCredential(t.Context(), "lamp"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(patience):
		t.Error("a client stays connected without its credential")
	}
	if _, present, err := as(t, h, "device", "plug", plug, lost); err != nil || present {
		t.Errorf("the next credential finds a session: %v, %v", present, err)
	}
}

// A New that fails leaves nothing behind: neither ports nor the folder.
func TestFailedStart(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	if _, err := New(Config{Dir: dir, MQTT: addr, HTTP: "127.0.0.1:0"}); err == nil {
		t.Fatal("two hubs have one folder")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the port is still open: %v", err)
	}
	ln.Close()
	if _, err := New(Config{Dir: t.TempDir(), MQTT: h.mqttLn.Addr().String(), HTTP: "127.0.0.1:0"}); err == nil {
		t.Fatal("two hubs have one port")
	}
	stop()
	start(t, dir)
}
