//go:build !linux

package mqtt

import "net"

// serveRaw serves nobody: raw calls are for Linux.
func serveRaw(*Broker, net.Conn, *Peer) bool { return false }

// hangups is for raw calls.
type hangups struct{}

func (*hangups) close() {}
