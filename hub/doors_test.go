package hub

import (
	"testing"

	mqttclient "github.com/eclipse/paho.mqtt.golang"
)

// TestWebSocketBesidePages holds that clients reach the broker by the port of
// the pages.
func TestWebSocketBesidePages(t *testing.T) {
	h, _ := start(t, t.TempDir())
	heard := hears(t, client(t, h, "sub"), "hall/#")
	c := mqttclient.NewClient(mqttclient.NewClientOptions().
		AddBroker("ws://" + h.httpLn.Addr().String() + "/mqtt").SetClientID("web").SetAutoReconnect(false))
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	wait(t, c.Publish("hall/state", 1, false, "on"))
	expect(t, heard, "hall/state on")
}
