package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the user and system time that a process has had so far, 0 when
// it is not known. It asks the process's own clock, as clock_getcpuclockid(3)
// does, since /proc counts in hundredths of a second.
func CPU(pid int) time.Duration {
	if pid <= 0 {
		return 0
	}
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil { // CPUCLOCK_SCHED
		return 0
	}
	return time.Duration(ts.Nano())
}

// Resident returns how much of a process is in memory and how much ever was,
// in bytes: VmRSS and VmHWM of proc(5).
func Resident(pid int) (now, peak int) {
	if pid <= 0 {
		return 0, 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 2 {
			continue
		}
		kB, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "VmRSS:":
			now = kB << 10
		case "VmHWM:":
			peak = kB << 10
		}
	}
	return now, peak
}

// free returns the memory that the machine could still give, in bytes.
func free() int {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == "MemAvailable:" {
			kB, _ := strconv.Atoi(f[1])
			return kB << 10
		}
	}
	return 0
}

// Machine says what the figures were taken on.
func Machine() string {
	model := ""
	if b, err := os.ReadFile("/proc/device-tree/model"); err == nil {
		model = strings.TrimRight(string(b), "\x00\n")
	} else if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel := "Linux " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
		if model == "" {
			return kernel
		}
		return model + ", " + kernel
	}
	return model
}

// listener finds the process of this machine that listens at addr, by what
// the system shows of it: 0 for one elsewhere, or of somebody else.
func listener(addr string) int {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	sockets := map[string]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			f := strings.Fields(string(line))
			const listens = "0A"
			if len(f) > 9 && f[3] == listens && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return 0
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if at, err := os.Readlink(fd); err == nil && sockets[at] {
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			return pid
		}
	}
	return 0
}
