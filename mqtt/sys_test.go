package mqtt_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// told takes what a client was sent of the broker's own topics.
func (c *client) told() map[string]string {
	c.t.Helper()
	told := make(map[string]string)
	for _, p := range c.drain() {
		if p, ok := p.(*packet.Publish); ok {
			told[strings.TrimPrefix(string(p.Topic), "$SYS/broker/")] = string(p.Payload)
		}
	}
	return told
}

// TestSys reads what the broker tells of itself, as dashboards do.
func TestSys(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		away := h.connect(v311, "away")
		away.subscribe(packet.AtLeastOnce, "t", "u", "$share/g/t")
		away.disconnect()
		for i := range 5 {
			p.send(&packet.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: []byte("u"), Payload: []byte("12345")})
		}
		p.send(&packet.Publish{Retain: true, Topic: []byte("r"), Payload: []byte("x")})
		if found, _, _ := h.Retained("$SYS/#", "", 0); len(found) != 0 {
			t.Errorf("%d topics are told to nobody", len(found))
		}
		h.store.Flush()
		turns, records := len(h.store.Turns()), h.store.Len()
		watch := h.connect(v311, "watch", clean)
		watch.subscribe(packet.ExactlyOnce, "$SYS/#")
		for _, p := range watch.drain() {
			if p := p.(*packet.Publish); !p.Retain || p.QoS != packet.AtMostOnce {
				t.Errorf("got %s, want it retained and QoS 0", show(p))
			}
		}
		watch.subscribe(packet.AtMostOnce, "$SYS/broker/+", "$SYS/broker/clients/#", "$SYS/#")
		told := watch.told()
		for name, want := range map[string]string{
			"version": "lar version 1.2.3", "uptime": "0 seconds",
			"clients/total": "3", "clients/connected": "2", "clients/active": "2", "clients/disconnected": "1", "clients/inactive": "1", "clients/maximum": "2", "clients/expired": "0",
			"messages/received": "13", "publish/messages/received": "6", "publish/messages/sent": "0", "publish/messages/dropped": "0", "publish/bytes/received": "26", "publish/bytes/sent": "0",
			"retained messages/count": "1", "messages/stored": "6", "store/messages/count": "6", "subscriptions/count": "3", "shared_subscriptions/count": "1", "connections/socket/count": "2",
		} {
			if name == "messages/received" {
				continue // counted below
			}
			if told[name] != want {
				t.Errorf("%s is %q, want %q", name, told[name], want)
			}
		}
		for _, name := range []string{"bytes/received", "bytes/sent", "messages/received", "messages/sent", "store/messages/bytes", "heap/current", "heap/maximum"} {
			if n, err := strconv.Atoi(told[name]); err != nil || n <= 0 {
				t.Errorf("%s is %q", name, told[name])
			}
		}
		for _, what := range []string{"messages/received", "messages/sent", "publish/received", "publish/sent", "publish/dropped", "bytes/received", "bytes/sent", "connections", "sockets"} {
			for _, span := range []string{"1min", "5min", "15min"} {
				if v := told["load/"+what+"/"+span]; len(v) < 4 || v[len(v)-3] != '.' {
					t.Errorf("load/%s/%s is %q", what, span, v)
				}
			}
		}
		// Later only what has changed comes, and not as retained.
		for range 60 {
			p.send(&packet.Publish{Topic: []byte("t"), Payload: []byte("x")})
			time.Sleep(time.Second)
		}
		last := make(map[string]string)
		uptimes := 0
		for _, p := range watch.drain() {
			p := p.(*packet.Publish)
			if p.Retain {
				t.Fatalf("got %s", show(p))
			}
			name := strings.TrimPrefix(string(p.Topic), "$SYS/broker/")
			last[name] = string(p.Payload)
			if name == "uptime" {
				uptimes++
			}
			if name == "version" || name == "clients/total" {
				t.Errorf("%s came again, as %q", name, p.Payload)
			}
		}
		if uptimes != 6 || last["publish/messages/received"] != "66" {
			t.Errorf("in a minute: %d times, %v", uptimes, last)
		}
		if v, _ := strconv.ParseFloat(last["load/publish/received/1min"], 64); v < 30 || v > 60 {
			t.Errorf("60 messages in a minute are a load of %v", v)
		}
		if h.store.Flush(); len(h.store.Turns()) != turns || h.store.Len() != records {
			t.Error("it was written to the disk")
		}
		// Nobody is left: it costs nothing and nothing is kept.
		watch.disconnect()
		time.Sleep(11 * time.Second)
		if found, _, _ := h.Retained("$SYS/#", "", 0); len(found) != 0 {
			t.Errorf("%d topics are told to nobody", len(found))
		}
	}, func(c *mqtt.Config) { c.Version = "1.2.3" })
}

