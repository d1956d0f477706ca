package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lar is the binary that the tests run, as a user would.
var lar string

func TestMain(m *testing.M) { os.Exit(build(m)) }

// settings are the variables LAR_… that the tests were given. The binary does
// not see them: to it they would be settings of its own.
var settings = make(map[string]string)

func build(m *testing.M) int {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "LAR_") {
			settings[name] = value
			os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "lar-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755) // tests also run it as another user
	lar = filepath.Join(dir, "lar")
	if out, err := exec.Command("go", "build", "-o", lar, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build lar: %v\n%s", err, out)
		return 1
	}
	defer closeBrowser()
	return m.Run()
}

// patience is how long a test waits for what is there in well under a second,
// on a machine that is busy with other tests.
const patience = 60 * time.Second

// A running is a hub that was started.
type running struct {
	t       testing.TB
	cmd     *exec.Cmd
	stderr  *bytes.Buffer // read it when the hub has ended
	lines   []string
	started time.Duration // until the last start line
	web     string        // URL
	mqtt    string
	browser *http.Client // signed in as the owner, once a page was asked for
}

// start runs a hub on free ports of the loopback interface and waits for its
// start lines.
func start(t testing.TB, dir string, args ...string) *running {
	t.Helper()
	args = append([]string{"--data", dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--mdns=false"}, args...)
	h := &running{t: t, cmd: exec.Command(lar, args...), stderr: &bytes.Buffer{}}
	h.cmd.Stderr = h.stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait() // and for what is copied to stderr
		if t.Failed() {
			t.Logf("the hub's log:\n%s", h.stderr)
		}
	})
	s := bufio.NewScanner(out)
	for s.Scan() {
		h.lines = append(h.lines, s.Text())
		h.started = time.Since(begin)
		if strings.Contains(s.Text(), "Data folder") {
			break
		}
	}
	go func() {
		for s.Scan() {
		}
	}()
	all := strings.Join(h.lines, "\n")
	m := regexp.MustCompile(`(http://127\.0\.0\.1:\d+)\n.*(127\.0\.0\.1:\d+)\n`).FindStringSubmatch(all)
	if m == nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		t.Fatalf("the start lines name no addresses:\n%s\n%s", all, h.stderr)
	}
	h.web, h.mqtt = m[1], m[2]
	return h
}

// stop sends a signal and returns the exit code and how long it took.
func (h *running) stop(sig os.Signal) (code int, took time.Duration) {
	h.t.Helper()
	begin := time.Now()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
	h.cmd.Wait()
	return h.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// call runs lar to its end.
func call(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return finish(t, stdin, exec.Command(lar, args...))
}

func finish(t testing.TB, stdin string, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// connect sends a CONNECT of 3.1.1 and returns the return code of its CONNACK,
// section 3.2.2.3, and the connection.
func connect(t *testing.T, addr, username, password string) (code byte, conn net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	text := func(b []byte, s string) []byte { return append(append(b, byte(len(s)>>8), byte(len(s))), s...) }
	flags := byte(0x02)
	payload := text(nil, "test")
	if username != "" {
		flags |= 0xc0
		payload = text(text(payload, username), password)
	}
	body := append(text(nil, "MQTT"), 4, flags, 0, 60)
	body = append(body, payload...)
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	var ack [4]byte
	if _, err := io.ReadFull(conn, ack[:]); err != nil {
		t.Fatalf("no CONNACK: %v", err)
	}
	return ack[3], conn
}

func TestStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	h := start(t, dir)
	if len(h.lines) > 5 {
		t.Errorf("%d start lines, want few:\n%s", len(h.lines), strings.Join(h.lines, "\n"))
	}
	if last := h.lines[len(h.lines)-1]; !strings.Contains(last, dir) {
		t.Errorf("the start lines do not name the data folder:\n%s", last)
	}
	if code, _ := connect(t, h.mqtt, "", ""); code != 0 {
		t.Errorf("CONNECT without a credential is answered %d before there is an owner", code)
	}
	resp, err := http.Get(h.web)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/setup" {
		t.Errorf("the pages answer %s at %s, want the first run", resp.Status, resp.Request.URL)
	}
	h.stop(syscall.SIGTERM)
	if !strings.Contains(h.stderr.String(), "clients may connect without a credential") {
		t.Error("the log does not say that the house stands open")
	}
}

func TestStartIsQuick(t *testing.T) {
	// A machine with other work makes any one start slow, not all of three.
	quickest := time.Hour
	for range 3 {
		h := start(t, t.TempDir())
		quickest = min(quickest, h.started)
		h.stop(syscall.SIGTERM)
	}
	if quickest > time.Second {
		t.Errorf("a start takes %v, want under 1 s", quickest)
	}
}

