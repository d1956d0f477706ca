package devices

import (
	"fmt"
	"sync"
	"testing"
)

// TestBeside: pages read and connections prepare while a turn decides; what
// they hold stays as it was. It is for the race detector.
func TestBeside(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	model := b.model
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				model.Wants("dev/1")
				model.Prepare("dev/1", []byte(`{"v":1,"a":"button_1_press"}`))
				model.Prepare("homeassistant/sensor/x/config", []byte(`{"name":"X","stat_t":"x","val_tpl":"{{ value|regex_findall('a')|first }}"}`))
				for _, d := range model.House().Devices {
					d.Seen()
					for _, e := range d.Entities {
						if s := e.State(); len(s.Readings) != len(e.Aspects) {
							t.Errorf("%s has %d aspects and %d readings", e.ID, len(e.Aspects), len(s.Readings))
							return
						}
					}
				}
			}
		})
	}
	for i := range 300 {
		topic := fmt.Sprintf("homeassistant/sensor/d%d/config", i%20)
		b.feed(topic, fmt.Sprintf(`{"name":"S%d","uniq_id":"u%d","stat_t":"dev/%d","avty_t":"up","val_tpl":"{{ value_json.a|regex_findall('^(?P<b>[a-z]+)_%d')|first }}","dev":{"ids":["d%d"],"name":"D%d"}}`, i, i%20, i%3, i%7, i%4, i))
		b.feed("up", []string{"online", "offline"}[i%2])
		b.feed(fmt.Sprintf("dev/%d", i%3), fmt.Sprintf(`{"v":%d,"a":"x_%d"}`, i, i%7))
		b.feed("homeassistant/light/l/config", fmt.Sprintf(`{"name":"L","uniq_id":"l","schema":"json","cmd_t":"l/set","stat_t":"l","brightness":%v}`, i%2 == 0))
		b.feed("l", `{"state":"ON","brightness":5}`)
		if i%5 == 0 {
			b.feed(topic, "")
		}
	}
	close(stop)
	readers.Wait()
}
