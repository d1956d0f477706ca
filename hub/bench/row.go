package bench

import (
	"math/bits"
	"time"
)

// A Row is what one measurement found. A figure that was not taken is zero.
type Row struct {
	Name      string  `json:"name"`
	Messages  int     `json:"messages,omitempty"` // delivered, or taken
	PerSecond float64 `json:"per_second,omitempty"`
	CPU       Micros  `json:"cpu_us_per_message,omitempty"` // of the broker
	P50       Micros  `json:"p50_us,omitempty"`
	P99       Micros  `json:"p99_us,omitempty"`
	Lost      int     `json:"lost,omitempty"`
	Repeated  int     `json:"repeated,omitempty"`
	Disorder  int     `json:"out_of_order,omitempty"`
	Memory    float64 `json:"bytes_per_connection,omitempty"`       // while idle
	After     float64 `json:"bytes_per_connection_after,omitempty"` // when each has had traffic
	First     Micros  `json:"first_us,omitempty"`
	Last      Micros  `json:"last_us,omitempty"`
	Away      Micros  `json:"away_us,omitempty"` // how long the broker was not there
}

// Micros are microseconds.
type Micros float64

func micros(d time.Duration) Micros { return Micros(d) / 1e3 }

// cost is the CPU time of n messages, for one.
func cost(cpu time.Duration, n int) Micros {
	if cpu <= 0 || n == 0 {
		return 0
	}
	return micros(cpu) / Micros(n)
}

// A hist counts durations in buckets that are at most a sixteenth wide.
type hist struct {
	n      int
	counts [64 << 4]uint32
}

func (h *hist) add(d time.Duration) {
	h.n++
	h.counts[bucket(uint64(max(d, 0)))]++
}

func bucket(v uint64) int {
	if v < 16 {
		return int(v)
	}
	shift := bits.Len64(v) - 5
	return (shift+1)<<4 + int(v>>shift)&15
}

// lowest is the smallest value of a bucket.
func lowest(i int) uint64 {
	if i < 32 {
		return uint64(i)
	}
	return uint64(i&15|16) << (i>>4 - 1)
}

func (h *hist) merge(o *hist) {
	h.n += o.n
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// at returns what the share q of all durations does not exceed, give or take
// a bucket.
func (h *hist) at(q float64) time.Duration {
	left := int(q * float64(h.n))
	for i, n := range h.counts {
		if left -= int(n); n > 0 && left < 0 {
			return time.Duration(lowest(i))
		}
	}
	return 0
}
