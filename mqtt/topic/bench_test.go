package topic

import (
	"fmt"
	"runtime"
	"testing"
)

// house is a tree as 10,000 clients make it, each with three subscriptions.
func house() *Tree[uint32, *int] {
	t := &Tree[uint32, *int]{}
	value := new(int)
	for i := range uint32(10_000) {
		t.Set(fmt.Sprintf("home/area%d/device%d/set", i%40, i), i, value)
		t.Set(fmt.Sprintf("home/area%d/device%d/+/get", i%40, i), i, value)
		t.Set("home/announce", i, value)
	}
	t.Set("#", 1, value)
	t.Set("home/+/+/state", 2, value)
	return t
}

func BenchmarkValidName(b *testing.B) {
	name := []byte("zigbee2mqtt/living room/lamp")
	for b.Loop() {
		if ValidName(name) != nil {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkTreeMatch(b *testing.B) {
	t := house()
	for _, name := range []string{"home/area7/device4567/set", "home/area7/device4567/state", "elsewhere/a/b/c/d/e/f"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				t.Match(name, func(uint32, *int) { n++ })
			}
		})
	}
}

func BenchmarkTreeSetDelete(b *testing.B) {
	t := house()
	value := new(int)
	b.ReportAllocs()
	for b.Loop() {
		t.Set("home/area7/device4567/+/new", 1, value)
		t.Delete("home/area7/device4567/+/new", 1)
	}
}

func BenchmarkTreeMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		t := house()
		b.ReportMetric(float64(heap()-before)/float64(t.Len()), "B/subscription")
		runtime.KeepAlive(t)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// retained are 200,000 names, as many as a broker may keep.
func retained() (*Names[*int], []string) {
	n, all := &Names[*int]{}, make([]string, 0, 200_000)
	value := new(int)
	for i := range 200_000 {
		all = append(all, fmt.Sprintf("home/area%d/device%d/%s", i%40, i/4*7919%50_000, [...]string{"state", "config", "battery", "rssi"}[i%4]))
	}
	for _, name := range all {
		n.Set(name, value)
	}
	return n, all
}

func BenchmarkNamesMatch(b *testing.B) {
	n, _ := retained()
	for _, filter := range []string{"home/area7/device4567/state", "home/area7/#", "home/+/+/battery", "home/+/+/nothing", "+/+/device8/+", "#"} {
		b.Run(filter, func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = 0
				n.Match(filter, "", 1<<30, func(string, *int) bool { found++; return true })
			}
			b.ReportMetric(float64(found), "names")
		})
	}
}

func BenchmarkNamesSet(b *testing.B) {
	n, all := retained()
	value := new(int)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		n.Set(all[i%len(all)], value)
		i += 7919
	}
}

func BenchmarkNamesDeleteSet(b *testing.B) {
	n, all := retained()
	value := new(int)
	i := 0
	for b.Loop() {
		name := all[i%len(all)]
		n.Delete(name)
		n.Set(name, value)
		i += 7919
	}
}
