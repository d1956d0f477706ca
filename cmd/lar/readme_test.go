package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme does what README.md says, in its order: it runs every command
// that stands there, and clicks what is to be clicked in between.
func TestReadme(t *testing.T) {
	t.Parallel() // it mostly waits
	needMosquitto(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		blocks = append(blocks, m[1])
	}
	if n := strings.Count(string(readme), "\n```"); n != 2*len(blocks) {
		t.Errorf("%d fences, but %d blocks of sh: a command may be missed", n, len(blocks))
	}
	next := func() string {
		t.Helper()
		if len(blocks) == 0 {
			t.Fatal("README.md has fewer commands than this test knows")
		}
		block := blocks[0]
		blocks = blocks[1:]
		return block
	}

	if got := next(); got != "go run ./cmd/lar\n" {
		t.Fatalf("the first command is %q", got)
	}
	dir := t.TempDir()
	h := start(t, filepath.Join(dir, "lar-data")) // the default, in the folder where the shell is
	if got := next(); got != "make test\n" {
		t.Fatalf("the second command is %q", got)
	}
	if out, err := exec.Command("make", "-C", "../..", "--dry-run", "test").CombinedOutput(); err != nil {
		t.Errorf("make test: %v\n%s", err, out) // it is what runs this test
	}

	b := newTab(t, h.web, 1280, 800)
	b.moveIn("Elm Street", "Jo", "three small words")
	sh := newShell(t, dir, h)
	sh.run(next()) // a credential

	sh.run(next()) // a lamp
	b.open("/")
	b.sees(".tile", "Desk lamp")
	b.sees(".tile .say", "Off")
	sh.run(next()) // which does what it is told, as soon as it is subscribed
	code, stdout, stderr := call(t, "", "mqtt", "add", "reader", "--data", filepath.Join(dir, "lar-data"))
	if code != 0 {
		t.Fatal(stderr)
	}
	reader := client{t, h.mqtt, "reader", regexp.MustCompile(`Password +(\S+)`).FindStringSubmatch(stdout)[1]}
	states := reader.subscribe("desk/lamp/state", "-R")
	for !eventually(time.Second/2, func() bool { return states.count() > 0 }) {
		sh.run("pub -t desk/lamp/set -m OFF\n")
	}
	b.flip("main", "Desk lamp")
	b.sees(".tile .say", "On")
	b.flip("main", "Desk lamp")
	b.sees(".tile .say", "Off")

	sh.run(next()) // a motion sensor
	b.sees("main", "Desk motion")
	b.follow("nav", "Automations")
	b.follow("main", "Make the first one")
	b.fill("#editor", "Name", "Light at the desk")
	b.choose("#t", "Device", "Desk motion")
	b.choose("#t", "Value", "Motion")
	b.follow("#editor", "Tell a device")
	b.choose("#a0", "Device and command", "Desk lamp: turn on")
	b.follow("#editor", "Wait")
	b.fill("#a1", "How long", "10")
	b.choose("#a1", "How long, unit", "seconds")
	b.follow("#editor", "Tell a device")
	b.choose("#a2", "Device and command", "Desk lamp: turn off")
	b.follow(".savebar", "Save")
	rule := eval[string](b, `location.pathname`)
	b.follow("nav", "Home")

	sh.run(next()) // somebody comes
	begin := time.Now()
	b.sees(".tile[data-state=on]", "Desk lamp")
	b.until(`!document.querySelector(".tile[data-state=on]")`)
	if took := time.Since(begin); took < 9*time.Second || took > 30*time.Second {
		t.Errorf("the lamp was on for %v, want ten seconds", took)
	}
	b.open(rule)
	b.sees("#runs", "Done")
	if len(blocks) > 0 {
		t.Errorf("README.md has commands that this test does not know:\n%s", strings.Join(blocks, "\n"))
	}

	// Once more, with the power cut.
	b.open("/")
	sh.run("pub -r -t desk/motion/state -m OFF\npub -r -t desk/motion/state -m ON\n")
	b.sees(".tile[data-state=on]", "Desk lamp")
	h.stop(syscall.SIGINT)
	begin = time.Now()
	start(t, filepath.Join(dir, "lar-data"), "--mqtt", h.mqtt, "--http", strings.TrimPrefix(h.web, "http://"))
	b.open("/")
	b.sees(".tile[data-state=on]", "Desk lamp")
	b.until(`!document.querySelector(".tile[data-state=on]")`)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the lamp was on for %v after Lar had been stopped, want the rest of ten seconds", took)
	}
}

// A shell is a terminal in which somebody copies lines.
type shell struct {
	t     *testing.T
	stdin io.Writer
	out   chan string
}

// newShell opens a shell in a folder. Where a command would find Lar on the
// ports it has by default, it finds h.
func newShell(t *testing.T, dir string, h *running) *shell {
	t.Helper()
	host, port, err := net.SplitHostPort(h.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it left in the background
		cmd.Wait()
	})
	s := &shell{t, stdin, make(chan string, 1000)}
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			s.out <- lines.Text()
		}
		close(s.out)
	}()
	s.run(fmt.Sprintf(`
go() { [ "$1 $2" = "run ./cmd/lar" ] && shift 2 && %q "$@"; }
mosquitto_pub() { command mosquitto_pub -h %[2]s -p %[3]s "$@"; }
mosquitto_sub() { command mosquitto_sub -h %[2]s -p %[3]s "$@"; }
`, lar, host, port))
	return s
}

// run gives lines to the shell, one by one. None may fail, and none has
// anything to say.
func (s *shell) run(lines string) {
	s.t.Helper()
	for line := range strings.Lines(lines) {
		fmt.Fprintf(s.stdin, "%s\necho \"done $?\"\n", strings.TrimSuffix(line, "\n"))
		select {
		case out := <-s.out:
			if out != "done 0" {
				s.t.Fatalf("%s\nsays %q", line, out)
			}
		case <-time.After(patience):
			s.t.Fatalf("%s\nhas not ended within %v", line, patience)
		}
	}
}
