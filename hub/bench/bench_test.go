package bench

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/hub"
	"lar.home/mqtt/packet"
)

// house runs a hub in this process until the test ends.
func house(t *testing.T) Target {
	t.Helper()
	h, err := hub.New(hub.Config{Dir: t.TempDir(), MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", AllowAnonymous: true,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for _, a := range h.Addresses() {
		if a.Kind == "mqtt" {
			return Target{Addr: a.Text, PID: os.Getpid()}
		}
	}
	t.Fatal("the hub has no address for clients")
	return Target{}
}

func clean(t *testing.T, r Row, err error, want int) {
	t.Helper()
	if err != nil || r.Messages < want || r.Lost+r.Repeated+r.Disorder > 0 {
		t.Errorf("%+v, %v, want %d messages or more and nothing wrong with them", r, err, want)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	target := house(t)
	target.Version = packet.V5
	shown := 0
	r, err := Run(t.Context(), Config{Target: target, Quick: true, Row: func(Row) { shown++ }})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		clean(t, row, nil, 1)
		if row.PerSecond == 0 {
			t.Errorf("%+v has no rate", row)
		}
	}
	if len(r.Rows) != 10 || shown != len(r.Rows) {
		t.Errorf("%d rows, %d were shown as they were known", len(r.Rows), shown)
	}
	if r.Devices == 0 || len(r.Verdict) != 3 {
		t.Errorf("%d devices, verdict %q", r.Devices, r.Verdict)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	target := house(t)
	short := 50 * time.Millisecond
	for qos := range packet.QoS(3) {
		r, err := Flow{Shape: FanIn, Publishers: 5, QoS: qos, Window: 5, Warm: short, For: short}.Run(t.Context(), target)
		clean(t, r, err, 5)
		r, err = Home{Devices: 10, PerSecond: 200, QoS: qos, Warm: short, For: short}.Run(t.Context(), target)
		clean(t, r, err, 10)
	}
	publish, drain, err := Queue{Sessions: 6, Each: 30, Publishers: 4, Window: 20, QoS: packet.ExactlyOnce}.Run(t.Context(), target)
	clean(t, publish, err, 180)
	clean(t, drain, err, 180)
	r, err := Shelf{Topics: 500, Size: 40}.Run(t.Context(), target)
	clean(t, r, err, 500)
	r, err = Crowd{Clients: 20}.Reconnect(t.Context(), target)
	clean(t, r, err, 20)
	_, err = Silence(t.Context(), target, 20, short, short)
	if err != nil {
		t.Error(err)
	}
	// Nothing stays: the shelf is empty again.
	c, err := dial(t.Context(), target, packet.Connect{CleanStart: true, ClientID: "looks"}, littleRoom)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.subscribe(prefix+"/#", packet.AtMostOnce); err != nil {
		t.Fatal(err)
	}
	if p, err := c.ask(&packet.Pingreq{}); err != nil || p.Type() != packet.PINGRESP {
		t.Errorf("after the run there is still %+v, %v", p, err)
	}
}

// TestLossIsSeen measures through a proxy that drops deliveries: a tool that
// does not see what is lost would praise whoever loses most.
func TestLossIsSeen(t *testing.T) {
	t.Parallel()
	target := house(t)
	lossy := target
	lossy.Addr = dropEach(t, target.Addr, 50)
	r, err := Flow{Shape: Pipe, Publishers: 2, QoS: packet.AtMostOnce, Window: 20, For: 50 * time.Millisecond}.Run(t.Context(), lossy)
	if err != nil || r.Lost == 0 {
		t.Errorf("%+v, %v, want a loss", r, err)
	}
	_, drain, err := Queue{Sessions: 2, Each: 60, Publishers: 1, Window: 20, QoS: packet.AtLeastOnce, Silence: time.Second}.Run(t.Context(), lossy)
	if err != nil || drain.Lost != 2 {
		t.Errorf("%+v, %v, want 2 lost", drain, err)
	}
}

// dropEach relays to addr, but not every nth PUBLISH of a connection's
// deliveries.
func dropEach(t *testing.T, addr string, n int) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				io.Copy(broker, client)
				broker.Close()
			}()
			go func() {
				defer client.Close()
				in := &conn{nc: broker, in: make([]byte, readRoom)}
				for count := 0; ; {
					first, body, err := in.next()
					if err != nil {
						return
					}
					if packet.Type(first>>4) == packet.PUBLISH {
						if count++; count%n == 0 {
							continue
						}
					}
					whole := []byte{first}
					for l := len(body); ; {
						b := byte(l & 0x7f)
						if l >>= 7; l > 0 {
							whole = append(whole, b|0x80)
							continue
						}
						whole = append(whole, b)
						break
					}
					client.Write(append(whole, body...))
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func TestRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 100))
			c.Write([]byte{0x20, 2, 0, 5})
			c.Close()
		}
	}()
	_, err = Run(t.Context(), Config{Target: Target{Addr: ln.Addr().String()}, Quick: true})
	if err == nil || !strings.Contains(err.Error(), ErrRefused.Error()) {
		t.Errorf("%v, want %v", err, ErrRefused)
	}
}

