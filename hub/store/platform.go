package store

import (
	"errors"
	"math/bits"
)

const intBits = bits.UintSize

// ErrPlatform reports a build for a machine on which data is not safe.
var ErrPlatform = errors.New("this is a 32-bit build, on which the database loses data: " +
	"install Lar for a 64-bit system (arm64 or amd64)")

// platform refuses 32-bit builds. Badger's table builder overwrites its own
// blocks there once it needs a second buffer, and loses data without an error
// (github.com/dgraph-io/ristretto, z/allocator.go: a shift of an int).
func platform(bits int) error {
	if bits < 64 {
		return ErrPlatform
	}
	return nil
}
