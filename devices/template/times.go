package template

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A moment is a point in time, Python's datetime: its bits are microseconds
// since 1970, its text the offset of its zone ("+01:00"), empty if it has none.
// A span is a length of time, Python's timedelta: its bits are microseconds.

var errNoClock = errors.New("there is no clock here")

// years in which a moment may be.
const (
	firstYear = 1
	lastYear  = 9999
)

func fromTime(t time.Time, zoned bool) (Value, error) {
	if y := t.Year(); y < firstYear || y > lastYear {
		return Value{}, errOverflow
	}
	if !zoned {
		t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
		return Value{kind: moment, bits: uint64(t.UnixMicro())}, nil
	}
	return Value{kind: moment, bits: uint64(t.UnixMicro()), text: t.Format("-07:00")}, nil
}

// time returns a moment; one without a zone as if it were UTC.
func (v Value) time() time.Time {
	t := time.UnixMicro(int64(v.bits)).UTC()
	if v.text == "" {
		return t
	}
	zone, err := time.Parse("-07:00", v.text)
	if err != nil {
		return t
	}
	_, offset := zone.Zone()
	return t.In(time.FixedZone("", offset))
}

func isoTime(v Value, between string) string {
	t := v.time()
	s := t.Format("2006-01-02" + between + "15:04:05")
	if us := t.Nanosecond() / 1000; us != 0 {
		s += fmt.Sprintf(".%06d", us)
	}
	return s + v.text
}

func fromSpan(us float64) (Value, error) {
	if !(math.Abs(us) < 1<<53) {
		return Value{}, errOverflow
	}
	return Value{kind: span, bits: uint64(int64(math.Round(us)))}, nil
}

// spanText is Python's: "1 day, 2:03:04".
func spanText(v Value) string {
	us := int64(v.bits)
	const day = 24 * 60 * 60 * 1_000_000
	days := us / day
	if us -= days * day; us < 0 {
		days, us = days-1, us+day
	}
	s := ""
	switch days {
	case 0:
	case 1, -1:
		s = strconv.FormatInt(days, 10) + " day, "
	default:
		s = strconv.FormatInt(days, 10) + " days, "
	}
	sec := us / 1_000_000
	s += fmt.Sprintf("%d:%02d:%02d", sec/3600, sec/60%60, sec%60)
	if us %= 1_000_000; us != 0 {
		s += fmt.Sprintf(".%06d", us)
	}
	return s
}

// timeField is an attribute of a moment or span.
func timeField(v Value, name string) (Value, bool) {
	if v.kind == span {
		us := int64(v.bits)
		const day = 24 * 60 * 60 * 1_000_000
		days := us / day
		if us -= days * day; us < 0 {
			days, us = days-1, us+day
		}
		switch name {
		case "days":
			return FromInt(days), true
		case "seconds":
			return FromInt(us / 1_000_000), true
		case "microseconds":
			return FromInt(us % 1_000_000), true
		}
		return Value{}, false
	}
	t := v.time()
	n, ok := map[string]int{"year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "minute": t.Minute(),
		"second": t.Second(), "microsecond": t.Nanosecond() / 1000}[name]
	if !ok {
		return Value{}, false
	}
	return FromInt(int64(n)), true
}

// timeArithmetic is + - * / on moments and spans.
func timeArithmetic(op string, l, r Value) (Value, error) {
	a, b := int64(l.bits), int64(r.bits)
	switch {
	case l.kind == moment && r.kind == moment && op == "-":
		if (l.text == "") != (r.text == "") {
			return Value{}, errors.New("one time has a zone and one has none")
		}
		return fromSpan(float64(a - b))
	case l.kind == moment && r.kind == span && (op == "+" || op == "-"):
		if op == "-" {
			b = -b
		}
		return fromMoment(a+b, l.text)
	case l.kind == span && r.kind == moment && op == "+":
		return fromMoment(a+b, r.text)
	case l.kind == span && r.kind == span:
		switch op {
		case "+":
			return fromSpan(float64(a + b))
		case "-":
			return fromSpan(float64(a - b))
		case "/":
			if b == 0 {
				return Value{}, errZero
			}
			return FromFloat(float64(a) / float64(b)), nil
		}
	case l.kind == span && isNumber(r) && op == "*":
		return fromSpan(float64(a) * r.float())
	case l.kind == span && isNumber(r) && op == "/" && r.float() != 0:
		return fromSpan(float64(a) / r.float())
	case isNumber(l) && r.kind == span && op == "*":
		return fromSpan(float64(b) * l.float())
	}
	return Value{}, mismatch(op, l, r)
}

