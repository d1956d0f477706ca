package store

import (
	"context"
	"encoding/binary"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"lar.home/mqtt"
)

// benchOptions open a folder without logging.
func benchOptions(b *testing.B) Options {
	return Options{Dir: b.TempDir(), Space: Space{Ballast: -1}, Log: slog.New(slog.DiscardHandler)}
}

// queueRecord is a turn that puts a message of 64 bytes into the queue of a
// kept session, as the broker does.
func queueRecord(session uint32, number uint64) []mqtt.Write {
	key := make([]byte, 0, 13)
	key = append(key, 'q')
	key = binary.BigEndian.AppendUint32(key, session)
	key = binary.BigEndian.AppendUint64(key, number)
	value := make([]byte, 100) // topic, properties and flags beside the payload
	binary.BigEndian.PutUint64(value, number)
	return []mqtt.Write{{Key: key, Value: value}}
}

// BenchmarkCommitterFloor is the bare committer on a real disk, under the load
// that a broker makes of it: window messages are on their way, and each one
// that becomes durable lets the next one in. It is printed beside every
// durable figure of the broker: no broker on this store is faster.
func BenchmarkCommitterFloor(b *testing.B) {
	for _, bb := range []struct {
		name   string
		sync   Sync
		window int
	}{
		{"always/window=1", SyncAlways, 1},
		{"always/window=80", SyncAlways, 80},
		{"always/window=500", SyncAlways, 500},
		{"always/window=1000", SyncAlways, 1000},
		{"never/window=80", SyncNever, 80},
	} {
		b.Run(bb.name, func(b *testing.B) {
			o := benchOptions(b)
			o.Sync = bb.sync
			s, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(context.Background())
			freed := make(chan uint64, 1)
			s.Durable(func(number uint64) {
				select {
				case <-freed:
				default:
				}
				freed <- number
			})
			b.ReportAllocs()
			b.ResetTimer()
			durable, cpu := uint64(0), cpuTime()
			for number := uint64(1); durable < uint64(b.N); {
				for number <= uint64(b.N) && number <= durable+uint64(bb.window) {
					s.Submit(number, queueRecord(uint32(number%50), number), true)
					number++
				}
				durable = <-freed
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-us/msg")
			st := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(float64(st.Turns)/float64(st.Groups), "msg/commit")
			b.ReportMetric(float64(st.Disk)/float64(b.N), "disk-B/msg")
		})
	}
}

// cpuTime is what this process has had of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSubmit is what a turn pays under the house's lock, at the pace at
// which a disk takes 256 turns at once.
func BenchmarkSubmit(b *testing.B) {
	c := newCommitter(sink{}, slog.New(slog.DiscardHandler))
	defer c.close(context.Background())
	landed := make(chan uint64, 1)
	c.durableFn = func(n uint64) {
		if n%256 == 0 {
			landed <- n
		}
	}
	turns := make([][]mqtt.Write, 256)
	for i := range turns {
		turns[i] = queueRecord(uint32(i%50), uint64(i))
	}
	b.ReportAllocs()
	for i := range b.N {
		c.submit(turn{number: uint64(i + 1), writes: turns[i%256], soon: i%256 == 255})
		if i%256 == 255 {
			<-landed
		}
	}
}

// A sink is a backend that forgets at once.
type sink struct{}

func (sink) Apply(g group, done func(error)) { done(nil) }

// BenchmarkScan reads a backlog back.
func BenchmarkScan(b *testing.B) {
	s, err := Open(benchOptions(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	const records = 100_000
	durable := make(chan struct{})
	s.Durable(func(n uint64) {
		if n == records {
			close(durable)
		}
	})
	for n := range uint64(records) {
		s.Submit(n+1, queueRecord(1, n), n+1 == records)
	}
	<-durable
	b.ResetTimer()
	n := 0
	for range b.N {
		s.Scan([]byte{'q'}, nil, func(k, v []byte) bool { n++; return true })
	}
	if n != b.N*records {
		b.Fatalf("%d records, want %d", n, b.N*records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
