package mqtt_test

import (
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// notRunInto are the fields of mqtt.Limits that nobody can go beyond, and why.
var notRunInto = map[string]string{
	"Window":            "messages wait for acknowledgements",
	"WindowBytes":       "messages wait for acknowledgements",
	"PausePercent":      "a publisher pauses",
	"PauseTakes":        "a publisher pauses",
	"PauseLongest":      "a publisher pauses",
	"PacketRate":        "counts as PacketTimeout",
	"TakeOverWait":      "counts as TakeOvers",
	"Handshakes":        "is kept by the listeners, before MQTT",
	"SessionExpiry":     "the client is told a shorter one",
	"OpenSessionExpiry": "the client is told a shorter one",
	"KeepAlive":         "the client is told a shorter one",
	"ServerKeepAlive":   "the client is told",
	"SysInterval":       "not of clients",
	"WillGrace":         "not of clients",
}

// farAway is an address that is not this machine's.
var farAway = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}

// A runInto goes to a limit, and beyond it twice.
type runInto struct {
	field  string
	limits mqtt.Limits
	at     func(h *house)
	beyond func(h *house, i int)
	login  bool // who names a user is that user
}

// sizedPublish is a PUBLISH of so many bytes.
func sizedPublish(n int) *packet.Publish {
	p := &packet.Publish{Topic: []byte("t"), Payload: make([]byte, n)}
	p.Payload = p.Payload[:n-(len(packet.Append(nil, v5, p))-n)]
	return p
}

// sizedConnect is a CONNECT of so many bytes.
func sizedConnect(n int) *packet.Connect {
	p := &packet.Connect{Version: v5, CleanStart: true, RequestProblemInfo: true}
	p.ClientID = strings.Repeat("x", n-len(packet.Append(nil, v5, p)))
	return p
}

// sends has a client send packets that are within the limits.
func sends(packets ...packet.Packet) func(*house) {
	return func(h *house) {
		h.t.Helper()
		c := h.connect(v5, "c", clean)
		c.send(packets...)
		if c.isClosed() {
			h.t.Errorf("closed after %s", show(packets...))
		}
	}
}

// isClosedFor has a client send packets of which the last is beyond a limit.
func isClosedFor(reason packet.Reason, packets ...packet.Packet) func(*house, int) {
	return func(h *house, _ int) {
		h.t.Helper()
		c := h.connect(v5, "c", clean)
		c.send(packets...)
		all := c.drain()
		if len(all) == 0 {
			h.t.Fatalf("%s was answered with nothing", show(packets...))
		}
		if d, ok := all[len(all)-1].(*packet.Disconnect); !ok || d.Reason != reason {
			h.t.Errorf("%s was answered with %s, want %v", show(packets...), show(all...), reason)
		}
		c.expectEnd()
	}
}

// connects has clients try to connect, and checks the answer.
func connects(want packet.Reason, id string, options ...option) func(*house, int) {
	return func(h *house, i int) {
		h.t.Helper()
		c := h.dialFrom(v5, farAway)
		if a := c.connectAs(id, options...); a == nil || a.Reason != want {
			h.t.Errorf("CONNECT was answered with %+v, want %v", a, want)
		}
		if (want != packet.Success) != c.isClosed() {
			h.t.Errorf("closed: %t", c.isClosed())
		}
	}
}

// connectsAt has a client connect, at a limit.
func connectsAt(id string, options ...option) func(*house) {
	return func(h *house) { connects(packet.Success, id, options...)(h, 0) }
}

// publishes has a message of QoS 1 published.
func publishes(want packet.Reason, p packet.Publish) func(*house, int) {
	return func(h *house, i int) {
		h.t.Helper()
		p := p
		p.QoS, p.PacketID = packet.AtLeastOnce, 0
		p.Topic = append(p.Topic[:len(p.Topic):len(p.Topic)], byte('a'+i))
		if r := h.connect(v5, "p", clean).publishWith(&p); r != want {
			h.t.Errorf("PUBLISH was answered with %v, want %v", r, want)
		}
	}
}

