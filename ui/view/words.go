package view

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/ui/assets"
)

// Reading returns what is known of an aspect of an entity.
func Reading(e *devices.Entity, st *devices.State, aspect string) (devices.Reading, bool) {
	for i, a := range e.Aspects {
		if a.Name == aspect && i < len(st.Readings) {
			return st.Readings[i], true
		}
	}
	return devices.Reading{}, false
}

// isOn tells whether an entity is known to be on.
func isOn(e *devices.Entity, st *devices.State) bool {
	r, _ := Reading(e, st, "on")
	return r.Value.Bool
}

// values counts the aspects of an entity that are shown at first sight.
func values(e *devices.Entity) int {
	n := 0
	for _, a := range e.Aspects {
		if !a.Detail {
			n++
		}
	}
	return n
}

// Text returns a value in words: "On", "21.4 °C".
func Text(a devices.Aspect, v devices.Value) string {
	unit := ""
	if a.Unit != "" {
		unit = "\u00a0" + a.Unit
	}
	switch v.Type {
	case devices.Bool:
		if v.Bool {
			return "On"
		}
		return "Off"
	case devices.Number:
		return Number(v.Num, a.Precision) + unit
	case devices.Text:
		if a.Type == devices.Time {
			if at, err := time.Parse(time.RFC3339, v.Str); err == nil {
				return Moment(at.Local(), at)
			}
		}
		return v.Str + unit
	}
	return "No value yet"
}

// Number writes a number with precision digits after the point, or with as
// many as are worth showing when precision is negative.
func Number(f float64, precision int) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "–"
	case precision >= 0:
		return strconv.FormatFloat(f, 'f', min(precision, 8), 64)
	case f != 0 && math.Abs(f) < 0.1 || math.Abs(f) >= 1e15:
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

// binaryWords say what on and off mean for a class of binary sensor.
var binaryWords = map[string][2]string{
	"battery":          {"Low", "Normal"},
	"battery_charging": {"Charging", "Not charging"},
	"carbon_monoxide":  {"Carbon monoxide!", "Clear"},
	"cold":             {"Cold", "Normal"},
	"connectivity":     {"Connected", "Disconnected"},
	"door":             {"Open", "Closed"},
	"garage_door":      {"Open", "Closed"},
	"gas":              {"Gas!", "Clear"},
	"heat":             {"Hot", "Normal"},
	"light":            {"Light", "Dark"},
	"lock":             {"Unlocked", "Locked"},
	"moisture":         {"Wet", "Dry"},
	"motion":           {"Motion", "No motion"},
	"moving":           {"Moving", "Still"},
	"occupancy":        {"Occupied", "Empty"},
	"opening":          {"Open", "Closed"},
	"plug":             {"Plugged in", "Unplugged"},
	"power":            {"Power", "No power"},
	"presence":         {"Home", "Away"},
	"problem":          {"Problem", "OK"},
	"running":          {"Running", "Not running"},
	"safety":           {"Unsafe", "Safe"},
	"smoke":            {"Smoke!", "Clear"},
	"sound":            {"Sound", "Quiet"},
	"tamper":           {"Tampered with", "Untouched"},
	"update":           {"Update available", "Up to date"},
	"vibration":        {"Vibration", "Still"},
	"window":           {"Open", "Closed"},
}

// warns names the classes of binary sensor whose on asks for attention.
var warns = map[string]bool{
	"battery": true, "carbon_monoxide": true, "gas": true, "moisture": true,
	"problem": true, "safety": true, "smoke": true, "tamper": true,
}

// Word says what on and off are called for an entity.
func Word(e *devices.Entity, on bool) string {
	words, ok := binaryWords[e.DeviceClass]
	if !ok || e.Kind != devices.BinarySensor {
		words = [2]string{"On", "Off"}
	}
	if on {
		return words[0]
	}
	return words[1]
}

// Say tells an entity's state in a word or two: "On · 62 %", "Closed".
func Say(e *devices.Entity, st *devices.State) string {
	if !st.Available {
		return "Not reachable"
	}
	switch e.Kind {
	case devices.Switch, devices.Light, devices.BinarySensor:
		r, _ := Reading(e, st, "on")
		if !r.Value.Known() {
			return "No value yet"
		}
		word := Word(e, r.Value.Bool)
		if a, level, ok := brightness(e, st); ok && r.Value.Bool {
			word += " · " + Text(a, level)
		}
		return word
	}
	if len(e.Aspects) == 0 || len(st.Readings) == 0 {
		return "No value yet"
	}
	if e.Kind == devices.Climate || e.Kind == devices.WaterHeater {
		return sayClimate(e, st)
	}
	return Text(e.Aspects[0], st.Readings[0].Value)
}

