package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "write packaging/screenshots anew")

const screenshots = "../../packaging/screenshots"

// An entity is what a device announces of one thing that it measures or does.
type entity struct {
	component, name, class, unit string
	more                         map[string]any
	state                        string
}

// furnish brings in the devices of a family's home, each with its state.
func furnish(c client) {
	dimmable := func(state string, modes ...string) entity {
		return entity{component: "light", state: state, more: map[string]any{
			"schema": "json", "brightness": true, "supported_color_modes": modes}}
	}
	plug := entity{component: "switch", state: "ON"}
	measures := func(name, class, unit, state string) entity {
		return entity{component: "sensor", name: name, class: class, unit: unit, state: state}
	}
	detects := func(name, class, state string) entity {
		return entity{component: "binary_sensor", name: name, class: class, state: state}
	}
	battery := func(percent string) entity {
		e := measures("Battery", "battery", "%", percent)
		e.more = map[string]any{"entity_category": "diagnostic"}
		return e
	}
	signal := measures("Signal strength", "signal_strength", "dBm", "-61")
	signal.more = map[string]any{"entity_category": "diagnostic"}
	home := []struct {
		room, name, maker, model string
		has                      []entity
	}{
		{"Hall", "Hall lamp", "Nordlys", "Bulb E27", []entity{
			dimmable(`{"state":"ON","brightness":178,"color_mode":"color_temp","color_temp":320}`, "color_temp", "rgb"), signal}},
		{"Hall", "Hall motion", "Brunn", "Motion 2", []entity{
			detects("Motion", "motion", "OFF"), measures("Illuminance", "illuminance", "lx", "38"), battery("87")}},
		{"Hall", "Front door", "Brunn", "Contact", []entity{detects("Door", "door", "OFF"), battery("64")}},
		{"Kitchen", "Kitchen ceiling", "Nordlys", "Panel 60", []entity{dimmable(`{"state":"OFF"}`, "brightness")}},
		{"Kitchen", "Coffee machine", "Wattson", "Plug S", []entity{plug, measures("Power", "power", "W", "1210"), measures("Energy", "energy", "kWh", "48.7")}},
		{"Kitchen", "Fridge", "Brunn", "Probe", []entity{measures("Temperature", "temperature", "°C", "4.6"), battery("91")}},
		{"Kitchen", "Under the sink", "Brunn", "Leak", []entity{detects("Water", "moisture", "OFF"), battery("100")}},
		{"Living room", "Floor lamp", "Nordlys", "Strip", []entity{
			dimmable(`{"state":"ON","brightness":92,"color_mode":"rgb","color":{"r":255,"g":140,"b":60}}`, "rgb")}},
		{"Living room", "Television", "Wattson", "Plug S", []entity{plug, measures("Power", "power", "W", "86")}},
		{"Living room", "Living room climate", "Brunn", "Climate", []entity{
			measures("Temperature", "temperature", "°C", "21.4"), measures("Humidity", "humidity", "%", "44"), battery("72")}},
		{"Living room", "Balcony door", "Brunn", "Contact", []entity{detects("Door", "door", "ON"), battery("58")}},
		{"Bedroom", "Bedside lamp", "Nordlys", "Bulb E14", []entity{dimmable(`{"state":"OFF"}`, "color_temp")}},
		{"Bedroom", "Bedroom climate", "Brunn", "Climate", []entity{
			measures("Temperature", "temperature", "°C", "18.9"), measures("Humidity", "humidity", "%", "51"), battery("69")}},
		{"Bathroom", "Bathroom climate", "Brunn", "Climate", []entity{
			measures("Temperature", "temperature", "°C", "23.1"), measures("Humidity", "humidity", "%", "58"), battery("15")}},
		{"Bathroom", "Fan", "Wattson", "Relay", []entity{{component: "switch", state: "OFF"}}},
		{"Garden", "Garden lights", "Wattson", "Relay outdoor", []entity{{component: "switch", state: "OFF",
			more: map[string]any{"availability_topic": "home/garden_lights/online"}}}},
		{"", "Electricity meter", "Wattson", "Meter 3", []entity{
			measures("Power", "power", "W", "1874"), measures("Energy", "energy", "kWh", "12846.3")}},
	}
	slug := strings.NewReplacer(" ", "_").Replace
	for _, d := range home {
		id := slug(strings.ToLower(d.name))
		for _, e := range d.has {
			unique, label := id, any(nil)
			if e.name != "" {
				unique, label = id+"_"+slug(strings.ToLower(e.name)), e.name
			}
			base := "home/" + unique
			config := map[string]any{
				"name": label, "unique_id": unique, "state_topic": base + "/state",
				"device": map[string]any{"identifiers": []string{id}, "name": d.name, "suggested_area": d.room, "manufacturer": d.maker, "model": d.model},
			}
			if e.component == "light" || e.component == "switch" {
				config["command_topic"] = base + "/set"
			}
			if e.class != "" {
				config["device_class"] = e.class
			}
			if e.unit != "" {
				config["unit_of_measurement"] = e.unit
			}
			maps.Copy(config, e.more)
			payload, err := json.Marshal(config)
			if err != nil {
				c.t.Fatal(err)
			}
			c.publish("homeassistant/"+e.component+"/"+unique+"/config", string(payload), "-r")
			c.publish(base+"/state", e.state, "-r")
		}
	}
	c.publish("home/garden_lights/online", "offline", "-r")
}