// retains retains messages of some size, at a limit.
func retains(messages, size int) func(*house) {
	return func(h *house) {
		h.t.Helper()
		p := h.connect(v5, "p", clean)
		for i := range messages {
			p.retain(packet.AtLeastOnce, string(rune('A'+i)), strings.Repeat("x", size))
		}
	}
}

// queues has messages wait for a client that is away, at a limit.
func queues(messages, size int) func(*house) {
	return func(h *house) {
		h.t.Helper()
		c := h.connect(v5, "away", expiry(1000))
		c.subscribe(packet.AtLeastOnce, "#")
		c.cut()
		p := h.connect(v5, "p", clean)
		for range messages {
			p.publish(packet.AtLeastOnce, "qq", strings.Repeat("x", size))
		}
	}
}

func userProperties(n, size int) *packet.Publish {
	one := append([]byte{0x26, 0, 1, 'k', byte((size - 1) >> 8), byte(size - 1)}, make([]byte, size-1)...)
	for i := range size - 1 {
		one[6+i] = 'v'
	}
	return &packet.Publish{Topic: []byte("t"), Properties: []byte(strings.Repeat(string(one), n))}
}

func qos2(ids ...uint16) (list []packet.Packet) {
	for _, id := range ids {
		list = append(list, &packet.Publish{QoS: packet.ExactlyOnce, PacketID: id, Topic: []byte("t")})
	}
	return list
}

// dials opens connections that say nothing.
func dials(n int, hello bool) func(*house) {
	return func(h *house) {
		h.t.Helper()
		for i := range n {
			c := h.dialFrom(v5, farAway)
			if hello {
				c.connectAs(fmt.Sprint("d", i), clean)
			}
			c.expectNothing()
		}
	}
}

func isTurnedAway(h *house, _ int) {
	h.t.Helper()
	h.dialFrom(v5, farAway).awaitEnd()
}

