//go:build race

package mqtt_test

import "time"

// The detector of races makes the broker, and those who attack it, many times
// slower, and has more of them at work than there are processors.
const (
	leastMedian = 20 * time.Millisecond
	leastLate   = 100 * time.Millisecond
)
