package homeassistant

import (
	"math"
	"strconv"
	"strings"

	"lar.home/devices/template"
)

// Has tells whether a key is given and not null.
func (c *Config) Has(key string) bool {
	k := c.Options.Key(key).Kind()
	return k != template.Undefined && k != template.None
}

// Null tells whether a key is given as null, which for some means "none" and
// not "the usual".
func (c *Config) Null(key string) bool { return c.Options.Key(key).Kind() == template.None }

// Text returns a text, number or bool as Python prints it, or def.
func (c *Config) Text(key, def string) string {
	if v := c.Options.Key(key); v.Scalar() {
		return strings.Clone(v.Text()) // not a part of the message, which it would keep
	}
	return def
}

// Name returns a trimmed text of bounded length, or "".
func (c *Config) Name(key string) string { return short(c.Options.Key(key)) }

// Number returns a number, which may be written as a text, or def.
func (c *Config) Number(key string, def float64) float64 {
	v := c.Options.Key(key)
	if f, ok := v.Number(); ok && !math.IsInf(f, 0) {
		return f
	}
	if s, ok := v.Str(); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f
		}
	}
	return def
}

// Flag returns a bool, which may be written as a text, or def.
func (c *Config) Flag(key string, def bool) bool {
	v := c.Options.Key(key)
	if b, ok := v.Bool(); ok {
		return b
	}
	switch strings.ToLower(text(v)) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	return def
}

// Texts returns a list of scalars as texts, at most max of them; nil if the
// key is not a list.
func (c *Config) Texts(key string, max int) []string {
	list := c.Options.Key(key)
	if list.Kind() != template.List {
		return nil
	}
	out := make([]string, 0, min(list.Len(), max))
	for _, item := range list.Items() {
		if item.Scalar() && len(out) < max {
			out = append(out, strings.Clone(item.Text()))
		}
	}
	return out
}
