package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"

	"lar.home/hub/store"
	"lar.home/mqtt"
)

// backlog fills a data folder with kept sessions that have messages waiting,
// shared by two sessions or for one alone. One of each is made by a hub as any
// client would; the others are copies of their records.
func backlog(t testing.TB, sessions, messages int, shared bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cfg := Config{Dir: dir, MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	connect := func(id string) mqttclient.Client {
		c := mqttclient.NewClient(mqttclient.NewClientOptions().AddBroker("tcp://" + h.mqttLn.Addr().String()).
			SetClientID(id).SetCleanSession(false).SetAutoReconnect(false))
		answer(t, c.Connect())
		return c
	}
	ids := []string{"keeper-00000"}
	if shared {
		ids = append(ids, "keeper-00001")
	}
	for _, id := range ids {
		c := connect(id)
		answer(t, c.Subscribe("home/sensor/state", 1, nil))
		c.Disconnect(0)
	}
	c := connect("publisher")
	answer(t, c.Publish("home/sensor/state", 1, false, make([]byte, 64)))
	c.Disconnect(0)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	s, err := store.Open(store.Options{Dir: dir, Sync: store.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	landed := make(chan uint64, 1)
	s.Durable(func(n uint64) {
		select {
		case <-landed:
		default:
		}
		landed <- n
	})
	var session, queued, subscription mqtt.Write
	for kind, w := range map[string]*mqtt.Write{"s": &session, "q": &queued, "f": &subscription} {
		err := s.Scan([]byte(kind), nil, func(key, value []byte) bool {
			*w = mqtt.Write{Key: bytes.Clone(key), Value: bytes.Clone(value)}
			return false
		})
		if err != nil || w.Key == nil {
			t.Fatalf("no record of kind %s: %v", kind, err)
		}
	}
	number, durable := uint64(0), uint64(0)
	put := func(writes []mqtt.Write) {
		number++
		s.Submit(number, writes, true)
		for durable+8 < number {
			durable = <-landed
		}
	}
	for n := range sessions {
		id := uint32(1000 + n)
		of := func(w mqtt.Write) mqtt.Write {
			key := bytes.Clone(w.Key)
			binary.BigEndian.PutUint32(key[1:], id)
			return mqtt.Write{Key: key, Value: w.Value}
		}
		record := of(session)
		record.Value = bytes.Replace(record.Value, []byte("keeper-00000"), fmt.Appendf(nil, "keeper%06d", id), 1)
		writes := []mqtt.Write{record, of(subscription)}
		for i := range messages {
			w := of(queued)
			binary.BigEndian.PutUint64(w.Key[5:], uint64(i+1))
			writes = append(writes, w)
		}
		put(writes)
	}
	for durable < number {
		durable = <-landed
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// answer waits for what a client was asked to do.
func answer(t testing.TB, token mqttclient.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("no answer: %v", token.Error())
	}
}

// TestStartWithBacklog takes up queues of many sessions, each of which gets
// all that waits for it.
func TestStartWithBacklog(t *testing.T) {
	const sessions, messages = 200, 7
	for _, shared := range []bool{false, true} {
		h, stop := start(t, backlog(t, sessions, messages, shared))
		for _, id := range []int{0, 1, sessions - 1} {
			came := make(chan struct{}, 2*messages)
			c := mqttclient.NewClient(mqttclient.NewClientOptions().AddBroker("tcp://" + h.mqttLn.Addr().String()).
				SetClientID(fmt.Sprintf("keeper%06d", 1000+id)).SetCleanSession(false).SetAutoReconnect(false).
				SetDefaultPublishHandler(func(_ mqttclient.Client, m mqttclient.Message) {
					if len(m.Payload()) == 64 {
						came <- struct{}{}
					}
				}))
			answer(t, c.Connect())
			for n := range messages {
				select {
				case <-came:
				case <-time.After(patience):
					t.Fatalf("shared %v, session %d: %d messages came, want %d", shared, id, n, messages)
				}
			}
			c.Disconnect(100)
		}
		stop()
	}
}

// BenchmarkStart is the start of a hub that has 100 messages waiting for each
// of 10,000 clients: until they can connect.
func BenchmarkStart(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			dir := backlog(b, 10_000, 100, shared)
			for b.Loop() {
				begin := time.Now()
				h, err := New(Config{Dir: dir, MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(begin).Seconds(), "s/start")
				b.StopTimer()
				h.abandon()
				b.StartTimer()
			}
		})
	}
}
