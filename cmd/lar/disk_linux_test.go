package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// A talker is a client of either version that says one thing at a time.
type talker struct {
	t    *testing.T
	v    packet.Version
	conn net.Conn
	in   *bufio.Reader
}

// talk connects a client.
func talk(t *testing.T, addr string, v packet.Version, id string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &talker{t: t, v: v, conn: conn, in: bufio.NewReader(conn)}
	c.say(&packet.Connect{Version: v, ClientID: id, CleanStart: true, KeepAlive: 60})
	if ack, ok := c.hear().(*packet.Connack); !ok || ack.Reason != packet.Success {
		t.Fatalf("answer to CONNECT: %+v", ack)
	}
	return c
}

func (c *talker) say(p packet.Packet) {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(patience)) // for the answer too
	if _, err := c.conn.Write(packet.Append(nil, c.v, p)); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns the next packet, or nil if the connection has ended.
func (c *talker) hear() packet.Packet {
	p, err := readPacket(c.in, c.v)
	if err != nil {
		return nil
	}
	return p
}

func publish(qos packet.QoS, retain bool, payload string) *packet.Publish {
	p := &packet.Publish{QoS: qos, Retain: retain, Topic: []byte("room/state"), Payload: []byte(payload)}
	if qos > 0 {
		p.PacketID = 7
	}
	return p
}

// TestDiskFills fills the disk of a hub that runs: what would have to be kept
// is refused in the words of the protocol, the rest goes on, and it ends by
// itself when there is room again.
func TestDiskFills(t *testing.T) {
	t.Parallel() // it waits most of the time
	disk := newFragileDisk(t)
	h := start(t, filepath.Join(disk.dir, "data"))
	sub := talk(t, h.mqtt, packet.V5, "listener")
	sub.say(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "room/#"}}})
	sub.hear()
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	// A retained message is kept, so it needs the disk.
	answer := func() packet.Reason {
		pub.say(publish(packet.AtLeastOnce, true, "kept"))
		ack, ok := pub.hear().(*packet.Ack)
		if !ok {
			t.Fatal("PUBLISH is not answered")
		}
		return ack.Reason
	}
	// until waits for the hub to notice: it looks at the space every 10 s.
	until := func(want bool) {
		t.Helper()
		for begun := time.Now(); time.Since(begun) < patience; time.Sleep(100 * time.Millisecond) {
			if (answer() == packet.QuotaExceeded) == want {
				return
			}
		}
		t.Fatalf("refused: still not %v", want)
	}
	until(false)

	full := filepath.Join(disk.dir, "film")
	f, err := os.Create(full)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk.dir, &st); err != nil {
		t.Fatal(err)
	}
	leave := int64(20 << 20)
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-leave); err != nil {
		t.Fatal(err)
	}
	until(true)

	old := talk(t, h.mqtt, packet.V311, "old sensor")
	old.say(publish(packet.AtLeastOnce, true, "old"))
	if p := old.hear(); p != nil {
		t.Errorf("a client of 3.1.1 is answered %+v, want its connection closed", p)
	}
	pub.say(publish(packet.AtMostOnce, false, "live"))
	sub.say(&packet.Pingreq{})
	for {
		in := sub.hear()
		if p, ok := in.(*packet.Publish); ok && string(p.Payload) == "live" {
			break
		}
		if in == nil {
			t.Fatal("a message that needs no disk does not arrive")
		}
	}

	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	until(false)
	if code, _ := h.stop(syscall.SIGTERM); code != 0 || !strings.Contains(h.stderr.String(), "disk has space again") {
		t.Errorf("exit code %d; the log does not say that there is space again", code)
	}
}

// TestReadOnlyDisk starts on a disk that became read-only, as ext4 does on an
// error: one sentence says so, and nothing is lost.
func TestReadOnlyDisk(t *testing.T) {
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	h := start(t, dir)
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	pub.say(publish(packet.AtLeastOnce, true, "kept"))
	pub.hear()
	h.stop(syscall.SIGTERM)

	must(t, "mount", "-o", "remount,ro", disk.dir)
	code, stdout, stderr := call(t, "", "--data", dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--mdns=false")
	lines := strings.SplitAfter(stderr, "\n")
	sentence(t, "read-only disk", code, stdout, strings.Join(lines[max(0, len(lines)-2):], ""), dir, "read-only", "--data")

	must(t, "mount", "-o", "remount,rw", disk.dir)
	h = start(t, dir)
	sub := talk(t, h.mqtt, packet.V5, "listener")
	sub.say(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "room/#"}}})
	sub.hear()
	if p, ok := sub.hear().(*packet.Publish); !ok || string(p.Payload) != "kept" {
		t.Errorf("the retained message came back as %+v", p)
	}
	h.stop(syscall.SIGTERM)
}

// TestBytesWritten compares what the hub says it has written with what the
// kernel counts.
func TestBytesWritten(t *testing.T) {
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call(t, "three small words", "user", "add", "Jo", "--role=owner", "--home=Elm Street", "--data", dir); code != 0 {
		t.Fatal(stderr)
	}
	h := start(t, dir, "--allow-anonymous")
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	for range 1000 {
		pub.say(publish(packet.AtLeastOnce, true, strings.Repeat("x", 200)))
		pub.hear()
	}
	before := written(t, h.cmd.Process.Pid)
	said := saidToBeWritten(t, h)
	after := written(t, h.cmd.Process.Pid)
	// One decimal, and what is written while the page is asked for.
	if low, high := float64(before)*0.9, float64(after)*1.1; said < low || said > high {
		t.Errorf("the hub says it has written %.0f bytes, the kernel counts %d", said, before)
	}
	if before < 1_000_000 {
		t.Errorf("the kernel counts %d bytes for 1000 durable messages: it counts nothing", before)
	}
	h.stop(syscall.SIGTERM)
}

// written returns how many bytes a process has sent to the disk, less those
// that were deleted on the way.
func written(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	count := func(name string) (n int64) {
		_, rest, ok := strings.Cut(string(text), "\n"+name+": ")
		if _, err := fmt.Sscan(rest, &n); !ok || err != nil {
			t.Fatalf("the kernel does not count %s:\n%s", name, text)
		}
		return n
	}
	return count("write_bytes") - count("cancelled_write_bytes")
}

// saidToBeWritten reads from the settings what the hub has written.
func saidToBeWritten(t *testing.T, h *running) float64 {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	resp, err := browser.PostForm(h.web+"/login", url.Values{"name": {"Jo"}, "password": {"three small words"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp, err = browser.Get(h.web + "/settings"); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`Written since the start</dt>\s*<dd>([\d.]+) (kB|MB|GB) in`).FindSubmatch(page)
	if m == nil {
		t.Fatalf("the settings do not say how much was written:\n%s", page)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * map[string]float64{"kB": 1e3, "MB": 1e6, "GB": 1e9}[string(m[2])]
}
