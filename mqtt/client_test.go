package mqtt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
	"lar.home/mqtt/packet"
)

// The two versions most tests are about.
const (
	v311 = packet.V311
	v5   = packet.V5
)

// A house is a broker under test and its store. Its clients are in the same
// synctest bubble, at the other end of a pipe, so that time flows at once and
// what was sent has arrived when synctest.Wait returns; or, made with
// newTCPHouse, outside of any bubble at the other end of a TCP connection.
type house struct {
	*mqtt.Broker
	t       *testing.T
	store   *mqtttest.Store
	config  mqtt.Config
	clients []*client
	addr    string // over TCP

	sent, got atomic.Int64 // packets of its clients; an end counts as an answer
}

// inBubble runs a test with a house of its own in a bubble.
func inBubble(t *testing.T, test func(t *testing.T, h *house), change ...func(*mqtt.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newHouse(t, change...)) })
}

// newHouse starts a broker; it belongs into a bubble and is stopped at the end.
func newHouse(t *testing.T, change ...func(*mqtt.Config)) *house {
	t.Helper()
	h := &house{t: t, store: mqtttest.NewStore()}
	if testing.Verbose() {
		h.config.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, fn := range change {
		fn(&h.config)
	}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// newTCPHouse starts a broker that listens on loopback, outside of a bubble.
func newTCPHouse(t *testing.T, change ...func(*mqtt.Config)) *house {
	t.Helper()
	h := newHouse(t, change...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	go h.Serve(ln)
	return h
}

func (h *house) start() {
	h.t.Helper()
	h.config.Store = h.store
	var err error
	if h.Broker, err = mqtt.New(h.config); err != nil {
		h.t.Fatal(err)
	}
}

// stop shuts the broker down as its owner would.
func (h *house) stop() {
	h.t.Helper()
	h.store.Resume()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.t.Errorf("shutdown: %v", err)
	}
	for _, c := range h.clients {
		c.cut()
	}
	h.clients = nil
	h.store.Flush()
	if h.addr == "" {
		synctest.Wait()
		if counted, queued := h.Memory(); counted != queued {
			h.t.Errorf("%d bytes of messages are counted in memory, %d are there", counted, queued)
		}
	}
}

// restart stops the broker in good order and starts another on its store.
func (h *house) restart() {
	h.t.Helper()
	h.stop()
	h.store = h.store.Reopen(true)
	h.start()
}

// kill starts another broker on what was on disk at this moment, as after a
// power cut. lazies tells whether lazy writes had reached the disk, too.
func (h *house) kill(lazies bool) {
	h.t.Helper()
	store := h.store.Reopen(lazies)
	h.killTo(store)
}

// killTo starts another broker on a store that was cut from the present one.
func (h *house) killTo(store *mqtttest.Store) {
	h.t.Helper()
	// The old broker writes to a store that makes nothing durable any more;
	// it is stopped only so that its goroutines end.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.Shutdown(ctx)
	for _, c := range h.clients {
		c.cut()
	}
	h.clients = nil
	h.store = store
	h.start()
}

// A client is the other end of a connection to the broker. It answers nothing
// by itself.
type client struct {
	t    *testing.T
	h    *house
	nc   net.Conn
	v    packet.Version
	name string
	id   uint16 // last packet identifier
	tap  func(b []byte)

	connack *packet.Connack

	mu     sync.Mutex // guards the rest
	news   sync.Cond
	deaf   bool
	in     []packet.Packet
	wrong  error // the broker sent what is no packet
	closed bool
}

// dial opens a connection that says nothing yet.
func (h *house) dial(v packet.Version) *client { return h.dialFrom(v, nil) }

// dialFrom is dial from an address; nil: that of the pipe, which counts as
// loopback.
func (h *house) dialFrom(v packet.Version, from net.Addr) *client {
	h.t.Helper()
	return h.dialTapped(v, from, nil)
}

// dialTapped is dialFrom; tap, if not nil, is shown the bytes that come.
func (h *house) dialTapped(v packet.Version, from net.Addr, tap func(b []byte)) *client {
	h.t.Helper()
	c := &client{t: h.t, h: h, v: v, tap: tap}
	c.news.L = &c.mu
	if h.addr != "" {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			h.t.Fatal(err)
		}
		c.nc = nc
	} else {
		near, far := net.Pipe()
		c.nc = near
		go h.ServeConn(addressed{far, from})
	}
	h.clients = append(h.clients, c)
	go c.listen()
	if h.addr == "" {
		synctest.Wait() // so that connections come in the order of the calls
	}
	return c
}

// addressed is a connection from a certain address.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr {
	if a.from == nil {
		return a.Conn.RemoteAddr()
	}
	return a.from
}

