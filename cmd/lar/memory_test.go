package main

import (
	"runtime/debug"
	"testing"

	"lar.home/hub/config"
)

// TestLimitMemory holds that the limit that is set is the runtime's, unless
// GOMEMLIMIT says another.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "")
	for _, tt := range []struct {
		set  int
		want int64
	}{{0, config.DefaultMemoryLimit}, {1 << 30, 1 << 30}, {1<<30 + 1, 1<<30 + 1}} {
		limitMemory(tt.set)
		if got := debug.SetMemoryLimit(-1); got != tt.want {
			t.Errorf("with %d set the limit is %d, want %d", tt.set, got, tt.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	limitMemory(1 << 29)
	if got := debug.SetMemoryLimit(-1); got != 1<<30+1 {
		t.Errorf("GOMEMLIMIT does not hold: %d", got)
	}
}

// TestTidyOften holds that the collector's pace is ours, unless GOGC says
// another.
func TestTidyOften(t *testing.T) {
	before := debug.SetGCPercent(120)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "120")
	tidyOften()
	if got := debug.SetGCPercent(120); got != 120 {
		t.Errorf("GOGC does not hold: %d", got)
	}
	t.Setenv("GOGC", "")
	tidyOften()
	if got := debug.SetGCPercent(120); got != garbagePercent {
		t.Errorf("the pace is %d, want %d", got, garbagePercent)
	}
}
