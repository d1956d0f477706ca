package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause sleeps in the kernel: the runtime's timers are too coarse for a pace
// of a thousand a second, and wake more threads.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&ts, nil)
}