func fromMoment(us int64, zone string) (Value, error) {
	if y := time.UnixMicro(us).UTC().Year(); y < firstYear || y > lastYear {
		return Value{}, errOverflow
	}
	return Value{kind: moment, bits: uint64(us), text: zone}, nil
}

// now is the time by the template's clock, in the home's zone.
func (e *env) now() (time.Time, error) {
	if e.t.clock == nil {
		return time.Time{}, errNoClock
	}
	return e.t.clock(), nil
}

// zone is the home's.
func (e *env) zone() *time.Location {
	if e.t.clock == nil {
		return time.UTC
	}
	return e.t.clock().Location()
}

// parseTime reads ISO 8601 as Home Assistant does: with a space or a T, a
// fraction, a zone, or only a date.
func parseTime(s string) (Value, bool) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05-0700",
		"2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			v, err := fromTime(t, true)
			return v, err == nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			v, err := fromTime(t, false)
			return v, err == nil
		}
	}
	return Value{}, false
}

// ofTimestamp makes a moment of seconds since 1970.
func ofTimestamp(f float64, zone *time.Location) (Value, error) {
	if !(math.Abs(f) < 300e9) {
		return Value{}, errOverflow
	}
	return fromTime(time.UnixMicro(int64(math.Round(f*1e6))).In(zone), true)
}

// fallback returns the default of a call that could not be done, or why.
func fallback(a []Value, named *box, at int, err error) (Value, error) {
	if at < len(a) {
		return a[at], nil
	}
	if i := named.find("default"); i >= 0 {
		return named.items[i], nil
	}
	return Value{}, err
}

func asDatetime(e *env, a []Value, named *box) (Value, error) {
	switch v := a[0]; v.kind {
	case moment:
		return v, nil
	case Int, Float:
		return ofTimestamp(v.float(), time.UTC)
	case String:
		if f, ok := toFloat(v); ok {
			return ofTimestamp(f, time.UTC)
		}
		if m, ok := parseTime(v.text); ok {
			return m, nil
		}
		if len(a) < 2 && named.find("default") < 0 {
			return none(), nil // as it has always been there, for texts alone
		}
	}
	return fallback(a, named, 1, errArguments)
}

func asTimestamp(e *env, a []Value, named *box) (Value, error) {
	v := a[0]
	if v.kind == String {
		if f, ok := toFloat(v); ok {
			return FromFloat(f), nil
		}
		m, ok := parseTime(v.text)
		if !ok {
			return fallback(a, named, 1, errArguments)
		}
		v = m
	}
	switch v.kind {
	case Int, Float:
		return FromFloat(v.float()), nil
	case moment:
		return FromFloat(e.local(v).Sub(time.Unix(0, 0)).Seconds()), nil
	}
	return fallback(a, named, 1, errArguments)
}

// local is a moment; one without a zone is in the home's.
func (e *env) local(v Value) time.Time {
	t := v.time()
	if v.text == "" {
		t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), e.zone())
	}
	return t
}

// timestampTo is |timestamp_local, |timestamp_utc and |timestamp_custom.
func timestampTo(format bool, local func(e *env, a []Value, named *box) bool) function {
	return func(e *env, a []Value, named *box) (Value, error) {
		def := 1
		if format {
			def = 3
		}
		f, ok := toFloat(a[0])
		if !ok {
			return fallback(a, named, def, errArguments)
		}
		zone := time.UTC
		if local(e, a, named) {
			zone = e.zone()
		}
		v, err := ofTimestamp(f, zone)
		if err != nil {
			return fallback(a, named, def, err)
		}
		if !format {
			return e.text(isoTime(v, "T"))
		}
		how := param(a, named, 1, "date_format")
		if how.kind == Undefined {
			how = FromString("%Y-%m-%d %H:%M:%S")
		}
		if how.kind != String {
			return how, errArguments
		}
		return e.strftime(v, how.text)
	}
}

