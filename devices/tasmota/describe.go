package tasmota

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
)

// An Entity is one entity of a device: its kind, name, class and commands in
// the words of the other convention, and where its values stand.
type Entity struct {
	homeassistant.Config
	// Sources are where its value stands or, of those with more than one, the
	// objects that have them.
	Sources []Source
	// On and Off are how the device says that it is on or off.
	On, Off string
	// PowerKeys are the names of its relay in an object.
	PowerKeys []string
	Plain     []string // topics that have the word for on or off alone
	Light     *Light
	Shutter   *Shutter
	Fan       *Fan
}

// A Source is a place in the messages of a topic.
type Source struct {
	Topic string
	Path  []string // keys, and places in lists; empty: the message itself
}

// A Light says what a light can do and which commands it knows.
type Light struct {
	Dims, Colors, Temperature, White, Effects bool

	Dimmer     string // key of the brightness
	Power      string // topics of commands
	Dim        string
	HSB, CT    string
	WhiteTopic string
	Scheme     string
	Fade, Rate string
	// FixedRate: the rate of a fade is a time for all of it.
	FixedRate bool
	// SendPower: a brightness does not turn the light on by itself.
	SendPower bool
}

// Schemes are the effects of a light by number.
var Schemes = []string{"None", "Wake up", "Cycle up", "Cycle down", "Random"}

// A Shutter says how a cover is told.
type Shutter struct {
	Key                         string // of its object: "Shutter1"
	Inverted                    bool   // it counts from open to closed
	Open, Close, Stop, Position string // topics of commands
	Tilt                        string // empty if it cannot
	TiltMin, TiltMax            float64
	Plain                       string // topic of its position alone
}

// A Fan has three speeds.
type Fan struct{ Speed string }

// FanKey is the name of a fan's speed.
const FanKey = "FanSpeed"

// A describer collects the entities of a device.
type describer struct {
	*Config
	device *homeassistant.Device
	out    []Entity
	taken  map[string]bool
}

func newDescriber(c *Config) *describer {
	d := &describer{Config: c, taken: map[string]bool{}}
	d.device = &homeassistant.Device{
		Identifiers: Identifiers(c.MAC), Name: c.Name, Manufacturer: "Tasmota", Model: c.Model, SWVersion: c.Version,
	}
	if strings.Contains(c.IP, ":") {
		d.device.ConfigURL = "http://[" + c.IP + "]/"
	} else if c.IP != "" {
		d.device.ConfigURL = "http://" + c.IP + "/"
	}
	return d
}

// Describe returns what a device has, apart from what it measures.
func Describe(c *Config) []Entity {
	d := newDescriber(c)
	d.relays()
	d.shutters()
	if c.Fan {
		d.fan()
	}
	d.switches()
	d.buttons()
	d.status()
	return d.out
}

// add adds an entity, with what all of them have. nil of an option leaves it
// out.
func (d *describer) add(component, object string, options map[string]any) *Entity {
	for first, n := object, 2; d.taken[component+"/"+object]; n++ {
		object = first + "_" + strconv.Itoa(n)
	}
	d.taken[component+"/"+object] = true
	options["unique_id"] = chip(d.MAC) + "_" + object
	if !d.Sleeps { // one that sleeps has its last will sent each time
		options["availability_topic"] = d.Will()
		options["payload_available"], options["payload_not_available"] = d.Online, d.Offline
	}
	for k, v := range options {
		if v == nil && k != "name" {
			delete(options, k)
		}
	}
	value, err := template.Of(options)
	if err != nil {
		value = template.Value{} // texts, numbers and flags: it cannot happen
	}
	d.out = append(d.out, Entity{On: d.On, Off: d.Off, Config: homeassistant.Config{
		// No topic of the other convention has a node with a slash in it.
		Topic:  homeassistant.Topic{Component: component, Node: "tasmota/" + d.MAC, Object: object},
		Device: d.device, Options: value,
	}})
	return &d.out[len(d.out)-1]
}

// relayName names a relay as the person did: the first one may have the name
// of the device, then it has none of its own.
func (d *describer) relayName(i int, kind string) any {
	name := ""
	if i < len(d.Names) {
		name = d.Names[i]
	}
	switch {
	case name == "" && i == 0, name == d.Name && i == 0:
		return nil
	case name == "", slices.Index(d.Names, name) != i:
		return kind + " " + strconv.Itoa(i+1)
	}
	return name
}

