package history

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"lar.home/devices"
)

// What kinds of series there are.
const (
	kindNumber = 'n'
	kindBool   = 'b'
	kindEnum   = 'e'
)

func knownKind(kind byte) bool { return kind == kindNumber || kind == kindBool || kind == kindEnum }

// What counters there are.
const (
	notCounter = iota
	increasing // what falls began anew
	total      // what falls was given back
)

// A meta is what a series is of. It is never changed, only replaced: what has
// another unit or type is another series.
type meta struct {
	Entity  string `json:"entity"`
	Aspect  string `json:"aspect"`
	Type    byte   `json:"type"`
	Unit    string `json:"unit,omitempty"`
	Counter int    `json:"counter,omitempty"`
	Ended   bool   `json:"ended,omitempty"` // the aspect has another unit or type now

	threshold, share float64 // what a number must change by, as such and of what it was
}

const (
	maxUnit = 32  // bytes of a unit; what is longer is cut
	maxName = 255 // bytes of the name of an entity or aspect
)

// describe returns what a series of an aspect is of; ok is false for what has
// no history: texts, colours, times, and what is secret.
func describe(e *devices.Entity, a *devices.Aspect) (m meta, ok bool) {
	m = meta{Entity: e.ID, Aspect: a.Name, Unit: cut(a.Unit, maxUnit)}
	switch a.Type {
	case devices.Bool:
		m.Type, m.Unit = kindBool, ""
	case devices.Number:
		m.Type = kindNumber
	case devices.Enum:
		m.Type, m.Unit = kindEnum, ""
	default:
		return m, false
	}
	if a.Secret || a.Name == "" || len(a.Name) > maxName || e.ID == "" || len(e.ID) > maxName {
		return m, false
	}
	if m.Type == kindNumber {
		m.Counter = counter(e, a)
		m.setThreshold(e.DeviceClass)
	}
	return m, true
}

func cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// counter tells whether an aspect counts up. Where a meter of energy, gas or
// water does not say, it does.
func counter(e *devices.Entity, a *devices.Aspect) int {
	if e.Kind != devices.Sensor || a.Unit == "" {
		return notCounter
	}
	switch e.StateClass {
	case "total_increasing":
		return increasing
	case "total":
		return total
	case "":
		if slices.Contains([]string{"energy", "gas", "water"}, e.DeviceClass) {
			return increasing
		}
	}
	return notCounter
}

// thresholds say by how much a number must change to be kept, by unit. A
// class of device that is not measured in its usual way has one of its own.
var thresholds = map[string]struct{ by, share float64 }{
	"°C": {0.1, 0}, "K": {0.1, 0}, "°F": {0.2, 0},
	"%":   {0.5, 0},
	"hPa": {0.2, 0}, "mbar": {0.2, 0}, "kPa": {0.02, 0}, "Pa": {20, 0},
	"W": {1, 0.01}, "kW": {0.001, 0.01}, "VA": {1, 0.01}, "var": {1, 0.01},
	"V": {0.5, 0}, "mV": {5, 0}, "A": {0.01, 0.01}, "mA": {10, 0.01},
	"Hz":  {0.05, 0},
	"lx":  {1, 0.05},
	"ppm": {10, 0}, "ppb": {5, 0}, "µg/m³": {1, 0},
	"dBm": {3, 0}, "dB": {1, 0}, "lqi": {10, 0},
	"km/h": {0.5, 0}, "m/s": {0.2, 0},
	"kWh": {0.001, 0}, "Wh": {1, 0},
}

// setThreshold finds the threshold of a number; 0: every change counts.
func (m *meta) setThreshold(class string) {
	t := thresholds[m.Unit]
	if class == "battery" && m.Unit == "%" {
		t.by = 1
	}
	m.threshold, m.share = t.by, t.share
}

// differs tells whether a number is far enough from the one kept last.
func (m *meta) differs(from, to float64) bool {
	by := math.Abs(to - from)
	// Steps of exactly the threshold count, whatever binary fractions make of them.
	return by > 0 && by >= max(m.threshold, m.share*math.Abs(from))*(1-1e-9)
}

func (m *meta) encode() []byte {
	value, err := json.Marshal(m)
	if err != nil {
		return nil // plain texts and numbers: it cannot happen
	}
	return value
}

// is tells whether a series is still of the same thing.
func (m *meta) is(n *meta) bool {
	return m.Type == n.Type && m.Unit == n.Unit && m.Counter == n.Counter
}