// sayClimate says how warm it is, how warm it is to be, and the mode.
func sayClimate(e *devices.Entity, st *devices.State) string {
	var words []string
	for _, name := range []string{"current_temp", "target", "mode"} {
		for i, a := range e.Aspects {
			if a.Name != name || i >= len(st.Readings) || !st.Readings[i].Value.Known() {
				continue
			}
			switch word := Text(a, st.Readings[i].Value); name {
			case "target":
				words = append(words, "to "+word)
			case "mode":
				words = append(words, Label(word))
			default:
				words = append(words, word)
			}
		}
	}
	if len(words) == 0 {
		return "No value yet"
	}
	return strings.Join(words, " · ")
}

func brightness(e *devices.Entity, st *devices.State) (devices.Aspect, devices.Value, bool) {
	for i, a := range e.Aspects {
		if a.Name == "brightness" && i < len(st.Readings) && st.Readings[i].Value.Known() {
			return a, st.Readings[i].Value, true
		}
	}
	return devices.Aspect{}, devices.Value{}, false
}

// State returns the one word styles go by: "on" (somebody may turn it off),
// "active" and "warn" (a binary sensor that is on), "off", "value", "unknown",
// or "away" when the entity cannot be reached.
func State(e *devices.Entity, st *devices.State) string {
	if !st.Available {
		return "away"
	}
	switch e.Kind {
	case devices.Switch, devices.Light, devices.BinarySensor:
		r, _ := Reading(e, st, "on")
		switch {
		case !r.Value.Known():
			return "unknown"
		case !r.Value.Bool:
			return "off"
		case e.Kind == devices.BinarySensor && warns[e.DeviceClass]:
			return "warn"
		case e.Kind == devices.BinarySensor:
			return "active"
		}
		return "on"
	}
	return "value"
}

var sensorIcons = map[string]string{
	"apparent_power": "flash", "battery": "battery", "carbon_dioxide": "molecule-co2",
	"current": "flash", "duration": "timer-outline", "energy": "flash",
	"humidity": "water-percent", "illuminance": "brightness-6", "moisture": "water-percent",
	"power": "flash", "pressure": "gauge", "signal_strength": "signal",
	"speed": "speedometer", "temperature": "thermometer", "timestamp": "clock-outline",
	"voltage": "flash", "wind_speed": "weather-windy",
}

// binaryIcons are the icons of classes of binary sensor, on first.
var binaryIcons = map[string][2]string{
	"battery":      {"battery-alert", "battery"},
	"connectivity": {"lan-connect", "lan-disconnect"},
	"door":         {"door-open", "door-closed"},
	"garage_door":  {"door-open", "door-closed"},
	"lock":         {"lock-open-variant", "lock"},
	"moisture":     {"water-alert", "water-percent"},
	"motion":       {"motion-sensor", "motion-sensor"},
	"occupancy":    {"motion-sensor", "motion-sensor"},
	"opening":      {"window-open-variant", "window-closed-variant"},
	"plug":         {"power-socket-eu", "power-socket-eu"},
	"power":        {"flash", "flash"},
	"presence":     {"account-outline", "account-outline"},
	"problem":      {"alert-outline", "check-circle-outline"},
	"smoke":        {"smoke-detector-variant", "smoke-detector-variant"},
	"safety":       {"shield-alert-outline", "shield-alert-outline"},
	"update":       {"update", "update"},
	"vibration":    {"vibrate", "vibrate"},
	"window":       {"window-open-variant", "window-closed-variant"},
}

// deviceIcon is the icon that a person gave the device, for its main parts.
func deviceIcon(e *devices.Entity) string {
	if e.Device == nil || e.Category != devices.Primary {
		return ""
	}
	return e.Device.Personal.Icon
}

// IconName returns the icon that shows an entity in its state.
func IconName(e *devices.Entity, st *devices.State) string {
	if name := iconOr(cmp.Or(e.Icon, deviceIcon(e)), ""); name != "" {
		return name
	}
	switch e.Kind {
	case devices.Light:
		if isOn(e, st) {
			return "lightbulb"
		}
		return "lightbulb-outline"
	case devices.Switch:
		if e.DeviceClass == "outlet" {
			return "power-socket-eu"
		}
		return "power"
	case devices.BinarySensor:
		pair, ok := binaryIcons[e.DeviceClass]
		switch {
		case !ok:
			return "eye-outline"
		case isOn(e, st):
			return pair[0]
		}
		return pair[1]
	}
	return cmp.Or(sensorIcons[e.DeviceClass], "eye-outline")
}