// power returns the name of a relay: the only one of a device has no number.
func (d *describer) power(i int) string {
	n := 0
	for _, kind := range d.Relays {
		if kind != relayNone {
			n++
		}
	}
	if i == 0 && n == 1 {
		return "POWER"
	}
	return "POWER" + strconv.Itoa(i+1)
}

// powers sets under which names a relay is told: with SetOption26 the only one
// has a number.
func (d *describer) powers(e *Entity, i int) {
	e.PowerKeys = []string{"POWER" + strconv.Itoa(i+1)}
	if i == 0 {
		e.PowerKeys = append(e.PowerKeys, "POWER")
	}
	for _, key := range e.PowerKeys {
		e.Plain = append(e.Plain, d.answer(key))
	}
}

// states are where objects with the state of the whole device stand, and of
// answers to the commands given.
func (d *describer) states(commands ...string) []Source {
	out := []Source{{Topic: d.answer("RESULT")}, {Topic: d.tele("STATE")}, {Topic: d.answer("STATUS11"), Path: []string{"StatusSTS"}}}
	if d.Options[optionAnswers] {
		for _, name := range commands {
			out = append(out, Source{Topic: d.answer(strings.ToUpper(name))})
		}
	}
	return out
}

func (d *describer) relays() {
	lights := 0
	for i, kind := range d.Relays {
		power := d.power(i)
		plain := d.Fan && i == 0 || d.Options[optionLights] && kind == relaySwitch
		switch {
		case kind == relayLight && !plain && d.LightType > lightNone:
			d.light(i, lights, power)
			lights++
		case kind == relaySwitch || kind == relayLight:
			component, object, name := "switch", "RL_", "Relay"
			if plain || kind == relayLight {
				component, object, name = "light", "LI_", "Light"
			}
			e := d.add(component, object+strconv.Itoa(i+1), map[string]any{
				"name": d.relayName(i, name), "command_topic": d.command(power), "payload_on": d.On, "payload_off": d.Off,
			})
			d.powers(e, i)
			e.Sources = d.states(e.PowerKeys...)
			if component == "light" {
				e.Light = &Light{Power: d.command(power)}
			}
		}
	}
}

// light describes a light by the type of all the device's channels: one light,
// a color and a white that are set apart, or one for each channel.
func (d *describer) light(i, nth int, power string) {
	kind, dimmer, dim := d.LightType, "Dimmer", "Dimmer"
	if d.Tuya {
		dim = "Dimmer3"
	}
	switch {
	case d.Options[optionChannels]:
		kind = lightSingle
		dimmer = "Channel" + strconv.Itoa(i+1)
		dim = dimmer
	case !d.Linked && kind >= lightRGBW:
		dimmer = "Dimmer" + strconv.Itoa(min(nth+1, 2))
		dim = dimmer
		switch {
		case nth == 0:
			kind = lightRGB
		case kind == lightRGBW:
			kind = lightSingle
		default:
			kind = lightColdWarm
		}
	}
	low, high := 153, 500
	if d.Options[optionReducedCT] {
		low, high = 200, 380
	}
	e := d.add("light", "LI_"+strconv.Itoa(i+1), map[string]any{
		"name": d.relayName(i, "Light"), "min_mireds": low, "max_mireds": high,
	})
	d.powers(e, i)
	e.Sources = d.states(append(slices.Clone(e.PowerKeys), dim, "HSBColor", "Color", "CT", "White", "Scheme")...)
	e.Light = &Light{
		Dims: true, Colors: kind >= lightRGB, Temperature: kind == lightColdWarm || kind == lightRGBCW, White: kind == lightRGBW, Effects: kind >= lightRGB,
		Dimmer: dimmer, Power: d.command(power), Dim: d.command(dim), HSB: d.command("HSBColor"), CT: d.command("CT"),
		WhiteTopic: d.command("White"), Scheme: d.command("Scheme"),
		FixedRate: d.Options[optionFadeDuration], SendPower: d.Options[optionNotLinked],
	}
	if !d.Tuya {
		e.Light.Fade, e.Light.Rate = d.command("Fade2"), d.command("Speed2")
	}
}

