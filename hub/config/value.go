package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A kind is a type of values: how they are written in the file and, for flags
// and environment variables, as plain text.
type kind struct {
	want  string // what it looks like, for people
	toml  func(v any) (any, error)
	text  func(s string) (any, error)
	write func(v any) string // as in the file
}

var textKind = kind{
	want:  `text in quotes`,
	toml:  func(v any) (any, error) { return as[string](v) },
	text:  func(s string) (any, error) { return s, nil },
	write: func(v any) string { return quote(v.(string)) },
}

// degreeKind is a number of degrees, kept as text so that none is not 0.
var degreeKind = kind{
	want: `degrees as in 52.52 or -3.7, or ""`,
	toml: func(v any) (any, error) {
		switch v := v.(type) {
		case float64:
			return parseDegrees(strconv.FormatFloat(v, 'f', -1, 64))
		case int64:
			return parseDegrees(strconv.FormatInt(v, 10))
		case string:
			return parseDegrees(v)
		}
		return "", errValue
	},
	text:  func(s string) (any, error) { return parseDegrees(s) },
	write: func(v any) string { return cmp.Or(v.(string), `""`) },
}

func parseDegrees(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(f) <= 180) {
		return "", errValue
	}
	return strconv.FormatFloat(f, 'f', -1, 64), nil
}

var boolKind = kind{
	want:  "true or false",
	toml:  func(v any) (any, error) { return as[bool](v) },
	text:  func(s string) (any, error) { return strconv.ParseBool(s) },
	write: func(v any) string { return strconv.FormatBool(v.(bool)) },
}

var countKind = kind{
	want: "a whole number, 0 or more",
	toml: func(v any) (any, error) {
		n, err := as[int64](v)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return 0, errValue
		}
		return int(n), nil
	},
	text: func(s string) (any, error) {
		n, err := strconv.ParseUint(s, 10, 31)
		return int(n), err
	},
	write: func(v any) string { return strconv.Itoa(v.(int)) },
}

// percentKind is a part of a hundred, and not none of it.
var percentKind = kind{
	want: "a whole number from 1 to 100",
	toml: func(v any) (any, error) {
		n, err := countKind.toml(v)
		return percent(n, err)
	},
	text: func(s string) (any, error) {
		n, err := countKind.text(s)
		return percent(n, err)
	},
	write: countKind.write,
}

func percent(n any, err error) (any, error) {
	if err != nil || n.(int) < 1 || n.(int) > 100 {
		return 0, errValue
	}
	return n, nil
}

var sizeKind = kind{
	want: `bytes as in 65536, "64 KiB" or "8 MiB"`,
	toml: func(v any) (any, error) {
		if s, ok := v.(string); ok {
			return parseSize(s)
		}
		n, err := as[int64](v)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return 0, errValue
		}
		return int(n), nil
	},
	text: func(s string) (any, error) { return parseSize(s) },
	write: func(v any) string {
		n := v.(int)
		switch {
		case n > 0 && n%(1<<20) == 0:
			return fmt.Sprintf(`"%d MiB"`, n>>20)
		case n > 0 && n%(1<<10) == 0:
			return fmt.Sprintf(`"%d KiB"`, n>>10)
		}
		return strconv.Itoa(n)
	},
}

var durationKind = kind{
	want: `a time as in "10s", "5m", "12h" or "7d"`,
	toml: func(v any) (any, error) {
		s, err := as[string](v)
		if err != nil {
			return time.Duration(0), err
		}
		return parseDuration(s)
	},
	text: func(s string) (any, error) { return parseDuration(s) },
	write: func(v any) string {
		d := v.(time.Duration)
		switch {
		case d > 0 && d%day == 0:
			return fmt.Sprintf(`"%dd"`, d/day)
		case d > 0 && d%time.Hour == 0:
			return fmt.Sprintf(`"%dh"`, d/time.Hour)
		case d > 0 && d%time.Minute == 0:
			return fmt.Sprintf(`"%dm"`, d/time.Minute)
		}
		return quote(d.String())
	},
}

var listKind = kind{
	want: `a list of texts as in ["one", "two"]`,
	toml: func(v any) (any, error) {
		items, err := as[[]any](v)
		list := []string{}
		for _, item := range items {
			s, wrong := as[string](item)
			if wrong != nil {
				return list, wrong
			}
			list = append(list, s)
		}
		return list, err
	},
	text: func(s string) (any, error) {
		list := []string{}
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list, nil
	},
	write: func(v any) string {
		var quoted []string
		for _, s := range v.([]string) {
			quoted = append(quoted, quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	},
}

var prefixesKind = kind{
	want: `a list of addresses as in ["127.0.0.1", "10.0.0.0/8"]`,
	toml: func(v any) (any, error) {
		list, err := listKind.toml(v)
		if err != nil {
			return []netip.Prefix{}, err
		}
		return parsePrefixes(list.([]string))
	},
	text: func(s string) (any, error) {
		list, _ := listKind.text(s)
		return parsePrefixes(list.([]string))
	},
	write: func(v any) string {
		var list []string
		for _, p := range v.([]netip.Prefix) {
			list = append(list, p.String())
		}
		return listKind.write(list)
	},
}

// choice is one of a few words.
func choice(words ...string) kind {
	check := func(s string) (any, error) {
		for _, w := range words {
			if s == w {
				return s, nil
			}
		}
		return "", errValue
	}
	return kind{
		want: `"` + strings.Join(words, `" or "`) + `"`,
		toml: func(v any) (any, error) {
			s, err := as[string](v)
			if err != nil {
				return "", err
			}
			return check(s)
		},
		text:  check,
		write: textKind.write,
	}
}

var errValue = fmt.Errorf("not of the right kind")

func as[T any](v any) (T, error) {
	t, ok := v.(T)
	if !ok {
		return t, errValue
	}
	return t, nil
}

// quote writes a basic string, as TOML has it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func parseSize(s string) (int, error) {
	number, shift := strings.TrimSpace(s), 0
	for unit, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, shift = strings.TrimSpace(n), by
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || n<<shift > math.MaxInt32 {
		return 0, errValue
	}
	return int(n) << shift, nil
}

const day = 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errValue
	}
	return d, nil
}

func parsePrefixes(list []string) ([]netip.Prefix, error) {
	prefixes := []netip.Prefix{}
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return prefixes, errValue
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}