// Leaves returns what pages show of an entity, as pairs of binding and value:
// what the components render, so that a page can be brought up to date
// without rendering it again.
func Leaves(e *devices.Entity, st *devices.State) []any {
	icon, _ := assets.Icon(IconName(e, st))
	ok := 0
	if st.Available {
		ok = 1
	}
	pairs := []any{"ok", ok, "state", State(e, st), "say", Say(e, st), "icon", icon}
	for i, a := range e.Aspects {
		if i >= len(st.Readings) {
			break
		}
		r := st.Readings[i]
		if a.Detail {
			continue
		}
		pairs = append(pairs, a.Name, raw(r.Value))
		if a.Type != devices.Bool {
			pairs = append(pairs, a.Name+".say", Text(a, r.Value))
		}
		if i == 0 && !r.Changed.IsZero() {
			pairs = append(pairs, "since", r.Changed.UnixMilli())
		}
	}
	return pairs
}

func raw(v devices.Value) any {
	switch v.Type {
	case devices.Bool:
		if v.Bool {
			return 1
		}
		return 0
	case devices.Number:
		if math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
			return nil
		}
		return v.Num
	case devices.Text:
		return v.Str
	}
	return nil
}

// Command returns the command of an entity with a name.
func Command(e *devices.Entity, name string) (devices.Command, bool) {
	i := slices.IndexFunc(e.Commands, func(c devices.Command) bool { return c.Name == name })
	if i < 0 {
		return devices.Command{}, false
	}
	return e.Commands[i], true
}

// CanSwitch tells whether an entity can be turned on and off.
func CanSwitch(e *devices.Entity) bool {
	_, on := Command(e, "turn_on")
	_, off := Command(e, "turn_off")
	return on && off
}

// A dial is a value of an entity that a person may set besides on and off.
type dial struct {
	id      string
	command string
	arg     devices.Aspect
	value   devices.Value
}

// dials returns what can be set, in the order of the entity's commands.
func dials(e *devices.Entity, st *devices.State) []dial {
	var list []dial
	for _, c := range e.Commands {
		if len(c.Required) > 1 {
			continue
		}
		for _, a := range c.Args {
			shown := slices.ContainsFunc(e.Aspects, func(have devices.Aspect) bool { return have.Name == a.Name })
			known := slices.ContainsFunc(list, func(d dial) bool { return d.arg.Name == a.Name })
			if !shown || known || a.Type == devices.Bool {
				continue
			}
			r, _ := Reading(e, st, a.Name)
			list = append(list, dial{e.ID + "-" + a.Name, c.Name, a, r.Value})
		}
	}
	return list
}

var labels = map[string]string{
	"on":                "State",
	"value":             "Value",
	"color":             "Colour",
	"color_temp":        "Colour temperature",
	"color_temperature": "Colour temperature",
	"turn_on":           "Turn on",
	"turn_off":          "Turn off",
}

// Label turns the name of an aspect or a command into words: "color_temp" is
// "Colour temperature".
func Label(name string) string {
	if l, ok := labels[name]; ok || name == "" {
		return l
	}
	l := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(l[:1]) + l[1:]
}

// Ago says how long ago something was, in words.
func Ago(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case d < 45*time.Second:
		return "just now"
	case d < 90*time.Minute:
		return many(d, time.Minute, "minute")
	case d < 36*time.Hour:
		return many(d, time.Hour, "hour")
	}
	return many(d, 24*time.Hour, "day")
}

func many(d, unit time.Duration, word string) string {
	n := max(1, int((d+unit/2)/unit))
	if n > 1 {
		word += "s"
	}
	return strconv.Itoa(n) + " " + word + " ago"
}

// Moment writes a time of day with its date.
func Moment(now, at time.Time) string { return at.In(now.Location()).Format("2 Jan 2006, 15:04") }

// stamp writes a time as the datetime attribute wants it.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// yes writes a truth as ARIA attributes want it.
func yes(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// Size says how many bytes there are, with about two digits.
func Size(n uint64) string {
	f, unit := float64(n), 0
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	for f >= 999.5 && unit < len(units)-1 {
		f, unit = f/1000, unit+1
	}
	if f < 10 && unit > 0 {
		return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[unit]
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + " " + units[unit]
}
