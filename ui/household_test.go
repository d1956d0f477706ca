package ui

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"lar.home/devices"
	"lar.home/mqtt"
)

// equip gives a furnished home a group, floors, notes and a Zigbee2MQTT.
func (h *home) equip() {
	h.t.Helper()
	err := h.Do(context.Background(), func(t *mqtt.Turn) error {
		if _, err := h.model.AddGroup(t, devices.Group{Name: "Evening lamps", Area: "Hall", Members: []string{"light.hall_lamp", "switch.kettle", "light.reading_lamp", "light.gone"}}); err != nil {
			return err
		}
		for room, floor := range map[string]string{"Hall": "Ground floor", "Bathroom": "First floor"} {
			if err := h.model.EditArea(t, room, devices.Area{Name: room, Floor: floor}); err != nil {
				return err
			}
		}
		kettle := h.model.House().Entity("switch.kettle").Device.ID
		return h.model.SetDevice(t, kettle, devices.Personal{Favourite: true, Notes: "Descale it in May.", Icon: "mdi:flash"})
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.publish("zigbee2mqtt/bridge/state", `{"state":"online"}`)
	h.publish("zigbee2mqtt/bridge/info", `{"version":"2.14.1","permit_join":false}`)
	h.publish("zigbee2mqtt/bridge/devices", `[{"ieee_address":"0x0000000000000011","friendly_name":"porch","type":"Router","interview_state":"SUCCESSFUL","definition":{"vendor":"Acme","description":"Socket","exposes":[{"type":"switch","features":[{"type":"binary","name":"state","property":"state","access":7,"value_on":"ON","value_off":"OFF"}]}]}},{"ieee_address":"0x0000000000000012","friendly_name":"new one","type":"Router","interview_state":"FAILED"}]`)
	h.until(func() bool { return h.model.House().Entity("switch.porch") != nil })
}

// TestHousehold does with forms what a person does with devices, rooms and
// groups.
func TestHousehold(t *testing.T) {
	h, b := furnished(t)
	h.equip()
	b.get("/").shows(200, "Favourites", "Kettle", "Evening lamps", "Ground floor", "First floor")
	if body := b.body; strings.Index(body, ">Favourites<") > strings.Index(body, ">Bathroom<") {
		t.Error("favourites do not come first")
	}

	kettle := h.model.House().Entity("switch.kettle").Device
	b.get("/devices/"+kettle.ID).shows(200, "Descale it in May.", "Forget this device")
	b.post("/devices/"+kettle.ID, "name", "Kettle", "room", "Kitchen", "notes", "Gone\r\nsoon", "hidden", "yes", "icon", "mdi:power").shows(200, "Saved.")
	if p := h.model.House().Device(kettle.ID).Personal; p != (devices.Personal{Notes: "Gone\nsoon", Hidden: true, Icon: "mdi:power"}) {
		t.Errorf("the kettle has %+v", p)
	}
	b.get("/rooms/Kitchen").shows(200)
	if strings.Contains(b.body, ">Kettle<") {
		t.Error("what is hidden is on the page of its room")
	}
	b.post("/devices/"+kettle.ID, "name", "Kettle", "icon", "lamp").shows(422, "An icon is written as")
	b.post("/devices/"+kettle.ID, "name", "Kettle", "notes", strings.Repeat("x", 2001)).shows(422, "at most 2000")

	// Rooms.
	b.get("/rooms").shows(200, "Ground floor", "First floor", "Elsewhere", "Hall", "2 devices", "Evening lamps", "4 members")
	b.post("/rooms", "name", "Attic / East", "floor", "Top").shows(200, "Attic / East was added.", "Top")
	b.get("/rooms/"+url.PathEscape("Attic / East")).shows(200, "Attic / East", "Top")
	b.post("/rooms", "name", "").shows(422, "A room has a name.")
	b.post("/rooms/Hall", "name", "Entrance", "floor", "Ground floor").at("/rooms/Entrance").shows(200, "Entrance", "Hall lamp", "Evening lamps")
	if area := h.model.House().Entity("light.hall_lamp").Device.Area; area != "Entrance" {
		t.Errorf("the hall lamp is in %q", area)
	}
	b.post("/rooms/Entrance/remove").at("/rooms").shows(200, "Entrance was removed.")
	b.get("/rooms/Nowhere").shows(404, "There is no such room")
	b.post("/rooms/Nowhere", "name", "x").shows(404)

	// Groups.
	b.get("/groups/group.evening_lamps").shows(200, "All of it", "Turn on", "Turn off", "Brightness", "Hall lamp", "Kettle", "light.gone (not here now)")
	before := len(h.gear.heard())
	b.post("/groups/group.evening_lamps/do", "command", "turn_on", "brightness", "50").shows(200)
	if heard := h.gear.heard()[before:]; len(heard) != 3 || !slices.Contains(heard, "home/kettle/set ON") || !strings.Contains(strings.Join(heard, "\n"), `"brightness":128`) {
		t.Errorf("the devices heard %q", heard)
	}
	b.post("/groups/group.evening_lamps/do", "command", "dance").shows(422, "cannot do that")
	b.post("/groups/group.evening_lamps", "name", "Lamps", "member", "light.hall_lamp", "favourite", "yes").shows(200, "Saved.", "Lamps")
	b.post("/groups/group.evening_lamps", "name", "").shows(422, "A group has a name.")
	b.get("/groups/new").shows(200, "Members", "Reading lamp")
	b.post("/groups/new", "name", "").shows(422, "A group has a name.")
	b.post("/groups/new", "name", "Power", "member", "switch.kettle", "member", "light.hall_lamp").at("/groups/group.power").shows(200, "The group was made.")
	b.post("/groups/group.power/remove").shows(200, "Power was removed.")
	b.get("/groups/group.power").shows(404, "There is no such group")

	// Forgetting, with a way back.
	b.post("/devices/"+kettle.ID+"/forget").at("/devices").shows(200, "Kettle is forgotten", "Undo")
	if h.model.House().Device(kettle.ID) != nil {
		t.Error("the kettle is still there")
	}
	b.post("/devices/"+kettle.ID+"/undo").shows(200, "It is back.", "Kettle")
	b.post("/devices/"+kettle.ID+"/undo").shows(200, "too late")
	b.post("/devices/nothing/forget").shows(404)
}

// TestForgottenInRules holds that an automation which refers to a forgotten
// device says so.
func TestForgottenInRules(t *testing.T) {
	h, b := furnished(t)
	rule := h.automate()
	if list := h.rules.Rule(rule.ID).Status.Problems; len(list) > 0 {
		t.Fatalf("before, the rule has %+v", list)
	}
	b.post("/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID + "/forget").shows(200)
	if list := h.rules.Rule(rule.ID).Status.Problems; len(list) == 0 {
		t.Error("an automation of a forgotten device has no problem")
	}
	b.get("/automations").shows(200, "light.hall_lamp")
}

// TestZigbeePage lets devices join, renames and removes one, by asking the
// gateway.
func TestZigbeePage(t *testing.T) {
	h, b := furnished(t)
	h.equip()
	asked := make(chan string, 8)
	h.gateway(asked)
	b.get("/zigbee").shows(200, "zigbee2mqtt", "Running", "2.14.1", "Let new devices join", "new one")
	b.post("/zigbee/join?base=zigbee2mqtt", "seconds", "254").at("/zigbee").shows(200, "Done.")
	porch := "/devices/" + h.model.House().Entity("switch.porch").Device.ID
	b.get(porch).shows(200, "Name in Zigbee2MQTT", "Remove from Zigbee")
	b.post(porch+"/rename", "to", "garden").shows(200, "Done.")
	b.post(porch+"/rename", "to", "a+b").shows(200, "is part of topics")
	b.post(porch+"/leave", "force", "yes").shows(200, "Zigbee2MQTT says: no such luck")
	b.post("/zigbee/join?base=zigbee2mqtt", "seconds", "255").shows(422)
	b.post("/zigbee/join?base=none", "seconds", "1").shows(200, "There is no Zigbee2MQTT")
	close(asked)
	var all []string
	for q := range asked {
		all = append(all, q)
	}
	if got := strings.Join(all, " "); got != "permit_join device/rename device/remove" {
		t.Errorf("the gateway was asked for %q", got)
	}
}