// An option changes a CONNECT.
type option = func(*packet.Connect)

func clean(p *packet.Connect)           { p.CleanStart = true }
func expiry(seconds uint32) option      { return func(p *packet.Connect) { p.SessionExpiry = seconds } }
func keepAlive(seconds uint16) option   { return func(p *packet.Connect) { p.KeepAlive = seconds } }
func receiveMaximum(n uint16) option    { return func(p *packet.Connect) { p.ReceiveMaximum = n } }
func maximumPacketSize(n uint32) option { return func(p *packet.Connect) { p.MaximumPacketSize = n } }
func will(w packet.Will) option         { return func(p *packet.Connect) { p.Will = &w } }
func user(name, password string) option {
	return func(p *packet.Connect) {
		p.HasUsername, p.Username, p.HasPassword, p.Password = true, name, true, []byte(password)
	}
}

// connect opens a connection, sends CONNECT and expects to be welcome.
func (h *house) connect(v packet.Version, id string, options ...option) *client {
	h.t.Helper()
	c := h.dial(v)
	ack := c.connectAs(id, options...)
	if ack == nil || ack.Reason != packet.Success {
		h.t.Fatalf("client %q: CONNECT was answered with %+v", id, ack)
	}
	return c
}

// connectAs sends CONNECT and returns the CONNACK, nil if there was none.
func (c *client) connectAs(id string, options ...option) *packet.Connack {
	c.t.Helper()
	c.name = id
	p := &packet.Connect{Version: c.v, ClientID: id, RequestProblemInfo: true}
	for _, fn := range options {
		fn(p)
	}
	c.send(p)
	got := c.next()
	if got == nil {
		return nil
	}
	ack, ok := got.(*packet.Connack)
	if !ok {
		c.t.Fatalf("client %q: CONNECT was answered with %s", id, show(got))
	}
	c.connack = ack
	return ack
}

// listen takes in what the broker sends until the connection ends.
func (c *client) listen() {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		c.mu.Lock()
		for c.deaf && !c.closed {
			c.news.Wait()
		}
		c.mu.Unlock()
		n, err := c.nc.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if c.tap != nil {
			c.tap(chunk[:n])
		}
		c.mu.Lock()
		for c.wrong == nil {
			first, body, n, err := packet.Split(buf, 0)
			if err != nil {
				c.wrong = err
			}
			if n == 0 {
				break
			}
			p, err := packet.Decode(c.v, first, slices.Clone(body))
			if err != nil {
				c.wrong = err
				break
			}
			c.in = append(c.in, p)
			c.h.got.Add(1)
			buf = buf[n:]
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // which is stopReading's
			c.closed = true
		}
		closed := c.closed
		if closed {
			c.h.got.Add(1)
		}
		c.news.Broadcast()
		c.mu.Unlock()
		if closed {
			return
		}
	}
}

// stopReading lets what the broker sends pile up from now on, but for what the
// transport holds by itself; startReading ends it.
func (c *client) stopReading() {
	c.mu.Lock()
	c.deaf = true
	c.mu.Unlock()
	c.nc.SetReadDeadline(time.Unix(1, 0)) // ends the read that is under way
	c.settle()
}

func (c *client) startReading() {
	c.mu.Lock()
	c.deaf = false
	c.nc.SetReadDeadline(time.Time{})
	c.news.Broadcast()
	c.mu.Unlock()
	c.settle()
}

// send writes packets; that the broker has closed is for others to notice.
func (c *client) send(packets ...packet.Packet) {
	c.t.Helper()
	var b []byte
	for _, p := range packets {
		b = packet.Append(b, c.v, p)
	}
	c.sendRaw(b)
}

func (c *client) sendRaw(b []byte) {
	c.t.Helper()
	c.h.sent.Add(1)
	c.nc.Write(b)
	c.settle()
}

// settle waits until everything that was sent has had its effect. Over TCP
// that cannot be seen, and next waits.
func (c *client) settle() {
	if c.h.addr == "" {
		synctest.Wait()
	}
}

