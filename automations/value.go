package automations

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
)

// A Value is a constant in a rule: on or off, a number or a text. In JSON it
// is true or false, a number or a string.
type Value devices.Value

// Constructors.
func On() Value              { return Value(devices.BoolValue(true)) }
func Off() Value             { return Value(devices.BoolValue(false)) }
func Number(f float64) Value { return Value(devices.NumberValue(f)) }
func Text(s string) Value    { return Value(devices.TextValue(s)) }

// ParseValue reads what a person typed for an aspect of a type.
func ParseValue(s string, t devices.Type) (Value, error) {
	switch t {
	case devices.Bool:
		b, ok := parseBool(s)
		if !ok {
			return Value{}, fmt.Errorf("%q is neither on nor off", s)
		}
		return Value(devices.BoolValue(b)), nil
	case devices.Number:
		f, ok := parseNumber(s)
		if !ok {
			return Value{}, fmt.Errorf("%q is not a number", s)
		}
		return Number(f), nil
	default:
		return Text(s), nil
	}
}

// GuessValue reads what a person typed where no type is known, such as for a
// payload: a number if it looks like one, a text otherwise.
func GuessValue(s string) Value {
	if f, ok := parseNumber(s); ok {
		return Number(f)
	}
	return Text(s)
}

// String returns the value as it is shown, typed and published: on, off, 21.5
// or the text.
func (v Value) String() string {
	switch v.Type {
	case "":
		return "unknown"
	case devices.Bool:
		if v.Bool {
			return "on"
		}
		return "off"
	case devices.Number:
		return strconv.FormatFloat(v.Num, 'f', -1, 64)
	default:
		return v.Str
	}
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Type {
	case "":
		return []byte("null"), nil
	case devices.Bool:
		return json.Marshal(v.Bool)
	case devices.Number:
		return json.Marshal(v.Num)
	default:
		return json.Marshal(v.Str)
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(b []byte) error {
	var a any
	if err := json.Unmarshal(b, &a); err != nil {
		return err
	}
	switch a := a.(type) {
	case nil:
		*v = Value{}
	case bool:
		*v = Value(devices.BoolValue(a))
	case float64:
		*v = Number(a)
	case string:
		*v = Text(a)
	default:
		return fmt.Errorf("a value is on or off, a number or a text")
	}
	return nil
}

// parseBool reads the words for on and off, in any case.
func parseBool(s string) (on, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// parseNumber reads a finite decimal number.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if len(s) == 0 || len(s) > 64 || strings.ContainsAny(s, "xXpP_iInN") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

// A Duration is a time span, in JSON as Go writes it, "2m0s"; days are read as
// well: "7d", "1d12h".
type Duration time.Duration

// String returns "2m0s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	text, days := string(b), time.Duration(0)
	if n, rest, ok := strings.Cut(text, "d"); ok {
		f, err := strconv.ParseFloat(n, 64)
		if err != nil || f < -1e5 || f > 1e5 || f != f {
			return fmt.Errorf("%.40q is not a duration such as 90s, 2h30m or 7d", b)
		}
		days, text = time.Duration(f*float64(24*time.Hour)), rest
		if rest == "" {
			*d = Duration(days)
			return nil
		}
	}
	p, err := time.ParseDuration(text)
	if err != nil || days < 0 || days > 0 && p < 0 {
		return fmt.Errorf("%.40q is not a duration such as 90s, 2h30m or 7d", b)
	}
	*d = Duration(days + p)
	return nil
}

// A TimeOfDay is minutes since midnight, in JSON "22:30".
type TimeOfDay int

// Clock returns the time of day for an hour and a minute.
func Clock(hour, minute int) TimeOfDay { return TimeOfDay(hour*60 + minute) }

// String returns "22:30".
func (c TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// MarshalText implements encoding.TextMarshaler.
func (c TimeOfDay) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *TimeOfDay) UnmarshalText(b []byte) error {
	t, err := time.Parse("15:04", string(b))
	if err != nil {
		return fmt.Errorf("%.40q is not a time of day such as 22:30", b)
	}
	*c = Clock(t.Hour(), t.Minute())
	return nil
}

// A Weekday is a day of the week, in JSON "mon".
type Weekday time.Weekday

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// String returns "mon".
func (d Weekday) String() string {
	if d < 0 || d > 6 {
		return "day " + strconv.Itoa(int(d))
	}
	return weekdays[d]
}

// MarshalText implements encoding.TextMarshaler.
func (d Weekday) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Weekday) UnmarshalText(b []byte) error {
	for i, name := range weekdays {
		if name == string(b) {
			*d = Weekday(i)
			return nil
		}
	}
	return fmt.Errorf("%.40q is not a day of the week: mon, tue, wed, thu, fri, sat or sun", b)
}

func (v Value) known() bool { return v.Type != "" }
