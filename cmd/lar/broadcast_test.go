package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// broadcastTo is how many clients TestBroadcast connects.
const broadcastTo = 5000

// TestBroadcast has the real binary carry 5,000 connections, of both versions
// and at each QoS, which all receive a broadcast.
func TestBroadcast(t *testing.T) {
	b := startBroker(t, writeFile(t, filepath.Join(t.TempDir(), "lar.toml"), "data = \"data\"\nmqtt = \"127.0.0.1:0\"\nhttp = \"off\"\nmdns = false\n"))
	version := func(i int) packet.Version { return []packet.Version{packet.V311, packet.V5}[i%2] }
	read := func(nc net.Conn, n int) ([]byte, error) {
		nc.SetDeadline(time.Now().Add(patience))
		got := make([]byte, n)
		_, err := io.ReadFull(nc, got)
		return got, err
	}
	// body reads a packet.
	body := func(nc net.Conn) (first byte, rest []byte, err error) {
		head, err := read(nc, 2) // all that comes is short
		if err == nil {
			first = head[0]
			rest, err = read(nc, int(head[1]))
		}
		return first, rest, err
	}
	conns := make([]net.Conn, broadcastTo)
	defer func() {
		for _, nc := range conns {
			if nc != nil {
				nc.Close()
			}
		}
	}()
	begun := time.Now()
	const workers = 50
	each := func(fn func(i int) error) {
		t.Helper()
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := w; i < broadcastTo; i += workers {
					if err := fn(i); err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	each(func(i int) (err error) {
		if conns[i], err = net.DialTimeout("tcp", b.address["mqtt"], patience); err != nil {
			return err
		}
		v := version(i)
		hello := packet.Append(nil, v, &packet.Connect{Version: v, ClientID: fmt.Sprint("b", i), CleanStart: true})
		hello = packet.Append(hello, v, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "to/all", QoS: packet.QoS(i % 3)}}})
		conns[i].SetDeadline(time.Now().Add(patience))
		if _, err := conns[i].Write(hello); err != nil {
			return err
		}
		if first, ack, err := body(conns[i]); err != nil || first != 0x20 || ack[1] != 0 {
			return fmt.Errorf("CONNACK %x %x: %v", first, ack, err)
		}
		if first, ack, err := body(conns[i]); err != nil || first != 0x90 || ack[len(ack)-1] != byte(i%3) {
			return fmt.Errorf("SUBACK %x %x: %v", first, ack, err)
		}
		return nil
	})
	connected := time.Since(begun)
	begun = time.Now()
	client{t: t, addr: b.address["mqtt"]}.publish("to/all", "hear", "-q", "2")
	each(func(i int) error {
		first, rest, err := body(conns[i])
		if err != nil || first != 0x30|byte(i%3)<<1 || !bytes.HasSuffix(rest, []byte("hear")) || !bytes.Contains(rest, []byte("to/all")) {
			return fmt.Errorf("got %x %q: %v", first, rest, err)
		}
		return nil
	})
	t.Logf("%d clients connected in %v and had the broadcast after %v", broadcastTo, connected.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
}
