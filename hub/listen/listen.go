// Package listen holds the doors by which clients come: TCP, TLS, WebSocket
// with and without TLS, and Unix sockets, each with or without a proxy in front
// that says by PROXY protocol for whom it calls.
//
// A [Listener] hands on each connection as a stream of MQTT bytes, together
// with what it knows of the other end. All that a client does before that, it
// does on a goroutine of its own, in bounded time and memory.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lar.home/mqtt"
)

// A Type is how clients come.
type Type string

const (
	TCP             Type = "tcp"
	TLS             Type = "tls"
	WebSocket       Type = "websocket"
	SecureWebSocket Type = "secure-websocket"
	Unix            Type = "unix"
)

// A Config describes a listener.
type Config struct {
	Type        Type
	Address     string // host and port, or the file of a Unix socket
	Connections int    // at a time; 0: no limit of its own

	Certificate, Key   string // files
	ClientCertificates string // "none", "optional" or "required"
	ClientCA           string // file
	Revoked            string // file; empty: nothing is revoked
	UsernameFrom       string // "cn", "san" or empty

	Origins []string // of WebSocket, beside the same host

	Proxy     bool // a PROXY header comes first
	ProxyFrom []netip.Prefix
}

func (c *Config) secure() bool { return c.Type == TLS || c.Type == SecureWebSocket }

func (c *Config) web() bool { return c.Type == WebSocket || c.Type == SecureWebSocket }

// Check finds what is wrong with a description, and names the key.
func (c *Config) Check() (key string, err error) {
	switch {
	case c.Address == "":
		return "address", errors.New("an address is needed, as in \":8883\"")
	case c.secure() && c.Certificate == "":
		return "certificate", fmt.Errorf("a %s listener needs a certificate", c.Type)
	case c.secure() && c.Key == "":
		return "key", fmt.Errorf("a %s listener needs the key of its certificate", c.Type)
	case !c.secure() && (c.Certificate != "" || c.Key != "" || c.Revoked != "" || c.ClientCA != "" || c.UsernameFrom != "" || c.ClientCertificates != "none"):
		return "type", fmt.Errorf("certificates are for listeners of type tls and secure-websocket, this is %s", c.Type)
	case c.ClientCertificates != "none" && c.ClientCA == "":
		return "client_ca", errors.New("to verify the certificates of clients, their authorities are needed")
	case c.ClientCertificates == "none" && (c.ClientCA != "" || c.Revoked != "" || c.UsernameFrom != ""):
		return "client_certificates", errors.New("say optional or required: with none, no client shows a certificate")
	case c.Proxy && len(c.ProxyFrom) == 0 && c.Type != Unix:
		return "proxy_from", errors.New("name the addresses of the proxies: anybody else could pretend to be anyone")
	}
	if c.Type != Unix {
		if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" {
			return "address", fmt.Errorf("%q is no address: give a port as in \":1883\", or host and port", c.Address)
		}
	}
	return "", nil
}

// Options are what all listeners share.
type Options struct {
	MaxPacket func() int // bytes of the longest packet
	// Within is how long a client may take for what comes before MQTT: a PROXY
	// header, TLS, the request of a WebSocket, each. nil: 10 s.
	Within func() time.Duration
	// Handshakes is how many connections of a listener may be before MQTT at
	// one time. nil: 256.
	Handshakes func() int
	Log        *slog.Logger
}

// A Listener is open. Serve accepts from it.
type Listener struct {
	cfg   Config
	opts  Options
	ln    net.Listener
	tls   atomic.Pointer[credentials] // of a secure one
	slots chan struct{}               // one for each connection; nil: no limit
	last  atomic.Int64                // when a refusal was logged, Unix seconds
	full  time.Time                   // when somebody last waited for a slot in vain

	stopping chan struct{} // closed by Close

	mu     sync.Mutex // guards early and closed
	early  map[net.Conn]struct{}
	closed bool
}

// Bounds of what comes before MQTT.
const (
	handshakeWithin = 10 * time.Second // unless Options say otherwise
	proxyWithin     = 5 * time.Second  // at most: a proxy says at once for whom it calls
	handshakes      = 256              // connections that have not come through yet, unless Options say otherwise
)

