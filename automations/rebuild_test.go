package automations

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// TestRebuildSweep plays every script with the devices and the engine made anew
// from the store after each of its turns: what rules send must be the same as
// without, nothing given again, nothing lost.
func TestRebuildSweep(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			whole := newKit(t)
			newScript(t, string(b)).play(whole)
			for at := 2; at <= whole.turns; at++ {
				k := newKit(t)
				k.mendAt = at
				newScript(t, string(b)).play(k)
				if !slices.Equal(k.sent, whole.sent) {
					t.Errorf("rebuilt after turn %d it sends\n%s\nwant\n%s", at, strings.Join(k.sent, "\n"), strings.Join(whole.sent, "\n"))
					break
				}
			}
		})
	}
}

// TestRebuildIsNoStart rebuilds in the midst of a boot: what is triggered by the
// start of the hub is not triggered once more, and what is still to come is.
func TestRebuildIsNoStart(t *testing.T) {
	k := newKit(t)
	for name, text := range map[string]string{
		"now":   `{"triggers": [{"start": {}}], "actions": [{"publish": {"topic": "now"}}]}`,
		"later": `{"triggers": [{"start": {"after": "10m"}}], "actions": [{"publish": {"topic": "later"}}]}`,
	} {
		if err := k.save(name, text, Finish); err != nil {
			t.Fatal(err)
		}
	}
	k.kill()
	k.start()
	for range 4 {
		k.until(k.wall.Add(2 * time.Minute))
		k.mend()
	}
	if err := k.save("young", `{"triggers": [{"start": {"after": "15m"}}], "actions": [{"publish": {"topic": "young"}}]}`, Finish); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		k.mend()
		k.until(k.wall.Add(2 * time.Minute))
	}
	if want := []string{"publish now", "publish later"}; !slices.Equal(k.sent, want) {
		t.Errorf("sent %q, want %q", k.sent, want)
	}
}

// TestPanicPausesRule has the engine panic whenever it decides on one rule, at a
// message or at a deadline: after the second time it is paused, the others go on,
// and a run of it that waited is stopped.
func TestPanicPausesRule(t *testing.T) {
	for _, trigger := range []string{`{"message": {"filter": "a"}}`, `{"time": {"at": ["12:05"]}}`} {
		k := newKit(t)
		for _, name := range []string{"bad", "good"} {
			text := `{"triggers": [` + trigger + `, {"message": {"filter": "wait"}}], "mode": "parallel", "max": 3, "actions": [{"wait": {"for": "1h"}}, {"publish": {"topic": "` + name + `"}}]}`
			if err := k.save(name, text, Finish); err != nil {
				t.Fatal(err)
			}
		}
		k.publish(mqtt.Message{Topic: "wait"})
		panics := 0
		k.fault = func() {
			if k.engine.at != nil && k.engine.at.id == "bad" {
				panics++
				panic("bad")
			}
		}
		for range 3 {
			k.publish(mqtt.Message{Topic: "a"})
			k.until(k.wall.Add(3 * time.Minute))
		}
		if panics != 2 {
			t.Errorf("%s: %d panics, want 2", trigger, panics)
		}
		if r := k.engine.Rule("bad"); r.Status.Paused != wrongTwice || r.Status.Waiting != 0 {
			t.Errorf("%s: the rule is paused %q, and %d runs of it wait", trigger, r.Status.Paused, r.Status.Waiting)
		}
		k.until(k.wall.Add(2 * time.Hour))
		if len(k.sent) < 2 || slices.Contains(k.sent, "publish bad") {
			t.Errorf("%s: sent %q", trigger, k.sent)
		}
		k.fault = nil
		k.kill()
		k.start()
		if r := k.engine.Rule("bad"); r.Status.Paused == "" {
			t.Errorf("%s: after a restart it is not paused", trigger)
		}
	}
}

// TestRebuildKeepsTraces: a run whose trace is yet to be written is shown, and
// written, after a rebuild.
func TestRebuildKeepsTraces(t *testing.T) {
	k := newKit(t)
	if err := k.save("quick", `{"triggers": [{"message": {"filter": "a"}}], "actions": [{"publish": {"topic": "b"}}]}`, Finish); err != nil {
		t.Fatal(err)
	}
	k.publish(mqtt.Message{Topic: "a"})
	k.mend()
	if n := len(k.engine.Runs("quick")); n != 1 {
		t.Errorf("%d runs are shown, want 1", n)
	}
	k.until(k.wall.Add(2 * time.Minute))
	k.flush()
	k.kill()
	k.start()
	if n := len(k.engine.Runs("quick")); n != 1 {
		t.Errorf("%d runs are shown after a restart, want 1", n)
	}
}

// TestPanicInAction has an action panic: the run fails, and says so, what went
// before it is sent, and the engine begins anew; at the second time the rule is
// paused.
func TestPanicInAction(t *testing.T) {
	k := newKit(t)
	k.engine.model = trap{}
	text := `{"triggers": [{"message": {"filter": "a"}}], "actions": [{"publish": {"topic": "bad"}}, {"command": {"entity": "x.y", "command": "z"}}]}`
	if err := k.save("bad", text, Finish); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		before := k.engine.decided.rules["bad"]
		k.publish(mqtt.Message{Topic: "a", QoS: mqtt.AtLeastOnce})
		runs, r := k.engine.Runs("bad"), k.engine.Rule("bad")
		if len(runs) != min(n+1, 2) || runs[0].Outcome != Failed || (r.Status.Paused != "") != (n > 0) {
			t.Errorf("after %d messages there are %d runs, the last %s, and it is paused %q", n+1, len(runs), runs[0].Outcome, r.Status.Paused)
		}
		if (k.engine.decided.rules["bad"] == before) != (n == 2) {
			t.Errorf("after %d messages the engine is what it was: %v", n+1, n != 2)
		}
	}
	if want := []string{"publish bad", "publish bad"}; !slices.Equal(k.sent, want) {
		t.Errorf("sent %q, want %q", k.sent, want)
	}
}
