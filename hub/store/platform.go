package store

import (
	"errors"
	"math/bits"
)

const intBits = bits.UintSize

// platform refuses 32-bit builds. Badger's table builder overwrites its own
// blocks there once it needs a second buffer, and loses data without an error
// (github.com/dgraph-io/ristretto, z/allocator.go: a shift of an int).
func platform(bits int) error {
	if bits < 64 {
		return errors.New("this is a 32-bit build, on which the database loses data: " +
			"use a 64-bit system (arm64 or amd64)")
	}
	return nil
}