// TestScreenshots opens every page of a furnished home on a phone and on a
// desktop. With -update it photographs them.
func TestScreenshots(t *testing.T) {
	t.Parallel() // it mostly waits
	needMosquitto(t)
	h := start(t, t.TempDir())
	phone := newTab(t, h.web, 412, 915)
	desktop := newTab(t, h.web, 1280, 800)
	shoot := func(name string) {
		t.Helper()
		phone.shoot(name+"-phone", 412, 915)
		desktop.shoot(name+"-desktop", 1280, 800)
	}

	for _, b := range []*tab{phone, desktop} {
		b.open("/")
	}
	shoot("first-run")
	phone.moveIn("Elm Street", "Jo", "three small words")
	phone.sees("main", "No devices yet")
	desktop.open("/")
	desktop.shoot("sign-in-desktop", 1280, 800)
	desktop.signIn("Jo", "three small words")
	shoot("no-devices")

	for _, name := range []string{"zigbee-bridge", "hall-lamp", "coffee-machine"} {
		phone.addCredential(name)
	}
	phone.shoot("credential-phone", 412, 915)
	gear := desktop.addCredential("workbench")
	desktop.shoot("credential-desktop", 1280, 800)
	furnish(gear)

	phone.automate("Light when somebody comes in", func() {
		phone.choose("#t", "Device", "Hall motion")
		phone.choose("#t", "Value", "Motion")
		phone.follow("#editor", "A device's state")
		phone.choose("#c0", "Device", "Hall motion Illuminance")
		phone.choose("#c0", "Comparison", "is below")
		phone.fill("#c0", "Value, lx", "100")
		phone.follow("#editor", "Tell a device")
		phone.choose("#a0", "Device and command", "Hall lamp: turn on")
		phone.follow("#editor", "Wait")
		phone.fill("#a1", "How long", "5")
		phone.follow("#editor", "Tell a device")
		phone.choose("#a2", "Device and command", "Hall lamp: turn off")
	})
	lamp := eval[string](phone, `location.pathname`)
	phone.automate("Fan while it is damp", func() {
		phone.choose("#t", "Device", "Bathroom climate Humidity")
		phone.choose("#t", "How", "rises above")
		phone.fill("#t", "Value, %", "65")
		phone.follow("#editor", "Tell a device")
		phone.choose("#a0", "Device and command", "Fan: turn on")
		phone.follow("#editor", "Wait")
		phone.fill("#a1", "How long", "20")
		phone.follow("#editor", "Tell a device")
		phone.choose("#a2", "Device and command", "Fan: turn off")
	})
	phone.automate("Balcony door left open", func() {
		phone.choose("#t", "Device", "Balcony door")
		phone.choose("#t", "Value", "Open")
		phone.fill("#t", "and stays so for", "10")
		phone.follow("#editor", "Send a message")
		phone.fill("#a0", "Topic", "home/chime")
		phone.fill("#a0", "Message", "The balcony door is still open")
	})
	gear.publish("home/hall_motion_motion/state", "ON", "-r")
	phone.open(lamp)
	phone.sees("#runs", "Waiting")
	run := eval[string](phone, `new URL(document.querySelector("#runs a").href).pathname`)

	device := map[string]string{}
	phone.open("/devices")
	for _, name := range []string{"Hall lamp", "Living room climate", "Coffee machine"} {
		device[name] = eval[string](phone, `new URL(hands.button("main", %s).href).pathname`, name)
	}
	for _, page := range []struct{ name, path string }{
		{"home", "/"},
		{"devices", "/devices"},
		{"lamp", device["Hall lamp"]},
		{"plug", device["Coffee machine"]},
		{"climate", device["Living room climate"]},
		{"automations", "/automations"},
		{"automation", lamp},
		{"automation-new", "/automations/new"},
		{"run", run},
		{"settings", "/settings"},
		{"missing", "/attic"},
	} {
		phone.open(page.path)
		desktop.open(page.path)
		shoot(page.name)
	}
	phone.open("/settings")
	phone.follow("main", "Sign out")
	phone.shoot("sign-in-phone", 412, 915)
}

// shoot checks that a page is sound and fits the screen, and with -update
// keeps a picture of it: what a person sees first, or if it is longer a bit of
// what follows.
func (b *tab) shoot(name string, width, height int64) {
	b.t.Helper()
	b.clean()
	if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		b.t.Errorf("%s: the page is %d pixels wider than the screen", name, over)
	}
	if !*update {
		return
	}
	tall := min(eval[int64](b, `document.documentElement.scrollHeight`), 2*height)
	b.do(chromedp.EmulateViewport(width, max(height, tall)))
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, height))
	small, err := shrink(shot)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), small, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// shrink writes a picture with the 256 colours that say most of it: those it
// has most of, none too close to another. Pages have few colours, and text no
// need for all the shades of its edges.
func shrink(shot []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	bounds := img.Bounds()
	count := map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[img.At(x, y)]++
		}
	}
	common := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))) // the same each time
	})
	const close = 6 // of 255, in each of red, green and blue
	palette := color.Palette{common[0]}
	for _, c := range common {
		if len(palette) == 256 {
			break
		}
		r, g, b, _ := c.RGBA()
		r0, g0, b0, _ := palette.Convert(c).RGBA()
		if max(r, r0)-min(r, r0) > close<<8 || max(g, g0)-min(g, g0) > close<<8 || max(b, b0)-min(b, b0) > close<<8 {
			palette = append(palette, c)
		}
	}
	nearest := map[color.Color]uint8{}
	for c := range count {
		nearest[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, nearest[img.At(x, y)])
		}
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, small)
	return b.Bytes(), err
}
