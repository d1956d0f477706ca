package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"

	"lar.home/hub/bench"
)

// results are the rows of each broker, in the order in which they came.
type results struct {
	names []string
	rows  map[string]map[string][]bench.Row // row, broker
	fails map[string]map[string]string
}

func (r *results) add(row, broker string, one bench.Row) {
	if r.rows == nil {
		r.rows = map[string]map[string][]bench.Row{}
	}
	r.name(row)
	if r.rows[row] == nil {
		r.rows[row] = map[string][]bench.Row{}
	}
	r.rows[row][broker] = append(r.rows[row][broker], one)
}

func (r *results) fail(row, broker string, err error) {
	if r.fails == nil {
		r.fails = map[string]map[string]string{}
	}
	r.name(row)
	if r.fails[row] == nil {
		r.fails[row] = map[string]string{}
	}
	r.fails[row][broker] = strings.ReplaceAll(err.Error(), "\n", "; ")
}

func (r *results) name(row string) {
	if !slices.Contains(r.names, row) {
		r.names = append(r.names, row)
	}
}

// A figure is a median and where the single runs lay.
type figure struct{ median, least, most float64 }

func figureOf(rows []bench.Row, of func(bench.Row) float64) figure {
	var v []float64
	for _, r := range rows {
		v = append(v, of(r))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return figure{}
	}
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (m + v[len(v)/2-1]) / 2
	}
	return figure{m, v[0], v[len(v)-1]}
}

func (f figure) write(format string) string {
	if f.most == 0 {
		return "–"
	}
	one := func(v float64) string { return strings.TrimSpace(fmt.Sprintf(format, v)) }
	if f.least == f.most || one(f.least) == one(f.most) {
		return one(f.median)
	}
	return fmt.Sprintf("%s (%s–%s)", one(f.median), one(f.least), one(f.most))
}

func cpu(r bench.Row) float64    { return float64(r.CPU) }
func rate(r bench.Row) float64   { return r.PerSecond }
func p50(r bench.Row) float64    { return float64(r.P50) }
func last(r bench.Row) float64   { return float64(r.Last) / 1e3 }
func lost(r bench.Row) float64   { return float64(r.Lost) }
func memory(r bench.Row) float64 { return r.Memory }
func after(r bench.Row) float64  { return r.After }

func of(fn func(bench.Row) float64, unit float64) func(bench.Row) float64 {
	return func(r bench.Row) float64 { return fn(r) / unit }
}

// A bound is what issue and reader hold a row to.
type bound struct {
	row       string // its end
	must, aim float64
}

// musts are what the CPU of a row may be, as a multiple of Mosquitto's.
var musts = []bound{
	{"pipe 10:10, window 20, QoS 0", 0.20, 0.10},
	{"pipe 10:10, window 20, QoS 1", 0.15, 0.07},
	{"pipe 10:10, window 20, QoS 2", 0.20, 0.10},
	{"fan-out 1:100, window 20, QoS 0", 0.25, 0.12},
	{"fan-out 1:100, window 20, QoS 1", 0.25, 0.15},
	{"fan-in 50:1, window 5, QoS 0", 0.50, 0.25},
	{"fan-in 50:1, window 5, QoS 1", 0.25, 0.12},
	{"home 200 devices, 1,000/s, QoS 0", 1.3, 0.9},
	{"home 200 devices, 1,000/s, QoS 1", 1.3, 0.8},
}

