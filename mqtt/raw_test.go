package mqtt_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"lar.home/mqtt/packet"
)

// A rawClient compares bytes, as suites of other brokers do: what stands in
// what packet, in which order of properties, and where nothing is said at all.
type rawClient struct {
	*client
	mu  sync.Mutex // guards got
	got []byte
}

// raw opens a connection whose answers are taken as bytes.
func (h *house) raw(v packet.Version) *rawClient {
	c := &rawClient{}
	c.client = h.dialTapped(v, nil, func(b []byte) {
		c.mu.Lock()
		c.got = append(c.got, b...)
		c.mu.Unlock()
	})
	return c
}

// take returns the bytes that have come.
func (c *rawClient) take() []byte {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// TestSequences plays testdata/sequences.txt. A paragraph is a sequence: its
// name and version, whether the client is connected before, what is sent (>)
// and what comes back (<), byte for byte, and how it ends.
func TestSequences(t *testing.T) {
	f, err := os.Open("testdata/sequences.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	played := 0
	var lines []string
	play := func() {
		if len(lines) == 0 {
			return
		}
		played++
		script := lines
		lines = nil
		head := strings.Fields(script[0])
		version, after := packet.V5, true
		switch head[0] {
		case "3":
			version = packet.V31
		case "4":
			version = packet.V311
		}
		if head[1] == "new" {
			after = false
		}
		t.Run(strings.Join(head, "_"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				c := h.raw(version)
				if after {
					if a := c.connectAs("p", clean); a == nil || a.Reason != packet.Success {
						t.Fatalf("CONNECT is answered %+v", a)
					}
					c.take()
				}
				for _, l := range script[1:] {
					l = strings.TrimSpace(l)
					switch {
					case l == "open":
						if c.isClosed() {
							t.Fatal("the connection is closed")
						}
					case l == "close":
						if got := c.take(); len(got) > 0 {
							t.Fatalf("got %x, want the end", got)
						}
						if !c.isClosed() {
							t.Fatal("the connection is open")
						}
					case l[0] == '>':
						c.sendRaw(rawBytes(t, l[1:]))
					case l[0] == '<':
						if got, want := c.take(), rawBytes(t, l[1:]); !bytes.Equal(got, want) {
							t.Fatalf("got %x, want %x", got, want)
						}
					default:
						t.Fatalf("%q is nothing to do", l)
					}
				}
			})
		})
	}
	s := bufio.NewScanner(f)
	for s.Scan() {
		switch l := s.Text(); {
		case strings.HasPrefix(l, "#"):
		case strings.TrimSpace(l) == "":
			play()
		default:
			lines = append(lines, l)
		}
	}
	play()
	if played < 80 {
		t.Errorf("%d sequences were played", played)
	}
}

// rawBytes reads hexadecimal bytes, texts in quotes with their length before
// them, and "*n" behind a byte that is repeated.
func rawBytes(t *testing.T, text string) (b []byte) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		if s, ok := strings.CutPrefix(word, "'"); ok {
			s = strings.TrimSuffix(s, "'")
			b = append(b, byte(len(s)>>8), byte(len(s)))
			b = append(b, s...)
			continue
		}
		n := 1
		if at := strings.IndexByte(word, '*'); at >= 0 {
			fmt.Sscan(word[at+1:], &n)
			word = word[:at]
		}
		one, err := hex.DecodeString(word)
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		b = append(b, bytes.Repeat(one, n)...)
	}
	return b
}