// shutters: each has two relays, one after the other.
func (d *describer) shutters() {
	n := 0
	for i := 0; i+1 < len(d.Relays); i++ {
		if d.Relays[i] != relayShutter || d.Relays[i+1] != relayShutter {
			continue
		}
		i++
		n++
		number := strconv.Itoa(n)
		var name any // the only one has that of the device
		if n > 1 || slices.Contains(d.Relays[i+1:], relayShutter) {
			name = "Shutter " + number
		}
		e := d.add("cover", "SHT_"+number, map[string]any{"name": name, "device_class": "shutter"})
		s := &Shutter{
			Key: "Shutter" + number, Plain: d.answer("SHUTTER" + number),
			Open: d.command("ShutterOpen" + number), Close: d.command("ShutterClose" + number), Stop: d.command("ShutterStop" + number),
			Position: d.command("ShutterPosition" + number),
			Inverted: n <= len(d.ShutterOptions) && d.ShutterOptions[n-1]&1 != 0,
		}
		if n <= len(d.ShutterTilts) && d.ShutterTilts[n-1][0] != d.ShutterTilts[n-1][1] {
			s.Tilt, s.TiltMin, s.TiltMax = d.command("ShutterTilt"+number), d.ShutterTilts[n-1][0], d.ShutterTilts[n-1][1]
		}
		e.Shutter = s
		e.Sources = append(d.states("ShutterOpen"+number, "ShutterClose"+number, "ShutterStop"+number, "ShutterPosition"+number, "ShutterTilt"+number), d.measured()...)
	}
}

func (d *describer) fan() {
	e := d.add("fan", "FAN_1", map[string]any{"name": "Fan"})
	e.Fan = &Fan{Speed: d.command(FanKey)}
	e.Sources = d.states(FanKey)
}

// A mode of a switch input says what becomes of it.
type mode struct {
	binary, pulse bool // it is on or off; it is so for a second only
	toggle, hold  bool // it tells these
}

// modes by SwitchMode.
var modes = map[int]mode{
	0: {toggle: true}, 1: {binary: true}, 2: {binary: true},
	3: {binary: true, toggle: true}, 4: {binary: true, toggle: true},
	5: {binary: true, toggle: true, hold: true}, 6: {binary: true, toggle: true, hold: true},
	7: {toggle: true}, 8: {toggle: true, hold: true},
	9: {binary: true, hold: true}, 10: {binary: true, hold: true},
	11: {toggle: true}, 12: {toggle: true}, 13: {binary: true, pulse: true}, 14: {binary: true, pulse: true},
	15: {binary: true}, 16: {binary: true},
}

// switches describes switch inputs that are told apart from relays
// (SetOption114).
func (d *describer) switches() {
	for i, number := range d.Switches {
		m, ok := modes[number]
		if !ok {
			continue
		}
		n := strconv.Itoa(i + 1)
		key := "Switch" + n
		name := "Switch " + n
		if i < len(d.SwitchNames) && d.SwitchNames[i] != "" {
			key, name = d.SwitchNames[i], d.SwitchNames[i]
		}
		told := []Source{{Topic: d.answer("RESULT"), Path: []string{key, "Action"}}}
		if d.Options[optionAnswers] {
			told = append(told, Source{Topic: d.answer("SWITCH" + n), Path: []string{key, "Action"}})
		}
		if m.binary {
			options := map[string]any{"name": name}
			if m.pulse {
				options["off_delay"] = 1
			}
			e := d.add("binary_sensor", "SW_"+n, options)
			e.Sources = told
			if !m.pulse {
				for _, s := range d.measured() {
					e.Sources = append(e.Sources, Source{s.Topic, append(slices.Clone(s.Path), key)})
				}
			}
		}
		var types []string
		if m.toggle {
			types = append(types, d.Toggle)
		}
		if m.hold {
			types = append(types, d.Hold)
		}
		if len(types) > 0 {
			d.event("SW_"+n, name, types, told)
		}
	}
}

// buttons describes buttons that are told and switch nothing (SetOption73).
func (d *describer) buttons() {
	if !d.Options[optionButtons] {
		return
	}
	types := []string{"SINGLE", "DOUBLE", "TRIPLE", "QUAD", "PENTA", "HOLD", "CLEAR"}
	if d.Options[optionSingle] {
		types = types[:1]
	}
	for i, there := range d.Buttons {
		if !there {
			continue
		}
		n := strconv.Itoa(i + 1)
		told := []Source{{Topic: d.answer("RESULT"), Path: []string{"Button" + n, "Action"}}}
		if d.Options[optionAnswers] {
			told = append(told, Source{Topic: d.answer("BUTTON" + n), Path: []string{"Button" + n, "Action"}})
		}
		d.event("BTN_"+n, "Button "+n, types, told)
	}
}

