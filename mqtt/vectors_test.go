package mqtt_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"lar.home/mqtt/packet"
)

// A vector is a line of testdata/vectors.tsv: what a client sends, what the
// broker answers, and which statements say so. The first ones stand at the
// beginning of a connection; those from "second CONNECT" on follow an accepted
// CONNECT, of 5.0 unless the name says v3.1.1.
type vector struct {
	name     string
	stream   []byte
	script   string // stream as it is written in the file
	reaction string
	keys     []string
}

const vectorFile = "testdata/vectors.tsv"

func vectors(t testing.TB) (all []vector) {
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		column := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(column) != 4 {
			t.Fatalf("%s: %q has %d columns, want 4", vectorFile, line, len(column))
		}
		v := vector{name: column[0], script: column[1], reaction: column[2], keys: strings.Fields(column[3])}
		for _, word := range strings.Fields(v.script) {
			word, times, _ := strings.Cut(word, "*") // 2f*3 is 2f2f2f
			b, err := hex.DecodeString(word)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			if n, err := strconv.Atoi(times); err == nil {
				b = bytes.Repeat(b, n)
			}
			v.stream = append(v.stream, b...)
		}
		all = append(all, v)
	}
	return all
}

// TestVectors sends what known brokers were asked, and what brought some of
// them down.
func TestVectors(t *testing.T) {
	all := vectors(t)
	if len(all) != 106 {
		t.Errorf("%d vectors, want 106", len(all))
	}
	connected := false
	for i := range all {
		vec := &all[i]
		connected = connected || vec.name == "second CONNECT"
		after := connected
		t.Run(vec.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				v := v5
				switch {
				case strings.HasPrefix(vec.name, "v3.1.1"):
					v = v311
				case strings.HasPrefix(vec.name, "MQIsdp"):
					v = packet.V31
				}
				witness := h.connect(v5, "witness", clean)
				var c *client
				if after {
					c = h.connect(v, "p", clean)
				} else {
					c = h.dial(v)
				}
				c.sendRaw(vec.stream)
				got := c.reaction()
				if *update {
					vec.reaction = got
				}
				if got != vec.reaction {
					t.Errorf("%.60x was answered by %s, want %s", vec.stream, got, vec.reaction)
				}
				witness.subscribe(packet.AtMostOnce, "still/here")
			})
			shown.add(vec.keys...)
		})
	}
	if *update {
		var b strings.Builder
		for _, v := range all {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", v.name, v.script, v.reaction, strings.Join(v.keys, " "))
		}
		if err := os.WriteFile(vectorFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// reaction writes what came: "PUBACK 0x10, open" or "DISCONNECT 0x82, close".
func (c *client) reaction() string {
	var words []string
	for _, p := range c.drain() {
		word := p.Type().String()
		switch p := p.(type) {
		case *packet.Connack:
			word += fmt.Sprintf(" 0x%02X", byte(p.Reason))
		case *packet.Disconnect:
			word += fmt.Sprintf(" 0x%02X", byte(p.Reason))
		case *packet.Ack:
			word += fmt.Sprintf(" 0x%02X", byte(p.Reason))
		case *packet.Suback:
			word += fmt.Sprintf(" %x", p.Reasons)
		case *packet.Unsuback:
			word += fmt.Sprintf(" %x", p.Reasons)
		}
		words = append(words, word)
	}
	if c.isClosed() {
		words = append(words, "close")
	} else {
		words = append(words, "open")
	}
	return strings.Join(words, ", ")
}
