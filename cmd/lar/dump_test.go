package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestDump prints our own small corpus: each line is an entity, each command
// has a sample that was published.
func TestDump(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"devices", "dump", "--corpus", "../../devices/testdata/corpus"}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	kinds := map[string]int{}
	valued, reading := 0, 0
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e dumped
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		kinds[string(e.Kind)]++
		for _, a := range e.Aspects {
			if a.Value != nil {
				valued++
			}
		}
		if len(e.Reads) > 0 {
			reading++
		}
		if e.Topic == "" || e.ID == "" || e.Name == "" || len(e.Aspects)+len(e.Commands) == 0 {
			t.Errorf("%s", lines.Bytes())
		}
		if strings.HasPrefix(e.Topic, "zigbee2mqtt/") && e.Address == "" {
			t.Errorf("%s has no address", e.ID)
		}
		for _, c := range e.Commands {
			for _, s := range c.Samples {
				if s.Error == "" && len(s.Sends) == 0 || s.Error != "" && !strings.Contains(s.Error, "code") {
					t.Errorf("%s %s: %+v", e.ID, c.Name, s)
				}
			}
		}
	}
	for _, kind := range []string{"light", "switch", "climate", "cover", "sensor", "text", "event", "lock", "fan"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s in %v", kind, kinds)
		}
	}
	if valued < 40 || reading < 40 {
		t.Errorf("%d values of states that are fed, %d entities that read a topic", valued, reading)
	}
	for _, args := range [][]string{{"devices", "dump"}, {"devices", "dump", "--corpus", t.TempDir()}} {
		if code := run(args, nil, &out, &errs); code != 1 {
			t.Errorf("%q: exit code %d, want 1", args, code)
		}
	}
}
