// Package mdns makes the hub known on the local network, RFC 6762 and 6763.
//
// [Announce] keeps services announced while networks come and go; having none
// is never an error. [Answered] tells whether the machine's .local name can be
// typed by people.
package mdns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/grandcat/zeroconf"
)

const (
	// defaultPoll is how often the interfaces are looked at, since the library
	// goes deaf when one is made anew and says nothing of a new address.
	defaultPoll = 15 * time.Second
	// firstRetry is the pause after the first look without success; it
	// doubles up to the usual one.
	firstRetry = time.Second
	// lookFor is how long others have to say that a name is theirs.
	lookFor = time.Second
	// goodbyeWithin bounds the withdrawal, which must not hold up a stop.
	goodbyeWithin = 2 * time.Second
	// maxNames is how many names are tried: "Lar", "Lar-2" … "Lar-9".
	maxNames = 9
)

// A Service is one thing to be found.
type Service struct {
	Type string // "_mqtt._tcp"
	Port int
	Text []string // under 400 bytes in all, no secrets; "txtvers=1" comes first by itself
}

// A Config says what to announce.
type Config struct {
	// Name is what people see. It is asked for at every look at the
	// interfaces; a new answer is announced then.
	Name     func() string
	Host     string // the machine's host label; empty: as the system says
	Services []Service
	Poll     time.Duration // between looks at the interfaces; zero: 15 s
	Log      *slog.Logger
}

// An Announcer keeps services announced.
type Announcer struct {
	cfg   Config
	stop  context.CancelFunc
	done  chan struct{}
	name  atomic.Pointer[string]
	shown string // what is announced: name and interfaces
	on    []*zeroconf.Server
}

