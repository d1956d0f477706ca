package listen

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestPacketCut cuts a stream of packets anywhere: each piece is of one packet.
func TestPacketCut(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		ends := map[int]bool{} // of packets
		for range 50 {
			n := []int{0, 1, 127, 128, 16_383, 16_384}[random.IntN(6)]
			stream = append(stream, 0x30)
			size := n
			for {
				b := byte(size & 0x7f)
				if size >>= 7; size > 0 {
					b |= 0x80
				}
				if stream = append(stream, b); size == 0 {
					break
				}
			}
			stream = append(stream, bytes.Repeat([]byte{0xff}, n)...)
			ends[len(stream)] = true
		}
		var c packetCut
		at, seen := 0, 0
		for at < len(stream) {
			chunk := stream[at:min(len(stream), at+1+random.IntN(1<<random.IntN(16)))]
			for len(chunk) > 0 {
				n := min(c.next(chunk), len(chunk))
				for i := at + 1; i < at+n; i++ {
					if ends[i] {
						t.Fatalf("seed %d: a piece of %d bytes at %d goes over the end of a packet", seed, n, at)
					}
				}
				if at += n; ends[at] {
					seen++
				} else if n < len(chunk) {
					t.Fatalf("seed %d: a piece ends at %d, where no packet does", seed, at)
				}
				chunk = chunk[n:]
			}
		}
		if seen != len(ends) {
			t.Errorf("seed %d: %d packets, want %d", seed, seen, len(ends))
		}
	}
}
