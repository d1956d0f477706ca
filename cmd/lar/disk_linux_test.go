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
	"sync"
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

// answer is how the hub answers a retained message with QoS 1, which is kept.
// 0xff stands for a connection that was closed.
func answer(c *talker, payload string) packet.Reason {
	c.t.Helper()
	c.say(publish(packet.AtLeastOnce, true, payload))
	for {
		switch p := c.hear().(type) {
		case nil:
			return 0xff
		case *packet.Ack:
			return p.Reason
		}
	}
}

// live publishes what needs no disk and waits until it comes.
func live(t *testing.T, pub, sub *talker, payload string) {
	t.Helper()
	pub.say(publish(packet.AtMostOnce, false, payload))
	for {
		in := sub.hear()
		if p, ok := in.(*packet.Publish); ok && string(p.Payload) == payload {
			return
		}
		if in == nil {
			t.Fatal("a message that needs no disk does not arrive")
		}
	}
}

// retained subscribes and returns the retained message that comes.
func (c *talker) retained() string {
	c.t.Helper()
	c.say(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "room/#"}}})
	for {
		switch p := c.hear().(type) {
		case nil:
			c.t.Fatal("the connection has ended")
		case *packet.Publish:
			return string(p.Payload)
		}
	}
}

// refusesWhatIsKept checks what a hub that cannot write does: it shows what was
// kept, refuses what would have to be, in the words of each protocol, and serves
// the rest.
func refusesWhatIsKept(t *testing.T, h *running, why string) {
	t.Helper()
	sub := talk(t, h.mqtt, packet.V5, "listener")
	if got := sub.retained(); got != "kept" {
		t.Errorf("the retained message is %q", got)
	}
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	if got := answer(pub, "new"); got != packet.QuotaExceeded {
		t.Errorf("PUBLISH of what would be kept is answered %v, want 0x97", got)
	}
	if got := answer(talk(t, h.mqtt, packet.V311, "old sensor"), "new"); got != 0xff {
		t.Errorf("the connection of a client of 3.1.1 is not closed: %v", got)
	}
	live(t, pub, sub, "live")
	page := ownersPage(t, h, "/")
	for _, want := range []string{"Nothing new can be kept now.", why, "Hall lamp"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

const hallLamp = `{"name": null, "unique_id": "hall_lamp", "state_topic": "home/hall/lamp/state",
	"command_topic": "home/hall/lamp/set", "device": {"identifiers": ["hall_lamp"], "name": "Hall lamp"}}`

// furnished starts a hub of a home with an owner, a device and a retained
// message, and open to all.
func furnished(t *testing.T, dir string) *running {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call(t, "three small words", "user", "add", "Jo", "--role=owner", "--home=Elm Street", "--data", dir); code != 0 {
		t.Fatal(stderr)
	}
	h := start(t, dir, "--allow-anonymous")
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	pub.say(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, PacketID: 1, Topic: []byte("homeassistant/light/hall_lamp/config"), Payload: []byte(hallLamp)})
	pub.hear()
	if got := answer(pub, "kept"); got >= 0x80 {
		t.Fatalf("PUBLISH is answered %v", got)
	}
	return h
}

// TestReadOnlyDisk starts on a disk that became read-only, as ext4 makes it on
// an error, after a power cut: what was kept is shown, what would have to be
// kept is refused, and it goes on by itself when the disk can be written again.
func TestReadOnlyDisk(t *testing.T) {
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	h := furnished(t, dir)
	h.stop(syscall.SIGKILL)
	must(t, "mount", "-o", "remount,ro", disk.dir)

	h = start(t, dir, "--allow-anonymous")
	refusesWhatIsKept(t, h, "disk is read-only")
	code, stdout, stderr := call(t, "", "mqtt", "add", "lamp", "--data", dir)
	sentence(t, "command beside a hub", code, stdout, stderr, dir, "read-only")
	if code, took := h.stop(syscall.SIGTERM); code != 0 || took > 5*time.Second || !strings.Contains(h.stderr.String(), "read-only") {
		t.Errorf("exit code %d after %v; the log: %s", code, took, h.stderr)
	}

	code, stdout, stderr = call(t, "", "mqtt", "add", "lamp", "--data", dir)
	sentence(t, "command without a hub", code, stdout, stderr[max(0, strings.LastIndex(stderr, "lar: ")):], dir, "read-only")
	if code, stdout, stderr := call(t, "", "mqtt", "list", "--data", dir); code != 0 {
		t.Errorf("credentials are not listed: %s%s", stdout, stderr)
	}

	h = start(t, dir, "--allow-anonymous")
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	if got := answer(pub, "new"); got != packet.QuotaExceeded {
		t.Errorf("PUBLISH is answered %v after another start, want 0x97", got)
	}
	must(t, "mount", "-o", "remount,rw", disk.dir)
	for begun := time.Now(); answer(pub, "written") >= 0x80; time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("still refused")
		}
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if code, _, stderr := call(t, "", "mqtt", "add", "lamp", "--data", dir); code == 0 {
			break
		} else if time.Since(begun) > patience {
			t.Fatalf("commands are not taken: %s", stderr)
		}
	}
	if page := ownersPage(t, h, "/"); strings.Contains(page, "Nothing new can be kept") {
		t.Error("the page still says that nothing can be kept")
	}
	h.stop(syscall.SIGKILL)
	h = start(t, dir, "--allow-anonymous")
	if got := talk(t, h.mqtt, packet.V5, "listener").retained(); got != "written" {
		t.Errorf("the retained message came back as %q", got)
	}
	h.stop(syscall.SIGTERM)
}

