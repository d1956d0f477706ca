package topic

import (
	"errors"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		filter, name string
		want         bool
	}{
		{"home/hall", "home/hall", true},
		{"home/hall", "home/Hall", false},
		{"home/hall", "home/hall/", false},
		{"home/hall/", "home/hall/", true},
		{"home/#", "home", true},
		{"home/#", "home/", true},
		{"home/#", "home/hall/lamp", true},
		{"home/#", "homes", false},
		{"home/+", "home/hall", true},
		{"home/+", "home/", true},
		{"home/+", "home", false},
		{"home/+", "home/hall/lamp", false},
		{"home/+/lamp", "home/hall/lamp", true},
		{"home/+/lamp", "home//lamp", true},
		{"home/+/#", "home/hall", true},
		{"home/+/#", "home", false},
		{"+", "home", true},
		{"+", "/home", false},
		{"/+", "/home", true},
		{"+/+", "/home", true},
		{"#", "home/hall", true},
		{"#", "/", true},
		{"/#", "home", false},
		{"a//b", "a/b", false},
		// [MQTT-4.7.2-1]
		{"#", "$SYS/uptime", false},
		{"+/uptime", "$SYS/uptime", false},
		{"$SYS/#", "$SYS/uptime", true},
		{"$SYS/+", "$SYS/uptime", true},
		{"home/+", "home/$x", true},
	}
	for _, tt := range tests {
		if got := Match(tt.filter, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.filter, tt.name, got, tt.want)
		}
		var tree Tree[int, bool]
		tree.Set(tt.filter, 1, true)
		got := false
		tree.Match(tt.name, func(int, bool) { got = true })
		if got != tt.want {
			t.Errorf("Tree with %q: match of %q is %v, want %v", tt.filter, tt.name, got, tt.want)
		}
		var names Names[int]
		names.Set(tt.name, 1)
		got = false
		names.Match(tt.filter, "", 10, func(string, int) bool { got = true; return true })
		if got != tt.want {
			t.Errorf("Names with %q: match of %q is %v, want %v", tt.name, tt.filter, got, tt.want)
		}
	}
}

func TestValidName(t *testing.T) {
	tests := []struct {
		name string
		want error
	}{
		{"a", nil},
		{"/", nil},
		{"küche/lampe 1", nil},
		{"\ufeffa", nil}, // [MQTT-1.5.4-3]
		{"$SYS/x", nil},
		{"", ErrEmpty},
		{"a/+", ErrWildcard},
		{"a#", ErrWildcard},
		{"a\x00", ErrControl},
		{"a\x1f", ErrControl},
		{"a\x7f", ErrControl},
		{"a\u0085", ErrControl},
		{"a\u009f", ErrControl},
		{"a\u00a0", nil},
		{"a\xff", ErrEncoding},
		{"a\xed\xa0\x80", ErrEncoding}, // a surrogate
		{"a\xc2", ErrEncoding},
		{strings.Repeat("a", MaxLength), nil},
		{strings.Repeat("a", MaxLength+1), ErrTooLong},
		{strings.Repeat("/", MaxSeparators), nil},
		{strings.Repeat("/", MaxSeparators+1), ErrTooLong},
	}
	for _, tt := range tests {
		if got := ValidName(tt.name); !errors.Is(got, tt.want) {
			t.Errorf("ValidName(%.20q) = %v, want %v", tt.name, got, tt.want)
		}
		if got := ValidName([]byte(tt.name)); !errors.Is(got, tt.want) {
			t.Errorf("ValidName([]byte(%.20q)) = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestValidFilter(t *testing.T) {
	tests := []struct {
		filter string
		want   error
	}{
		{"#", nil},
		{"+", nil},
		{"/", nil},
		{"+/#", nil},
		{"+/a/+/#", nil},
		{"a//+", nil},
		{"", ErrEmpty},
		{"a/#/b", ErrWildcard}, // [MQTT-4.7.1-1]
		{"a#", ErrWildcard},
		{"#/", ErrWildcard},
		{"##", ErrWildcard},
		{"a+", ErrWildcard}, // [MQTT-4.7.1-2]
		{"++", ErrWildcard},
		{"+a/b", ErrWildcard},
		{"a\x00", ErrControl},
		{"a\xff/#", ErrEncoding},
		{strings.Repeat("/", MaxSeparators+1), ErrTooLong},
		{"$share", nil}, // not a shared subscription, merely odd
		{"$share/g/a", nil},
		{"$share/g//", nil},
		{"$share/g/+/#", nil},
		{"$share/g/a#", ErrWildcard},
		{"$share/g", ErrShare},
		{"$share/g/", ErrShare},
		{"$share//a", ErrShare}, // [MQTT-4.8.2-1]
		{"$share/", ErrShare},
		{"$share/g+/a", ErrShare}, // [MQTT-4.8.2-2]
		{"$share/#/a", ErrShare},
	}
	for _, tt := range tests {
		if got := ValidFilter(tt.filter); !errors.Is(got, tt.want) {
			t.Errorf("ValidFilter(%.20q) = %v, want %v", tt.filter, got, tt.want)
		}
	}
}

func TestShare(t *testing.T) {
	tests := []struct {
		filter, group, rest string
		shared, bad         bool
	}{
		{"a/b", "", "a/b", false, false},
		{"$share/g/a/b", "g", "a/b", true, false},
		{"$share/g//b", "g", "/b", true, false},
		{"$SHARE/g/a", "", "$SHARE/g/a", false, false},
		{"$share/g", "", "", true, true},
	}
	for _, tt := range tests {
		group, rest, shared, err := Share(tt.filter)
		if group != tt.group || rest != tt.rest || shared != tt.shared || (err != nil) != tt.bad {
			t.Errorf("Share(%q) = %q, %q, %v, %v, want %q, %q, %v", tt.filter, group, rest, shared, err, tt.group, tt.rest, tt.shared)
		}
	}
}

func TestAllocations(t *testing.T) {
	var tree Tree[int, int]
	var names Names[int]
	for i, f := range []string{"home/+/lamp", "home/#", "home/hall/lamp", "+/+/+", "home/hall/+/x"} {
		tree.Set(f, i, i)
		names.Set(f, i)
	}
	name, raw := "home/hall/lamp", []byte("home/küche/lamp")
	sum := 0
	allocs := testing.AllocsPerRun(100, func() {
		if ValidName(name) != nil || ValidName(raw) != nil || ValidFilter("home/+/x/#") != nil || !Match("home/#", name) {
			t.Fatal("wrong")
		}
		tree.Match(name, func(_, v int) { sum += v })
		names.Get(name)
	})
	if allocs != 0 {
		t.Errorf("a match makes %v allocations, want 0", allocs)
	}
}