func TestDefaultAddresses(t *testing.T) {
	h := exec.Command(lar, "--data", t.TempDir(), "--mqtt", ":0", "--http", ":0", "--mdns=false")
	out, err := h.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	defer h.Wait()
	defer h.Process.Kill()
	var web []string
	for s := bufio.NewScanner(out); s.Scan(); {
		if url := regexp.MustCompile(`http://\S+`).FindString(s.Text()); url != "" {
			web = append(web, url)
		}
		if strings.Contains(s.Text(), "Data folder") {
			break
		}
	}
	if len(web) == 0 {
		t.Fatal("no address is printed")
	}
	for _, url := range web {
		resp, err := http.Get(url)
		if err != nil {
			t.Errorf("what is printed does not answer: %v", err)
			continue
		}
		resp.Body.Close()
		if strings.Contains(url, "0.0.0.0") || strings.Contains(url, "[::]") || strings.HasSuffix(url, ":0") {
			t.Errorf("%s is no address a phone can use", url)
		}
	}
}

func TestStop(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		h := start(t, t.TempDir())
		_, client := connect(t, h.mqtt, "", "")
		slow, err := net.Dial("tcp", strings.TrimPrefix(h.web, "http://")) // a request that never ends
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		fmt.Fprint(slow, "POST /login HTTP/1.1\r\nHost: lar\r\nContent-Length: 100\r\n\r\n")

		code, took := h.stop(sig)
		if code != 0 || took > 5*time.Second {
			t.Errorf("%v: exit code %d after %v, want 0 within 5 s\n%s", sig, code, took, h.stderr)
		}
		if _, err := io.ReadAll(client); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v: the client was not let go: %v", sig, err)
		}
	}
}

