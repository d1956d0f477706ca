package mqtt_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// The network of TestVanished: the house, and a neighbour in a namespace of
// its own at the other end of a cable.
const (
	ownNetwork = "LAR_OWN_NETWORK"
	houseAddr  = "192.168.78.1"
	farAddr    = "192.168.78.2"
	vanishing  = "vanishing"
)

func init() { neighbours[vanishing] = vanishFromHere }

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %v\n%s", args, err, out)
	}
	return nil
}

// inOwnNetwork runs the test again in a network that nobody else uses, and
// tells whether it is there already.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownNetwork) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// TestVanished has clients at the far end of a cable, whose host then answers
// nothing any more: no end of the connection, no reset, as when a battery is
// taken out. The broker notices each in the time that is set for it, and
// whoever is still there notices nothing.
func TestVanished(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	h := newHouse(t, limits(mqtt.Limits{WriteStall: 2 * time.Second, ConnectTimeout: 3 * time.Second, QueueMessages: 100_000, PausePercent: 100}))
	far := attackersIn(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}, houseAddr+":1883", vanishing, func(pid int) {
		for _, args := range []string{
			fmt.Sprintf("link add lan0 type veth peer name lan0 netns %d", pid),
			"addr add " + houseAddr + "/24 dev lan0", "link set lan0 up", "link set lo up",
		} {
			if err := ip(args); err != nil {
				t.Fatal(err)
			}
		}
		ln, err := net.Listen("tcp", houseAddr+":1883")
		if err != nil {
			t.Fatal(err)
		}
		go h.Serve(ln)
	})
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go h.Serve(near)
	h.addr = near.Addr().String()
	p := newProbe(t, h)
	quiet := p.trips(t, 100*time.Millisecond)
	watcher := h.connect(v5, "watcher")
	watcher.subscribe(packet.AtLeastOnce, "will/#")

	far.say("vanish")
	gone := time.Now()
	// What the deaf one is sent is more than the two systems hold for it.
	go func() {
		w := hello(h.addr, v311, "writer")
		if w == nil {
			return
		}
		defer w.Close()
		w.eat()
		for range 200 {
			w.Write(packet.Append(nil, v311, &packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("deaf"), Payload: make([]byte, 100_000)}))
		}
	}()
	for _, want := range []struct {
		will   string
		least  time.Duration // after it vanished
		atMost time.Duration
	}{
		{"will/alive", 1500*time.Millisecond - farPing, 4 * time.Second}, // half as long again as its keep alive of 1 s
		{"will/deaf", 0, 10 * time.Second},                               // the socket takes nothing for 2 s
	} {
		m := watcher.receive(want.will, "gone")
		if took := time.Since(gone); took < want.least || took > want.atMost {
			t.Errorf("%s after %v, want %v to %v", m.Topic, took, want.least, want.atMost)
		}
	}
	if took := p.trips(t, 200*time.Millisecond); took.median > timesSlower*max(quiet.median, leastMedian) {
		t.Errorf("a round trip takes %v, %v before", took, quiet)
	}
	// Who comes back by another way has its session at once, though the old
	// connection still seems to be there.
	back := time.Now()
	c := h.connect(v5, "mover", expiry(100))
	if took := time.Since(back); took > time.Second {
		t.Errorf("coming back took %v", took)
	}
	if !c.connack.SessionPresent {
		t.Error("the session of who came back is gone")
	}
	for end := time.Now().Add(10 * time.Second); h.Conns() != 3; time.Sleep(10 * time.Millisecond) { // probe, watcher, mover
		if time.Now().After(end) {
			t.Fatalf("%d connections are left", h.Conns())
		}
	}
}

// farPing is how often the client with a keep alive says that it is there.
const farPing = 300 * time.Millisecond

// vanishFromHere is what the neighbour does: it connects its clients and, when
// told, has its host answer nothing any more.
func vanishFromHere(addr string, ready func(), told <-chan string) {
	for _, args := range []string{"addr add " + farAddr + "/24 dev lan0", "link set lan0 up"} {
		if err := ip(args); err != nil {
			fmt.Println(err)
			return
		}
	}
	gone := func(topic string) option {
		return will(packet.Will{Topic: topic, Payload: []byte("gone"), QoS: 1})
	}
	dialRaw(addr) // and says nothing
	alive := hello(addr, v5, "alive", gone("will/alive"), keepAlive(1))
	deaf := hello(addr, v5, "deaf", gone("will/deaf"))
	mover := hello(addr, v5, "mover", expiry(100))
	if alive == nil || deaf == nil || mover == nil {
		fmt.Println("the house does not let us in")
		return
	}
	deaf.Write(packet.Append(nil, v5, identified(filters(1, "deaf"), 1)))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for pace(ctx, farPing) {
			alive.Write(packet.Append(nil, v5, &packet.Pingreq{}))
		}
	}()
	ready()
	for range told {
		if err := ip("addr flush dev lan0"); err != nil {
			fmt.Println(err)
		}
	}
}