// others are bounds of lar's own figures.
var others = []struct {
	bound
	what   string
	format string
	higher bool // is better
	of     func(bench.Row) float64
	beside string // of the row of the bare committer: a share of it, or CPU beyond it
	share  bool
}{
	{bound{"durable, 80 in flight", 0.5, 0.8}, "rate beside the bare committer", "%.2f ×", true, rate, "bare committer always/window=80", true},
	{bound{"durable, 80 in flight", 5, 3}, "CPU beyond the bare committer's", "%.1f µs", false, cpu, "bare committer always/window=80", false},
	{bound{"durable, 500 in flight", 0.5, 0.8}, "rate beside the bare committer", "%.2f ×", true, rate, "bare committer always/window=500", true},
	{bound{"durable, 500 in flight", 5, 3}, "CPU beyond the bare committer's", "%.1f µs", false, cpu, "bare committer always/window=500", false},
	{bound{"durable without sync, 80 in flight", 60_000, 120_000}, "a second", "%.0f", true, rate, "", false},
	{bound{"durable, 80 in flight, drained", 80_000, 150_000}, "a second", "%.0f", true, rate, "", false},
	{bound{"round trip, window 1, QoS 1", 100, 55}, "half within", "%.0f µs", false, p50, "", false},
	{bound{"memory idle", 40, 25}, "resident", "%.1f MB", false, of(memory, 1e6), "", false},
	{bound{"memory with 200 devices, 100 rules, a page open", 70, 45}, "resident", "%.1f MB", false, of(memory, 1e6), "", false},
	{bound{"memory of a connection", 8, 4.5}, "idle", "%.1f KiB", false, of(memory, 1024), "", false},
	{bound{"memory of a connection", 10, 6.5}, "after traffic", "%.1f KiB", false, of(after, 1024), "", false},
	{bound{"retained 50,000 to one #", 500, 200}, "the last within", "%.0f ms", false, last, "", false},
	{bound{"idle CPU, 200 silent clients", 1.0, 0.6}, "of a core", "%.2f %%", false, of(cpu, 1e4), "", false},
	{bound{"200 clients come back at once, TLS and credentials", 2000, 1000}, "all served within", "%.0f ms", false, last, "", false},
}

// verdict says what a figure meets.
func (b bound) verdict(v float64, higher bool) string {
	if higher {
		v, b.must, b.aim = -v, -b.must, -b.aim
	}
	switch {
	case v <= b.aim:
		return "aim"
	case v <= b.must:
		return "must"
	}
	return "**not met**"
}

// verdicts writes what each row is held to, and whether it keeps it.
func (s *suite) verdicts() string {
	var b strings.Builder
	b.WriteString("| row | | lar | must | aim | keeps |\n|---|---|--:|--:|--:|---|\n")
	line := func(row, what, format string, v float64, m bound, higher bool) {
		one := func(v float64) string { return fmt.Sprintf(format, v) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row, what, one(v), one(m.must), one(m.aim), m.verdict(v, higher))
	}
	for _, m := range musts {
		for _, name := range s.results.names {
			if base := s.base(name); strings.HasSuffix(name, " "+m.row) && base > 0 {
				if v := figureOf(s.results.rows[name]["lar"], cpu).median; v > 0 {
					line(name, "CPU, as a multiple", "%.2f", v/base, m, false)
				}
			}
		}
	}
	for _, o := range others {
		for _, name := range s.results.names {
			if name != o.row && !strings.HasSuffix(name, " "+o.row) {
				continue
			}
			v := figureOf(s.results.rows[name]["lar"], o.of).median
			if o.beside != "" {
				floor := figureOf(s.results.rows[o.beside]["lar"], o.of).median
				if floor == 0 {
					continue
				}
				if v -= floor; o.share {
					v = (v + floor) / floor
				}
			} else if v == 0 {
				continue
			}
			line(name, o.what, o.format, v, o.bound, o.higher)
		}
	}
	return b.String()
}

// base is the CPU of the first peer.
func (s *suite) base(row string) float64 {
	if len(s.brokers) < 2 {
		return 0
	}
	return figureOf(s.results.rows[row][s.brokers[1].name], cpu).median
}