func timedelta(e *env, a []Value, named *box) (Value, error) {
	units := []struct {
		name string
		us   float64
	}{{"days", 864e8}, {"seconds", 1e6}, {"microseconds", 1}, {"milliseconds", 1e3}, {"minutes", 60e6}, {"hours", 3600e6}, {"weeks", 7 * 864e8}}
	total := 0.0
	for i, u := range units {
		v := param(a, named, i, u.name)
		if v.kind == Undefined {
			continue
		}
		if !isNumber(v) {
			return v, errArguments
		}
		total += v.float() * u.us
	}
	return fromSpan(total)
}

func todayAt(e *env, a []Value, _ *box) (Value, error) {
	now, err := e.now()
	if err != nil {
		return Value{}, err
	}
	var at time.Time
	if len(a) > 0 {
		at, err = time.Parse("15:04:05", a[0].text)
		if err != nil {
			at, err = time.Parse("15:04", a[0].text)
		}
		if err != nil || a[0].kind != String {
			return a[0], errArguments
		}
	}
	return fromTime(time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location()), true)
}

func asLocal(e *env, a []Value, _ *box) (Value, error) {
	if a[0].kind != moment {
		return a[0], errArguments
	}
	return fromTime(e.local(a[0]).In(e.zone()), true)
}

func strptime(e *env, a []Value, named *box) (Value, error) {
	if len(a) < 2 || a[1].kind != String {
		return Value{}, errArguments
	}
	text, err := e.str(a[0])
	if err != nil {
		return a[0], err
	}
	layout, zoned, err := goLayout(a[1].text)
	if err != nil {
		return a[1], err
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return fallback(a, named, 2, errArguments)
	}
	if t.Year() == 0 {
		t = t.AddDate(1900, 0, 0)
	}
	return fromTime(t, zoned)
}

// directives are those of strftime and how Go writes them.
var directives = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'b': "Jan", 'h': "Jan", 'B': "January",
	'a': "Mon", 'A': "Monday", 'I': "03", 'p': "PM", 'z': "-0700", 'Z': "UTC", 'j': "002", 'T': "15:04:05", 'D': "01/02/06",
	'F': "2006-01-02", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'e': "_2",
}

// goLayout turns a format of strptime into one of Go.
func goLayout(format string) (layout string, zoned bool, err error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		d, ok := directives[format[i]]
		switch {
		case format[i] == 'f':
			d = "000000"
			if s := b.String(); !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, ",") {
				return "", false, errors.New("a fraction stands behind a point")
			}
		case format[i] == '%':
			d = "%"
		case !ok:
			return "", false, fmt.Errorf("%%%c is not supported", format[i])
		}
		zoned = zoned || format[i] == 'z'
		b.WriteString(d)
	}
	return b.String(), zoned, nil
}

// strftime writes a moment by a format.
func (e *env) strftime(v Value, format string) (Value, error) {
	if len(format) > 1024 {
		return v, errLong
	}
	t := v.time()
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format) // without leading zeros
		if bare {
			i++
		}
		var s string
		switch c := format[i]; c {
		case '%':
			s = "%"
		case 'f':
			s = fmt.Sprintf("%06d", t.Nanosecond()/1000)
		case 's':
			s = strconv.FormatInt(t.Unix(), 10)
		case 'w':
			s = strconv.Itoa(int(t.Weekday()))
		case 'u':
			s = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case 'V':
			_, week := t.ISOWeek()
			s = fmt.Sprintf("%02d", week)
		case 'G':
			year, _ := t.ISOWeek()
			s = strconv.Itoa(year)
		case 'z', 'Z':
			if v.text != "" {
				s = t.Format("-0700")
				if c == 'Z' {
					s = "UTC"
					if _, offset := t.Zone(); offset != 0 {
						s += v.text
					}
				}
			}
		default:
			layout, ok := directives[c]
			if !ok {
				return v, fmt.Errorf("%%%c is not supported", c)
			}
			s = t.Format(layout)
		}
		if bare {
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return e.text(b.String())
}