// Announce begins to announce and returns at once.
func Announce(cfg Config) *Announcer {
	if cfg.Host == "" {
		cfg.Host = hostLabel()
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Announcer{cfg: cfg, stop: cancel, done: make(chan struct{})}
	go a.run(ctx)
	return a
}

// Name returns the name the services are announced by now, which differs from
// the one asked for if another machine has that; empty while there is no network.
func (a *Announcer) Name() string {
	if name := a.name.Load(); name != nil {
		return *name
	}
	return ""
}

// Close withdraws the services: whoever knows them is told that they are gone.
func (a *Announcer) Close() {
	a.stop()
	<-a.done
}

func (a *Announcer) run(ctx context.Context) {
	defer close(a.done)
	defer a.withdraw()
	retry := firstRetry
	for {
		wait := a.cfg.Poll
		if a.refresh(ctx) {
			retry = firstRetry
		} else {
			wait = min(retry, a.cfg.Poll)
			retry = min(2*retry, a.cfg.Poll)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// refresh announces anew if the name or the interfaces have changed, and tells
// whether the services are announced.
func (a *Announcer) refresh(ctx context.Context) bool {
	ifaces, print := usable()
	want := a.cfg.Name() + "\n" + print
	if len(a.on) > 0 && want == a.shown {
		return true
	}
	a.withdraw()
	if len(ifaces) == 0 {
		return false
	}
	name := a.freeName(ctx, ifaces)
	if ctx.Err() != nil {
		return false
	}
	for _, s := range a.cfg.Services {
		text := append([]string{"txtvers=1"}, s.Text...)
		// Without addresses of its own the library looks them up for each
		// answer, on the interface the answer leaves by.
		server, err := zeroconf.RegisterProxy(escape(name), s.Type, "local.", s.Port, a.cfg.Host, nil, text, ifaces)
		if err != nil {
			a.cfg.Log.Debug("service not announced", "service", s.Type, "err", err)
			a.withdraw()
			return false
		}
		a.on = append(a.on, server)
	}
	a.shown = want
	a.name.Store(&name)
	a.cfg.Log.Info("announced on the local network", "name", name, "interfaces", names(ifaces))
	return true
}

// withdraw says goodbye for what is announced.
func (a *Announcer) withdraw() {
	a.name.Store(nil)
	if len(a.on) == 0 {
		return
	}
	var all sync.WaitGroup
	for _, s := range a.on {
		all.Go(s.Shutdown)
	}
	a.on = nil
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	timer := time.NewTimer(goodbyeWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		a.cfg.Log.Warn("services were not withdrawn in time")
	}
}

// freeName returns the name asked for, with a number behind it if another
// machine answers to that: the library cannot settle a conflict later.
func (a *Announcer) freeName(ctx context.Context, ifaces []net.Interface) string {
	wanted := label(a.cfg.Name())
	for n := 1; ; n++ {
		name := wanted
		if n > 1 {
			name = fmt.Sprintf("%s-%d", wanted, n)
		}
		if n == maxNames || !a.taken(ctx, name, ifaces) {
			return name
		}
	}
}

// taken tells whether somebody else has a service of this name.
func (a *Announcer) taken(ctx context.Context, name string, ifaces []net.Interface) bool {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	var taken atomic.Bool
	var all sync.WaitGroup
	for _, s := range a.cfg.Services {
		resolver, err := newResolver(ifaces)
		if err != nil {
			continue // the registration will say the same
		}
		found := make(chan *zeroconf.ServiceEntry)
		if err := resolver.Lookup(ctx, escape(name), s.Type, "local.", found); err != nil {
			continue
		}
		all.Go(func() {
			for e := range found { // until ctx ends: the library blocks on a reader that goes
				// Lookup finds all of the type, not only those of the name.
				if e.Instance != escape(name) {
					continue
				}
				if e.Port != s.Port || !strings.EqualFold(e.HostName, a.cfg.Host+".local.") {
					taken.Store(true)
					cancel()
				}
			}
		})
	}
	all.Wait()
	return taken.Load()
}

// newResolver makes do with one family: a kernel without IPv6 is common.
func newResolver(ifaces []net.Interface) (*zeroconf.Resolver, error) {
	resolver, err := zeroconf.NewResolver(zeroconf.SelectIfaces(ifaces))
	for _, family := range []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6} {
		if err == nil {
			break
		}
		resolver, err = zeroconf.NewResolver(zeroconf.SelectIfaces(ifaces), zeroconf.SelectIPTraffic(family))
	}
	return resolver, err
}

// virtual are the names of interfaces behind which there is no home: bridges
// of containers, tunnels.
var virtual = []string{"docker", "br-", "veth", "virbr", "wg", "tun", "tap", "tailscale", "zt"}

// Physical tells whether an interface may lead to the home's network.
func Physical(i net.Interface) bool {
	return i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 &&
		!slices.ContainsFunc(virtual, func(p string) bool { return strings.HasPrefix(i.Name, p) })
}

// usable returns the interfaces to announce on, and a text that changes when
// one of them, or an address, does.
func usable() ([]net.Interface, string) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, ""
	}
	var ifaces []net.Interface
	var print strings.Builder
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || len(addrs) == 0 || !Physical(i) || i.Flags&net.FlagMulticast == 0 {
			continue
		}
		ifaces = append(ifaces, i)
		fmt.Fprintln(&print, i.Index, i.Name, addrs)
	}
	return ifaces, print.String()
}

func names(ifaces []net.Interface) string {
	var list []string
	for _, i := range ifaces {
		list = append(list, i.Name)
	}
	return strings.Join(list, " ")
}

// hostLabel is the first label of the machine's name.
func hostLabel() string {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	if err != nil || host == "" {
		return "lar"
	}
	return host
}

// label cuts a name to what fits one DNS label, 63 bytes, with room for a
// number behind it. A dot at its end would be taken for the end of the label.
func label(name string) string {
	const most = 60
	for len(name) > most {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	name = strings.TrimRight(strings.TrimSpace(name), ".")
	if name == "" {
		return "Lar"
	}
	return name
}

// escape writes a label as the DNS library reads and writes it, RFC 1035
// section 5.1. The service library compares names as texts, so they must be
// spelled alike.
func escape(label string) string {
	var b strings.Builder
	for i := range len(label) {
		switch c := label[i]; {
		case strings.IndexByte(`. '@;()"\`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
