package store

import (
	"math/rand"
	randv2 "math/rand/v2"
	"testing"
)

// The seed must fit the generator of the Go release.
func TestCompactorsInStep(t *testing.T) {
	t.Setenv("GODEBUG", "randseednop=0")
	reseed(inStep)
	first, second := rand.Int31n(1000), rand.Int31n(1000)
	reseed(int64(randv2.Uint64()))
	if first != second {
		t.Fatalf("compactors begin after %d and %d ms", first, second)
	}
}
