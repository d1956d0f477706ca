package mqtt

import (
	"testing"
	"time"
)

// Who asks once for very much is not held up; who asks on and on gets a share
// of the time, and a break gives back what was used.
func TestPace(t *testing.T) {
	const slice = 100 * time.Microsecond
	for _, tt := range []struct {
		name        string
		work, pause time.Duration // of work at a time, and before it
		times       int
		atLeast     float64 // share of rest in the time of work and rest
		atMost      float64
	}{
		{"25,000 messages once", 40 * time.Millisecond, 0, 1, 0, 0},
		{"100,000 messages once", 150 * time.Millisecond, 0, 1, 0.5, 0.6},
		{"each minute", 40 * time.Millisecond, time.Minute, 10, 0, 0},
		{"on and on", 300 * time.Millisecond, 0, 50, 0.6, 0.7},
		{"again as soon as it has ended", 60 * time.Millisecond, 10 * time.Millisecond, 100, 0.5, 0.7},
	} {
		var p pace
		now, worked, rested := time.Hour, time.Duration(0), time.Duration(0)
		for range tt.times {
			now += tt.pause
			for done := time.Duration(0); done < tt.work; done += slice {
				begun := now
				now += slice
				rest := p.rest(begun, now)
				now += rest
				worked += slice
				rested += rest
			}
		}
		if share := float64(rested) / float64(worked+rested); share < tt.atLeast || share > tt.atMost {
			t.Errorf("%s: %v of work and %v of rest, a share of %.2f, want %.2f to %.2f", tt.name, worked, rested, share, tt.atLeast, tt.atMost)
		}
	}
}

// With several workers instants overlap.
func TestPaceOverlaps(t *testing.T) {
	var p pace
	for i := range 10_000 {
		at := time.Duration(i) * time.Millisecond
		p.rest(at, at+3*time.Millisecond)
		if p.spent < 0 || p.spent > 2*paceFree {
			t.Fatalf("spent is %v", p.spent)
		}
	}
}
