package mqtt_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
	"lar.home/mqtt/packet"
	"lar.home/mqtt/topic"
)

// A memorySink takes what goes out.
type memorySink struct {
	out    []byte
	killed bool
}

func (s *memorySink) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	return len(p), nil
}
func (s *memorySink) WantWrite()     {}
func (s *memorySink) Kill()          { s.killed = true }
func (s *memorySink) Remote() string { return "" }

// outcome is what came of a stream: what its client and another were sent, and
// what lies on disk.
type outcome struct {
	sent, forwarded []byte
	over            bool
	disk            string
}

// feed gives a broker a stream in pieces, whose memory is used for other
// things as soon as they are fed.
func feed(t *testing.T, pieces [][]byte) (o outcome) {
	store := mqtttest.NewStore()
	b, err := mqtt.New(mqtt.Config{
		Store: store,
		Clock: func() mqtt.Now { return mqtt.Now{Wall: time.Unix(1e9, 0), Trusted: true, Run: time.Second} },
		Rand:  bytes.NewReader(bytes.Repeat([]byte("0123456789abcdefghijklmnop"), 100)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		store.Resume()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		b.Shutdown(ctx)
	}()
	store.Hold() // so that the order of what is held does not depend on the machine
	var batch mqtt.Batch
	open := func() (*memorySink, *mqtt.Conn) {
		s := &memorySink{}
		c, err := b.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	witness, w := open()
	hello := packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "witness", CleanStart: true, RequestProblemInfo: true})
	hello = packet.Append(hello, v5, identified(filters(2, "#", "$x/#"), 1))
	if err := b.Feed(w, hello, &batch); err != nil {
		t.Fatal(err)
	}
	b.Flush(&batch)
	store.Flush()
	sink, c := open()
	for _, piece := range pieces {
		piece = bytes.Clone(piece)
		err := b.Feed(c, piece, &batch)
		b.Flush(&batch)
		for i := range piece {
			piece[i] = 0xdb
		}
		if err != nil {
			o.over = true
			break
		}
	}
	b.Close(c, &batch)
	b.Flush(&batch)
	store.Flush()
	o.sent, o.forwarded = sink.out, witness.out
	var disk strings.Builder
	store.Scan(nil, nil, func(key, value []byte) bool {
		fmt.Fprintf(&disk, "%q=%q\n", key, value)
		return true
	})
	o.disk = disk.String()
	return o
}

// identified gives a SUBSCRIBE its packet identifier.
func identified(s *packet.Subscribe, id uint16) *packet.Subscribe {
	s.PacketID = id
	return s
}

// hellos are what a fuzzed stream begins with.
var hellos = [][]byte{
	nil,
	packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "c", CleanStart: true, RequestProblemInfo: true}),
	packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "c", SessionExpiry: 100, ReceiveMaximum: 2, RequestProblemInfo: true}),
	packet.Append(nil, v311, &packet.Connect{Version: v311, ClientID: "c"}),
}

// FuzzCuts states that a broker answers, forwards and stores the same however
// the network cuts a stream, and that it keeps nothing of what it was lent.
func FuzzCuts(f *testing.F) {
	vectors := vectors(f)
	for i, v := range vectors {
		if len(v.stream) < 1000 {
			f.Add(byte(i), v.stream, []byte{byte(i), 1})
		}
	}
	for _, v := range []packet.Version{v311, v5} {
		var b []byte
		for _, p := range []packet.Packet{
			identified(filters(2, "a", "a/#", "$share/g/a"), 1),
			&packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("a"), Payload: []byte("one"), Retain: true},
			&packet.Publish{QoS: 2, PacketID: 2, Topic: []byte("a/b"), Payload: []byte("two")},
			&packet.Publish{QoS: 0, Topic: []byte("a/b"), Payload: bytes.Repeat([]byte("x"), 300), Alias: 1},
			ack(packet.PUBREL, 2), ack(packet.PUBACK, 1), ack(packet.PUBREC, 2), ack(packet.PUBCOMP, 2),
			&packet.Publish{QoS: 0, Payload: []byte("alias"), Alias: 1, HasExpiry: true, Expiry: 10},
			&packet.Unsubscribe{PacketID: 3, Filters: []string{"a"}},
			identified(filters(1, "#"), 4),
			&packet.Pingreq{}, &packet.Disconnect{},
		} {
			b = packet.Append(b, v, p)
		}
		f.Add(byte(v-3)%4, b, []byte{0, 1, 2, 100})
		f.Add(byte(5-v)+2, b, []byte{0})
	}
	f.Fuzz(func(t *testing.T, hello byte, stream, cuts []byte) {
		stream = append(bytes.Clone(hellos[hello%4]), stream...)
		if len(stream) > 64<<10 {
			return
		}
		var pieces [][]byte
		for i, rest := 0, stream; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		whole, cut := feed(t, [][]byte{stream}), feed(t, pieces)
		if !bytes.Equal(whole.sent, cut.sent) {
			t.Errorf("uncut, the client got %x, cut %x", whole.sent, cut.sent)
		}
		if !bytes.Equal(whole.forwarded, cut.forwarded) {
			t.Errorf("uncut, %x was forwarded, cut %x", whole.forwarded, cut.forwarded)
		}
		if whole.over != cut.over {
			t.Errorf("uncut, the connection ended: %t, cut: %t", whole.over, cut.over)
		}
		if whole.disk != cut.disk {
			t.Errorf("uncut, the disk holds\n%s, cut\n%s", whole.disk, cut.disk)
		}
	})
}

