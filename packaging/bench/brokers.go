package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"lar.home/hub/bench"
)

// What is fetched, and at which version.
const (
	mochiModule = "github.com/mochi-mqtt/server/v2"
	mochiAt     = "v2.7.9"
	natsModule  = "github.com/nats-io/nats-server/v2"
	natsAt      = "v2.15.2"
)

// A broker is one that can be measured.
type broker struct {
	name    string
	version string
	setting string // in words
	only311 bool
	binary  string
	dir     string // for its data and configuration
	more    []string
	kit     *kit
	start   func(ctx context.Context, b *broker, w wish) (*running, error)
}

// A wish is how a broker is to be started.
type wish struct {
	flags  []string // of lar
	doors  bool     // TLS and WebSocket too
	logins bool     // clients have credentials, and come by TLS
}

// A running is a broker that was started.
type running struct {
	target            bench.Target
	secure, webSocket bench.Target // by the other doors
	logins            []bench.Login
	web               string
	stop              func()
}

// prepare builds or finds the brokers; lar comes first.
func prepare(ctx context.Context, dir string, peers []string, lar string, larFlags []string) ([]*broker, error) {
	top, err := sourceTree()
	if err != nil {
		return nil, fmt.Errorf("find the source tree: %w", err)
	}
	if lar == "" {
		lar = filepath.Join(dir, "lar")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", lar, "./cmd/lar")
		build.Dir, build.Env = top, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build lar: %w\n%s", err, out)
		}
	}
	version, err := exec.CommandContext(ctx, lar, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", lar, err)
	}
	k, err := newKit(dir)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	commit, _ := exec.CommandContext(ctx, "git", "-C", top, "describe", "--always", "--dirty").Output()
	brokers := []*broker{{name: "lar", binary: lar, kit: k, dir: filepath.Join(dir, "lar-data"), start: startLar,
		version: strings.TrimSpace(strings.TrimPrefix(string(version), "lar ")) + ", commit " + cmp.Or(strings.TrimSpace(string(commit)), "unknown"),
		setting: strings.TrimSpace("whole hub, anonymous clients, queue limits lifted, no mDNS " + strings.Join(larFlags, " ")), more: larFlags}}
	for _, name := range peers {
		if name == "" {
			continue
		}
		b := &broker{name: name, kit: k, dir: filepath.Join(dir, name)}
		if err := os.MkdirAll(b.dir, 0o755); err != nil {
			return nil, err
		}
		switch name {
		case "mosquitto":
			b.binary, err = exec.LookPath("mosquitto")
			if err != nil {
				if b.binary, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
					return nil, fmt.Errorf("%w: sudo apt-get install mosquitto", err)
				}
			}
			err = nil
			said, _ := exec.CommandContext(ctx, b.binary, "-h").CombinedOutput() // its exit code is not 0
			b.version = regexp.MustCompile(`version (\S+)`).FindString(string(said))
			b.setting = "one listener on loopback, anonymous, max_queued_messages 0, else defaults (no persistence)"
			b.start = startMosquitto
		case "mochi":
			b.binary, err = install(ctx, dir, mochiModule+"/cmd", mochiAt)
			b.version, b.setting, b.start = mochiAt, "its own command, defaults, all clients allowed", startMochi
		case "nats":
			b.binary, err = install(ctx, dir, natsModule, natsAt)
			b.version, b.setting, b.start, b.only311 = natsAt, "MQTT listener and JetStream, defaults; MQTT 3.1.1 only", startNATS, true
		default:
			return nil, fmt.Errorf("-peers: %q is none of mosquitto, mochi, nats", name)
		}
		if err != nil {
			// The others are measured all the same.
			fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", name, err)
			continue
		}
		brokers = append(brokers, b)
	}
	return brokers, nil
}

// install builds a command of another module in a folder of its own; our
// go.mod does not take part.
func install(ctx context.Context, dir, pkg, version string) (string, error) {
	bin := filepath.Join(dir, "bin", strings.ReplaceAll(pkg, "/", "_"))
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "install", pkg+"@"+version)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s@%s: %w\n%s", pkg, version, err, out)
	}
	made, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil || len(made) != 1 {
		return "", fmt.Errorf("go install %s@%s made %q", pkg, version, made)
	}
	return made[0], nil
}

// fresh empties a broker's folder.
func (b *broker) fresh() error {
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	return os.MkdirAll(b.dir, 0o755)
}