// onMoment is a method of moments.
func onMoment(fn func(e *env, v Value, a []Value) (Value, error)) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != moment {
			return a[0], errArguments
		}
		return fn(e, a[0], a[1:])
	}
}

// replaceFields is datetime.replace(hour=0, …).
func replaceFields(e *env, v Value, named *box) (Value, error) {
	t := v.time()
	f := []int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1000}
	for i, name := range []string{"year", "month", "day", "hour", "minute", "second", "microsecond"} {
		n, err := intParam(nil, named, 0, name, f[i])
		if err != nil || n < 0 || n > 1_000_000 {
			return v, errArguments
		}
		f[i] = n
	}
	zone := t.Location()
	return fromTime(time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], f[6]*1000, zone), v.text != "")
}

func init() {
	always := func(local bool) func(*env, []Value, *box) bool {
		return func(*env, []Value, *box) bool { return local }
	}
	for name, fn := range map[string]function{
		"as_datetime": needs(1, asDatetime), "as_timestamp": needs(1, asTimestamp), "as_local": needs(1, asLocal),
		"strptime": strptime, "as_timedelta": needs(1, func(e *env, a []Value, _ *box) (Value, error) {
			f, ok := toFloat(a[0])
			if !ok {
				return a[0], errArguments
			}
			return fromSpan(f * 1e6)
		}),
	} {
		functions[name], filters[name] = fn, fn
	}
	filters["timestamp_local"] = timestampTo(false, always(true))
	filters["timestamp_utc"] = timestampTo(false, always(false))
	filters["timestamp_custom"] = timestampTo(true, func(e *env, a []Value, named *box) bool {
		v := param(a, named, 2, "local")
		return v.kind != Bool || v.bits != 0
	})
	functions["timedelta"], functions["today_at"] = timedelta, todayAt
	functions["now"] = func(e *env, _ []Value, _ *box) (Value, error) {
		now, err := e.now()
		if err != nil {
			return Value{}, err
		}
		return fromTime(now, true)
	}
	functions["utcnow"] = func(e *env, _ []Value, _ *box) (Value, error) {
		now, err := e.now()
		if err != nil {
			return Value{}, err
		}
		return fromTime(now.UTC(), true)
	}
	methods["strftime"] = onMoment(func(e *env, v Value, a []Value) (Value, error) {
		if len(a) != 1 || a[0].kind != String {
			return v, errArguments
		}
		return e.strftime(v, a[0].text)
	})
	methods["isoformat"] = onMoment(func(e *env, v Value, _ []Value) (Value, error) { return e.text(isoTime(v, "T")) })
	methods["timestamp"] = onMoment(func(e *env, v Value, _ []Value) (Value, error) {
		return FromFloat(float64(e.local(v).UnixMicro()) / 1e6), nil
	})
	methods["weekday"] = onMoment(func(e *env, v Value, _ []Value) (Value, error) {
		return FromInt(int64((int(v.time().Weekday()) + 6) % 7)), nil
	})
	methods["isoweekday"] = onMoment(func(e *env, v Value, _ []Value) (Value, error) {
		return FromInt(int64((int(v.time().Weekday())+6)%7 + 1)), nil
	})
	methods["total_seconds"] = func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != span {
			return a[0], errArguments
		}
		return FromFloat(float64(int64(a[0].bits)) / 1e6), nil
	}
	replaceText := methods["replace"]
	methods["replace"] = func(e *env, a []Value, named *box) (Value, error) {
		if a[0].kind == moment {
			return replaceFields(e, a[0], named)
		}
		return replaceText(e, a, named)
	}
}