// scripts is how many scripts TestModel plays.
var scripts = flag.Int("scripts", 50, "scripts of chance to play")

// A model is a broker as plain as it can be: no windows, no identifiers, no
// disk. Its clients acknowledge everything at once.
type model struct {
	sessions [3]*modelSession // nil: none
	retained map[string]modelMessage
}

type modelSession struct {
	version packet.Version
	online  bool
	kept    bool
	subs    []packet.Subscription // in the order of their making
	ids     []uint32
	due     []modelMessage // what the client is to get next, in order
}

type modelMessage struct {
	topic, payload string
	qos            packet.QoS
	retain         bool
	ids            string
}

func (m modelMessage) String() string {
	return fmt.Sprintf("%s=%s qos %d retain %t ids %s", m.topic, m.payload, m.qos, m.retain, m.ids)
}

// publish is section 3.3 in a few lines.
func (m *model) publish(from int, msg modelMessage) {
	for i, s := range m.sessions {
		if s == nil {
			continue
		}
		qos, retain, matched := packet.QoS(0), false, false
		var ids []uint32
		for j, sub := range s.subs {
			if !topic.Match(sub.Filter, msg.topic) || sub.NoLocal && i == from {
				continue
			}
			matched = true
			qos = max(qos, sub.QoS)
			retain = retain || sub.RetainAsPublished && msg.retain && s.version == v5
			if s.ids[j] != 0 {
				ids = append(ids, s.ids[j])
			}
		}
		if qos = min(qos, msg.qos); matched && (s.online || qos > 0) {
			slices.Sort(ids)
			s.due = append(s.due, modelMessage{msg.topic, msg.payload, qos, retain, fmt.Sprint(ids)})
		}
	}
	if msg.retain {
		if m.retained[msg.topic] = msg; msg.payload == "" {
			delete(m.retained, msg.topic)
		}
	}
}

func (m *model) subscribe(i int, sub packet.Subscription, id uint32) {
	s := m.sessions[i]
	if s.version < v5 {
		id = 0
		sub = packet.Subscription{Filter: sub.Filter, QoS: sub.QoS}
	}
	at := slices.IndexFunc(s.subs, func(old packet.Subscription) bool { return old.Filter == sub.Filter })
	exists := at >= 0
	if !exists {
		at = len(s.subs)
		s.subs, s.ids = append(s.subs, sub), append(s.ids, 0)
	}
	s.subs[at], s.ids[at] = sub, id
	if sub.RetainHandling == 2 || sub.RetainHandling == 1 && exists {
		return
	}
	var names []string
	for name := range m.retained {
		if topic.Match(sub.Filter, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		msg := m.retained[name]
		ids := []uint32{}
		if id != 0 {
			ids = append(ids, id)
		}
		s.due = append(s.due, modelMessage{name, msg.payload, min(sub.QoS, msg.qos), true, fmt.Sprint(ids)})
	}
}

// FuzzModel plays a script with three clients and compares with the model what
// each gets.
func FuzzModel(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x13\x24\x35\x46\x57\x68\x79\x8a\x9b\xac\xbd\xce\xdf\xe0\xf1"))
	f.Add([]byte("0A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q7R8S9T"))
	f.Add(bytes.Repeat([]byte{0, 33, 70, 9, 0xfe, 12, 200, 91, 7}, 9))
	f.Add(bytes.Repeat([]byte{3, 17, 170, 39, 0xce, 212, 5}, 13))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) { playScript(t, newHouse(t, limits(mqtt.Limits{TakeOvers: 1 << 20})), script) })
	})
}

