//go:build !race

package mqtt_test

// A round trip is compared with the quiet one as it is, see hostile_test.go.
const leastMedian, leastLate = 0, 0
