// Lar runs a house: an MQTT broker, the devices that speak to it, automations
// and pages, in one process. See lar --help.
//
//go:debug randseednop=0
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"lar.home/hub"
	"lar.home/hub/config"
)

const usage = `Lar runs a house: MQTT broker, devices, automations and pages in one process.

Usage:

  lar [flags]                            run the hub until it is told to stop
  lar mqtt add NAME                      make a credential for a device and print it
  lar mqtt remove NAME                   end a credential
  lar mqtt list                          list the credentials
  lar user add NAME --role owner         make an account; the password is read
                                         from standard input. With --home NAME
                                         it also names the home.
  lar rules check FILE...                say what is wrong in files of rules
  lar rules test FILE...                 play tests of rules on a simulated
                                         clock; --json for machines. Exit code
                                         0: all is well, 1: not, 2: no such file
  lar rules list                         list the rules of the hub that runs
  lar rules get ID                       print a rule
  lar rules put FILE...                  save rules: a new one, or the one of
                                         its ID; with --runs move or cancel what
                                         waits goes on in it, or is stopped
  lar devices dump --corpus DIR          print, a line of JSON for each entity,
                                         what is understood of the announcements
                                         in DIR (discovery-*.jsonl.gz,
                                         zigbee2mqtt-exposes-*.jsonl.gz) and of
                                         states there (*-state-*.jsonl.gz)
  lar bench                              measure what this machine carries, on a
                                         hub of its own in a temporary folder
  lar check --config FILE                say what is wrong with a configuration,
                                         or print all that holds, with limits
  lar config                             print a configuration of all defaults,
                                         every key with a comment
  lar passwd NAME                        print a line for a password file; the
                                         password is read from standard input
  lar version                            print the version

The commands mqtt and user talk to the hub that runs on the data folder, or
change the folder when none does.

Flags, which are also environment variables as LAR_DATA or LAR_LOG_LEVEL:

  --config FILE       read this file, lar.toml; see lar config
  --data DIR          data folder (./lar-data)
  --mqtt ADDR         where clients connect (:1883); port 0 picks a free one
  --http ADDR         where pages are served (:8080); port 0 picks a free one;
                      off: no pages, a broker only
  --https ADDR        where pages are served over TLS, as in :8443 (off)
  --sync WHEN         when a message counts as kept: always, once the disk has
                      it (the default); interval or never, once the system has
                      it, which tells the disk within 100 ms or when it likes.
                      These are quicker, spare the disk, and lose what was
                      acknowledged last when the power fails.
  --mdns=false        do not make the hub known on the local network
  --allow-anonymous   let clients of the local network connect without a
                      credential, also when the home has an owner
  --log-level LEVEL   debug, info, warn or error (info)

Flags of lar bench:

  --addr HOST:PORT    measure the broker there, which may be any
  --user NAME         its credential; with --password-stdin the password is
                      read from standard input
  --json              print JSON
  --quick             a few seconds, too rough to compare
`

// limitMemory says what the runtime tries to stay under, if GOMEMLIMIT does not;
// 0 is the default.
func limitMemory(bytes int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cmp.Or(bytes, config.DefaultMemoryLimit)))
	}
}

// A running hub makes little garbage, and lets half of what it holds come of it
// before it collects, unless GOGC says otherwise: memory is dearer on a small
// computer than the processor. What is made at the start is left as it is.
const garbagePercent = 50

func tidyOften() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

func main() {
	limitMemory(0)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// flags are all that lar knows; each command uses some.
type flags struct {
	hub    hub.Config
	file   string            // of the configuration; empty: none
	given  map[string]string // settings that were given as flags, by key
	config *config.Effective
	level  *slog.LevelVar
	role   string
	home   string
	json   bool
	corpus string
	runs   string
	bench  benchFlags
}

// run carries out one call of lar and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f, words, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err == nil && len(words) > 1 && words[0] == "rules" && slices.Contains(hubRules, words[1]) {
		if err = f.load(); err == nil {
			err = rulesOfHub(f, words, stdout)
		}
		if errors.Is(err, errFailed) {
			return 1
		}
	} else if err == nil && len(words) > 0 && words[0] == "rules" {
		if err = rules(words, f.json, stdout); errors.Is(err, errFailed) {
			return 1 // the report says what
		}
	} else if err == nil {
		log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: f.level}))
		f.hub.Log = log
		if len(words) == 0 {
			err = serve(f, stdout, log)
		} else if verb, bad := check(words); bad == nil && verb == "bench" {
			err = measure(f.bench, f.json, f.hub.Version, stdin, stdout)
		} else {
			err = command(f, words, stdin, stdout)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "lar: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		if _, ok := errors.AsType[usageError](err); ok || len(args) > 0 && args[0] == "rules" && (len(words) < 2 || !slices.Contains(hubRules, words[1])) {
			return 2
		}
		return 1
	}
	return 0
}

