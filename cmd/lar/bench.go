package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lar.home/hub/bench"
)

// benchWithin bounds lar bench; it takes about a minute where nothing is wrong.
const benchWithin = 10 * time.Minute

// benchFlags are those of lar bench alone.
type benchFlags struct {
	addr          string
	user          string
	passwordStdin bool
	quick         bool
}

// given tells whether any of them stands on the command line.
func (b benchFlags) given() bool { return b != benchFlags{} }

var errBenchFlags = errors.New("--addr, --user, --password-stdin and --quick belong to lar bench: see lar --help")

// measure carries out lar bench: it measures the broker at --addr, or a hub of
// its own in a temporary folder, so that nobody's devices notice.
func measure(f benchFlags, asJSON bool, version string, stdin io.Reader, stdout io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, benchWithin)
	defer cancel()

	cfg := bench.Config{Quick: f.quick}
	switch {
	case f.addr == "" && (f.user != "" || f.passwordStdin):
		return errors.New("--user and --password-stdin are for the broker at --addr HOST:PORT: see lar --help")
	case f.user == "" && f.passwordStdin:
		return errors.New("a password is for a user: give --user NAME as well")
	case f.addr != "":
		if host, port, err := net.SplitHostPort(f.addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is no address: give --addr a host and a port, as in 192.168.1.20:1883", f.addr)
		}
		cfg.Target = bench.Target{Addr: f.addr, Username: f.user}
		if f.passwordStdin {
			if cfg.Target.Password, err = readPassword(stdin, "lar bench --user NAME --password-stdin"); err != nil {
				return err
			}
		}
		cfg.Broker = "the broker at " + f.addr
	default:
		dir, err := os.MkdirTemp("", "lar-bench-")
		if err != nil {
			return fmt.Errorf("make a folder for a hub to be measured: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		binary, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find lar itself: %w", err)
		}
		hub, err := bench.StartHub(binary, dir, "--allow-anonymous")
		if err != nil {
			return err
		}
		defer hub.Kill()
		cfg.Target, cfg.Process, cfg.Disk = hub.Target, hub, dir
		cfg.Broker = "lar " + version + ", a hub of its own in " + dir
	}

	if !asJSON {
		fmt.Fprintf(stdout, "Measuring %s\non %s\n\n%s\n", cfg.Broker, bench.Machine(), bench.Head())
		cfg.Row = func(r bench.Row) { fmt.Fprintln(stdout, r.Line()) }
	}
	report, err := bench.Run(ctx, cfg)
	switch {
	case errors.Is(err, bench.ErrRefused):
		return fmt.Errorf("%w: give --user NAME and --password-stdin", bench.ErrRefused)
	case ctx.Err() != nil:
		return errors.New("stopped before the end")
	case err != nil:
		return err
	}
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	fmt.Fprintln(stdout)
	for _, line := range report.Verdict {
		fmt.Fprintln(stdout, line)
	}
	if f.quick {
		fmt.Fprintln(stdout, "These figures are of a quick run and too rough to compare.")
	}
	return nil
}
