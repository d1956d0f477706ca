package hub

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"

	"lar.home/devices"
	"lar.home/mqtt"
)

// TestShelly: a Shelly that connects to the hub is asked what it is, is there,
// does what it is told, and is there again after a restart before it has
// said anything.
func TestShelly(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	results := map[string]string{
		"Shelly.GetDeviceInfo": `{"name":"Kettle","id":"shellyplusplugs-a8032abe54dc","mac":"A8032ABE54DC","model":"SNPL","gen":2,"ver":"1.4.2","app":"PlusPlugS"}`,
		"Shelly.GetConfig":     `{"switch:0":{"id":0,"name":null}}`,
		"Shelly.GetStatus":     `{"switch:0":{"id":0,"output":true,"apower":12.5},"sys":{"available_updates":{}}}`,
		"Switch.Set":           `{"was_on":true}`,
	}
	calls := make(chan string, 100)
	plug := client(t, h, "plug")
	wait(t, plug.Subscribe("plug/rpc", 1, func(_ mqttclient.Client, m mqttclient.Message) {
		var call struct {
			ID     int
			Source string `json:"src"`
			Method string
		}
		if err := json.Unmarshal(m.Payload(), &call); err != nil {
			calls <- err.Error()
			return
		}
		answer := fmt.Sprintf(`{"id":%d,"src":"shellyplusplugs-a8032abe54dc","dst":%q,"result":%s}`, call.ID, call.Source, results[call.Method])
		if results[call.Method] == "" {
			answer = fmt.Sprintf(`{"id":%d,"src":"shellyplusplugs-a8032abe54dc","dst":%q,"error":{"code":404,"message":"No handler"}}`, call.ID, call.Source)
		}
		plug.Publish(call.Source+"/rpc", 1, false, answer)
		calls <- call.Method
	}))
	wait(t, plug.Publish("plug/online", 1, true, "true"))
	for _, want := range []string{"Shelly.GetDeviceInfo", "Shelly.GetConfig", "Shelly.GetStatus", "Shelly.GetComponents"} {
		expect(t, calls, want)
	}
	kettle := entity(t, h, "Kettle")
	if v := kettle.State().Readings[0].Value; v != devices.BoolValue(true) {
		t.Errorf("it is %+v, and on", v)
	}
	heard := hears(t, client(t, h, "ear"), "plug/rpc")
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error { return h.model.Command(turn, kettle.ID, "turn_off", nil) })
	if err != nil {
		t.Fatal(err)
	}
	expect(t, heard, `plug/rpc {"id":5,"src":"lar/shelly/plug","method":"Switch.Set","params":{"id":0,"on":false}}`)
	expect(t, calls, "Switch.Set")
	stop()

	h, _ = start(t, dir)
	if e := entity(t, h, "Kettle"); e.ID != kettle.ID {
		t.Errorf("it is %s, and was %s", e.ID, kettle.ID)
	}
}

// TestHomie: a device that has announced itself by Homie before the hub's
// start is there after it.
func TestHomie(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	lamp := client(t, h, "lamp")
	for topic, payload := range map[string]string{
		"$state": "ready", "light/power": "true",
		"$description": `{"homie":"5.0","version":1,"name":"Lamp","nodes":{"light":{"name":"Light","type":"light","properties":{"power":{"datatype":"boolean","settable":true}}}}}`,
	} {
		wait(t, lamp.Publish("homie/5/lamp/"+topic, 1, true, payload))
	}
	first := entity(t, h, "Lamp")
	stop()
	h, _ = start(t, dir)
	again := entity(t, h, "Lamp")
	deadline := time.Now().Add(patience)
	for again.State().Readings[0].Value != devices.BoolValue(true) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond) // what is retained comes after what describes it
	}
	if v := again.State().Readings[0].Value; again.ID != first.ID || v != devices.BoolValue(true) {
		t.Errorf("%s is %+v, want %s to be on", again.ID, v, first.ID)
	}
	heard := hears(t, client(t, h, "lamp"), "homie/5/lamp/light/power/set")
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error { return h.model.Command(turn, again.ID, "toggle", nil) })
	if err != nil {
		t.Fatal(err)
	}
	expect(t, heard, "homie/5/lamp/light/power/set false")
}
