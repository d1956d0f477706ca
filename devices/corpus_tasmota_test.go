package devices

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lar.home/mqtt"
)

// A corpusTasmota is what a Tasmota says of itself, read apart from the code
// that is tested.
type corpusTasmota struct {
	Topic  string   `json:"t"`
	Full   string   `json:"ft"`
	Online string   `json:"onln"`
	Prefix []string `json:"tp"`
	States []string `json:"state"`
	Relays []int    `json:"rl"`
}

// topic is one of the device's topics: kind 0 is commands, 1 answers, 2 telemetry.
func (c *corpusTasmota) topic(kind int, last string) string {
	prefix := []string{"cmnd", "stat", "tele"}[kind]
	if len(c.Prefix) == 3 {
		prefix = c.Prefix[kind]
	}
	full := c.Full
	if full == "" {
		full = "%prefix%/%topic%/"
	}
	return strings.TrimSuffix(strings.NewReplacer("%prefix%", prefix, "%topic%", c.Topic).Replace(full), "/") + "/" + last
}

// power is the key of a relay among n.
func power(i, n int) string {
	if n == 1 {
		return "POWER"
	}
	return "POWER" + strconv.Itoa(i+1)
}

// tasmotaCorpus announces the Tasmotas of the corpus, each by itself: each of
// its relays is there, tells its state, and is told what it declares; each
// number among its sensors is there and is worth what it says.
func tasmotaCorpus(t *testing.T, s *score) (messages, entities int) {
	readLines(t, "discovery-*.jsonl.gz", func(line []byte) {
		var m corpusMessage
		if json.Unmarshal(line, &m) != nil || !strings.HasPrefix(m.Topic, "tasmota/discovery/") {
			return
		}
		messages++
		b := newBench(t)
		b.quiet = true
		prefix, part, _ := strings.Cut(strings.TrimPrefix(m.Topic, "tasmota/discovery/"), "/")
		if part == "config" {
			b.publish(m.Topic, string(m.Payload), true)
			s.tasmota(t, b, m)
		} else {
			// What it measures is announced apart from what it is.
			b.publish(m.Topic, string(m.Payload), true)
			b.publish("tasmota/discovery/"+prefix+"/config", `{"dn":"Corpus","mac":"`+prefix+`","t":"corpus","rl":[],"ver":1}`, true)
			s.tasmotaSensors(t, b, m)
			b.publish("tasmota/discovery/"+prefix+"/config", "", true)
		}
		entities += len(b.model.nodes)
		before := b.model.House()
		b.publish(m.Topic, string(m.Payload), true)
		if b.model.House() != before {
			t.Errorf("%s again changed the house", m.Topic)
		}
		b.publish(m.Topic, "", true)
		b.tasmotaGone()
	})
	return messages, entities
}

func (s *score) tasmota(t *testing.T, b *bench, m corpusMessage) {
	var c corpusTasmota
	if err := json.Unmarshal(m.Payload, &c); err != nil {
		t.Fatal(m.Topic, err)
	}
	words := []string{"OFF", "ON"}
	if len(c.States) >= 2 {
		words = c.States[:2]
	}
	c.Relays = slices.DeleteFunc(c.Relays, func(r int) bool { return r == 0 })
	b.publish(c.topic(2, "LWT"), c.Online, true)
	for i, kind := range c.Relays {
		want := map[int]Kind{1: Switch, 2: Light, 3: Cover}[kind]
		if kind == 3 || kind == 2 && len(c.Relays) > 1 {
			continue // several relays are one shutter, or one light
		}
		key := power(i, len(c.Relays))
		var n *node
		for on := range 2 {
			word := words[1-on]
			changed := map[string]Value{}
			for id, x := range b.model.nodes {
				changed[id] = x.live.Load().Readings[0].Value
			}
			b.publish(c.topic(2, "STATE"), `{"`+key+`":"`+word+`"}`, false)
			s.values++
			for id, x := range b.model.nodes {
				v := x.live.Load().Readings[0].Value
				if x.spec.kind == want && v == BoolValue(on == 0) && v != changed[id] {
					n = x
					s.right++
				}
			}
		}
		if n == nil {
			s.complain(t, "%s: no %s for %s", m.Topic, want, key)
			continue
		}
		for _, x := range []struct{ command, word string }{{"turn_on", words[1]}, {"turn_off", words[0]}} {
			s.commands++
			turn := &mqtt.Turn{Number: 1, Now: b.now}
			err := b.model.Command(turn, n.id, x.command, nil)
			if out := turn.Published(); err == nil && len(out) == 1 && string(out[0].Payload) == x.word &&
				(out[0].Topic == c.topic(0, key) || out[0].Topic == c.topic(0, "POWER"+strconv.Itoa(i+1))) {
				s.sent++
			} else {
				s.complain(t, "%s %s: %v %v", m.Topic, x.command, err, turn.Published())
			}
		}
	}
}

// tasmotaSensors gives each number among what is measured another value, all
// at once, and looks for each.
func (s *score) tasmotaSensors(t *testing.T, b *bench, m corpusMessage) {
	var c struct {
		Measured map[string]any `json:"sn"`
	}
	if err := json.Unmarshal(m.Payload, &c); err != nil {
		t.Fatal(m.Topic, err)
	}
	n := 0
	var wanted []float64
	var renumber func(v any) any
	renumber = func(v any) any {
		switch v := v.(type) {
		case float64:
			n++
			wanted = append(wanted, 1000+float64(n))
			return 1000 + float64(n)
		case map[string]any:
			for key, inner := range v {
				v[key] = renumber(inner)
			}
		case []any:
			for i, inner := range v {
				v[i] = renumber(inner)
			}
		}
		return v
	}
	renumber(c.Measured)
	b.publish("tele/corpus/SENSOR", jsonOf(c.Measured), false)
	for _, want := range wanted {
		s.values++
		found := false
		for _, x := range b.model.nodes {
			found = found || x.live.Load().Readings[0].Value == NumberValue(want)
		}
		if found {
			s.right++
		} else {
			s.complain(t, "%s: nothing is worth %s", m.Topic, fmt.Sprint(want))
		}
	}
}
