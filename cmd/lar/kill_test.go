package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// An endpoint is a client that keeps the rules of MQTT 3.1.1 over many
// connections, and what it was promised. One goroutine at a time has it.
type endpoint struct {
	id     string
	conn   net.Conn
	in     *bufio.Reader
	known  bool // a CONNACK came: the session must be there
	filter string
	subbed bool

	outgoing []*message // not settled, in order
	nextID   uint16
	sent     int
	promised []string

	open      map[uint16]bool // inbound QoS 2 identifiers
	delivered []string
}

type message struct {
	id       uint16
	qos      packet.QoS
	retain   bool
	topic    string
	payload  string
	released bool
}

func (e *endpoint) write(ps ...packet.Packet) error {
	var b []byte
	for _, p := range ps {
		b = packet.Append(b, packet.V311, p)
	}
	_, err := e.conn.Write(b)
	return err
}

func (e *endpoint) read() (packet.Packet, error) { return readPacket(e.in, packet.V311) }

// readPacket returns the next packet.
func readPacket(in *bufio.Reader, v packet.Version) (packet.Packet, error) {
	head, err := in.Peek(2)
	for n := 2; err == nil; n++ {
		total, ok, bad := packet.Size(head)
		if bad != nil {
			return nil, bad
		}
		if ok {
			buf := make([]byte, total)
			if _, err = io.ReadFull(in, buf); err != nil {
				return nil, err
			}
			first, body, _, bad := packet.Split(buf, 0)
			if bad != nil {
				return nil, bad
			}
			return packet.Decode(v, first, body)
		}
		head, err = in.Peek(n + 1)
	}
	return nil, err
}

