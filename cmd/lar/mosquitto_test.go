package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client is how the command line clients of Mosquitto are told to connect:
// nobody here wrote them.
type client struct {
	t                        testing.TB
	addr, username, password string
}

func (c client) args(more ...string) []string {
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	args := []string{"-h", host, "-p", port}
	if c.username != "" {
		args = append(args, "-u", c.username, "-P", c.password)
	}
	return append(args, more...)
}

func needMosquitto(t testing.TB) {
	t.Helper()
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name+" is not here: install mosquitto-clients")
		}
	}
}

// publish sends a message and waits until it is acknowledged.
func (c client) publish(topic, payload string, more ...string) {
	c.t.Helper()
	args := c.args(append([]string{"-q", "1", "-t", topic, "-m", payload}, more...)...)
	code, _, stderr := finish(c.t, "", exec.Command("mosquitto_pub", args...))
	if code != 0 {
		c.t.Fatalf("mosquitto_pub %s: exit code %d: %s", topic, code, stderr)
	}
}

// An inbox holds what a mosquitto_sub was sent.
type inbox struct {
	t  testing.TB
	mu sync.Mutex
	// got are lines "topic payload" with the time each came; read counts those
	// that the test has seen. Guarded by mu.
	got  []letter
	read int
}

type letter struct {
	text string
	at   time.Time
}

// subscribe runs a mosquitto_sub until the test ends and returns once it is
// subscribed. It comes back by itself after a hub was away.
func (c client) subscribe(filter string, more ...string) *inbox {
	c.t.Helper()
	const mark = "got "
	cmd := exec.Command("stdbuf", append([]string{"-oL", "mosquitto_sub"}, c.args(append([]string{"-d", "-q", "1", "-t", filter, "-F", mark + "%t %p"}, more...)...)...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	in := &inbox{t: c.t}
	subscribed := make(chan struct{})
	var once sync.Once
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if line, ok := strings.CutPrefix(s.Text(), mark); ok {
				in.mu.Lock()
				in.got = append(in.got, letter{line, time.Now()})
				in.mu.Unlock()
			} else if strings.HasPrefix(line, "Subscribed ") {
				once.Do(func() { close(subscribed) })
			}
		}
		io.Copy(io.Discard, out)
	}()
	select {
	case <-subscribed:
	case <-time.After(patience):
		c.t.Fatalf("mosquitto_sub %s: not subscribed within %v", filter, patience)
	}
	return in
}

// next waits for the next message, which must be "topic payload", and returns
// when it came.
func (in *inbox) next(want string) time.Time {
	in.t.Helper()
	var l letter
	ok := eventually(patience, func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.read == len(in.got) {
			return false
		}
		l = in.got[in.read]
		in.read++
		return true
	})
	if !ok || l.text != want {
		in.t.Fatalf("mosquitto_sub got %q, want %q", l.text, want)
	}
	return l.at
}

// count returns how many messages have come.
func (in *inbox) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.got)
}

// empty fails the test if there is a message that nobody waited for.
func (in *inbox) empty() {
	in.t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	if rest := in.got[in.read:]; len(rest) > 0 {
		in.t.Errorf("mosquitto_sub got more than it should: %s", fmt.Sprint(rest))
	}
}
