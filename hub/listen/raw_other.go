//go:build !linux

package listen

import "net"

// raw returns nc: raw calls are for Linux.
func raw(nc net.Conn) net.Conn { return nc }

func unsentOf(net.Conn) func(gone func()) bool { return nil }
