package mdns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grandcat/zeroconf"
	"github.com/miekg/dns"
)

// The tests here need a network that nobody else uses. A test runs itself
// again in a network namespace of its own (and, unless it is root, in a user
// namespace where it is); its neighbour is one more process in another, at
// the far end of a cable.
const (
	insideEnv    = "LAR_TEST_INSIDE"
	neighbourEnv = "LAR_TEST_NEIGHBOUR"

	houseAddr     = "192.168.77.1"
	neighbourAddr = "192.168.77.2"

	patience = 20 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(neighbourEnv) != "" {
		neighbour(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// inOwnNetwork tells whether the test may go on: it is in its own network. If
// not, it has been run there, and the result is reported.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// A far is the neighbour as the test sees it.
type far struct {
	t     *testing.T
	pid   int
	in    io.Writer
	lines chan string
}

func startNeighbour(t *testing.T) *far {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), neighbourEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := &far{t: t, pid: cmd.Process.Pid, in: in, lines: make(chan string, 1000)}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			f.lines <- s.Text()
		}
		close(f.lines)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return f
}

// cable joins the two networks.
func (f *far) cable() {
	f.t.Helper()
	ip(f.t, fmt.Sprintf("link add lan0 type veth peer name lan0 netns %d", f.pid))
	ip(f.t, "addr add "+houseAddr+"/24 dev lan0")
	ip(f.t, "link set lan0 up")
	f.tell("up")
	f.expect("is up")
}

func (f *far) tell(what string) { fmt.Fprintln(f.in, what) }

// expect waits until the neighbour has said all of these, in any order.
func (f *far) expect(want ...string) {
	f.t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	timeout := time.After(patience)
	var heard []string
	for len(missing) > 0 {
		select {
		case line, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("the neighbour has died; it said %q", heard)
			}
			heard = append(heard, line)
			delete(missing, line)
		case <-timeout:
			f.t.Fatalf("the neighbour did not say %v; it said %q", missing, heard)
		}
	}
}

// neighbour does what it is told on in and says on out what it notices.
func neighbour(in io.Reader, out io.Writer) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	for s := bufio.NewScanner(in); s.Scan(); {
		switch command, rest, _ := strings.Cut(s.Text(), " "); command {
		case "up":
			for _, args := range []string{"addr add " + neighbourAddr + "/24 dev lan0", "link set lan0 up"} {
				if b, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
					say("ip %s: %v %s", args, err, b)
				}
			}
			go listen(say)
			say("is up")
		case "browse":
			for _, service := range []string{"_mqtt._tcp", "_http._tcp"} {
				browse(service, say)
			}
		case "announce":
			a := Announce(Config{
				Name: func() string { return rest }, Host: "neighbour",
				Services: []Service{{Type: "_mqtt._tcp", Port: 1884}},
			})
			for a.Name() == "" {
				time.Sleep(10 * time.Millisecond)
			}
			say("is announced as %s", a.Name())
		}
	}
}

func browse(service string, say func(string, ...any)) {
	resolver, err := zeroconf.NewResolver(zeroconf.SelectIPTraffic(zeroconf.IPv4))
	if err != nil {
		say("browse: %v", err)
		return
	}
	found := make(chan *zeroconf.ServiceEntry)
	if err := resolver.Browse(context.Background(), service, "local.", found); err != nil {
		say("browse: %v", err)
		return
	}
	go func() {
		for e := range found {
			say("found %s %s %s %d %v %v", service, e.Instance, e.HostName, e.Port, e.AddrIPv4, e.Text)
		}
	}()
}

// listen reports goodbyes, RFC 6762 section 10.1, which browsing hides.
func listen(say func(string, ...any)) {
	lan, err := net.InterfaceByName("lan0")
	if err != nil {
		say("listen: %v", err)
		return
	}
	conn, err := net.ListenMulticastUDP("udp4", lan, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		say("listen: %v", err)
		return
	}
	defer conn.Close()
	buf := make([]byte, 9000)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		var m dns.Msg
		if m.Unpack(buf[:n]) != nil {
			continue
		}
		for _, rr := range m.Answer {
			if p, ok := rr.(*dns.PTR); ok && p.Hdr.Ttl == 0 {
				say("goodbye %s", p.Ptr)
			}
		}
	}
}

