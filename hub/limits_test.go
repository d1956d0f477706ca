package hub

import (
	"testing"

	"lar.home/mqtt"
)

// TestLimitsOnDisk holds that what waits on the disk takes no more than a
// quarter of what is free.
func TestLimitsOnDisk(t *testing.T) {
	for _, tt := range []struct {
		set        int
		free       uint64
		want, held int
	}{
		{0, 100 << 30, 512 << 20, 512 << 20},
		{0, 400 << 20, 100 << 20, 100 << 20},
		{10 << 20, 400 << 20, 10 << 20, 100 << 20},
		{1 << 30, 100 << 30, 1 << 30, 512 << 20},
		{0, 0, 8 << 20, 8 << 20},
		{1 << 20, 0, 1 << 20, 8 << 20},
	} {
		got := limitsOn(mqtt.Limits{AllQueuesBytes: tt.set}, tt.free)
		if got.AllQueuesBytes != tt.want || got.RetainedLargeBytes != tt.held {
			t.Errorf("%d set, %d free: queues %d, retained %d; want %d, %d", tt.set, tt.free, got.AllQueuesBytes, got.RetainedLargeBytes, tt.want, tt.held)
		}
	}
}
