//go:build !linux

package bench

import (
	"runtime"
	"time"
)

// CPU is not known of another process here.
func CPU(pid int) time.Duration { return 0 }

// Resident is not known of another process here.
func Resident(pid int) (now, peak int) { return 0, 0 }

// Machine says what the figures were taken on.
func Machine() string { return runtime.GOOS + " " + runtime.GOARCH }

func free() int { return 0 }

func listener(addr string) int { return 0 }
