package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"lar.home/hub/store"
	"lar.home/mqtt"
)

// A Floor measures the bare committer, with no broker before it, on the disk
// of Dir: records as a broker makes them of messages for clients that are away,
// Window of them on their way, each acknowledged when it is durable. It stands
// beside a durable row: no broker on this store is faster.
type Floor struct {
	Dir    string // a folder is made in it, and removed
	Window int
	For    time.Duration
}

// Run measures.
func (f Floor) Run(ctx context.Context) (r Row, err error) {
	r.Name = fmt.Sprintf("bare committer, %d in flight", f.Window)
	dir, err := os.MkdirTemp(f.Dir, "floor-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(store.Options{Dir: dir, Space: store.Space{Ballast: -1}})
	if err != nil {
		return r, err
	}
	defer s.Close(ctx)
	durable := make(chan uint64, 1)
	s.Durable(func(number uint64) {
		select {
		case <-durable:
		default:
		}
		durable <- number
	})
	var took hist
	begun, cpu := time.Now(), CPU(os.Getpid())
	given := make([]time.Time, f.Window) // when each of those on their way was
	for sent, done := uint64(0), uint64(0); ; {
		for sent < done+uint64(f.Window) && time.Since(begun) < f.For {
			sent++
			given[sent%uint64(f.Window)] = time.Now()
			s.Submit(sent, queued(sent), true)
		}
		if sent == done {
			r.Messages = int(done)
			break
		}
		select {
		case number := <-durable:
			now := time.Now()
			for done < number {
				done++
				took.add(now.Sub(given[done%uint64(f.Window)]))
			}
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	r.PerSecond = float64(r.Messages) / time.Since(begun).Seconds()
	r.CPU = cost(CPU(os.Getpid())-cpu, r.Messages)
	r.P50, r.P99 = micros(took.at(0.5)), micros(took.at(0.99))
	return r, nil
}

// queued is what a broker writes for a message of 64 bytes to one of 50 kept
// sessions.
func queued(n uint64) []mqtt.Write {
	key := make([]byte, 0, 13)
	key = append(key, 'q')
	key = binary.BigEndian.AppendUint32(key, uint32(n%50))
	key = binary.BigEndian.AppendUint64(key, n)
	value := make([]byte, 100) // topic and flags beside the payload
	binary.BigEndian.PutUint64(value, n)
	return []mqtt.Write{{Key: key, Value: value}}
}
