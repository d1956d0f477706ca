// Bench measures Lar beside other brokers on one machine and writes
// packaging/bench/RESULTS.md:
//
//	make bench-peers
//	go run ./packaging/bench -rounds 5 -only 'pipe|home'
//
// Mosquitto is the one that is installed (Debian's package); mochi and NATS
// are fetched and built by go install at pinned versions, outside our go.mod.
// Brokers take turns, A B C then C B A, so that what else the machine does
// meets all of them; medians and their spread are what is written down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/hub/bench"
	"lar.home/mqtt/packet"
)

func main() {
	var s suite
	only := flag.String("only", "", "measure rows whose `name` matches this regular expression")
	flag.IntVar(&s.rounds, "rounds", 5, "how often every row is measured")
	flag.DurationVar(&s.long, "for", time.Second, "how long a row of forwarding takes; those of a home twice that")
	versions := flag.String("versions", "3.1.1,5.0", "protocol versions")
	peers := flag.String("peers", "mosquitto,mochi,nats", "brokers beside lar; the first is what CPU is a ratio to")
	out := flag.String("o", "packaging/bench/RESULTS.md", "`file` to write, - for standard output")
	lar := flag.String("lar", "", "`binary` to measure, if not the one of this source tree")
	larFlags := flag.String("lar-flags", "", "more flags for it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx, *only, *versions, *peers, *out, *lar, strings.Fields(*larFlags)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// A suite is one call of the program.
type suite struct {
	at       time.Time // of the begin
	rounds   int
	long     time.Duration
	only     *regexp.Regexp
	versions []packet.Version
	brokers  []*broker
	results  results
}

func (s *suite) run(ctx context.Context, only, versions, peers, out, lar string, larFlags []string) (err error) {
	if s.rounds < 1 || s.long <= 0 || flag.NArg() > 0 {
		return errors.New("-rounds and -for are above 0, and there are no words beside flags")
	}
	if s.only, err = regexp.Compile(only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	for v := range strings.SplitSeq(versions, ",") {
		known := map[string]packet.Version{"3.1.1": packet.V311, "5.0": packet.V5}
		if known[v] == 0 {
			return fmt.Errorf("-versions: there is no %q, only 3.1.1 and 5.0", v)
		}
		s.versions = append(s.versions, known[v])
	}
	dir, err := os.MkdirTemp("", "lar-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.brokers, err = prepare(ctx, dir, strings.Split(peers, ","), lar, larFlags); err != nil {
		return err
	}
	s.at = time.Now()
	for _, part := range []func(context.Context) error{s.forwarding, s.memory, s.queues, s.house} {
		if err := part(ctx); err != nil {
			return err
		}
		if out != "-" { // what is known is not lost, should the rest fail
			if err := s.write(out); err != nil {
				return err
			}
		}
	}
	if out == "-" {
		text, err := s.report()
		if err == nil {
			_, err = os.Stdout.Write(text)
		}
		return err
	}
	return nil
}

func (s *suite) write(file string) error {
	text, err := s.report()
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// wanted tells whether a row is to be measured.
func (s *suite) wanted(name string) bool { return s.only.MatchString(name) }

// turns calls fn for each broker, rounds times, in alternating order. Brokers
// beyond the first peer, which nothing is a ratio to, have fewer turns.
func (s *suite) turns(ctx context.Context, brokers []*broker, fn func(b *broker)) error {
	for round := range s.rounds {
		order := slices.Clone(brokers)
		if round >= othersRounds {
			order = order[:min(2, len(order))]
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, b := range order {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fn(b)
		}
	}
	return nil
}

const othersRounds = 1

// keep notes what a broker did, or that it could not.
func (s *suite) keep(row string, b *broker, r bench.Row, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%-50s %-10s %v\n", row, b.name, err)
		s.results.fail(row, b.name, err)
		return
	}
	fmt.Fprintf(os.Stderr, "%-50s %-10s %8.2f µs %10.0f/s lost %d\n", row, b.name, r.CPU, r.PerSecond, r.Lost)
	s.results.add(row, b.name, r)
}

func versionName(v packet.Version) string {
	if v == packet.V5 {
		return "5.0"
	}
	return "3.1.1"
}

// A door is by which listener a row's clients come.
type door string

const (
	plain     door = ""
	secure    door = "TLS"
	webSocket door = "WebSocket"
	logins    door = "TLS and credentials"
)

// A row is one line of the tables.
type row struct {
	name string
	by   door
	run  func(r *running, t bench.Target) (bench.Row, error)
	few  bool // measured beside the first peer only
}

// rows are those that each protocol version is measured by.
func (s *suite) rows(ctx context.Context) (rows []row) {
	warm := s.long / 4
	flow := func(name string, by door, f bench.Flow) {
		f.Warm, f.For = warm, s.long
		few := f.Size != 0 || by != plain
		if f.Size == 0 {
			f.Size = 64
		}
		rows = append(rows, row{name, by, func(_ *running, t bench.Target) (bench.Row, error) { return f.Run(ctx, t) }, few})
	}
	pipe := func(qos packet.QoS, size int) bench.Flow {
		return bench.Flow{Shape: bench.Pipe, Publishers: 10, QoS: qos, Window: 20, Size: size}
	}
	home := func(name string, by door, qos packet.QoS) {
		h := bench.Home{Devices: 200, PerSecond: 1000, QoS: qos, Warm: warm, For: 2 * s.long}
		rows = append(rows, row{name, by, func(_ *running, t bench.Target) (bench.Row, error) { return h.Run(ctx, t) }, by != plain})
	}
	for qos := range packet.QoS(3) {
		flow(fmt.Sprintf("pipe 10:10, window 20, QoS %d", qos), plain, pipe(qos, 0))
	}
	for qos := range packet.QoS(2) {
		flow(fmt.Sprintf("fan-out 1:100, window 20, QoS %d", qos), plain, bench.Flow{Shape: bench.FanOut, Publishers: 1, Subscribers: 100, QoS: qos, Window: 20})
	}
	for qos := range packet.QoS(2) {
		flow(fmt.Sprintf("fan-in 50:1, window 5, QoS %d", qos), plain, bench.Flow{Shape: bench.FanIn, Publishers: 50, QoS: qos, Window: 5})
	}
	for qos := range packet.QoS(2) {
		home(fmt.Sprintf("home 200 devices, 1,000/s, QoS %d", qos), plain, qos)
	}
	flow("round trip, window 1, QoS 1", plain, bench.Flow{Shape: bench.Pipe, Publishers: 1, QoS: 1, Window: 1})

	flow("pipe 10:10, window 20, QoS 1, 1 KiB", plain, pipe(1, 1<<10))
	flow("pipe 10:10, window 20, QoS 0, 16 KiB", plain, pipe(0, 16<<10))
	flow("pipe 10:10, window 20, QoS 1, TLS", secure, pipe(1, 0))
	home("home 200 devices, 1,000/s, QoS 1, TLS", secure, 1)
	flow("pipe 10:10, window 20, QoS 1, WebSocket", webSocket, pipe(1, 0))

	rows = append(rows, row{"retained 50,000 to one #", plain, func(_ *running, t bench.Target) (bench.Row, error) {
		return bench.Shelf{Topics: 50_000, Size: 40}.Run(ctx, t)
	}, false})
	rows = append(rows, row{"200 clients come back at once, TLS and credentials", logins, func(r *running, t bench.Target) (bench.Row, error) {
		return bench.Crowd{Clients: crowd, Logins: r.logins}.Reconnect(ctx, t)
	}, true})
	return rows
}

// forwarding measures the rows in which clients are connected.
func (s *suite) forwarding(ctx context.Context) error {
	up := stable{}
	defer up.stop()
	for _, v := range s.versions {
		for _, r := range s.rows(ctx) {
			name := versionName(v) + " " + r.name
			if !s.wanted(name) {
				continue
			}
			brokers := s.brokers
			if r.few {
				brokers = brokers[:min(2, len(brokers))]
			}
			err := s.turns(ctx, brokers, func(b *broker) {
				if v == packet.V5 && b.only311 {
					return
				}
				run, err := up.get(ctx, b, r.by)
				if err != nil {
					s.keep(name, b, bench.Row{}, fmt.Errorf("does not start: %w", err))
					return
				}
				t := run.target
				switch r.by {
				case secure, logins:
					t = run.secure
				case webSocket:
					t = run.webSocket
				}
				t.Version = v
				one, err := r.run(run, t)
				s.keep(name, b, one, err)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A stable keeps brokers running from row to row, so that what they do when
// they start is over when they are measured.
type stable map[stall]*running

type stall struct {
	b     *broker
	doors bool // or plain
	login bool
}

func (up stable) get(ctx context.Context, b *broker, by door) (*running, error) {
	at := stall{b, by == secure || by == webSocket, by == logins}
	if up[at] != nil {
		return up[at], nil
	}
	run, err := b.start(ctx, b, wish{doors: at.doors, logins: at.login})
	if err != nil {
		return nil, err
	}
	up[at] = run
	bench.Calm(ctx, run.target, quiet)
	return run, nil
}

func (up stable) stop() {
	for _, run := range up {
		run.stop()
	}
}

// quiet is how long after a start nothing is measured: a hub asks devices for
// their states again ten seconds after it, NATS and Badger look around.
const quiet = 12 * time.Second

// memory measures what a broker takes that has just been started.
func (s *suite) memory(ctx context.Context) error {
	const idle, crowds, silent = "memory idle", "memory of a connection", "idle CPU, 200 silent clients"
	if !s.wanted(idle) && !s.wanted(crowds) && !s.wanted(silent) {
		return nil
	}
	return s.turns(ctx, s.brokers, func(b *broker) {
		run, err := b.start(ctx, b, wish{})
		if err != nil {
			s.keep(idle, b, bench.Row{}, fmt.Errorf("does not start: %w", err))
			return
		}
		defer run.stop()
		if s.wanted(idle) {
			now := bench.Settled(ctx, run.target)
			s.keep(idle, b, bench.Row{Memory: float64(now)}, nil)
		}
		if s.wanted(silent) {
			wait := quiet
			if b != s.brokers[0] {
				wait = 2 * time.Second
			}
			r, err := bench.Silence(ctx, run.target, 200, wait, 5*time.Second)
			s.keep(silent, b, r, err)
		}
		if s.wanted(crowds) {
			r, err := bench.Crowd{Clients: 1000, Dialers: 32}.Run(ctx, run.target)
			s.keep(crowds, b, r, err)
		}
	})
}

// queues measures durable rows beside the bare committer of the same round.
func (s *suite) queues(ctx context.Context) error {
	rows := []struct {
		name       string
		publishers int
		flags      []string
	}{
		{"durable, 80 in flight", 4, nil},
		{"durable, 500 in flight", 25, nil},
		{"durable without sync, 80 in flight", 4, []string{"--sync", "never"}},
	}
	if !slices.ContainsFunc(rows, func(r struct {
		name       string
		publishers int
		flags      []string
	}) bool {
		return s.wanted(r.name)
	}) {
		return nil
	}
	for range s.rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.floor(ctx); err != nil {
			s.keep("bare committer", &broker{name: "lar"}, bench.Row{}, err)
		}
		for _, r := range rows {
			if !s.wanted(r.name) {
				continue
			}
			for _, b := range s.brokers {
				if r.flags != nil && b.name == "mosquitto" || b.name == "mochi" {
					continue // keep nothing on disk as they come
				}
				if r.flags == nil && b.name == "nats" {
					continue // syncs every two minutes
				}
				if b.name == "mosquitto" && r.publishers > 4 {
					continue
				}
				run, err := b.start(ctx, b, wish{flags: r.flags})
				if err != nil {
					s.keep(r.name, b, bench.Row{}, fmt.Errorf("does not start: %w", err))
					continue
				}
				q := bench.Queue{Sessions: 50, Each: 900, Publishers: r.publishers, Window: 20, Size: 64, QoS: 1}
				publish, drain, err := q.Run(ctx, run.target)
				run.stop()
				s.keep(r.name, b, publish, err)
				s.keep(r.name+", drained", b, drain, err)
			}
		}
	}
	return nil
}

var floorLine = regexp.MustCompile(`(?m)^BenchmarkCommitterFloor/(\S+?)(?:-\d+)?\s.*$`)

// floor measures the bare committer of hub/store.
func (s *suite) floor(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "CommitterFloor/.*/window=(80|500)$", "-benchtime", s.long.String(), "./hub/store")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("bare committer: %w\n%s", err, out)
	}
	for _, m := range floorLine.FindAllStringSubmatch(string(out), -1) {
		r := bench.Row{Name: m[1]}
		f := strings.Fields(m[0])
		for i := 1; i < len(f); i++ {
			v, _ := strconv.ParseFloat(f[i-1], 64)
			switch f[i] {
			case "msg/s":
				r.PerSecond = v
			case "cpu-us/msg":
				r.CPU = bench.Micros(v)
			}
		}
		s.keep("bare committer "+m[1], &broker{name: "lar"}, r, nil)
	}
	return nil
}

// house measures the whole hub with what a house has.
func (s *suite) house(ctx context.Context) error {
	const full = "memory with 200 devices, 100 rules, a page open"
	if !s.wanted(full) {
		return nil
	}
	lar := s.brokers[0]
	for range s.rounds {
		r, err := furnished(ctx, lar)
		s.keep(full, lar, r, err)
	}
	return nil
}

// sourceTree is the folder that go.mod stands in.
func sourceTree() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
