// Package bench measures a broker from outside, over its sockets, as its
// clients meet it.
//
// [Run] is what lar bench does for people: some two minutes' worth of rows
// and what they mean for a home. The kinds of rows can be run alone as well:
// [Flow], [Home], [Queue], [Crowd], [Shelf], [Silence].
//
// Topics and client identifiers begin with "lar-bench"; sessions and retained
// messages are taken away again. Packets are gathered, read and written many
// at a time, so that the broker is what is measured, and its CPU time is read
// from its own process where that runs on this machine.
package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"lar.home/mqtt/packet"
)

const prefix = "lar-bench"

// A Config says what Run measures.
type Config struct {
	Target  Target
	Process Process // to be killed; nil: there is no kill test
	Broker  string  // what is measured, for people
	Quick   bool    // too short to compare, long enough to try
	Row     func(Row)
	// Disk is a folder on the disk of a broker that keeps its data in
	// hub/store; the bare committer is measured there. Empty: it is not.
	Disk string
}

// A Report is what Run found.
type Report struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`
	Cores   int       `json:"cores"`
	Broker  string    `json:"broker"`
	Rows    []Row     `json:"rows"`
	Devices int       `json:"devices"` // carried at a message every 10 s
	Verdict []string  `json:"verdict"`
}

// Run measures a broker, and calls cfg.Row, if there is one, as each row is
// known. An error names the row that could not be measured.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	t := cfg.Target
	if t.PID == 0 {
		t.PID = listener(t.Addr)
	}
	r := &Report{Time: time.Now().Truncate(time.Second), Machine: Machine(), Cores: runtime.NumCPU(), Broker: cfg.Broker}
	row := func(one Row, err error) (Row, error) {
		if err != nil {
			return one, fmt.Errorf("%s: %w", one.Name, err)
		}
		r.Rows = append(r.Rows, one)
		if cfg.Row != nil {
			cfg.Row(one)
		}
		return one, nil
	}
	warm, long, clients, budget := time.Second/2, 3*time.Second, 500, 3*time.Second
	if cfg.Quick {
		warm, long, clients, budget = 20*time.Millisecond, 100*time.Millisecond, 50, 100*time.Millisecond
	}

	// Memory first: what comes later leaves traces in the process.
	crowd, err := row(Crowd{Clients: clients, Dialers: 8}.Run(ctx, t))
	if err != nil {
		return nil, err
	}
	flow := func(s Shape, pubs, subs int, qos packet.QoS, window int) Flow {
		return Flow{Shape: s, Publishers: pubs, Subscribers: subs, QoS: qos, Size: 64, Window: window, Warm: warm, For: long}
	}
	var pipe Row
	for _, f := range []Flow{
		flow(Pipe, 10, 0, packet.AtMostOnce, 20),
		flow(Pipe, 10, 0, packet.ExactlyOnce, 20),
		flow(FanOut, 1, 100, packet.AtMostOnce, 20),
		flow(FanOut, 1, 100, packet.AtLeastOnce, 20),
		flow(Pipe, 1, 0, packet.AtLeastOnce, 1),
		flow(Pipe, 10, 0, packet.AtLeastOnce, 20),
	} {
		if pipe, err = row(f.Run(ctx, t)); err != nil {
			return nil, err
		}
	}
	home, err := row(Home{Devices: 200, PerSecond: homePace, QoS: packet.AtLeastOnce, Warm: warm, For: long}.Run(ctx, t))
	if err != nil {
		return nil, err
	}
	q := Queue{Sessions: 50, Publishers: 4, Window: 20, Size: 64, QoS: packet.AtLeastOnce}
	if err := q.fit(ctx, t, budget); err != nil {
		return nil, err
	}
	publish, drain, err := q.Run(ctx, t)
	if publish, err = row(publish, err); err != nil {
		return nil, err
	}
	if cfg.Disk != "" {
		if _, err = row(Floor{Dir: cfg.Disk, Window: q.Publishers * q.Window, For: budget}.Run(ctx)); err != nil {
			return nil, err
		}
	}
	if _, err = row(drain, nil); err != nil {
		return nil, err
	}
	var kill *Row
	if cfg.Process != nil {
		k, err := row(q.Kill(ctx, t, cfg.Process))
		if err != nil {
			return nil, err
		}
		kill = &k
	}
	r.judge(crowd, pipe, home, publish, kill)
	return r, nil
}

// homePace is the messages a second of the row that the verdict is taken from.
const homePace = 500

// maxEach keeps a backlog below what brokers hold for a session out of the box.
const maxEach = 900

// fit chooses how many messages make the queue take about as long as budget,
// from a short run: disks differ by a factor of a thousand.
func (q *Queue) fit(ctx context.Context, t Target, budget time.Duration) error {
	q.Each = 4
	publish, _, err := q.Run(ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", publish.Name, err)
	}
	q.Each = min(max(int(publish.PerSecond*budget.Seconds())/q.Sessions, 10), maxEach)
	return nil
}

// A house is carried if the broker has this share of a core to do it, and of
// its own limits and the free memory; the rest is for what else runs, and for
// the evening on which everything happens at once.
const (
	ease = 0.25
	// every is how often a device says something.
	every = 10
	// most is how many connections a hub takes.
	most = 10_000
)

// judge says what the rows mean for a home.
func (r *Report) judge(crowd, pipe, home, publish Row, kill *Row) {
	say := func(format string, args ...any) { r.Verdict = append(r.Verdict, fmt.Sprintf(format, args...)) }

	rate, limit := pipe.PerSecond*ease, "a quarter of its throughput"
	if home.CPU > 0 {
		rate, limit = ease*1e6/float64(home.CPU), "a quarter of one core"
	}
	if kept := publish.PerSecond * ease; kept < rate {
		rate, limit = kept, "a quarter of what its disk keeps"
	}
	devices := rate * every
	if each := max(crowd.Memory, crowd.After); each > 0 && free() > 0 {
		if n := float64(free()) / 2 / each; n < devices {
			devices, limit = n, "half of the free memory"
		}
	}
	r.Devices = round(min(devices, most))
	if r.Devices == most {
		say("Carries %s devices or more at a message every %d s.", thousands(r.Devices), every)
	} else {
		say("Carries about %s devices at a message every %d s, with %s.", thousands(r.Devices), every, limit)
	}
	if home.P50 > 0 {
		say("With 200 devices at %d messages a second, half of them arrive within %s and 99 of 100 within %s.",
			homePace, Duration(home.P50), Duration(home.P99))
	}
	say("A message for a client that is away is acknowledged within %s; %s a second are kept.",
		Duration(publish.P50), thousands(round(publish.PerSecond)))
	if kill != nil && kill.Lost == 0 {
		say("Killed under load, it was back after %s and had every one of the %s messages it had acknowledged.",
			Duration(kill.Away), thousands(kill.Messages))
	} else if kill != nil {
		say("Killed under load, it LOST %s of the %s messages it had acknowledged.", thousands(kill.Lost), thousands(kill.Messages))
	}
	for _, one := range r.Rows {
		if one.Lost > 0 && (kill == nil || one.Name != kill.Name) {
			say("%s: %s messages never came.", one.Name, thousands(one.Lost))
		}
	}
}

// round keeps one digit: no more is true of a figure like these.
func round(v float64) int {
	if v < 1 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	return int(math.Floor(v/unit+1e-9) * unit)
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// Duration writes a time with two digits or so, in the unit that fits.
func Duration(m Micros) string {
	switch {
	case m < 100:
		return fmt.Sprintf("%.0f µs", m)
	case m < 10_000:
		return fmt.Sprintf("%.2g ms", m/1e3)
	case m < 1_000_000:
		return fmt.Sprintf("%.0f ms", m/1e3)
	}
	return fmt.Sprintf("%.1f s", m/1e6)
}

// Line is a row of the table that people read; Head stands above.
func (r Row) Line() string {
	cell := func(v float64, format string) string {
		if v == 0 {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
	when := func(m Micros) string {
		if m == 0 {
			return "-"
		}
		return Duration(m)
	}
	rate := "-"
	if r.PerSecond > 0 {
		rate = thousands(int(r.PerSecond))
	}
	note := ""
	if r.Memory > 0 {
		note += fmt.Sprintf("  %.1f KiB each, %.1f after traffic", r.Memory/1024, r.After/1024)
	}
	if r.Away > 0 {
		note += fmt.Sprintf("  %s acknowledged, back after %s", thousands(r.Messages), Duration(r.Away))
	}
	if r.Lost > 0 {
		note += fmt.Sprintf("  %s LOST", thousands(r.Lost))
	}
	if r.Disorder > 0 {
		note += fmt.Sprintf("  %s out of order", thousands(r.Disorder))
	}
	return fmt.Sprintf("%-46s %10s %9s %9s %9s%s", r.Name, rate, cell(float64(r.CPU), "%.2f µs"), when(r.P50), when(r.P99), note)
}

// Head stands above the lines.
func Head() string {
	return fmt.Sprintf("%-46s %10s %9s %9s %9s", "", "a second", "CPU each", "half in", "99% in")
}
