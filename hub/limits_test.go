package hub

import (
	"testing"

	"lar.home/mqtt"
)

// TestLimitsOnDisk holds that what waits on the disk takes no more than a
// share of what is free, a quarter unless it is set.
func TestLimitsOnDisk(t *testing.T) {
	for _, tt := range []struct {
		set        int
		percent    int
		free       uint64
		want, held int
	}{
		{0, 0, 100 << 30, 512 << 20, 512 << 20},
		{0, 0, 100 * 4 << 20, 100 << 20, 100 << 20},
		{0, 25, 100 * 4 << 20, 100 << 20, 100 << 20},
		{0, 50, 100 * 4 << 20, 200 << 20, 200 << 20},
		{0, 100, 100 * 4 << 20, 400 << 20, 400 << 20},
		{10 << 20, 0, 100 * 4 << 20, 10 << 20, 100 << 20},
		{100 << 20, 25, 100 * 4 << 20, 100 << 20, 100 << 20},
		{101 << 20, 25, 100 * 4 << 20, 100 << 20, 100 << 20},
		{1 << 30, 0, 100 << 30, 1 << 30, 512 << 20},
		{0, 0, 0, 8 << 20, 8 << 20},
		{1 << 20, 0, 0, 1 << 20, 8 << 20},
	} {
		got := limitsOn(mqtt.Limits{AllQueuesBytes: tt.set}, tt.percent, tt.free)
		if got.AllQueuesBytes != tt.want || got.RetainedLargeBytes != tt.held {
			t.Errorf("%d set, %d%% of %d free: queues %d, retained %d; want %d, %d", tt.set, tt.percent, tt.free, got.AllQueuesBytes, got.RetainedLargeBytes, tt.want, tt.held)
		}
	}
}