func (d *describer) event(object, name string, types []string, told []Source) {
	e := d.add("event", object, map[string]any{"name": name, "event_types": types})
	e.Sources = told
}

// status describes what each Tasmota tells of itself.
func (d *describer) status() {
	for _, s := range []struct {
		object, name string
		path         []string
		options      map[string]any
	}{
		{"signal", "Signal", []string{"Wifi", "Signal"}, map[string]any{"device_class": "signal_strength", "unit_of_measurement": "dBm", "state_class": "measurement"}},
		{"status", "Status", []string{"Wifi", "RSSI"}, map[string]any{"unit_of_measurement": "%", "icon": "mdi:wifi", "enabled_by_default": false}},
		{"uptime", "Uptime", []string{"UptimeSec"}, map[string]any{"device_class": "duration", "unit_of_measurement": "s", "enabled_by_default": false}},
		{"mqtt_count", "MQTT connections", []string{"MqttCount"}, map[string]any{"icon": "mdi:counter", "state_class": "measurement", "enabled_by_default": false}},
	} {
		s.options["name"], s.options["entity_category"] = s.name, "diagnostic"
		e := d.add("sensor", s.object, s.options)
		for _, at := range d.states() {
			if at.Topic != d.answer("RESULT") {
				e.Sources = append(e.Sources, Source{at.Topic, append(slices.Clone(at.Path), s.path...)})
			}
		}
	}
}

// measured are where what the device measures stands.
func (d *describer) measured() []Source {
	return []Source{{Topic: d.tele("SENSOR")}, {Topic: d.answer("STATUS10"), Path: []string{"StatusSNS"}}}
}

// DescribeSensors returns what a device measures.
func DescribeSensors(c *Config, s *Sensors) []Entity {
	d := newDescriber(c)
	for _, l := range s.Leaves {
		names := slices.Clone(l.Path)
		quantity := names[len(names)-1]
		if l.List {
			quantity = names[len(names)-2]
			if n, err := strconv.Atoi(names[len(names)-1]); err == nil {
				names[len(names)-1] = strconv.Itoa(n + 1)
			}
		} else if _, known := quantities[quantity]; !known && len(names) > 2 {
			quantity = names[1] // "Speed" of Speed, Act
		}
		q := quantities[quantity]
		options := map[string]any{"name": sensorName(names), "state_class": "measurement"}
		for k, v := range map[string]string{"unit_of_measurement": unit(q.unit, s.Units), "device_class": q.class, "state_class": q.state, "icon": q.icon} {
			if v != "" {
				options[k] = v
			}
		}
		if q.class == "pressure" && options["unit_of_measurement"] == "hPa" {
			options["device_class"] = "atmospheric_pressure"
		}
		if q.state == "none" {
			delete(options, "state_class")
		}
		e := d.add("sensor", object(names), options)
		for _, at := range d.measured() {
			e.Sources = append(e.Sources, Source{at.Topic, append(slices.Clone(at.Path), l.Path...)})
		}
	}
	return d.out
}

// object makes the end of a unique ID as a Tasmota does: the first name, then
// the others with a line for all that is no letter or digit.
func object(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	rest := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.Join(names[1:], " "))
	return names[0] + "_" + rest
}

// sensorName makes "Apparent power" of ENERGY, ApparentPower.
func sensorName(names []string) string {
	var words []string
	for i, n := range names {
		switch {
		case n == "ENERGY" && i == 0 && len(names) > 1:
		case i == 0 && len(names) > 1:
			words = append(words, n)
		case quantities[n].name != "":
			words = append(words, quantities[n].name)
		default:
			words = append(words, spaced(n))
		}
	}
	s := strings.Join(words, " ")
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}

// spaced makes "dew point" of DewPoint; what is all capitals stays.
func spaced(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		upper := c >= 'A' && c <= 'Z'
		if upper && i > 0 && s[i-1] >= 'a' && s[i-1] <= 'z' {
			b.WriteByte(' ')
			if i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z' {
				c += 'a' - 'A'
			}
		} else if upper && i == 0 && len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// unit fills in what the device says of its units.