func playScript(t *testing.T, h *house, script []byte) {
	topics := []string{"a", "a/b", "b", "$x/a"}
	wanted := []string{"a", "a/#", "+", "#", "+/b", "$x/#"}
	m := &model{retained: make(map[string]modelMessage)}
	var clients [3]*client
	var story []string
	next := func() (b int) {
		if len(script) > 0 {
			b, script = int(script[0]), script[1:]
		}
		return b
	}
	for step := 0; len(script) > 0; step++ {
		op := next()
		i := op % 3
		s, c := m.sessions[i], clients[i]
		switch op / 3 % 8 {
		case 0, 1: // connect, or come back
			n := next()
			v, clean, kept := []packet.Version{v311, v5}[n&1], n&2 != 0, n&4 != 0
			if v == v311 {
				kept = !clean
			}
			story = append(story, fmt.Sprintf("%d connects version %d clean %t kept %t", i, v, clean, kept))
			present := s != nil && s.kept && !clean
			if !present {
				s = &modelSession{}
				m.sessions[i] = s
			}
			s.version, s.online, s.kept = v, true, kept
			clients[i] = h.connect(v, fmt.Sprint("client", i), func(p *packet.Connect) {
				p.CleanStart = clean
				if kept {
					p.SessionExpiry = 1000
				}
			})
			if c != nil {
				c.drain()
			}
			if clients[i].connack.SessionPresent != present {
				t.Fatalf("%s:\nsession present: %t, want %t", strings.Join(story, "\n"), !present, present)
			}
		case 2: // go
			if c == nil {
				continue
			}
			story = append(story, fmt.Sprintf("%d goes", i))
			if next()&1 != 0 {
				c.disconnect()
			} else {
				c.cut()
			}
			clients[i] = nil
			if s.online = false; !s.kept {
				m.sessions[i] = nil
			}
		case 3, 4:
			if c == nil {
				continue
			}
			n, o := next(), next()
			sub := packet.Subscription{Filter: wanted[n%len(wanted)], QoS: packet.QoS(n / 6 % 3),
				NoLocal: o&1 != 0, RetainAsPublished: o&2 != 0, RetainHandling: byte(o / 4 % 3)}
			id := uint32(o / 12 % 3)
			story = append(story, fmt.Sprintf("%d subscribes %+v id %d", i, sub, id))
			m.subscribe(i, sub, id)
			c.subscribeWith(&packet.Subscribe{SubscriptionID: id, Filters: []packet.Subscription{sub}})
		case 5:
			if c == nil {
				continue
			}
			filter := wanted[next()%len(wanted)]
			story = append(story, fmt.Sprintf("%d unsubscribes %s", i, filter))
			c.unsubscribe(filter)
			if at := slices.IndexFunc(s.subs, func(sub packet.Subscription) bool { return sub.Filter == filter }); at >= 0 {
				s.subs, s.ids = slices.Delete(s.subs, at, at+1), slices.Delete(s.ids, at, at+1)
			}
		case 6:
			if c == nil {
				continue
			}
			n := next()
			msg := modelMessage{topic: topics[n%4], payload: fmt.Sprint(step), qos: packet.QoS(n / 4 % 3), retain: n/12%2 == 1}
			if n/24%4 == 3 {
				msg.payload = ""
			}
			story = append(story, fmt.Sprintf("%d publishes %v", i, msg))
			m.publish(i, msg)
			c.publishWith(&packet.Publish{QoS: msg.qos, Retain: msg.retain, Topic: []byte(msg.topic), Payload: []byte(msg.payload)})
		case 7:
			if next()%4 != 0 {
				continue
			}
			story = append(story, "power cut")
			time.Sleep(10 * time.Second) // for what is written lazily
			h.kill(true)
			clients = [3]*client{}
			for i, s := range m.sessions {
				if s != nil && !s.kept {
					m.sessions[i] = nil
				} else if s != nil {
					s.online = false
				}
			}
		}
		for i, c := range clients {
			if c == nil {
				continue
			}
			var got []modelMessage
			for {
				p := c.next()
				if p == nil {
					break
				}
				switch p := p.(type) {
				case *packet.Publish:
					slices.Sort(p.SubscriptionIDs)
					got = append(got, modelMessage{string(p.Topic), string(p.Payload), p.QoS, p.Retain, fmt.Sprint(p.SubscriptionIDs)})
					if p.Dup {
						t.Errorf("%s:\n%d got a duplicate %s", strings.Join(story, "\n"), i, show(p))
					}
					switch p.QoS {
					case 1:
						c.send(ack(packet.PUBACK, p.PacketID))
					case 2:
						c.send(ack(packet.PUBREC, p.PacketID))
					}
				case *packet.Ack:
					if p.Kind != packet.PUBREL {
						t.Fatalf("%s:\n%d got %s", strings.Join(story, "\n"), i, show(p))
					}
					c.send(ack(packet.PUBCOMP, p.PacketID))
				default:
					t.Fatalf("%s:\n%d got %s", strings.Join(story, "\n"), i, show(p))
				}
			}
			s := m.sessions[i]
			for j := range s.due {
				if s.version < v5 {
					s.due[j].ids = "[]" // queued for a 5.0 client, got by an older one
				}
			}
			if !slices.Equal(got, s.due) {
				t.Fatalf("%s:\n%d got %v\nwant %v", strings.Join(story, "\n"), i, got, s.due)
			}
			s.due = nil
		}
	}
}

// TestModel plays scripts of chance against the model.
func TestModel(t *testing.T) {
	for seed := range uint64(*scripts) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			script := make([]byte, 400)
			for i := range script {
				script[i] = byte(random.Uint32())
			}
			synctest.Test(t, func(t *testing.T) { playScript(t, newHouse(t, limits(mqtt.Limits{TakeOvers: 1 << 20})), script) })
		})
	}
}
