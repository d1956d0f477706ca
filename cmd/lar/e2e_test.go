package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A lamp and a motion sensor as their firmware announces them.
const (
	lampConfig = `{"name": null, "unique_id": "hall_lamp", "qos": 1,
		"state_topic": "home/hall/lamp/state", "command_topic": "home/hall/lamp/set",
		"device": {"identifiers": ["hall_lamp"], "name": "Hall lamp", "suggested_area": "Hall"}}`
	motionConfig = `{"name": "Motion", "unique_id": "hall_motion", "device_class": "motion",
		"state_topic": "home/hall/motion/state",
		"device": {"identifiers": ["hall_motion"], "name": "Hall motion", "suggested_area": "Hall"}}`
)

// TestFirstEvening is what a family does on the first evening, with nothing
// that was written for it: from the first page to an automation that goes on
// after the power was cut.
func TestFirstEvening(t *testing.T) {
	t.Parallel() // it mostly waits
	needMosquitto(t)
	dir := t.TempDir()
	h := start(t, dir)
	b := newTab(t, h.web, 412, 915)

	// The home gets its name and its owner.
	b.moveIn("Elm Street", "Jo", "three small words")
	b.sees("main", "No devices yet")

	// The lamp gets a credential; from now on nobody connects without one.
	lamp := b.addCredential("hall-lamp")
	if lamp.addr != h.mqtt {
		t.Errorf("the page says the hub is at %s, it is at %s", lamp.addr, h.mqtt)
	}
	if code, _ := connect(t, h.mqtt, "", ""); code != 5 {
		t.Errorf("CONNECT without a credential is answered %d, want 5, not authorized", code)
	}

	// It says what it is, and is there, live.
	commands := lamp.subscribe("home/hall/lamp/set", "-i", "hall-lamp", "-c")
	b.follow("nav", "Home")
	lamp.publish("homeassistant/light/hall_lamp/config", lampConfig, "-r")
	b.sees("main", "Hall lamp")
	const tile = `document.querySelector(".tile")`
	lamp.publish("home/hall/lamp/state", "ON", "-r")
	b.sees(".tile .say", "On")
	b.until(tile + `.dataset.state === "on"`)

	// Switched off here, it hears of it; what is shown follows what it says.
	b.flip("main", "Hall lamp")
	commands.next("home/hall/lamp/set OFF")
	b.sees(".tile .say", "On")
	lamp.publish("home/hall/lamp/state", "OFF", "-r")
	b.sees(".tile .say", "Off")
	b.until(tile + `.dataset.state === "off"`)

	// An automation: somebody comes in, light for a while.
	const wait = 24 * time.Second
	lamp.publish("homeassistant/binary_sensor/hall_motion/config", motionConfig, "-r")
	b.sees("main", "Hall motion")
	lamp.publish("home/hall/motion/state", "OFF", "-r")
	b.automate("Light when somebody comes in", func() {
		b.choose("#t", "Device", "Hall motion")
		b.choose("#t", "Value", "Motion")
		b.follow("#editor", "Tell a device")
		b.choose("#a0", "Device and command", "Hall lamp: turn on")
		b.follow("#editor", "Wait")
		b.fill("#a1", "How long", fmt.Sprint(wait.Seconds()))
		b.choose("#a1", "How long, unit", "seconds")
		b.follow("#editor", "Tell a device")
		b.choose("#a2", "Device and command", "Hall lamp: turn off")
	})
	b.sees("#runs", "It has not run yet")

	// Somebody comes in.
	lamp.publish("home/hall/motion/state", "ON", "-r")
	fired := commands.next("home/hall/lamp/set ON")
	lamp.publish("home/hall/lamp/state", "ON", "-r")
	b.sees("#runs", "Waiting")

	// A tablet on the wall shows Home, all the time.
	tablet := newTab(t, h.web, 1280, 800)
	tablet.signIn("Jo", "three small words")
	tablet.sees(".tile .say", "On")

	// The power is cut, and comes back when half of the time has gone by.
	h.stop(syscall.SIGKILL)
	<-time.After(time.Until(fired.Add(wait / 2)))
	start(t, dir, "--mqtt", h.mqtt, "--http", strings.TrimPrefix(h.web, "http://"))

	// Everybody and everything is still known; Jo is still signed in.
	b.open("/")
	b.sees("h1", "Elm Street")
	b.sees(".tile .say", "On")
	b.follow("nav", "Settings")
	b.sees("#you ~ *", "Jo")
	b.sees("main", "hall-lamp")
	b.follow("nav", "Automations")
	b.follow("main", "Light when somebody comes in")
	b.sees("#runs", "Waiting")

	// The wait ends when it should have, had nothing happened; begun anew it
	// would end half of its time later.
	ended := commands.next("home/hall/lamp/set OFF")
	if late := ended.Sub(fired) - wait; late < -time.Second/2 || late > wait/2-time.Second {
		t.Errorf("the wait of %v ended %v after it began", wait, ended.Sub(fired))
	}
	lamp.publish("home/hall/lamp/state", "OFF", "-r")
	b.sees("#runs", "Done")
	tablet.sees(".tile .say", "Off")
	tablet.until(`document.getElementById("stale").hidden`)
	tablet.clean()

	// And why it did all this can be read.
	b.follow("#runs", b.says("#runs a"))
	b.sees("[data-testid=outcome]", "Done")
	for _, text := range []string{"Hall motion went from no motion to motion", "Turn on Hall lamp", "Wait 24 seconds", "Turn off Hall lamp"} {
		b.sees("#run", text)
	}
	commands.empty()
	b.clean()
}