func unit(u string, said map[string]string) string {
	if !strings.HasSuffix(u, "Unit") {
		return u
	}
	switch s := said[u]; {
	case u == "TempUnit" && s == "":
		return "°C"
	case u == "TempUnit" && s != "K":
		return "°" + s
	case u == "PressureUnit" && s == "":
		return "hPa"
	default:
		return s
	}
}

// A quantity is what a key means: units that end in Unit are said by the
// device.
type quantity struct{ unit, class, state, icon, name string }

var quantities = map[string]quantity{
	"Temperature": {unit: "TempUnit", class: "temperature"},
	"DewPoint":    {unit: "TempUnit", class: "temperature", icon: "mdi:weather-rainy"},
	"HeatIndex":   {unit: "TempUnit", class: "temperature"},
	"Humidity":    {unit: "%", class: "humidity"},
	"Pressure":    {unit: "PressureUnit", class: "pressure"},
	"SeaPressure": {unit: "PressureUnit", class: "pressure", name: "sea level pressure"},
	"Illuminance": {unit: "lx", class: "illuminance"},
	"Ambient":     {unit: "lx", class: "illuminance"},
	"Moisture":    {unit: "%", class: "moisture"},
	"Battery":     {unit: "%", class: "battery"},
	"Distance":    {unit: "cm", class: "distance"},
	"Weight":      {unit: "kg", class: "weight"},
	"Speed":       {unit: "SpeedUnit", icon: "mdi:weather-windy"},
	"Noise":       {unit: "dB", class: "sound_pressure"},

	"Power":          {unit: "W", class: "power"},
	"ActivePower":    {unit: "W", class: "power"},
	"ApparentPower":  {unit: "VA", class: "apparent_power"},
	"ReactivePower":  {unit: "var", class: "reactive_power"},
	"Factor":         {class: "power_factor", name: "power factor"},
	"Voltage":        {unit: "V", class: "voltage"},
	"Current":        {unit: "A", class: "current"},
	"CurrentNeutral": {unit: "A", class: "current"},
	"Frequency":      {unit: "Hz", class: "frequency"},
	"PhaseAngle":     {unit: "°", icon: "mdi:sine-wave"},
	"Period":         {unit: "Wh", name: "energy of the period", state: "none"},

	"Total":          {unit: "kWh", class: "energy", state: "total_increasing", name: "energy total"},
	"Today":          {unit: "kWh", class: "energy", state: "total_increasing", name: "energy today"},
	"Yesterday":      {unit: "kWh", class: "energy", state: "none", name: "energy yesterday"},
	"Energy":         {unit: "kWh", class: "energy", state: "total_increasing"},
	"TotalTariff":    {unit: "kWh", class: "energy", state: "total_increasing", name: "energy of tariff"},
	"ExportTariff":   {unit: "kWh", class: "energy", state: "total_increasing", name: "export of tariff"},
	"ExportActive":   {unit: "kWh", class: "energy", state: "total_increasing", name: "energy exported"},
	"ImportActive":   {unit: "kWh", class: "energy", state: "total_increasing", name: "energy imported"},
	"ExportReactive": {unit: "kvarh", state: "total_increasing"},
	"ImportReactive": {unit: "kvarh", state: "total_increasing"},

	"CarbonDioxide": {unit: "ppm", class: "carbon_dioxide"},
	"CO2":           {unit: "ppm", class: "carbon_dioxide"},
	"eCO2":          {unit: "ppm", class: "carbon_dioxide"},
	"TVOC":          {unit: "ppb", class: "volatile_organic_compounds_parts"},
	"PM1":           {unit: "µg/m³", class: "pm1"},
	"PM2.5":         {unit: "µg/m³", class: "pm25"},
	"PM10":          {unit: "µg/m³", class: "pm10"},
	"CF1":           {unit: "µg/m³"},
	"CF2.5":         {unit: "µg/m³"},
	"CF10":          {unit: "µg/m³"},
	"PB0.3":         {unit: "ppd"},
	"PB0.5":         {unit: "ppd"},
	"PB1":           {unit: "ppd"},
	"PB2.5":         {unit: "ppd"},
	"PB5":           {unit: "ppd"},
	"PB10":          {unit: "ppd"},
	"CCT":           {unit: "K", icon: "mdi:temperature-kelvin"},
}