// table writes a table of Markdown with a line for each row that begins with
// prefix and has figures, and a column for each broker.
func (s *suite) table(rows []string, format string, fn func(bench.Row) float64) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, br := range s.brokers {
		b.WriteString(" " + br.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(s.brokers)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, br := range s.brokers {
			cell := figureOf(s.results.rows[row][br.name], fn).write(format)
			if why := s.results.fails[row][br.name]; why != "" {
				cell = strings.TrimPrefix(cell+" "+why, "– ")
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratios writes lar's CPU as a multiple of the first peer's, by the medians.
func (s *suite) ratios(rows []string) string {
	if len(s.brokers) < 2 {
		return ""
	}
	peer := s.brokers[1].name
	var b strings.Builder
	fmt.Fprintf(&b, "| CPU as a multiple of %s's | lar |", peer)
	for _, br := range s.brokers[2:] {
		b.WriteString(" " + br.name + " |")
	}
	b.WriteString(" must | aim |\n|---|" + strings.Repeat("--:|", len(s.brokers)+1) + "\n")
	for _, row := range rows {
		base := figureOf(s.results.rows[row][peer], cpu).median
		if base == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s |", row)
		ratio := func(broker string) {
			if v := figureOf(s.results.rows[row][broker], cpu).median; v > 0 {
				fmt.Fprintf(&b, " %.2f |", v/base)
			} else {
				b.WriteString(" – |")
			}
		}
		ratio("lar")
		for _, br := range s.brokers[2:] {
			ratio(br.name)
		}
		bounds := " | |"
		for _, m := range musts {
			if strings.HasSuffix(row, m.row) {
				bounds = fmt.Sprintf(" %.2f | %.2f |", m.must, m.aim)
			}
		}
		b.WriteString(bounds + "\n")
	}
	return b.String()
}

//go:embed RESULTS.md.tmpl
var resultsTemplate string

// report writes the page.
func (s *suite) report() ([]byte, error) {
	having := func(parts ...string) (rows []string) {
		for _, name := range s.results.names {
			if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) }) {
				rows = append(rows, name)
			}
		}
		return rows
	}
	top, err := sourceTree()
	if err != nil {
		return nil, err
	}
	profiles, err := os.ReadFile(filepath.Join(top, "packaging/bench/profiles.md"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var lossy []string
	for _, name := range s.results.names {
		for _, rows := range s.results.rows[name] {
			if figureOf(rows, lost).most > 0 && !slices.Contains(lossy, name) {
				lossy = append(lossy, name)
			}
		}
	}
	goVersion, _ := exec.Command("go", "version").Output()
	forwarding := having("pipe ", "fan-out ", "fan-in ", "home ", "round trip")
	type table struct{ Title, Text string }
	tables := []table{
		{"What the rows are held to, and what they keep", s.verdicts()},
		{"CPU beside Mosquitto", s.ratios(forwarding)},
		{"CPU of the broker for a delivered message, µs", s.table(forwarding, "%.2f", cpu)},
		{"Messages a second", s.table(forwarding, "%.0f", rate)},
		{"Half of the messages are there within, µs", s.table(forwarding, "%.0f", p50)},
		{"Messages that never came; in all other rows none was lost", s.table(lossy, "%.0f", lost)},
		{"Messages for clients that are away, a second", s.table(having("bare committer", "durable"), "%.0f", rate)},
		{"and CPU for each, µs", s.table(having("bare committer", "durable"), "%.1f", cpu)},
		{"50,000 retained messages: the last is there within, ms", s.table(having("retained"), "%.0f", last)},
		{"200 clients come back at once: all are served within, ms", s.table(having("come back"), "%.0f", last)},
		{"Resident memory, MB", s.table(having("memory idle", "memory with"), "%.1f", of(memory, 1e6))},
		{"A connection with one subscription, idle, KiB", s.table(having("memory of a connection"), "%.1f", of(memory, 1024))},
		{"and after traffic, KiB", s.table(having("memory of a connection"), "%.1f", of(after, 1024))},
		{"200 silent clients: CPU of a core, %", s.table(having("silent"), "%.2f", of(cpu, 1e4))},
	}
	measured := tables[:0]
	for _, t := range tables {
		if strings.Count(t.Text, "\n") > 2 {
			measured = append(measured, t)
		}
	}
	data := struct {
		Date, Machine, Go, Profiles string
		Cores, Rounds, Fewer        int
		Long, Took                  time.Duration
		Load                        string
		Brokers                     []struct{ Name, Version, Setting string }
		Tables                      []table
	}{
		Date: s.at.Format(time.DateOnly), Machine: bench.Machine(), Go: strings.TrimSpace(strings.TrimPrefix(string(goVersion), "go version ")),
		Cores: runtime.NumCPU(), Rounds: s.rounds, Fewer: min(s.rounds, othersRounds), Long: s.long, Took: time.Since(s.at).Round(time.Second), Profiles: strings.TrimSpace(string(profiles)), Tables: measured,
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		data.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	for _, b := range s.brokers {
		data.Brokers = append(data.Brokers, struct{ Name, Version, Setting string }{b.name, b.version, b.setting})
	}
	t, err := template.New("RESULTS.md").Parse(resultsTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, data)
	return out.Bytes(), err
}