func runIntos() []runInto {
	one := packet.AtLeastOnce
	topicOf := func(topic string) *packet.Publish { return &packet.Publish{Topic: []byte(topic)} }
	aliased := func(alias uint16) *packet.Publish { return &packet.Publish{Topic: []byte("t"), Alias: alias} }
	away := func(size int) func(*house, int) {
		return publishes(packet.Success, packet.Publish{Topic: []byte("q"), Payload: make([]byte, size)})
	}
	retained := func(size int) func(*house, int) {
		return publishes(packet.QuotaExceeded, packet.Publish{Topic: []byte("q"), Retain: true, Payload: make([]byte, size)})
	}
	large := packet.Append(nil, v5, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, 99_000)})
	small := packet.Append(nil, v5, topicOf("t"))
	return []runInto{
		{field: "PacketSize", limits: mqtt.Limits{PacketSize: 1000}, at: sends(sizedPublish(1000)), beyond: isClosedFor(packet.PacketTooLarge, sizedPublish(1001))},
		{field: "ConnectSize", limits: mqtt.Limits{ConnectSize: 100}, at: func(h *house) {
			c := h.dial(v5)
			c.send(sizedConnect(100))
			if a, ok := c.next().(*packet.Connack); !ok || a.Reason != packet.Success {
				h.t.Errorf("got %+v", a)
			}
		}, beyond: func(h *house, _ int) {
			c := h.dial(v5)
			c.send(sizedConnect(101))
			c.expectEnd() // of which version it was is not known
		}},
		{field: "OpenPacketSize", limits: mqtt.Limits{OpenPacketSize: 1000}, at: func(h *house) {
			c := h.dialFrom(v5, farAway)
			c.connectAs("c", clean)
			c.send(sizedPublish(1000))
			c.expectNothing()
		}, beyond: func(h *house, _ int) {
			c := h.dialFrom(v5, farAway)
			c.connectAs("c", clean)
			c.send(sizedPublish(1001))
			c.expectClosed(packet.PacketTooLarge)
		}},
		{field: "ReceiveMaximum", limits: mqtt.Limits{ReceiveMaximum: 2}, at: sends(qos2(1, 2)...), beyond: isClosedFor(packet.ReceiveMaximumExceeded, qos2(1, 2, 3)...)},
		{field: "TopicAliasMaximum", limits: mqtt.Limits{TopicAliasMaximum: 5}, at: sends(aliased(5)), beyond: isClosedFor(packet.TopicAliasInvalid, aliased(6))},
		{field: "InboundQoS2", limits: mqtt.Limits{InboundQoS2: 2}, at: func(h *house) {
			c := h.connect(v311, "c", clean)
			c.send(qos2(1, 2)...)
			if c.isClosed() {
				h.t.Error("closed")
			}
		}, beyond: func(h *house, _ int) {
			c := h.connect(v311, "c", clean)
			c.send(qos2(1, 2, 3)...)
			c.drain()
			c.expectEnd()
		}},
		{field: "QueueMessages", limits: mqtt.Limits{QueueMessages: 2}, at: queues(2, 1), beyond: func(h *house, i int) {
			for range 2 { // what is on disk only may leave more room than is needed
				away(1)(h, i)
			}
		}},
		{field: "QueueBytes", limits: mqtt.Limits{QueueBytes: 1000}, at: queues(2, 450), beyond: away(450)},
		{field: "AllQueuesBytes", limits: mqtt.Limits{AllQueuesBytes: 1000}, at: queues(2, 450), beyond: away(450)},
		{field: "MessageBytes", limits: mqtt.Limits{MessageBytes: 50_000}, at: func(h *house) {
			c := h.connect(v5, "slow", clean, receiveMaximum(1))
			c.subscribe(packet.AtLeastOnce, "#")
			p := h.connect(v5, "p", clean)
			for range 3 {
				p.publish(packet.AtLeastOnce, "qa", strings.Repeat("x", 30_000))
			}
		}, beyond: away(30_000)},
		{field: "Subscriptions", limits: mqtt.Limits{Subscriptions: 2}, at: func(h *house) {
			h.connect(v5, "c", expiry(1000)).subscribe(packet.AtMostOnce, "a", "b")
		}, beyond: func(h *house, i int) {
			if r := h.connect(v5, "c", expiry(1000)).subscribeWith(filters(0, fmt.Sprint("f", i), "a")); r[0] != packet.QuotaExceeded || r[1] != packet.Success {
				h.t.Errorf("SUBSCRIBE was answered with %v", r)
			}
		}},
		{field: "RetainedTopics", limits: mqtt.Limits{RetainedTopics: 2}, at: retains(2, 1), beyond: retained(1)},
		{field: "RetainedBytes", limits: mqtt.Limits{RetainedBytes: 1000}, at: retains(2, 499), beyond: retained(1)},
		{field: "RetainedLargeBytes", limits: mqtt.Limits{RetainedLargeBytes: 200_000}, at: retains(2, 100_000), beyond: retained(100_000)},
		{field: "Connections", limits: mqtt.Limits{Connections: 3}, at: dials(2, true), beyond: isTurnedAway},
		{field: "PerAddress", limits: mqtt.Limits{PerAddress: 2}, at: dials(2, true), beyond: isTurnedAway},
		{field: "Unauthenticated", limits: mqtt.Limits{Unauthenticated: 2}, at: dials(2, false), beyond: isTurnedAway},
		{field: "KeptSessions", limits: mqtt.Limits{KeptSessions: 1}, at: connectsAt("kept", expiry(1000)), beyond: connects(packet.QuotaExceeded, "more", expiry(1000))},
		{field: "KeptPerIdentity", limits: mqtt.Limits{KeptPerIdentity: 1}, login: true, at: connectsAt("kept", expiry(1000), user("ann", "")),
			beyond: connects(packet.QuotaExceeded, "more", expiry(1000), user("ann", ""))},
		{field: "LargeBytes", limits: mqtt.Limits{LargeBytes: 100_000, PacketTimeout: 2 * time.Second}, at: func(h *house) {
			a := h.connect(v5, "a", clean)
			a.sendRaw(large)
			a.expectNothing()
		}, beyond: func(h *house, i int) {
			a, b := h.connect(v5, fmt.Sprint("a", i), clean), h.connect(v5, "b", clean)
			a.sendRaw(large[:1000])
			go b.nc.Write(large[:1000])
			time.Sleep(3 * time.Second)
			b.expectClosed(packet.QuotaExceeded)
			a.sendRaw(large[1000:])
			a.expectNothing()
		}},
		{field: "ClientIDLength", limits: mqtt.Limits{ClientIDLength: 5}, at: connectsAt("12345", clean), beyond: connects(packet.ClientIDNotValid, "123456", clean)},
		{field: "ClientIDLength", at: connectsAt(strings.Repeat("c", 256), clean), beyond: connects(packet.ClientIDNotValid, strings.Repeat("c", 257), clean)},
		{field: "UsernameLength", limits: mqtt.Limits{UsernameLength: 5}, at: connectsAt("u", clean, user("12345", "")), beyond: connects(packet.BadUserNameOrPassword, "u", clean, user("123456", ""))},
		{field: "UsernameLength", at: connectsAt("u", clean, user(strings.Repeat("u", 256), "")), beyond: connects(packet.BadUserNameOrPassword, "u", clean, user(strings.Repeat("u", 257), ""))},
		{field: "TopicLength", limits: mqtt.Limits{TopicLength: 10}, at: sends(topicOf("1234567890")), beyond: isClosedFor(packet.MalformedPacket, topicOf("12345678901"))},
		{field: "TopicLength", at: sends(topicOf(strings.Repeat("t", 4096))), beyond: isClosedFor(packet.MalformedPacket, topicOf(strings.Repeat("t", 4097)))},
		{field: "TopicSeparators", limits: mqtt.Limits{TopicSeparators: 3}, at: sends(topicOf("a/b/c/d")), beyond: isClosedFor(packet.MalformedPacket, topicOf("a/b/c/d/e"))},
		{field: "TopicSeparators", at: sends(topicOf(strings.Repeat("/", 200))), beyond: isClosedFor(packet.MalformedPacket, topicOf(strings.Repeat("/", 201)))},
		{field: "UserProperties", limits: mqtt.Limits{UserProperties: 3}, at: sends(userProperties(3, 2)), beyond: isClosedFor(packet.QuotaExceeded, userProperties(4, 2))},
		{field: "UserProperties", at: sends(userProperties(64, 2)), beyond: isClosedFor(packet.QuotaExceeded, userProperties(65, 2))},
		{field: "UserPropertyBytes", limits: mqtt.Limits{UserPropertyBytes: 300}, at: sends(userProperties(3, 100)), beyond: isClosedFor(packet.QuotaExceeded, userProperties(3, 101))},
		{field: "UserPropertyBytes", at: sends(userProperties(8, 1024)), beyond: isClosedFor(packet.QuotaExceeded, userProperties(8, 1025))},
		{field: "TakeOvers", limits: mqtt.Limits{TakeOvers: 2, TakeOverWait: 3 * time.Second}, at: func(h *house) {
			for range 3 {
				h.connect(v5, "c", clean)
			}
		}, beyond: func(h *house, _ int) {
			c := h.dial(v5)
			if a := c.connectAs("c", clean); a != nil {
				h.t.Errorf("got %+v at once", a)
			}
			time.Sleep(2 * time.Second)
			c.expectNothing()
			time.Sleep(2 * time.Second)
			if a, ok := c.next().(*packet.Connack); !ok || a.Reason != packet.Success {
				h.t.Errorf("got %+v", a)
			}
		}},
		{field: "ConnectTimeout", limits: mqtt.Limits{ConnectTimeout: 3 * time.Second}, at: func(h *house) {
			c := h.dial(v5)
			time.Sleep(2 * time.Second)
			if a := c.connectAs("c", clean); a == nil {
				h.t.Error("a CONNECT in time was not answered")
			}
		}, beyond: func(h *house, _ int) {
			c := h.dial(v5)
			time.Sleep(5 * time.Second)
			c.expectEnd()
		}},
		{field: "PacketTimeout", limits: mqtt.Limits{PacketTimeout: 3 * time.Second}, at: func(h *house) {
			c := h.connect(v5, "c", clean)
			c.sendRaw(small[:2])
			time.Sleep(2 * time.Second)
			c.sendRaw(small[2:])
			c.expectNothing()
		}, beyond: func(h *house, _ int) {
			c := h.connect(v5, "c", clean)
			c.sendRaw(small[:2])
			time.Sleep(5 * time.Second)
			c.expectClosed(packet.UnspecifiedError)
		}},
		{field: "WriteStall", limits: mqtt.Limits{WriteStall: 3 * time.Second}, at: func(h *house) {
			c := h.connect(v5, "c", clean)
			c.subscribe(packet.AtMostOnce, "t")
			c.stopReading()
			p := h.connect(v5, "p", clean)
			for range 3 {
				p.publish(packet.AtMostOnce, "t", strings.Repeat("x", 60_000))
			}
			time.Sleep(2 * time.Second)
			c.startReading()
			if n := len(c.drain()); n != 3 || c.isClosed() {
				h.t.Errorf("%d messages came, closed %t", n, c.isClosed())
			}
			c.disconnect()
		}, beyond: func(h *house, _ int) {
			c := h.connect(v5, "c", clean)
			c.subscribe(packet.AtMostOnce, "t")
			c.stopReading()
			p := h.connect(v5, "p", clean)
			for range 3 {
				p.publish(packet.AtMostOnce, "t", strings.Repeat("x", 60_000))
			}
			time.Sleep(6 * time.Second)
			if _, there := h.Session("c"); there {
				h.t.Error("a client that takes nothing is still there")
			}
			c.startReading()
		}},
		{field: "MaximumQoS", limits: mqtt.Limits{MaximumQoS: &one}, at: sends(&packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("t")}), beyond: isClosedFor(packet.QoSNotSupported, qos2(1)...)},
		{field: "NoOldClients", limits: mqtt.Limits{NoOldClients: true}, at: func(h *house) { h.connect(v311, "c", clean) }, beyond: func(h *house, _ int) {
			c := h.dial(packet.V31)
			if a := c.connectAs("c", clean); a == nil || a.Reason != 1 {
				h.t.Errorf("got %+v", a)
			}
			c.expectEnd()
		}},
		{field: "NoRetained", limits: mqtt.Limits{NoRetained: true}, at: sends(topicOf("t")), beyond: isClosedFor(packet.RetainNotSupported, &packet.Publish{Topic: []byte("t"), Retain: true})},
	}
}

