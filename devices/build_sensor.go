package devices

import (
	"strings"
	"time"

	"lar.home/devices/template"
)

// buildSensor: a sensor is a number if it has a unit, a state class, a
// precision or a class that is measured in numbers; else an enum, a time or a
// text.
func buildSensor(b *builder) {
	c := b.cfg
	a := Aspect{Name: "value", Unit: strings.TrimSpace(c.Name("unit_of_measurement")), Precision: -1}
	var parse parser
	switch class := b.spec.deviceClass; {
	case class == "timestamp":
		a.Type, parse = Time, instant
	case class == "date":
		a.Type, parse = Time, day
	case class == "enum" || c.Options.Key("options").Kind() == template.List:
		a.Type, a.Options = Enum, c.Texts("options", maxOptions)
		parse = anyText // also what the list leaves out: new firmware, old list
	case a.Unit != "" || c.Has("unit_of_measurement") || b.spec.stateClass != "" || measured[class] || c.Has("suggested_display_precision"):
		a.Type, parse = Number, number
		if p := c.Number("suggested_display_precision", -1); p >= 0 && p <= 12 {
			a.Precision = int(p)
		}
	default:
		a.Type, parse = Text, anyText
	}
	i := b.aspect(a)
	if !b.value(i, "state_topic", "value_template", parse) {
		b.missing("state_topic", "")
		b.spec.aspects = nil
		return
	}
	b.spec.expireAfter = b.seconds("expire_after")
	if c.Has("last_reset_value_template") {
		last := b.aspect(Aspect{Name: "last_reset", Type: Time, Detail: true})
		topic := "last_reset_topic"
		if !c.Has(topic) {
			topic = "state_topic"
		}
		b.value(last, topic, "last_reset_value_template", instant)
	}
}

// measured are the classes whose values are numbers. Of another one nobody
// knows what its values are, so they stay as they come.
var measured = set("absolute_humidity apparent_power aqi area atmospheric_pressure battery blood_glucose_concentration " +
	"carbon_dioxide carbon_monoxide conductivity current data_rate data_size distance duration energy energy_distance " +
	"energy_storage frequency gas humidity illuminance irradiance moisture monetary nitrogen_dioxide nitrogen_monoxide " +
	"nitrous_oxide ozone ph pm1 pm10 pm25 pm4 power power_factor precipitation precipitation_intensity pressure " +
	"reactive_energy reactive_power signal_strength sound_pressure speed sulphur_dioxide temperature temperature_delta " +
	"volatile_organic_compounds volatile_organic_compounds_parts voltage volume volume_flow_rate volume_storage water " +
	"weight wind_direction wind_speed")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// instant reads a time as ISO 8601 has it; without a zone it is local to
// nobody knows whom, and taken as UTC.
func instant(text string) (Value, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Value{}, false
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04Z07:00",
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
	} {
		if t, err := time.Parse(layout, text); err == nil {
			return TextValue(t.Format(time.RFC3339)), true
		}
	}
	return Value{}, true
}

// day reads a date.
func day(text string) (Value, bool) {
	v, ok := instant(text)
	if len(v.Str) > len(time.DateOnly) {
		v.Str = v.Str[:len(time.DateOnly)]
	}
	return v, ok
}
