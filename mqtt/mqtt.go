// Package mqtt is a complete MQTT 3.1, 3.1.1 and 5.0 broker that knows nothing
// of homes.
//
// Everything that happens in it is a [Turn]: an outside event is decided under
// one lock, without I/O, by the broker and then by its [Consumer]s; its writes
// go to a [Store] together, and what was promised leaves once they are on disk.
package mqtt

import "lar.home/mqtt/packet"

// A QoS is a delivery guarantee, section 4.3 of the specification.
type QoS = packet.QoS

// The three guarantees.
const (
	AtMostOnce  = packet.AtMostOnce
	AtLeastOnce = packet.AtLeastOnce
	ExactlyOnce = packet.ExactlyOnce
)