// larSettings lift the limits that Mosquitto is not given either.
const larSettings = `[limits]
queue_messages = 1_000_000
queue_bytes = "1 GiB"
all_queues_bytes = "1 GiB"
`

func startLar(ctx context.Context, b *broker, w wish) (*running, error) {
	if err := os.RemoveAll(b.dir); err != nil {
		return nil, err
	}
	var logins []bench.Login
	if w.logins {
		if err := b.kit.forLar(ctx, b); err != nil {
			return nil, err
		}
		logins = b.kit.larLogins
		if err := os.CopyFS(b.dir, os.DirFS(b.kit.larDir)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.dir, 0o700); err != nil {
		return nil, err
	}
	settings, port := larSettings, 0
	if w.doors || w.logins {
		var err error
		if port, err = freePort(); err != nil {
			return nil, err
		}
		settings += fmt.Sprintf("[[listener]]\ntype = \"tls\"\naddress = \"127.0.0.1:%d\"\ncertificate = %q\nkey = %q\n", port, b.kit.certificate, b.kit.key)
	}
	conf := b.dir + ".toml"
	if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	r, err := serveLar(b, append(append([]string{"--allow-anonymous", "--config", conf}, b.more...), w.flags...))
	if err != nil {
		return nil, err
	}
	r.logins = logins
	r.secure, r.webSocket = r.target, r.target
	r.secure.Addr, r.secure.TLS = fmt.Sprintf("127.0.0.1:%d", port), b.kit.client
	web, err := url.Parse(r.web)
	if err != nil {
		return nil, err
	}
	r.webSocket.Addr, r.webSocket.WebSocket = web.Host, true
	return r, nil
}

func serveLar(b *broker, flags []string) (*running, error) {
	h, err := bench.StartHub(b.binary, b.dir, flags...)
	if err != nil {
		return nil, err
	}
	return &running{target: h.Target, web: h.Web, stop: func() { h.Kill() }}, nil
}

func startMosquitto(_ context.Context, b *broker, w wish) (*running, error) {
	if err := b.fresh(); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(b.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous %t\nmax_queued_messages 0\nlog_type none\n", port, !w.logins)
	var secure, web int
	if w.doors || w.logins {
		if secure, err = freePort(); err != nil {
			return nil, err
		}
		text += fmt.Sprintf("user %s\nlistener %d 127.0.0.1\ncertfile %s\nkeyfile %s\n", me(), secure, b.kit.certificate, b.kit.key)
	}
	if w.doors {
		if web, err = freePort(); err != nil {
			return nil, err
		}
		text += fmt.Sprintf("listener %d 127.0.0.1\nprotocol websockets\n", web)
	}
	var logins []bench.Login
	if w.logins {
		if err := b.kit.forMosquitto(); err != nil {
			return nil, err
		}
		logins = b.kit.logins
		text += "password_file " + b.kit.passwords + "\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	r, err := serve(port, b.binary, "-c", conf)
	if err != nil {
		return nil, err
	}
	r.logins = logins
	r.secure, r.webSocket = r.target, r.target
	r.secure.Addr, r.secure.TLS = fmt.Sprintf("127.0.0.1:%d", secure), b.kit.client
	r.webSocket.Addr, r.webSocket.WebSocket = fmt.Sprintf("127.0.0.1:%d", web), true
	return r, nil
}

func startMochi(_ context.Context, b *broker, _ wish) (*running, error) {
	var ports [3]int
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	local := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	return serve(ports[0], b.binary, "-tcp", local(ports[0]), "-ws", local(ports[1]), "-info", local(ports[2]))
}

func startNATS(_ context.Context, b *broker, _ wish) (*running, error) {
	if err := b.fresh(); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(b.dir, "nats.conf")
	text := fmt.Sprintf("server_name: bench\nlisten: 127.0.0.1:-1\njetstream { store_dir: %q }\nmqtt { listen: \"127.0.0.1:%d\" }\n", b.dir, port)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return serve(port, b.binary, "-c", conf)
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// serve runs a broker and waits until it takes connections.
func serve(port int, binary string, args ...string) (*running, error) {
	cmd := exec.Command(binary, args...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	stop := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	try := time.NewTicker(20 * time.Millisecond)
	defer try.Stop()
	for late := time.After(20 * time.Second); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return &running{target: bench.Target{Addr: addr, PID: cmd.Process.Pid}, stop: stop}, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("%s ends at once: %s", binary, cmd.ProcessState)
		case <-late:
			stop()
			return nil, fmt.Errorf("%s takes no connection", binary)
		case <-try.C:
		}
	}
}