// within is how long a client may take for a step before MQTT.
func (o *Options) within() time.Duration {
	if o.Within == nil {
		return handshakeWithin
	}
	return o.Within()
}

// early is how many connections may be before MQTT at one time.
func (o *Options) early() int {
	if o.Handshakes == nil {
		return handshakes
	}
	return o.Handshakes()
}

// Open opens a listener.
func Open(cfg Config, opts Options) (*Listener, error) {
	l := &Listener{cfg: cfg, opts: opts, stopping: make(chan struct{}), early: make(map[net.Conn]struct{})}
	if cfg.Connections > 0 {
		l.slots = make(chan struct{}, cfg.Connections)
	}
	if err := l.Reload(cfg); err != nil {
		return nil, err
	}
	network := "tcp"
	if cfg.Type == Unix {
		network = "unix"
		removeStale(cfg.Address)
	}
	var err error
	if l.ln, err = net.Listen(network, cfg.Address); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %s", cfg.Address, reason(err))
	}
	return l, nil
}

func reason(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "it is already in use"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have it"
	}
	return err.Error()
}

// removeStale removes the socket of a hub that was killed: one that nobody
// answers at.
func removeStale(path string) {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(path)
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Type is how clients come by it.
func (l *Listener) Type() Type { return l.cfg.Type }

// Reload reads certificates and revocation lists again. Who is connected
// stays, and its mqtt.Peer tells whether its certificate still holds; when it
// fails, what held before goes on holding.
func (l *Listener) Reload(cfg Config) error {
	if !cfg.secure() {
		return nil
	}
	c, err := loadCredentials(cfg, l.opts.Log)
	if err != nil {
		return err
	}
	l.tls.Store(c)
	return nil
}

// Close ends listening, and connections that have not come through yet.
func (l *Listener) Close() error {
	l.mu.Lock()
	if !l.closed {
		close(l.stopping)
	}
	l.closed = true
	for nc := range l.early {
		nc.Close()
	}
	l.mu.Unlock()
	return l.ln.Close()
}

// Serve hands connections to serve, each on its own goroutine, which returns
// when the connection has ended. It returns nil once l is closed.
func (l *Listener) Serve(serve func(nc net.Conn, peer mqtt.Peer)) error {
	if l.cfg.web() {
		return l.serveWeb(serve)
	}
	return l.accept(func(nc net.Conn, peer mqtt.Peer) {
		if c, ok := l.handshake(nc, &peer); ok {
			l.through(nc)
			serve(c, peer)
		}
	})
}

// accept takes connections and hands them on after their PROXY header.
func (l *Listener) accept(next func(nc net.Conn, peer mqtt.Peer)) error {
	wait := 5 * time.Millisecond
	for {
		nc, err := l.ln.Accept()
		if err != nil {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if closed || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: clients go, and so it goes on.
			l.opts.Log.Warn("connection not accepted", "listener", l.cfg.Address, "err", err)
			select {
			case <-l.stopping:
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		if l.cfg.secure() || l.cfg.web() {
			nc = raw(nc)
		}
		if !l.begin(nc) {
			continue
		}
		go func() {
			defer l.end(nc)
			peer := mqtt.Peer{Listener: l.cfg.Address, Local: l.cfg.Type == Unix}
			if l.cfg.Proxy {
				if err := l.readProxy(nc, &peer); err != nil {
					l.refuse(nc, err)
					return
				}
			}
			next(nc, peer)
		}()
	}
}

// How long a connection for which there is no slot waits, since somebody may
// have left of whom it has not been noticed yet, and how long none does after
// one has in vain: a flood is turned away at once.
const (
	slotWait = 50 * time.Millisecond
	slotRest = time.Second
)

// slot takes a slot, if there is one within a moment.
func (l *Listener) slot() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	if time.Since(l.full) < slotRest {
		return false
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-time.After(slotWait):
		l.full = time.Now()
	case <-l.stopping:
	}
	return false
}

// begin counts a connection, or closes it because there are too many.
func (l *Listener) begin(nc net.Conn) bool {
	if l.slots != nil && !l.slot() {
		l.refuse(nc, fmt.Errorf("%d connections are open at this listener, no more are allowed", cap(l.slots)))
		return false
	}
	l.mu.Lock()
	full := l.closed || len(l.early) >= l.opts.early()
	if !full && (l.cfg.Proxy || l.cfg.secure() || l.cfg.web()) {
		l.early[nc] = struct{}{}
	}
	l.mu.Unlock()
	if full {
		l.end(nc)
		l.refuse(nc, errors.New("too many connections have not said who they are"))
		return false
	}
	return true
}

// through says that a connection has come through to MQTT.
func (l *Listener) through(nc net.Conn) {
	l.mu.Lock()
	delete(l.early, nc)
	l.mu.Unlock()
}

func (l *Listener) end(nc net.Conn) {
	l.through(nc)
	if l.slots != nil {
		<-l.slots
	}
}

// refuse closes a connection and logs why, once a second at most.
func (l *Listener) refuse(nc net.Conn, err error) {
	nc.Close()
	now := time.Now().Unix()
	if last := l.last.Load(); last != now && l.last.CompareAndSwap(last, now) {
		l.opts.Log.Info("connection refused", "listener", l.cfg.Address, "remote", nc.RemoteAddr().String(), "err", err)
	}
}

// handshake does that of TLS, where there is one.
func (l *Listener) handshake(nc net.Conn, peer *mqtt.Peer) (net.Conn, bool) {
	if !l.cfg.secure() {
		return nc, true
	}
	c := l.tls.Load()
	secure := tls.Server(nc, c.config)
	ctx, cancel := context.WithTimeout(context.Background(), l.opts.within())
	err := secure.HandshakeContext(ctx)
	cancel()
	if err == nil {
		state := secure.ConnectionState()
		peer.Username, err = c.username(state)
		if len(state.PeerCertificates) > 0 {
			peer.Revoked = func() bool { return l.tls.Load().verify(state) != nil }
		}
	}
	if err != nil {
		l.refuse(nc, err)
		return nil, false
	}
	return secureConn{secure}, true
}

// A secureConn can be written to by who must not wait.
type secureConn struct{ *tls.Conn }

func (c secureConn) Direct() func(gone func()) bool { return unsentOf(c.Conn) }

// serveWeb serves WebSockets: what accept brings goes through an HTTP server.
func (l *Listener) serveWeb(serve func(nc net.Conn, peer mqtt.Peer)) error {
	type connKey struct{}
	queue := &connQueue{conns: make(chan net.Conn), done: make(chan struct{}), addr: l.ln.Addr()}
	mux := http.NewServeMux()
	for _, path := range []string{"/mqtt", "/{$}"} {
		mux.Handle(path, Handler(l.cfg.Origins, l.opts.MaxPacket, func(nc net.Conn, r *http.Request) {
			w := r.Context().Value(connKey{}).(*webConn)
			l.through(w.below)
			serve(nc, w.peer)
		}))
	}
	within := l.opts.within() // as it is when the hub starts
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: within,
		WriteTimeout:      within,
		IdleTimeout:       within,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(l.opts.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
	}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(queue) }()
	err := l.accept(func(nc net.Conn, peer mqtt.Peer) {
		c, ok := l.handshake(nc, &peer)
		if !ok {
			return
		}
		w := &webConn{Conn: c, below: nc, peer: peer, closed: make(chan struct{})}
		select {
		case queue.conns <- w:
			<-w.closed // so that it counts until its end
		case <-queue.done:
			c.Close()
		}
	})
	server.Close()
	<-served
	return err
}

// A webConn is a connection on its way through the HTTP server.
type webConn struct {
	net.Conn
	below  net.Conn // without TLS
	peer   mqtt.Peer
	once   sync.Once
	closed chan struct{}
}

func (w *webConn) Close() error {
	defer w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// A connQueue is a net.Listener of connections that are open already.
type connQueue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case nc := <-q.conns:
		return nc, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) Close() error   { q.once.Do(func() { close(q.done) }); return nil }
func (q *connQueue) Addr() net.Addr { return q.addr }

// Raw returns ln with connections that read and write by raw calls, where the
// system has them: for an HTTP server that hands WebSockets to a broker.
func Raw(ln net.Listener) net.Listener { return rawListener{ln} }

type rawListener struct{ net.Listener }

func (l rawListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return raw(nc), nil
}