// TestDiskTurnsReadOnly has the kernel make the disk read-only under a hub that
// runs, as ext4 does when it finds an error.
func TestDiskTurnsReadOnly(t *testing.T) {
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	h := furnished(t, dir)
	must(t, "mount", "-o", "remount,abort", disk.dir)
	for begun := time.Now(); !strings.Contains(ownersPage(t, h, "/"), "disk is read-only"); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("the page does not say that the disk is read-only")
		}
	}
	refusesWhatIsKept(t, h, "disk is read-only")
	if code, took := h.stop(syscall.SIGTERM); code != 0 || took > 5*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	h = start(t, dir, "--allow-anonymous") // as after a watchdog, still on that disk
	refusesWhatIsKept(t, h, "disk is read-only")
	h.stop(syscall.SIGTERM)

	disk.mend()
	h = start(t, dir, "--allow-anonymous")
	if got := talk(t, h.mqtt, packet.V5, "listener").retained(); got != "kept" {
		t.Errorf("the retained message came back as %q", got)
	}
	if got := answer(talk(t, h.mqtt, packet.V5, "sensor"), "new"); got >= 0x80 {
		t.Errorf("PUBLISH is answered %v on a disk that was mended", got)
	}
	h.stop(syscall.SIGTERM)
}

// TestDiskHangs has the disk answer nothing for a while (LAR_HANG seconds) under
// a hub that runs: what needs no disk goes on, nothing is acknowledged that is
// not kept, after some seconds it is refused, and all of it ends by itself.
func TestDiskHangs(t *testing.T) {
	t.Parallel() // it waits most of the time
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	h := furnished(t, dir)
	sub := talk(t, h.mqtt, packet.V5, "listener")
	sub.retained()
	pub := talk(t, h.mqtt, packet.V5, "sensor")
	live(t, pub, sub, "before")

	thaw := sync.OnceFunc(disk.freeze())
	defer thaw()
	begun := time.Now()
	waiting := talk(t, h.mqtt, packet.V5, "waiting")
	waiting.say(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, PacketID: 9, Topic: []byte("other/state"), Payload: []byte("waits")})
	for n := 0; time.Since(begun) < time.Duration(times("LAR_HANG", 8))*time.Second; n++ {
		sent := time.Now()
		live(t, pub, sub, fmt.Sprint("live ", n))
		if took := time.Since(sent); took > 5*time.Second {
			t.Errorf("a message that needs no disk took %v", took)
		}
		<-time.After(50 * time.Millisecond)
	}
	if got := answer(talk(t, h.mqtt, packet.V5, "late"), "late"); got != packet.QuotaExceeded {
		t.Errorf("PUBLISH of what would be kept is answered %v after %v, want 0x97", got, time.Since(begun))
	}
	live(t, pub, sub, "live to the end")
	heard := make(chan packet.Packet, 1)
	go func() { heard <- waiting.hear() }()
	select {
	case p := <-heard:
		t.Errorf("a disk that hangs has kept something: %+v", p)
	case <-time.After(100 * time.Millisecond):
	}
	thaw()
	select {
	case p := <-heard:
		if ack, ok := p.(*packet.Ack); !ok || ack.Reason >= 0x80 {
			t.Errorf("what waited for the disk is answered %+v", p)
		}
	case <-time.After(patience):
		t.Fatal("what waited for the disk is not answered")
	}
	for begun := time.Now(); answer(pub, "after") >= 0x80; <-time.After(100 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("still refused")
		}
	}
	h.stop(syscall.SIGKILL)
	h = start(t, dir, "--allow-anonymous")
	c := talk(t, h.mqtt, packet.V5, "listener")
	c.say(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "other/#"}}})
	c.hear()
	if p, ok := c.hear().(*packet.Publish); !ok || string(p.Payload) != "waits" {
		t.Errorf("what was acknowledged came back as %+v", p)
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
	page := ownersPage(t, h, "/settings")
	m := regexp.MustCompile(`Written since the start</dt>\s*<dd>([\d.]+) (kB|MB|GB) in`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the settings do not say how much was written:\n%s", page)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * map[string]float64{"kB": 1e3, "MB": 1e6, "GB": 1e9}[m[2]]
}

// ownersPage returns a page as Jo sees it.
func ownersPage(t *testing.T, h *running, path string) string {
	t.Helper()
	if h.browser == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		h.browser = &http.Client{Jar: jar, Timeout: patience}
		resp, err := h.browser.PostForm(h.web+"/login", url.Values{"name": {"Jo"}, "password": {"three small words"}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	resp, err := h.browser.Get(h.web + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != path {
		t.Fatalf("%s: %s at %s, %v", path, resp.Status, resp.Request.URL, err)
	}
	return string(page)
}
