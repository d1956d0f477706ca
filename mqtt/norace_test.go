//go:build !race

package mqtt_test

import "time"

// What a round trip takes at least, as far as hostile_test.go compares it.
const (
	leastMedian = 100 * time.Microsecond
	leastLate   = time.Millisecond
)