// TestSysOfKeptSession has a client come back that had subscribed.
func TestSysOfKeptSession(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", expiry(1000))
		c.subscribe(packet.AtLeastOnce, "$SYS/broker/uptime")
		c.drain()
		c.cut()
		time.Sleep(30 * time.Second)
		h.restart()
		c = h.connect(v5, "c", expiry(1000))
		if told := c.told(); told["uptime"] != "0 seconds" {
			t.Errorf("told %v", told)
		}
		l := h.Limits()
		l.SysInterval = -1
		h.SetLimits(l)
		time.Sleep(time.Minute)
		c.drain()
		time.Sleep(time.Minute)
		if told := c.told(); len(told) != 0 {
			t.Errorf("told %v though it is off", told)
		}
		l.SysInterval = 0
		h.SetLimits(l)
		time.Sleep(time.Minute)
		if told := c.told(); told["uptime"] == "" {
			t.Error("not told though it is on again")
		}
	})
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.AtLeastOnce, "$SYS/#")
		time.Sleep(time.Minute)
		c.expectNothing()
	}, limits(mqtt.Limits{SysInterval: -1}))
}

// TestSysIsTheBrokersOwn has others try to write there, clients and parts of
// the house, and to read without the right to.
func TestSysIsTheBrokersOwn(t *testing.T) {
	shows(t, "SEC_18 SEC_27", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		for _, f := range []string{"$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#", "$SYS/+/uptime"} {
			if r := c.subscribeWith(filters(0, f)); r[0] != packet.NotAuthorized {
				t.Errorf("SUBSCRIBE of %s: %v", f, r)
			}
		}
		if r := h.connect(v311, "old", clean).subscribeWith(filters(0, "$SYS/#")); r[0] != packet.UnspecifiedError {
			t.Errorf("SUBSCRIBE of an older client: %v", r)
		}
		admin := h.connect(v5, "admin", clean)
		admin.subscribe(packet.AtMostOnce, "$SYS/#", "#", "+/broker/#", "+/+/uptime")
		told := admin.told()
		if len(told) < 50 || told["uptime"] == "" {
			t.Errorf("%d topics are told", len(told))
		}
		for qos, want := range []packet.Reason{packet.Success, packet.NotAuthorized, packet.NotAuthorized} {
			if r := c.publishWith(&packet.Publish{QoS: packet.QoS(qos), Topic: []byte("$SYS/broker/uptime"), Payload: []byte("x")}); r != want {
				t.Errorf("PUBLISH with QoS %d: %v", qos, r)
			}
		}
		if a := h.dial(v5).connectAs("w", clean, will(packet.Will{Topic: "$SYS/broker/x"})); a == nil || a.Reason != packet.NotAuthorized {
			t.Errorf("a will there: %+v", a)
		}
		h.Do(context.Background(), func(turn *mqtt.Turn) error {
			turn.Publish(&mqtt.Message{Topic: "$SYS/broker/uptime", Payload: []byte("x"), Retain: true})
			return nil
		})
		admin.expectNothing()
		if found, _, _ := h.Retained("$SYS/broker/uptime", "", 0); len(found) != 1 || string(found[0].Payload) == "x" {
			t.Errorf("%d", len(found))
		}
	}, func(c *mqtt.Config) {
		c.Authorize = func(_, clientID string, a mqtt.Access, topic string) bool {
			return clientID == "admin" || !strings.HasPrefix(topic, "$SYS")
		}
	})
}

// TestSysCountsInNoLimit retains as many messages as are allowed while the
// broker tells of itself.
func TestSysCountsInNoLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.AtMostOnce, "$SYS/#")
		c.drain()
		for i := range 4 {
			c.send(&packet.Publish{QoS: 1, PacketID: uint16(i + 1), Retain: true, Topic: []byte(fmt.Sprint("t/", i)), Payload: []byte("x")})
			want := packet.NoMatchingSubscribers
			if i == 3 {
				want = packet.QuotaExceeded
			}
			if a := c.takeAck(packet.PUBACK, uint16(i+1)); a.Reason != want {
				t.Errorf("message %d: %v", i, a.Reason)
			}
		}
	}, limits(mqtt.Limits{RetainedTopics: 3}))
}