// dial connects and takes its session up again.
func (e *endpoint) dial(addr string) (err error) {
	if e.conn, err = net.Dial("tcp", addr); err != nil {
		return err
	}
	e.conn.SetDeadline(time.Now().Add(patience))
	e.in = bufio.NewReader(e.conn)
	if err := e.write(&packet.Connect{Version: packet.V311, ClientID: e.id, KeepAlive: 60}); err != nil {
		return err
	}
	p, err := e.read()
	if err != nil {
		return err
	}
	ack, ok := p.(*packet.Connack)
	if !ok || ack.Reason != packet.Success {
		return fmt.Errorf("%w: answer to CONNECT: %+v", errLaw, p)
	}
	if e.known && !ack.SessionPresent {
		return fmt.Errorf("%w: the session of %s is gone", errLaw, e.id)
	}
	e.known = true
	if e.filter != "" && !e.subbed {
		return e.write(&packet.Subscribe{PacketID: 65535, Filters: []packet.Subscription{{Filter: e.filter, QoS: 2}}})
	}
	for _, m := range e.outgoing {
		if m.released {
			err = e.write(&packet.Ack{Kind: packet.PUBREL, PacketID: m.id})
		} else {
			err = e.write(m.packet(true))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errLaw is the error of what must never happen, told from a connection that
// the kill has cut.
var errLaw = errors.New("a promise was broken")

func (m *message) packet(dup bool) packet.Packet {
	return &packet.Publish{Dup: dup, QoS: m.qos, Retain: m.retain, PacketID: m.id, Topic: []byte(m.topic), Payload: []byte(m.payload)}
}

// take handles one packet.
func (e *endpoint) take(p packet.Packet) error {
	switch p := p.(type) {
	case *packet.Suback:
		e.subbed = true
	case *packet.Publish:
		payload := string(p.Payload)
		switch p.QoS {
		case packet.ExactlyOnce:
			if !e.open[p.PacketID] {
				e.open[p.PacketID] = true
				e.delivered = append(e.delivered, payload)
			}
			return e.write(&packet.Ack{Kind: packet.PUBREC, PacketID: p.PacketID})
		case packet.AtLeastOnce:
			e.delivered = append(e.delivered, payload)
			return e.write(&packet.Ack{Kind: packet.PUBACK, PacketID: p.PacketID})
		}
		e.delivered = append(e.delivered, payload)
	case *packet.Ack:
		switch p.Kind {
		case packet.PUBREL:
			delete(e.open, p.PacketID)
			return e.write(&packet.Ack{Kind: packet.PUBCOMP, PacketID: p.PacketID})
		case packet.PUBREC:
			if m := e.find(p.PacketID); m != nil && !m.released {
				m.released = true
				e.promised = append(e.promised, m.payload)
			}
			return e.write(&packet.Ack{Kind: packet.PUBREL, PacketID: p.PacketID})
		case packet.PUBACK:
			if m := e.find(p.PacketID); m != nil {
				e.promised = append(e.promised, m.payload)
				e.settle(m)
			}
		case packet.PUBCOMP:
			if m := e.find(p.PacketID); m != nil {
				e.settle(m)
			}
		}
	}
	return nil
}

func (e *endpoint) find(id uint16) *message {
	for _, m := range e.outgoing {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (e *endpoint) settle(m *message) {
	e.outgoing = slices.DeleteFunc(e.outgoing, func(o *message) bool { return o == m })
}

// publish sends the next message.
func (e *endpoint) publish(topic, payload string, qos packet.QoS, retain bool) error {
	e.nextID = e.nextID%60000 + 1
	m := &message{id: e.nextID, qos: qos, retain: retain, topic: topic, payload: payload}
	e.outgoing = append(e.outgoing, m)
	return e.write(m.packet(false))
}

// A storm is a set of clients that live through many kills.
type storm struct {
	pubs []*endpoint
	subs []*endpoint // served all the time
	away *endpoint   // served at the end only
	acks atomic.Int64
}

const (
	killWindow   = 20
	killPerRound = 150 // of a publisher, so that no queue overflows
)

func newStorm() *storm {
	s := &storm{}
	for i := range 3 {
		s.pubs = append(s.pubs, &endpoint{id: fmt.Sprintf("pub%d", i)})
	}
	for i := range 2 {
		s.subs = append(s.subs, &endpoint{id: fmt.Sprintf("sub%d", i), filter: "all/#", open: map[uint16]bool{}})
	}
	s.away = &endpoint{id: "away", filter: "all/some", open: map[uint16]bool{}}
	return s
}

// settle makes the sessions that must not miss anything, before the storm.
func (s *storm) settle(t *testing.T, addr string) {
	t.Helper()
	for _, sub := range append([]*endpoint{s.away}, s.subs...) {
		if err := sub.dial(addr); err != nil {
			t.Fatal(err)
		}
		for !sub.subbed {
			in, err := sub.read()
			if err != nil {
				t.Fatal(err)
			}
			if err := sub.take(in); err != nil {
				t.Fatal(err)
			}
		}
		sub.conn.Close()
	}
}

// until has the storm rage until end, which comes at a random moment and ends
// the hub.
func (s *storm) until(addr string, r *rand.Rand, end func()) error {
	enough := s.acks.Load() + r.Int64N(killPerRound*2)
	pause := time.Duration(r.IntN(3000)) * time.Microsecond
	return s.rage(addr, func() {
		for begun := time.Now(); s.acks.Load() < enough && time.Since(begun) < patience; {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(pause) // a random moment is the point here
		end()
	})
}

// rage has every client do its part until the hub is killed.
func (s *storm) rage(addr string, kill func()) error {
	var all sync.WaitGroup
	errs := make(chan error, len(s.pubs)+len(s.subs))
	for i, p := range s.pubs {
		all.Go(func() { errs <- s.publisher(p, i, addr, false) })
	}
	for _, p := range s.subs {
		all.Go(func() { errs <- s.subscriber(p, addr, "") })
	}
	kill()
	all.Wait()
	close(errs)
	for err := range errs {
		if errors.Is(err, errLaw) {
			return err
		}
	}
	return nil
}

// finish lets everybody come back and settle what is open. A last message
// tells the subscribers that nothing follows.
func (s *storm) finish(addr string) error {
	for i, p := range s.pubs {
		if err := s.publisher(p, i, addr, true); err != nil {
			return err
		}
	}
	last := &endpoint{id: "last"}
	if err := last.dial(addr); err != nil {
		return err
	}
	if err := last.publish("all/some", marker, packet.ExactlyOnce, false); err != nil {
		return err
	}
	for len(last.outgoing) > 0 {
		in, err := last.read()
		if err != nil {
			return err
		}
		if err := last.take(in); err != nil {
			return err
		}
	}
	last.conn.Close()
	for _, p := range append(s.subs, s.away) {
		if err := s.subscriber(p, addr, marker); err != nil {
			return err
		}
	}
	return nil
}

// judge compares what was promised with what came, and returns what was not
// kept: a few examples of each kind.
func (s *storm) judge(t *testing.T) (broken []string) {
	for _, sub := range append(s.subs, s.away) {
		count := make(map[string]int)
		for _, d := range sub.delivered {
			count[d]++
		}
		lost, doubled := 0, 0
		for _, p := range s.pubs {
			for _, payload := range p.promised {
				wanted := strings.HasSuffix(payload, "-some") || sub != s.away && strings.HasSuffix(payload, "-rest")
				if wanted && count[payload] == 0 {
					if lost++; lost < 5 {
						broken = append(broken, fmt.Sprintf("%s: %q was acknowledged and is lost", sub.id, payload))
					}
				}
			}
		}
		for payload, n := range count {
			if strings.HasPrefix(payload, "2-") && n > 1 {
				if doubled++; doubled < 5 {
					broken = append(broken, fmt.Sprintf("%s: %q was sent with QoS 2 and came %d times", sub.id, payload, n))
				}
			}
		}
		if before, after := disorder(sub.delivered); before != "" {
			broken = append(broken, fmt.Sprintf("%s: %q came after %q", sub.id, before, after))
		}
		t.Logf("%s: %d delivered, %d lost, %d doubled", sub.id, len(sub.delivered), lost, doubled)
		if len(sub.delivered) < 2 {
			broken = append(broken, sub.id+": nothing came")
		}
	}
	return broken
}

// disorder returns the first message that came, for the first time, after a
// later one of the same publisher, topic and QoS. Payloads are
// qos-publisher-number-topic.
func disorder(delivered []string) (before, after string) {
	last := make(map[string]string)
	seen := make(map[string]bool)
	number := func(payload string) int {
		n, _ := strconv.Atoi(strings.Split(payload, "-")[2])
		return n
	}
	for _, d := range delivered {
		f := strings.Split(d, "-")
		if seen[d] || len(f) != 4 {
			continue
		}
		seen[d] = true
		row := f[0] + f[1] + f[3]
		if l, ok := last[row]; ok && number(d) < number(l) {
			return d, l
		}
		last[row] = d
	}
	return "", ""
}

// retainedPayload is what a publisher retains: every third time nothing, which
// takes the message before it away.
func retainedPayload(sent int) string {
	if sent/10%3 == 2 {
		return ""
	}
	return strconv.Itoa(sent)
}

// judgeRetained compares the retained messages with the last that were
// promised.
func (s *storm) judgeRetained(t *testing.T, addr string) {
	fresh := &endpoint{id: "fresh", open: map[uint16]bool{}}
	if err := fresh.dial(addr); err != nil {
		t.Fatal(err)
	}
	defer fresh.conn.Close()
	if err := fresh.write(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "kept/#"}}}); err != nil {
		t.Fatal(err)
	}
	kept := make(map[string]string)
	if err := fresh.publish("kept/end", marker, packet.AtMostOnce, false); err != nil { // comes behind them
		t.Fatal(err)
	}
	for kept["kept/end"] == "" {
		in, err := fresh.read()
		if err != nil {
			t.Fatalf("retained messages: %v; there are %v", err, kept)
		}
		if p, ok := in.(*packet.Publish); ok {
			kept[string(p.Topic)] = string(p.Payload)
		}
	}
	for i, p := range s.pubs {
		want := retainedPayload(p.sent - (p.sent%10+5)%10) // the last of those that end in 5
		if got := kept[fmt.Sprintf("kept/%d", i)]; got != want {
			t.Errorf("kept/%d is %q, want %q", i, got, want)
		}
	}
}

// publisher publishes its share, or only settles what is open.
func (s *storm) publisher(p *endpoint, n int, addr string, last bool) error {
	if err := p.dial(addr); err != nil {
		return err
	}
	defer p.conn.Close()
	for count := 0; ; {
		for !last && len(p.outgoing) < killWindow && count < killPerRound {
			count++
			p.sent++
			qos := packet.QoS(1 + p.sent%2)
			var err error
			switch {
			case p.sent%10 == 0:
				err = p.publish("all/some", fmt.Sprintf("%d-%d-%d-some", qos, n, p.sent), qos, false)
			case p.sent%10 == 5:
				err = p.publish(fmt.Sprintf("kept/%d", n), retainedPayload(p.sent), qos, true)
			default:
				err = p.publish("all/rest", fmt.Sprintf("%d-%d-%d-rest", qos, n, p.sent), qos, false)
			}
			if err != nil {
				return err
			}
		}
		if len(p.outgoing) == 0 {
			return nil
		}
		in, err := p.read()
		if err != nil {
			return err
		}
		before := len(p.promised)
		if err := p.take(in); err != nil {
			return err
		}
		s.acks.Add(int64(len(p.promised) - before))
	}
}

const marker = "the end"

// subscriber reads until the connection ends or a payload has come.
func (s *storm) subscriber(p *endpoint, addr, until string) error {
	if err := p.dial(addr); err != nil {
		return err
	}
	defer p.conn.Close()
	for {
		if until != "" && len(p.open) == 0 && slices.Contains(p.delivered, until) {
			return nil
		}
		in, err := p.read()
		if err != nil {
			return err
		}
		if err := p.take(in); err != nil {
			return err
		}
	}
}

// stormRounds is how often a storm is cut: after more, the queue of the client
// that is away would be full.
const stormRounds = 20

// manyStorms ends the hub at random moments under load, so many times on the
// same folder. In the end nothing is lost that was acknowledged, and nothing
// sent with QoS 2 has come twice.
func manyStorms(t *testing.T, rounds int, dir string, end func(h *running), flags ...string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := start(t, dir, flags...)
	for rounds > 0 && !t.Failed() {
		s := newStorm()
		s.settle(t, h.mqtt)
		n := min(rounds, stormRounds)
		for round := range n {
			if err := s.until(h.mqtt, r, func() { end(h) }); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			h = start(t, dir, flags...)
		}
		rounds -= n
		if err := s.finish(h.mqtt); err != nil {
			t.Fatal(err)
		}
		for _, broken := range s.judge(t) {
			t.Error(broken)
		}
		s.judgeRetained(t, h.mqtt)
		t.Logf("ended %d times, %d messages acknowledged", n, s.acks.Load())
	}
	h.stop(syscall.SIGTERM)
}

// times is how often a test does something: as often as a variable of the
// environment says, or else so often.
func times(variable string, usual int) int {
	if n, err := strconv.Atoi(settings[variable]); err == nil {
		return n
	}
	return usual
}

// TestKill kills the hub. LAR_KILLS sets how many times.
func TestKill(t *testing.T) {
	manyStorms(t, times("LAR_KILLS", stormRounds), filepath.Join(t.TempDir(), "data"), func(h *running) {
		h.cmd.Process.Signal(syscall.SIGKILL)
		h.cmd.Wait()
	})
}

// TestKillUnsynced kills hubs that do not wait for the disk: the kernel has what
// they acknowledged.
func TestKillUnsynced(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"interval", "never"} {
		manyStorms(t, 4, filepath.Join(t.TempDir(), "data"), func(h *running) {
			h.cmd.Process.Signal(syscall.SIGKILL)
			h.cmd.Wait()
		}, "--sync", policy)
	}
}

// TestKillWithWills kills a hub whose clients have been connected for longer
// than it takes to write their wills: each is published, once, but for that of
// the client which comes back in time.
func TestKillWithWills(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	conf := filepath.Join(dir, "lar.toml")
	if err := os.WriteFile(conf, []byte("[limits]\nwill_grace = \"4s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	h := start(t, data, "--config", conf)
	withWill := func(id string) *endpoint {
		c := &endpoint{id: id, open: map[uint16]bool{}}
		var err error
		if c.conn, err = net.Dial("tcp", h.mqtt); err != nil {
			t.Fatal(err)
		}
		c.conn.SetDeadline(time.Now().Add(patience))
		c.in = bufio.NewReader(c.conn)
		if err := c.write(&packet.Connect{Version: packet.V311, ClientID: id, CleanStart: true, KeepAlive: 60,
			Will: &packet.Will{Topic: "will/" + id, Payload: []byte("gone"), QoS: 1}}); err != nil {
			t.Fatal(err)
		}
		if p, err := c.read(); err != nil || p.Type() != packet.CONNACK {
			t.Fatalf("%+v, %v", p, err)
		}
		return c
	}
	connected := []*endpoint{withWill("back")}
	for i := range 20 {
		connected = append(connected, withWill(fmt.Sprint("away", i)))
	}
	<-time.After(8 * time.Second) // the interval of lazy writes is 5 s
	h.stop(syscall.SIGKILL)
	runtime.KeepAlive(connected) // a connection that nobody refers to is closed
	h = start(t, data, "--config", conf)
	watcher := talk(t, h.mqtt, packet.V311, "watcher")
	watcher.say(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "will/#"}}})
	back := withWill("back")
	came := map[string]int{}
	for len(came) < 20 {
		switch p := watcher.hear().(type) {
		case nil:
			t.Fatalf("only %d wills came", len(came))
		case *packet.Publish:
			came[string(p.Topic)]++
		}
	}
	if err := back.write(&packet.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	watcher.say(publish(packet.AtMostOnce, false, "the end"))
	watcher.say(&packet.Subscribe{PacketID: 2, Filters: []packet.Subscription{{Filter: "room/#"}}})
	watcher.say(publish(packet.AtMostOnce, false, "the end"))
	for {
		p, ok := watcher.hear().(*packet.Publish)
		if ok && string(p.Payload) == "the end" {
			break
		}
		if ok {
			came[string(p.Topic)]++
		}
	}
	for topic, n := range came {
		if n != 1 || topic == "will/back" {
			t.Errorf("%s came %d times", topic, n)
		}
	}
	h.stop(syscall.SIGTERM)
}