// next returns the next packet, nil if there is none.
func (c *client) next() packet.Packet {
	c.t.Helper()
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.h.addr != "" {
		timeout := time.AfterFunc(10*time.Second, func() {
			c.mu.Lock()
			c.closed = true
			c.news.Broadcast()
			c.mu.Unlock()
		})
		defer timeout.Stop()
		for len(c.in) == 0 && c.wrong == nil && !c.closed {
			c.news.Wait()
		}
	}
	if len(c.in) == 0 {
		if c.wrong != nil {
			c.t.Fatalf("client %q: the broker sent what is no packet: %v", c.name, c.wrong)
		}
		return nil
	}
	p := c.in[0]
	c.in = c.in[1:]
	return p
}

// expect checks that these packets come next, in this order. They are compared
// as they are written.
func (c *client) expect(want ...packet.Packet) {
	c.t.Helper()
	for _, w := range want {
		got := c.next()
		if got == nil {
			c.t.Fatalf("client %q: nothing came, want %s", c.name, show(w))
		}
		if !bytes.Equal(packet.Append(nil, c.v, got), packet.Append(nil, c.v, w)) {
			c.t.Fatalf("client %q:\n got %s\nwant %s", c.name, show(got), show(w))
		}
	}
}

// expectPublish checks topic and payload of the next packet, a PUBLISH.
func (c *client) expectPublish(topic, payload string) *packet.Publish {
	c.t.Helper()
	got := c.next()
	p, ok := got.(*packet.Publish)
	if !ok || string(p.Topic) != topic || string(p.Payload) != payload {
		c.t.Fatalf("client %q:\n got %s\nwant PUBLISH of %.60q to %q", c.name, show(got), payload, topic)
	}
	return p
}

// receive is expectPublish, and acknowledges it as its QoS wants.
func (c *client) receive(topic, payload string) *packet.Publish {
	c.t.Helper()
	p := c.expectPublish(topic, payload)
	switch p.QoS {
	case packet.AtLeastOnce:
		c.send(&packet.Ack{Kind: packet.PUBACK, PacketID: p.PacketID})
	case packet.ExactlyOnce:
		c.send(&packet.Ack{Kind: packet.PUBREC, PacketID: p.PacketID})
		c.takeAck(packet.PUBREL, p.PacketID)
		c.send(&packet.Ack{Kind: packet.PUBCOMP, PacketID: p.PacketID})
	}
	return p
}

// expectNothing checks that nothing has come and the connection is open. Over
// TCP, it is what came before the answer to a PINGREQ.
func (c *client) expectNothing() {
	c.t.Helper()
	if c.h.addr != "" {
		c.send(&packet.Pingreq{})
		c.expect(&packet.Pingresp{})
		return
	}
	if got := c.next(); got != nil {
		c.t.Fatalf("client %q: got %s, want nothing", c.name, show(got))
	}
	if c.isClosed() {
		c.t.Fatalf("client %q: the connection is closed", c.name)
	}
}

func (c *client) isClosed() bool {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// expectClosed checks that the broker has closed the connection, having said
// why if the client knows such a packet: 5.0 clients are told by DISCONNECT.
func (c *client) expectClosed(reason packet.Reason) {
	c.t.Helper()
	if c.v == v5 {
		c.expect(&packet.Disconnect{Reason: reason})
	}
	c.expectEnd()
}

// expectEnd checks that the broker has closed the connection and said nothing
// more.
func (c *client) expectEnd() {
	c.t.Helper()
	if got := c.next(); got != nil {
		c.t.Fatalf("client %q: got %s, want the end of the connection", c.name, show(got))
	}
	if !c.isClosed() {
		c.t.Fatalf("client %q: the connection is open", c.name)
	}
}

// awaitEnd waits until the broker has closed the connection.
func (c *client) awaitEnd() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed {
		c.news.Wait()
	}
}

// drain returns what has come so far.
func (c *client) drain() []packet.Packet {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	in := c.in
	c.in = nil
	return in
}

// nextID returns a packet identifier that was not used lately.
func (c *client) nextID() uint16 {
	if c.id++; c.id == 0 {
		c.id = 1
	}
	return c.id
}

// subscribe subscribes to filters and expects each to be granted as asked.
func (c *client) subscribe(qos packet.QoS, filters ...string) {
	c.t.Helper()
	p := &packet.Subscribe{}
	for _, f := range filters {
		p.Filters = append(p.Filters, packet.Subscription{Filter: f, QoS: qos})
	}
	for i, r := range c.subscribeWith(p) {
		if r != packet.Reason(qos) {
			c.t.Fatalf("client %q: SUBSCRIBE of %q was answered with %v", c.name, filters[i], r)
		}
	}
}

