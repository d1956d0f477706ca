package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"lar.home/hub/bench"
)

// TestReport writes a page of known figures.
func TestReport(t *testing.T) {
	s := suite{at: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), rounds: 3, long: time.Second, only: regexp.MustCompile(""),
		brokers: []*broker{{name: "lar", version: "1"}, {name: "mosquitto", version: "2.0.11"}, {name: "nats"}}}
	const row, home = "3.1.1 pipe 10:10, window 20, QoS 0", "5.0 home 200 devices, 1,000/s, QoS 1"
	for _, v := range []float64{1.5, 1, 2} {
		s.results.add(row, "lar", bench.Row{CPU: bench.Micros(v), PerSecond: 1000})
		s.results.add(row, "mosquitto", bench.Row{CPU: bench.Micros(10 * v), PerSecond: 100, Lost: int(v)})
		s.results.add(home, "lar", bench.Row{CPU: 30})
		s.results.add(home, "mosquitto", bench.Row{CPU: 40})
	}
	s.results.add("durable, 80 in flight", "lar", bench.Row{CPU: 13, PerSecond: 60})
	s.results.add("bare committer always/window=80", "lar", bench.Row{CPU: 7, PerSecond: 100})
	s.results.fail(row, "nats", errors.New("no\nanswer"))
	text, err := s.report()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured on 2026-11-22", "| mosquitto | 2.0.11 |",
		"| " + row + " | 0.10 | – | 0.20 | 0.10 |",
		"| " + home + " | 0.75 | – | 1.30 | 0.80 |",
		"| " + row + " | 1.50 (1.00–2.00) | 15.00 (10.00–20.00) | no; answer |",
		"| " + row + " | – | 1 (1–2) | no; answer |",
		"| " + row + " | CPU, as a multiple | 0.10 | 0.20 | 0.10 | aim |",
		"| " + home + " | CPU, as a multiple | 0.75 | 1.30 | 0.80 | aim |",
		"| durable, 80 in flight | rate beside the bare committer | 0.60 × | 0.50 × | 0.80 × | must |",
		"| durable, 80 in flight | CPU beyond the bare committer's | 6.0 µs | 5.0 µs | 3.0 µs | **not met** |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "retained") {
		t.Error("a table without rows is written")
	}
}

func TestWrongFlags(t *testing.T) {
	tests := []struct{ only, versions, says string }{
		{"(", "5.0", "-only"},
		{"", "4", "-versions"},
	}
	for _, tt := range tests {
		s := suite{rounds: 1, long: time.Second}
		err := s.run(t.Context(), tt.only, tt.versions, "", "-", "", nil)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q, %q: %v, want a word on %s", tt.only, tt.versions, err, tt.says)
		}
	}
}