// parse reads flags, wherever they stand among the words of a command.
func parse(args []string) (flags, []string, error) {
	f := flags{level: &slog.LevelVar{}}
	set := flag.NewFlagSet("lar", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	f.given = make(map[string]string)
	config.Flags(set, f.given)
	set.StringVar(&f.file, "config", os.Getenv("LAR_CONFIG"), "")
	set.StringVar(&f.role, "role", "", "")
	set.StringVar(&f.home, "home", "", "")
	set.StringVar(&f.corpus, "corpus", "", "")
	set.StringVar(&f.runs, "runs", "", "")
	set.BoolVar(&f.json, "json", false, "")
	set.StringVar(&f.bench.addr, "addr", "", "")
	set.StringVar(&f.bench.user, "user", "", "")
	set.BoolVar(&f.bench.passwordStdin, "password-stdin", false, "")
	set.BoolVar(&f.bench.quick, "quick", false, "")
	var words []string
	for {
		if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
			return f, nil, err
		} else if err != nil {
			return f, nil, fmt.Errorf("%w: see lar --help", err)
		}
		if set.NArg() == 0 {
			break
		}
		words = append(words, set.Arg(0))
		args = set.Args()[1:]
	}
	if len(words) > 0 && words[0] == "help" {
		return f, nil, flag.ErrHelp
	}
	f.hub.Version = version()
	if len(words) > 0 && slices.Contains([]string{"config", "devices", "passwd", "rules", "version"}, words[0]) {
		return f, words, nil // whatever is wrong with the configuration
	}
	if err := f.load(); err != nil {
		return f, words, err
	}
	return f, words, nil
}

// load reads the configuration, the first time or again.
func (f *flags) load() error {
	effective, err := config.Load(f.file, os.Environ(), f.given)
	if err != nil {
		return fmt.Errorf("%w: see lar --help", err)
	}
	dir, err := filepath.Abs(effective.Data)
	if err != nil {
		return err
	}
	f.config = effective
	f.level.Set(effective.Level())
	f.hub = hub.Config{
		Dir:            dir,
		MQTT:           effective.MQTT,
		HTTP:           effective.HTTP,
		HTTPS:          effective.HTTPS,
		Sync:           effective.Sync,
		MDNS:           effective.MDNS,
		AllowAnonymous: effective.AllowAnonymous,
		Listeners:      effective.Listeners,
		Home:           effective.Home,
		Rights:         effective.Rights,
		History:        effective.History,
		DiskPercent:    effective.DiskPercent,
		Limits:         effective.Limits,
		Devices:        effective.Devices,
		Version:        f.hub.Version,
		Log:            f.hub.Log,
	}
	return nil
}

// serve runs the hub until a signal comes; a second one ends it at once.
func serve(f flags, stdout io.Writer, log *slog.Logger) error {
	if f.role != "" || f.home != "" {
		return errors.New("--role and --home belong to lar user add: see lar --help")
	}
	if f.corpus != "" {
		return errors.New("--corpus belongs to lar devices dump: see lar --help")
	}
	if f.runs != "" {
		return errors.New("--runs belongs to lar rules put: see lar --help")
	}
	if f.bench.given() {
		return errBenchFlags
	}
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log) // libraries that use package log are heard at debug

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		<-signals
		stop()
		<-signals
		os.Exit(1)
	}()

	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)

	for _, w := range f.config.Warnings {
		log.Warn(w)
	}
	limitMemory(f.config.MemoryLimit)
	h, err := hub.New(f.hub)
	if err != nil {
		return err
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-again:
				reload(h, &f, log)
			}
		}
	}()
	tidyOften()
	greet(h, f.hub.Dir, stdout)
	return h.Run(ctx)
}

// reload reads the configuration again and puts in force what can be. What
// cannot be read changes nothing.
func reload(h *hub.Hub, f *flags, log *slog.Logger) {
	next := *f
	if err := next.load(); err != nil {
		log.Error("configuration not read again, nothing changes", "err", err)
		return
	}
	for _, key := range f.config.NeedsRestart(next.config) {
		log.Warn("a changed setting needs a new start", "key", key)
	}
	limitMemory(next.config.MemoryLimit)
	if err := h.Reload(next.hub); err != nil {
		log.Error("some of the configuration could not be put in force", "err", err)
	}
	// What needs a new start goes on being compared with what it started with.
	log.Info("configuration read again", "file", f.file)
}

// greet says where to go.
func greet(h *hub.Hub, dir string, w io.Writer) {
	fmt.Fprintln(w, "Lar is running.")
	labels := map[string]string{"web": "Open in a browser", "mqtt": "MQTT address"}
	for _, kind := range []string{"web", "mqtt"} {
		label := labels[kind]
		for _, a := range h.Addresses() {
			if a.Kind == kind {
				fmt.Fprintf(w, "  %-18s %s\n", label, a.Text)
				label = ""
			}
		}
	}
	label := "Listeners"
	for _, l := range h.Listeners() {
		fmt.Fprintf(w, "  %-18s %s\n", label, l)
		label = ""
	}
	fmt.Fprintf(w, "  %-18s %s\n", "Data folder", dir)
	if open, why := h.Open(); open {
		fmt.Fprintln(w, why)
	}
}

// version is the version of the module, or the commit the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v
}
