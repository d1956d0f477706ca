package devices

import (
	"log/slog"
	"time"

	"lar.home/mqtt"
)

// A reporter logs at a bounded rate what outsiders send that cannot be used.
type reporter struct {
	since  time.Duration
	said   int
	hushed int
}

// maxReports is how many lines are logged a minute.
const maxReports = 20

// report logs outside the lock.
func (r *reporter) report(t *mqtt.Turn, log *slog.Logger, msg string, args ...any) {
	if t.Now.Run >= r.since+time.Minute {
		if n := r.hushed; n > 0 {
			t.Later(func() { log.Warn("more messages about discovery were left out", "count", n) })
		}
		r.since, r.said, r.hushed = t.Now.Run, 0, 0
	}
	if r.said++; r.said > maxReports {
		r.hushed++
		return
	}
	t.Later(func() { log.Warn(msg, args...) })
}
