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
	wills    [3]*modelWill    // of clients that are connected, or have gone
	retained map[string]modelMessage
	shared   []modelShared // messages that members of a share have still to get
	now      func() time.Time
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
	expires        time.Time // zero: never
}

type modelWill struct {
	msg   modelMessage
	delay time.Duration
	due   time.Time // zero: the client is connected
}

// A modelShared goes to one of the members, whichever; must tells that one of
// those who may have it was there. What waits for a member whose session ends
// goes to one who has come since.
type modelShared struct {
	filter, topic, payload string
	members                map[int]bool
	must                   bool
}

func (m modelMessage) String() string {
	return fmt.Sprintf("%s=%s qos %d retain %t ids %s", m.topic, m.payload, m.qos, m.retain, m.ids)
}

func (m *model) over(msg modelMessage) bool {
	return !msg.expires.IsZero() && !m.now().Before(msg.expires)
}

// publish is section 3.3 in a few lines.
func (m *model) publish(from int, msg modelMessage) {
	shares := map[string]*modelShared{}
	for i, s := range m.sessions {
		if s == nil {
			continue
		}
		qos, retain, matched := packet.QoS(0), false, false
		var ids []uint32
		for j, sub := range s.subs {
			if _, rest, shared, _ := topic.Share(sub.Filter); shared {
				if topic.Match(rest, msg.topic) {
					g := shares[sub.Filter]
					if g == nil {
						g = &modelShared{filter: sub.Filter, topic: msg.topic, payload: msg.payload, members: map[int]bool{}}
						shares[sub.Filter] = g
					}
					g.members[i] = true
					g.must = g.must || s.online
				}
				continue
			}
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
			s.due = append(s.due, modelMessage{msg.topic, msg.payload, qos, retain, fmt.Sprint(ids), msg.expires})
		}
	}
	for _, g := range shares {
		m.shared = append(m.shared, *g)
	}
	if msg.retain {
		if m.retained[msg.topic] = msg; msg.payload == "" {
			delete(m.retained, msg.topic)
		}
	}
}

// A modelReceipt is a message that a client got by a share.
type modelReceipt struct {
	client int
	msg    modelMessage
}

// settle tells whether what clients got by shares is what they were to get:
// each message once, and all that had to come.
func (m *model) settle(got []modelReceipt) bool {
	if len(got) == 0 {
		return !slices.ContainsFunc(m.shared, func(g modelShared) bool { return g.must })
	}
	r := got[0]
	for j, g := range m.shared {
		// A member who has come since gets what waited for another.
		member := g.members[r.client] || !g.must && m.sessions[r.client] != nil &&
			slices.ContainsFunc(m.sessions[r.client].subs, func(s packet.Subscription) bool { return s.Filter == g.filter })
		if !member || g.topic != r.msg.topic || g.payload != r.msg.payload {
			continue
		}
		before := m.shared
		m.shared = slices.Delete(slices.Clone(before), j, j+1)
		if m.settle(got[1:]) {
			return true
		}
		m.shared = before
	}
	return false
}

// gone is what the end of a connection means for a will, section 3.1.2.5: fired
// now, or due.
func (m *model) gone(i int) {
	w, s := m.wills[i], m.sessions[i]
	if w == nil {
		return
	}
	if w.due = m.now().Add(w.delay); s.version < v5 || !s.kept {
		w.due = m.now()
	}
	m.fire()
}