// subscribeWith sends a SUBSCRIBE and returns the codes of its SUBACK. What is
// retained comes after it.
func (c *client) subscribeWith(p *packet.Subscribe) []packet.Reason {
	c.t.Helper()
	p.PacketID = c.nextID()
	c.send(p)
	got := c.next()
	ack, ok := got.(*packet.Suback)
	if !ok || ack.PacketID != p.PacketID {
		c.t.Fatalf("client %q: SUBSCRIBE was answered with %s", c.name, show(got))
	}
	return ack.Reasons
}

// unsubscribe takes filters back.
func (c *client) unsubscribe(filters ...string) []packet.Reason {
	c.t.Helper()
	p := &packet.Unsubscribe{PacketID: c.nextID(), Filters: filters}
	c.send(p)
	got := c.next()
	ack, ok := got.(*packet.Unsuback)
	if !ok || ack.PacketID != p.PacketID {
		c.t.Fatalf("client %q: UNSUBSCRIBE was answered with %s (closed: %t)", c.name, show(got), c.isClosed())
	}
	return ack.Reasons
}

// publish publishes and waits for the acknowledgements, which it takes from
// among deliveries that came before them.
func (c *client) publish(qos packet.QoS, topic, payload string) {
	c.t.Helper()
	c.publishWith(&packet.Publish{QoS: qos, Topic: []byte(topic), Payload: []byte(payload)})
}

// retain publishes a message to be retained.
func (c *client) retain(qos packet.QoS, topic, payload string) {
	c.t.Helper()
	c.publishWith(&packet.Publish{QoS: qos, Retain: true, Topic: []byte(topic), Payload: []byte(payload)})
}

// publishWith is publish of any packet; QoS above 0 gets an identifier if it
// has none. It returns the code of PUBACK or PUBREC.
func (c *client) publishWith(p *packet.Publish) packet.Reason {
	c.t.Helper()
	if p.QoS > packet.AtMostOnce && p.PacketID == 0 {
		p.PacketID = c.nextID()
	}
	c.send(p)
	switch p.QoS {
	case packet.AtLeastOnce:
		return c.takeAck(packet.PUBACK, p.PacketID).Reason
	case packet.ExactlyOnce:
		reason := c.takeAck(packet.PUBREC, p.PacketID).Reason
		if reason < 0x80 {
			c.send(&packet.Ack{Kind: packet.PUBREL, PacketID: p.PacketID})
			c.takeAck(packet.PUBCOMP, p.PacketID)
		}
		return reason
	}
	return packet.Success
}

// takeAck takes an acknowledgement out of what has come, before or behind
// deliveries, which stay.
func (c *client) takeAck(kind packet.Type, id uint16) *packet.Ack {
	c.t.Helper()
	var before []packet.Packet
	for {
		p := c.next()
		if p == nil {
			c.t.Fatalf("client %q: no %v %d came, but %s", c.name, kind, id, show(before...))
		}
		if ack, ok := p.(*packet.Ack); ok && ack.Kind == kind && ack.PacketID == id {
			c.mu.Lock()
			c.in = append(before, c.in...)
			c.mu.Unlock()
			return ack
		}
		before = append(before, p)
	}
}

// disconnect says goodbye, so that no will goes out.
func (c *client) disconnect() {
	c.t.Helper()
	c.send(&packet.Disconnect{})
	c.expectEnd()
}

// cut ends the connection without a word.
func (c *client) cut() {
	c.nc.Close()
	c.mu.Lock()
	c.closed = true
	c.news.Broadcast()
	c.mu.Unlock()
	c.settle()
}

// show writes packets for a failure line.
func show(packets ...packet.Packet) string {
	if len(packets) == 0 || packets[0] == nil {
		return "nothing"
	}
	var words []string
	for _, p := range packets {
		switch p := p.(type) {
		case *packet.Publish:
			words = append(words, fmt.Sprintf("PUBLISH{dup:%t qos:%d retain:%t id:%d topic:%q payload:%.60q expiry:%d subs:%v props:%x}",
				p.Dup, p.QoS, p.Retain, p.PacketID, p.Topic, p.Payload, p.Expiry, p.SubscriptionIDs, p.Properties))
		case *packet.Ack:
			words = append(words, fmt.Sprintf("%v{id:%d %v}", p.Kind, p.PacketID, p.Reason))
		default:
			words = append(words, fmt.Sprintf("%v%+v", p.Type(), p))
		}
	}
	return strings.Join(words, " ")
}