// TestEveryLimit goes to each limit and twice beyond it: the client is told in
// the protocol's words, the log says it once a second at most, a counter counts
// it, and somebody else who is connected notices nothing.
func TestEveryLimit(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range runIntos() {
		seen[r.field] = true
		name := mqtt.LimitName(r.field)
		t.Run(name, func(t *testing.T) {
			book := &logbook{}
			inBubble(t, func(t *testing.T, h *house) {
				w := h.connect(v5, "w", clean)
				w.subscribe(packet.AtLeastOnce, "$own")
				r.at(h)
				if n := h.LimitsReached()[name]; n != 0 {
					t.Fatalf("%d times beyond it at the limit", n)
				}
				begun := time.Now()
				for i := range 2 {
					r.beyond(h, i)
					if n := h.LimitsReached()[name]; n <= uint64(i) {
						t.Errorf("counted %d times, want more than %d", n, i)
					}
				}
				lines, most := book.count(`msg="limit reached" limit=`+name+" "), 1+int(time.Since(begun)/time.Second)
				if lines < 1 || lines > most {
					t.Errorf("%d lines in the log, want 1 to %d", lines, most)
				}
				w.publish(packet.AtLeastOnce, "$own", "x")
				w.receive("$own", "x")
				w.expectNothing()
			}, limits(r.limits), func(c *mqtt.Config) {
				c.Log = slog.New(slog.NewTextHandler(book, nil))
				if r.login {
					c.Authenticate = func(l mqtt.Login) (string, packet.Reason) { return l.Username, packet.Success }
				}
			})
		})
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[mqtt.Limits]()) {
		if why := notRunInto[f.Name]; seen[f.Name] == (why != "") {
			t.Errorf("%s: gone beyond %t, and not because %q", f.Name, seen[f.Name], why)
		}
	}
}