// fire publishes the wills that are due.
func (m *model) fire() {
	var order []int
	for i, w := range m.wills {
		if w != nil {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return m.wills[i].due.Compare(m.wills[j].due) })
	for _, i := range order {
		if w := m.wills[i]; !w.due.IsZero() && !m.now().Before(w.due) {
			m.wills[i] = nil
			m.publish(i, w.msg)
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
	if _, _, shared, _ := topic.Share(sub.Filter); shared || sub.RetainHandling == 2 || sub.RetainHandling == 1 && exists {
		return
	}
	var names []string
	for name := range m.retained {
		if topic.Match(sub.Filter, name) && !m.over(m.retained[name]) {
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
		s.due = append(s.due, modelMessage{name, msg.payload, min(sub.QoS, msg.qos), true, fmt.Sprint(ids), msg.expires})
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
	wanted := []string{"a", "a/#", "+", "#", "+/b", "$x/#", "$share/g/a", "$share/h/#"}
	m := &model{retained: make(map[string]modelMessage), now: time.Now}
	var clients [3]*client
	var told [3]map[uint16]string  // topic aliases that the broker has given
	var given [3]map[uint16]string // and those that the clients have
	var story []string
	cut := false
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
			var w *modelWill
			if n&8 != 0 {
				w = &modelWill{msg: modelMessage{topic: topics[n>>4&3], payload: fmt.Sprint("will", step), qos: packet.QoS(n >> 6 % 3), retain: n&32 != 0}}
				if n&128 != 0 && v == v5 {
					w.delay = []time.Duration{30, 34, 38}[i] * time.Second
				}
			}
			story = append(story, fmt.Sprintf("%d connects version %d clean %t kept %t will %+v", i, v, clean, kept, w))
			present := s != nil && s.kept && !clean
			// The will of before goes out when its session ends, and when its
			// connection is taken over and nothing delays it.
			fires := false
			if old := m.wills[i]; old != nil {
				switch {
				case s != nil && s.online:
					fires = old.delay == 0 || s.version < v5 || clean || !s.kept
				case s != nil:
					fires = clean && s.kept
				}
			}
			if !present {
				s = &modelSession{}
				m.sessions[i] = s
			}
			s.version, s.online, s.kept = v, true, kept
			if old := m.wills[i]; fires {
				m.publish(i, old.msg)
			}
			m.wills[i] = w
			told[i], given[i] = map[uint16]string{}, map[uint16]string{}
			clients[i] = h.connect(v, fmt.Sprint("client", i), func(p *packet.Connect) {
				p.CleanStart = clean
				if kept {
					p.SessionExpiry = 1_000_000
				}
				if v == v5 {
					p.ReceiveMaximum, p.TopicAliasMaximum = uint16(1+n%3), uint16(n%4)
				}
				if w != nil {
					p.Will = &packet.Will{Topic: w.msg.topic, Payload: []byte(w.msg.payload), QoS: w.msg.qos, Retain: w.msg.retain, Delay: uint32(w.delay / time.Second)}
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
			clients[i] = nil
			s.online = false
			if next()&1 != 0 {
				c.disconnect()
				m.wills[i] = nil
			} else {
				c.cut()
			}
			if old := m.sessions[i]; !s.kept {
				// Its subscriptions are over before its will goes out.
				m.sessions[i] = &modelSession{version: old.version}
				m.gone(i)
				m.sessions[i] = nil
			} else {
				m.gone(i)
			}
		case 3, 4:
			if c == nil {
				continue
			}
			n, o := next(), next()
			sub := packet.Subscription{Filter: wanted[n%len(wanted)], QoS: packet.QoS(n / 6 % 3),
				NoLocal: o&1 != 0, RetainAsPublished: o&2 != 0, RetainHandling: byte(o / 4 % 3)}
			if strings.HasPrefix(sub.Filter, "$share") {
				sub.NoLocal, sub.RetainHandling = false, 0 // [MQTT-3.8.3-4]
			}
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
			p := &packet.Publish{QoS: msg.qos, Retain: msg.retain, Topic: []byte(msg.topic), Payload: []byte(msg.payload)}
			if s.version == v5 {
				o := next()
				if o&1 != 0 {
					p.HasExpiry, p.Expiry = true, []uint32{10, 50}[o>>1&1]
					msg.expires = time.Now().Add(time.Duration(p.Expiry) * time.Second)
				}
				if p.Alias = uint16(o >> 2 & 3); p.Alias != 0 {
					if given[i][p.Alias] == msg.topic {
						p.Topic = nil
					}
					given[i][p.Alias] = msg.topic
				}
			}
			story = append(story, fmt.Sprintf("%d publishes %v expires %v alias %d", i, msg, msg.expires, p.Alias))
			m.publish(i, msg)
			c.publishWith(p)
		case 7:
			// Neither time, nor any sum of them, is one at which something is
			// due: nothing happens at the same moment.
			if next()%4 != 0 {
				story = append(story, "time passes")
				time.Sleep(21 * time.Second)
				m.fire()
				break
			}
			story = append(story, "power cut")
			time.Sleep(10 * time.Second) // for what is written lazily
			m.fire()
			cut = true
		}
		var shared []modelReceipt
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
					if p.Alias != 0 {
						if len(p.Topic) == 0 {
							p.Topic = []byte(told[i][p.Alias])
						}
						told[i][p.Alias] = string(p.Topic)
					}
					got = append(got, modelMessage{string(p.Topic), string(p.Payload), p.QoS, p.Retain, fmt.Sprint(p.SubscriptionIDs), time.Time{}})
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
			s.due = slices.DeleteFunc(s.due, m.over)
			for j := range s.due {
				if s.version < v5 {
					s.due[j].ids = "[]" // queued for a 5.0 client, got by an older one
				}
				s.due[j].expires = time.Time{}
			}
			want := s.due
			for _, msg := range got {
				if len(want) > 0 && want[0] == msg {
					want = want[1:]
				} else {
					shared = append(shared, modelReceipt{i, msg})
				}
			}
			if len(want) > 0 {
				t.Fatalf("%s:\n%d got %v\nwant %v", strings.Join(story, "\n"), i, got, s.due)
			}
			s.due = nil
		}
		if !m.settle(shared) {
			t.Fatalf("%s:\nby shares, or without reason, came %+v\nwant %+v", strings.Join(story, "\n"), shared, m.shared)
		}
		if !cut {
			continue
		}
		cut = false
		h.store.Flush() // what was acknowledged just now does not come again
		h.kill(true)
		time.Sleep(time.Second) // time is 0 in a broker that has just begun
		clients = [3]*client{}
		for i, s := range m.sessions {
			if w := m.wills[i]; w != nil && w.due.IsZero() {
				w.due = time.Now().Add(max(time.Minute, w.delay) - time.Second) // unless the client comes back
			}
			if s != nil && !s.kept {
				m.sessions[i] = nil
			} else if s != nil {
				s.online = false
			}
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
