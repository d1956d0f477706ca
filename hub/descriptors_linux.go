package hub

import (
	"log/slog"
	"syscall"
)

// otherFiles is how many files the hub has open beside connections, at most.
const otherFiles = 512

// wantDescriptors asks the system for as many open files as connections may
// need. The runtime has gone to the hard limit already; root may go beyond.
func wantDescriptors(connections int, log *slog.Logger) {
	want := uint64(connections + otherFiles)
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur >= want {
		return
	}
	more := syscall.Rlimit{Cur: want, Max: max(want, l.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
		return
	}
	log.Warn("the system allows fewer open files than limits.connections wants: raise LimitNOFILE of the service, or ulimit -n",
		"files", l.Cur, "want", want)
}