// sentence checks that a call was refused with one line that says what to do.
func sentence(t *testing.T, what string, code int, stdout, stderr string, words ...string) {
	t.Helper()
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "lar: ") {
		t.Errorf("%s: exit code %d, output %q, want 1 and one sentence:\n%s", what, code, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			t.Errorf("%s: the sentence does not say %q:\n%s", what, w, stderr)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	tests := []struct {
		args string
		says []string
	}{
		{"--colour", []string{"-colour", "lar --help"}},
		{"--log-level loud", []string{"loud", "lar --help"}},
		{"--sync sometimes", []string{"sometimes", "always", "lar --help"}},
		{"--mdns=perhaps", []string{"perhaps", "lar --help"}},
		{"--data=", []string{"--data", "lar --help"}},
		{"--role owner", []string{"lar user add", "lar --help"}},
		{"fly", []string{"fly", "lar --help"}},
		{"mqtt", []string{"lar --help"}},
		{"mqtt add", []string{"name", "lar --help"}},
		{"mqtt add hall lamp", []string{"lamp", "quotes"}},
		{"version 2", []string{"lar --help"}},
		{"user add Jo", []string{"--role owner"}},
		{"user add Jo --role king", []string{"--role owner"}},
		{"user add Jo --role owner", []string{"standard input"}},
		{"mqtt list --data " + missing, []string{missing, "--data"}},
		{"mqtt list --data " + file, []string{file, "--data"}},
		{"--data " + file, []string{file, "--data"}},
		{"--mqtt 1883", []string{"--mqtt", ":1883"}},
		{"--mqtt :", []string{"--mqtt", ":1883"}},
		{"--http 300.1.1.1:80", []string{"--http"}},
		{"--http 203.0.113.77:8080", []string{"203.0.113.77", "--http"}},
		{"--http :99999", []string{"--http"}},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		if !strings.Contains(tt.args, "--data") {
			args = append(args, "--data", dir)
		}
		if !strings.Contains(tt.args, "--mqtt") {
			args = append(args, "--mqtt=127.0.0.1:0")
		}
		if !strings.Contains(tt.args, "--http") {
			args = append(args, "--http=127.0.0.1:0")
		}
		code, stdout, stderr := call(t, "", args...)
		sentence(t, "lar "+tt.args, code, stdout, stderr, tt.says...)
	}
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, flag := range []string{"--mqtt", "--http"} {
		args := []string{"--data", t.TempDir(), "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", flag, ln.Addr().String()}
		code, stdout, stderr := call(t, "", args...)
		sentence(t, flag+" in use", code, stdout, stderr, port, flag)
	}
}

func TestLockedFolder(t *testing.T) {
	dir := t.TempDir()
	h := start(t, dir)
	code, stdout, stderr := call(t, "", "--data", dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	sentence(t, "folder in use", code, stdout, stderr, dir, fmt.Sprint(h.cmd.Process.Pid), "--data")
}

// The tests below are given a user and a disk of their own by unshare, which
// needs no rights where the kernel lets users have namespaces.
func TestUnreadableFolder(t *testing.T) {
	dir := t.TempDir()
	unreadable := filepath.Join(dir, "data")
	if err := os.Mkdir(unreadable, 0o500); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lar, "--data", unreadable, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if os.Getuid() == 0 {
		for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	code, stdout, stderr := finish(t, "", cmd)
	sentence(t, "folder of another user", code, stdout, stderr, unreadable, "--data")
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=1m none "$0" && exec "$@"`, dir,
		lar, "--data", filepath.Join(dir, "data"), "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	code, stdout, stderr := finish(t, "", cmd)
	lines := strings.SplitAfter(stderr, "\n") // the store has logged what it saw
	stderr = strings.Join(lines[max(0, len(lines)-2):], "")
	sentence(t, "full disk", code, stdout, stderr, dir, "full", "free some space")
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	h := start(t, dir)
	password := func(stdout string) string {
		m := regexp.MustCompile(`Password +(\S+)`).FindStringSubmatch(stdout)
		if m == nil {
			t.Fatalf("no password in %q", stdout)
		}
		return m[1]
	}
	must := func(stdin string, args ...string) string {
		t.Helper()
		code, stdout, stderr := call(t, stdin, append(args, "--data", dir)...)
		if code != 0 {
			t.Fatalf("lar %v: exit code %d: %s", args, code, stderr)
		}
		return stdout
	}
	lamp := password(must("", "mqtt", "add", "hall lamp"))
	must("correct horse\n", "user", "add", "Jo", "--role", "owner", "--home", "Elm Street")

	// From now on a device needs its credential, section 3.2.2.3 of 3.1.1.
	for _, tt := range []struct {
		username, password string
		want               byte
	}{{"", "", 5}, {"hall lamp", "wrong", 4}, {"hall lamp", lamp, 0}} {
		if code, _ := connect(t, h.mqtt, tt.username, tt.password); code != tt.want {
			t.Errorf("CONNECT as %q is answered %d, want %d", tt.username, code, tt.want)
		}
	}
	if list := must("", "mqtt", "list"); !regexp.MustCompile(`(?m)^hall lamp .* \d\d:\d\d:\d\d$`).MatchString(list) {
		t.Errorf("the list does not show the lamp, and when it connected:\n%s", list)
	}
	code, stdout, stderr := call(t, "", "mqtt", "add", "hall lamp", "--data", dir)
	sentence(t, "a name twice", code, stdout, stderr, "taken")
	code, stdout, stderr = call(t, "short\n", "user", "add", "Sam", "--role", "owner", "--data", dir)
	sentence(t, "a short password", code, stdout, stderr, "8 characters")

	// The same commands, while no hub runs; the socket of a killed one is there.
	h.stop(syscall.SIGKILL)
	plug := password(must("", "mqtt", "add", "plug"))
	must("", "mqtt", "remove", "hall lamp")
	code, stdout, stderr = call(t, "", "mqtt", "remove", "hall lamp", "--data", dir)
	sentence(t, "removed twice", code, stdout, stderr, "no credential")

	h = start(t, dir)
	if code, _ := connect(t, h.mqtt, "plug", plug); code != 0 {
		t.Errorf("a credential made while no hub ran is answered %d", code)
	}
	if code, _ := connect(t, h.mqtt, "hall lamp", lamp); code != 4 {
		t.Errorf("a credential removed while no hub ran is answered %d, want 4", code)
	}
	if list := must("", "mqtt", "list"); strings.Contains(list, "hall lamp") || !strings.Contains(list, "plug") {
		t.Errorf("the hub's list is not that of the folder:\n%s", list)
	}
}

func TestAllowAnonymous(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := call(t, "correct horse", "user", "add", "Jo", "--role=owner", "--data", dir); code != 0 {
		t.Fatal(stderr)
	}
	h := start(t, dir, "--allow-anonymous")
	if code, _ := connect(t, h.mqtt, "", ""); code != 0 {
		t.Errorf("CONNECT without a credential is answered %d", code)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}, {"mqtt", "add", "--help"}} {
		code, stdout, stderr := call(t, "", args...)
		if code != 0 || stderr != "" || stdout != usage {
			t.Errorf("lar %v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	code, stdout, _ := call(t, "", "version")
	if code != 0 || !regexp.MustCompile(`^lar \S+ go1\S* \S+/\S+\n$`).MatchString(stdout) {
		t.Errorf("lar version: exit code %d, %q", code, stdout)
	}
}