func announced(t *testing.T, a *Announcer, want string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for a.Name() != want {
		if time.Now().After(deadline) {
			t.Fatalf("announced as %q, want %q", a.Name(), want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var services = []Service{{Type: "_mqtt._tcp", Port: 1883}, {Type: "_http._tcp", Port: 8080, Text: []string{"path=/"}}}

func TestOnTheNetwork(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	name := "Lar 3F2A"
	names := make(chan string, 1)
	names <- name
	a := Announce(Config{
		Name: func() string {
			select {
			case name = <-names:
			default:
			}
			return name
		},
		Host: "pi", Services: services, Poll: 200 * time.Millisecond,
	})
	// There is no interface but loopback yet, and that is no error.
	if got := a.Name(); got != "" {
		t.Errorf("announced as %q without a network", got)
	}

	f := startNeighbour(t)
	f.cable()
	f.tell("browse")
	f.expect(
		`found _mqtt._tcp Lar\ 3F2A pi.local. 1883 [192.168.77.1] [txtvers=1]`,
		`found _http._tcp Lar\ 3F2A pi.local. 8080 [192.168.77.1] [txtvers=1 path=/]`,
	)
	announced(t, a, "Lar 3F2A")

	// The home gets a name.
	names <- "Elm Street"
	f.expect(
		`goodbye Lar\ 3F2A._mqtt._tcp.local.`,
		`found _mqtt._tcp Elm\ Street pi.local. 1883 [192.168.77.1] [txtvers=1]`,
	)

	// The cable is pulled for good, and another one put in.
	ip(t, "link del lan0")
	announced(t, a, "")
	f.cable()
	f.tell("browse")
	f.expect(`found _mqtt._tcp Elm\ Street pi.local. 1883 [192.168.77.1] [txtvers=1]`)

	start := time.Now()
	a.Close()
	f.expect(`goodbye Elm\ Street._mqtt._tcp.local.`, `goodbye Elm\ Street._http._tcp.local.`)
	if took := time.Since(start); took > goodbyeWithin+time.Second {
		t.Errorf("the goodbye took %v", took)
	}
}

func TestNameOfAnother(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	f := startNeighbour(t)
	f.cable()
	f.tell("announce Lar 3F2A")
	f.expect("is announced as Lar 3F2A")

	a := Announce(Config{Name: func() string { return "Lar 3F2A" }, Host: "pi", Services: services, Poll: 200 * time.Millisecond})
	defer a.Close()
	announced(t, a, "Lar 3F2A-2")
}

func TestAnswered(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "link add lan0 type veth peer name lan1")
	ip(t, "addr add "+houseAddr+"/24 dev lan0")
	ip(t, "link set lan0 up")
	ip(t, "link set lan1 up")

	ask := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return Answered(ctx)
	}
	if got := ask(); got != "" {
		t.Errorf("Answered = %q though there is no responder", got)
	}
	name := hostLabel() + ".local"
	close := respond(t, name, neighbourAddr)
	if got := ask(); got != "" {
		t.Errorf("Answered = %q though another machine has the name", got)
	}
	close()
	respond(t, name, houseAddr)
	if got := ask(); got != name {
		t.Errorf("Answered = %q, want %q", got, name)
	}
}

// respond answers for a host name as Avahi does.
func respond(t *testing.T, name, addr string) (stop func()) {
	t.Helper()
	lan, err := net.InterfaceByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenMulticastUDP("udp4", lan, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dns.Msg
			if m.Unpack(buf[:n]) != nil || m.Response || len(m.Question) == 0 || m.Question[0].Name != name+"." {
				continue
			}
			answer := new(dns.Msg)
			answer.SetReply(&m)
			answer.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name + ".", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 10},
				A:   netip.MustParseAddr(addr).AsSlice(),
			}}
			if packed, err := answer.Pack(); err == nil {
				conn.WriteTo(packed, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close() })
	return func() { conn.Close() }
}
