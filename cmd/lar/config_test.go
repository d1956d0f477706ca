package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A brokerOnly is a hub without pages that was started from a file.
type brokerOnly struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     *lockedBuffer
	took    time.Duration     // until it listened
	address map[string]string // by type of listener; "mqtt" is the plain one
}

// A lockedBuffer is read while a process writes it.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startBroker(t *testing.T, file string, args ...string) *brokerOnly {
	t.Helper()
	b := &brokerOnly{t: t, log: &lockedBuffer{}, address: map[string]string{}}
	b.cmd = exec.Command(lar, append([]string{"--config", file}, args...)...)
	b.cmd.Stderr = b.log
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		if t.Failed() {
			t.Logf("the hub's log:\n%s", b.log)
		}
	})
	line := regexp.MustCompile(`(?:(MQTT) address|(tcp|tls|websocket|secure-websocket|unix)) +(\S+)$`)
	s := bufio.NewScanner(out)
	for s.Scan() {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			b.address[strings.ToLower(m[1]+m[2])] = m[3]
		}
		b.took = time.Since(begin)
		if strings.Contains(s.Text(), "Data folder") {
			break
		}
	}
	if len(b.address) == 0 {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		t.Fatalf("the hub does not listen:\n%s", b.log)
	}
	return b
}

// logs waits for words in the log.
func (b *brokerOnly) logs(words string) {
	b.t.Helper()
	if !eventually(patience, func() bool { return strings.Contains(b.log.String(), words) }) {
		b.t.Fatalf("the log does not say %q", words)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// passwd makes a line of a password file.
func passwd(t *testing.T, name, password string) string {
	t.Helper()
	code, stdout, stderr := call(t, password+"\n", "passwd", name)
	if code != 0 || !strings.HasPrefix(stdout, name+":SCRAM-SHA-256$") {
		t.Fatalf("lar passwd: %d %q %q", code, stdout, stderr)
	}
	return stdout
}

// TestBrokerOnly runs a broker from a file: users, rights, no pages. SIGHUP
// reads them again, SIGTERM ends it.
func TestBrokerOnly(t *testing.T) {
	dir := t.TempDir()
	known := passwd(t, "lamp", "secret one") + passwd(t, "panel", "secret two")
	users := writeFile(t, filepath.Join(dir, "passwords"), known)
	config := func(more string) string {
		return writeFile(t, filepath.Join(dir, "lar.toml"), fmt.Sprintf(`
data = "data"
mqtt = "127.0.0.1:0"
http = "off"
mdns = false
[rights]
password_file = "passwords"
acl = ["allow lamp publish lamps/%%c/state", "allow panel subscribe lamps/#"]
%s
[[listener]]
type = "unix"
address = %q
`, more, filepath.Join(dir, "mqtt.sock")))
	}
	file := config("")
	code, stdout, stderr := call(t, "", "check", "--config", file)
	if code != 0 || !strings.Contains(stdout, "lar.toml:3") || !strings.Contains(stdout, "packet_size") {
		t.Fatalf("lar check: %d\n%s%s", code, stdout, stderr)
	}
	b := startBroker(t, file)
	if b.took > 2*time.Second {
		t.Errorf("it listens after %v, want 2 s", b.took)
	}
	addr := b.address["mqtt"]
	for _, tt := range []struct {
		username, password string
		want               byte
	}{{"", "", 5}, {"lamp", "wrong", 4}, {"nobody", "secret one", 4}, {"lamp", "secret one", 0}} {
		if code, _ := connect(t, addr, tt.username, tt.password); code != tt.want {
			t.Errorf("CONNECT as %q is answered %d, want %d", tt.username, code, tt.want)
		}
	}
	if strings.Contains(b.log.String(), "without a credential") {
		t.Error("the log says that the house stands open, though it has a password file")
	}
	needMosquitto(t)
	panel := client{t, addr, "panel", "secret two"}
	in := panel.subscribe("lamps/#", "-i", "panel")
	lamp := client{t, addr, "lamp", "secret one"}
	lamp.publish("lamps/other/state", "no", "-i", "hall") // acknowledged and dropped, as 3.1.1 has it
	lamp.publish("lamps/hall/state", "on", "-i", "hall")
	in.next("lamps/hall/state on")

	// A new user, a narrower right, another limit; nobody is sent away.
	writeFile(t, users, known+passwd(t, "door", "secret three"))
	config("[limits]\nwindow = 7\n[[listener]]\naddress = \"127.0.0.1:0\"\n")
	b.cmd.Process.Signal(syscall.SIGHUP)
	b.logs("configuration read again")
	b.logs("key=listener")
	client{t, addr, "door", "secret three"}.publish("x", "1", "-i", "door") // is let in
	lamp.publish("lamps/hall/state", "off", "-i", "hall")
	in.next("lamps/hall/state off")

	// A mistake changes nothing: rights fail closed.
	writeFile(t, file, "[rights]\nacl = [\"allow everything\"]\n")
	b.cmd.Process.Signal(syscall.SIGHUP)
	b.logs("could not be put in force")
	writeFile(t, file, "[right]\n")
	b.cmd.Process.Signal(syscall.SIGHUP)
	lamp.publish("lamps/other/state", "no", "-i", "hall")
	lamp.publish("lamps/hall/state", "on", "-i", "hall")
	in.next("lamps/hall/state on")

	b.cmd.Process.Signal(syscall.SIGTERM)
	b.cmd.Wait()
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lar.toml")
	for text, want := range map[string]string{
		"mqqt = \":1\"":                            "lar.toml:1: there is no key mqqt: did you mean mqtt?",
		"[rights]\npassword_file = \"missing\"":    "missing",
		"[rights]\nacl = [\"allow * both a/#/b\"]": "line 1 of acl",
		"[[listener]]\ntype=\"tls\"\naddress=\":1\"\ncertificate=\"c\"\nkey=\"k\"": "listener 1: certificate",
	} {
		writeFile(t, file, text)
		code, stdout, stderr := call(t, "", "check", "--config", file)
		sentence(t, text, code, stdout, stderr, want)
	}
	code, stdout, _ := call(t, "", "config")
	shipped, err := os.ReadFile("../../packaging/lar.toml")
	if err != nil || code != 0 || stdout != string(shipped) {
		t.Errorf("lar config does not print packaging/lar.toml: %d, %v", code, err)
	}
}