func TestHist(t *testing.T) {
	for _, v := range []uint64{0, 1, 15, 16, 17, 31, 32, 33, 1000, 12_345, 1e9, 1e15} {
		low := lowest(bucket(v))
		if low > v || v-low > v/16 {
			t.Errorf("%d is counted as %d", v, low)
		}
		if v > 0 && bucket(v-1) > bucket(v) {
			t.Errorf("%d stands before %d", v, v-1)
		}
	}
	var h hist
	for i := range 1000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	if half := h.at(0.5); half < 460*time.Microsecond || half > 500*time.Microsecond {
		t.Errorf("half of 0 to 999 µs is %v", half)
	}
}

func TestJudge(t *testing.T) {
	fine := Row{CPU: 100, P50: 200, P99: 3000}
	tests := []struct {
		name                string
		pipe, home, publish Row
		kill                *Row
		devices             int
		says                []string
	}{
		{"the disk is slow", Row{PerSecond: 1e6}, fine, Row{PerSecond: 1700, P50: 40_000}, nil,
			4000, []string{"about 4,000 devices", "its disk", "within 0.2 ms", "within 3 ms", "within 40 ms; 1,000 a second"}},
		{"the processor is slow", Row{PerSecond: 1e6}, Row{CPU: 500}, Row{PerSecond: 1e5}, nil,
			5000, []string{"about 5,000 devices", "one core"}},
		{"nothing is known of the process", Row{PerSecond: 3000}, Row{}, Row{PerSecond: 1e5}, nil,
			7000, []string{"about 7,000 devices", "throughput"}},
		{"all is fast", Row{PerSecond: 1e6}, fine, Row{PerSecond: 1e5}, &Row{Messages: 1234, Away: 90_000},
			10_000, []string{"10,000 devices or more", "back after 90 ms and had every one of the 1,234"}},
		{"a kill loses", Row{PerSecond: 1e6}, fine, Row{PerSecond: 1e5}, &Row{Messages: 1234, Lost: 3},
			10_000, []string{"LOST 3 of the 1,234"}},
	}
	for _, tt := range tests {
		var r Report
		r.judge(Row{}, tt.pipe, tt.home, tt.publish, tt.kill)
		all := strings.Join(r.Verdict, "\n")
		if r.Devices != tt.devices || slices.ContainsFunc(tt.says, func(s string) bool { return !strings.Contains(all, s) }) {
			t.Errorf("%s: %d devices, want %d, and %q of\n%s", tt.name, r.Devices, tt.devices, tt.says, all)
		}
	}
}

func TestLine(t *testing.T) {
	tests := []struct {
		row  Row
		says []string
	}{
		{Row{Name: "pipe", PerSecond: 1234567, CPU: 0.5, P50: 50, P99: 12_345}, []string{"1,234,567", "0.50 µs", "50 µs", "12 ms"}},
		{Row{Name: "killed", Messages: 5000, Away: 1.5e6, Lost: 2}, []string{"5,000 acknowledged", "1.5 s", "2 LOST"}},
		{Row{Name: "connect", Memory: 4096, After: 6144}, []string{"4.0 KiB each, 6.0 after"}},
	}
	for _, tt := range tests {
		for _, s := range tt.says {
			if line := tt.row.Line(); !strings.Contains(line, s) {
				t.Errorf("%q does not say %q", line, s)
			}
		}
	}
}
