package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFigures measures what README.md has under "In figures":
//
//	go test ./cmd/lar -run '^$' -bench Figures -benchtime 1x
//
// The binary is the one that make builds. The hub is known on the network by
// mDNS, has the devices of a family's home, and a page is open in a browser;
// its memory is looked at when a minute has gone by in which nothing happened.
func BenchmarkFigures(b *testing.B) {
	needMosquitto(b)
	lar = filepath.Join(b.TempDir(), "lar")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", lar, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build lar: %v\n%s", err, out)
	}
	for b.Loop() {
		binary, err := os.Stat(lar)
		if err != nil {
			b.Fatal(err)
		}

		dir := b.TempDir()
		h := start(b, dir, "--mdns=true")
		tab := newTab(b, h.web, 1280, 800)
		tab.moveIn("Elm Street", "Jo", "three small words")
		furnish(tab.addCredential("workbench"))
		h.stop(syscall.SIGTERM)

		var starts []time.Duration
		for range 9 {
			h = start(b, dir, "--mdns=true")
			starts = append(starts, h.started)
			h.stop(syscall.SIGTERM)
		}
		slices.Sort(starts)

		h = start(b, dir, "--mdns=true")
		tab.base = h.web
		tab.open("/")
		tab.sees("main", "Hall lamp")
		<-time.After(time.Minute)
		all, own := memory(b, h.cmd.Process.Pid)
		h.stop(syscall.SIGTERM)

		b.ReportMetric(float64(binary.Size())/1e6, "MB-binary")
		b.ReportMetric(float64(starts[len(starts)/2].Microseconds())/1e3, "ms-start")
		b.ReportMetric(all, "MB-resident")
		b.ReportMetric(own, "MB-anonymous")
		b.ReportMetric(0, "ns/op") // says nothing here
	}
}

// memory returns how much of a process is in memory, and how much of that is
// not a file which the system can read again: RssAnon of proc(5).
func memory(b *testing.B, pid int) (all, own float64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	field := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(status)
		if m == nil {
			b.Fatalf("no %s in\n%s", name, status)
		}
		kB, _ := strconv.Atoi(string(m[1]))
		return float64(kB) * 1024 / 1e6
	}
	return field("VmRSS"), field("RssAnon")
}
