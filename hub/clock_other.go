//go:build !linux

package hub

// clockSynced believes systems that have no way to say.
func clockSynced() bool { return true }
