package automations

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

var update = flag.Bool("update", false, "write what the scripts in testdata answer")

// TestScripts plays testdata/*.txt. Input is flush left, what the house
// answered is indented below it:
//
//	rule NAME                   save a rule; lines that begin with | are its JSON
//	move NAME, cancel NAME      … and move, or stop, its runs that wait
//	device KIND NAME JSON       a device appears; see kit.device
//	12:00:00 TOPIC PAYLOAD      a message; the time may be 12:00:00+1d
//	12:00:00 [qos1 dup] TOPIC   … of a kept session with QoS 1, or retained
//	12:00:00                    time passes
//	12:00:00 kill               kill -9; nothing happens until start
//	12:00:00 start              the hub starts
//	12:00:00 clock -1h          the hub's clock is set wrong by so much
//	12:00:00 trusted no         the hub's clock is not to be trusted
//	12:00:00 on|off|delete|restore|run RULE
//	12:00:00 disk full|ok       whether anything can be written
//	12:00:00 flush              lazy writes reach the disk
//	rules, trace RULE           what pages show
//
// "(held)" is said of what leaves once its turn is on disk.
func TestScripts(t *testing.T) {
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
			got := newScript(t, string(b)).play(newKit(t))
			if got == string(b) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s answers differently; go test -update writes this:\n%s", file, diff(string(b), got))
		})
	}
}

// diff shows the lines in which two texts differ.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var a, c string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			c = g[i]
		}
		if a != c {
			fmt.Fprintf(&b, "%d\n-%s\n+%s\n", i+1, a, c)
		}
	}
	return b.String()
}

// A script is input, line by line, with empty lines and comments.
type script struct {
	t     testing.TB
	lines []string
}

func newScript(t testing.TB, text string) *script {
	s := &script{t: t}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "\t") {
			s.lines = append(s.lines, line)
		}
	}
	return s
}

// play returns the script with the answers of the house.
func (s *script) play(k *kit) string {
	var b strings.Builder
	for i := 0; i < len(s.lines); i++ {
		line := s.lines[i]
		b.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, name, _ := strings.Cut(line, " ")
		if fate, ok := map[string]Fate{"rule": Finish, "move": Move, "cancel": Cancel}[word]; ok {
			var text strings.Builder
			for i+1 < len(s.lines) && strings.HasPrefix(s.lines[i+1], "|") {
				i++
				b.WriteString(s.lines[i] + "\n")
				text.WriteString(s.lines[i][1:])
			}
			if err := k.save(name, text.String(), fate); err != nil {
				k.log = append(k.log, "error: "+err.Error())
			}
		} else {
			s.command(k, line)
		}
		for _, answer := range k.log {
			b.WriteString("\t" + answer + "\n")
		}
		k.log = nil
	}
	return b.String()
}

func (s *script) command(k *kit, line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "rules":
		for _, r := range k.engine.Rules() {
			k.log = append(k.log, describe(r)...)
		}
		return
	case "device":
		kind, rest, _ := strings.Cut(rest, " ")
		name, more, _ := strings.Cut(rest, " ")
		k.device(kind, name, more)
		return
	case "trace":
		for _, run := range k.engine.Runs(rest) {
			k.log = append(k.log, trace(run)...)
		}
		return
	}
	at, err := s.time(k, word)
	if err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
	k.until(at)
	if rest == "" {
		return
	}
	word, arg, _ := strings.Cut(rest, " ")
	switch word {
	case "kill":
		k.kill()
		return
	case "start":
		k.start()
		return
	case "flush":
		k.flush()
		return
	case "disk":
		if k.full = nil; arg == "full" {
			k.full = errors.New("the disk is full")
		}
		return
	case "clock", "trusted":
		if word == "trusted" {
			k.trusted = arg == "yes"
		} else if k.step, err = time.ParseDuration(arg); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		if !k.off {
			k.turn(func(t *mqtt.Turn) {
				for _, c := range k.consumers() {
					c.Wake(t)
				}
			})
			k.cutNow()
		}
		return
	case "on", "off":
		err = k.do(func(t *mqtt.Turn) error { return k.engine.SetEnabled(t, arg, word == "on", "Anna") })
	case "delete":
		err = k.do(func(t *mqtt.Turn) error { return k.engine.Delete(t, arg, "Anna") })
	case "restore":
		err = k.do(func(t *mqtt.Turn) error { return k.engine.Restore(t, arg, "Anna") })
	case "run":
		err = k.do(func(t *mqtt.Turn) error { _, err := k.engine.RunNow(t, arg, "Anna"); return err })
	default:
		k.publish(s.message(rest))
	}
	if err != nil {
		k.log = append(k.log, "error: "+err.Error())
	}
}

// message reads "[qos1 id=3 dup] topic payload".
func (s *script) message(text string) mqtt.Message {
	m := mqtt.Message{ClientID: "client"}
	if options, ok := strings.CutPrefix(text, "["); ok {
		options, text, _ = strings.Cut(options, "] ")
		m.Origin.PacketID = 1
		for _, o := range strings.Fields(options) {
			name, value, _ := strings.Cut(o, "=")
			switch name {
			case "qos1":
				m.QoS, m.Origin.Session = mqtt.AtLeastOnce, 7
			case "qos2":
				m.QoS, m.Origin.Session = mqtt.ExactlyOnce, 7
			case "dup":
				m.Dup = true
			case "retained":
				m.Retained = true
			case "retain":
				m.Retain = true
			case "id":
				id, err := strconv.Atoi(value)
				if err != nil {
					s.t.Fatal(err)
				}
				m.Origin.PacketID = uint16(id)
			default:
				s.t.Fatalf("unknown option %q", o)
			}
		}
	}
	var payload string
	m.Topic, payload, _ = strings.Cut(text, " ")
	m.Payload = []byte(payload)
	return m
}

// time reads 12:00:00 or 12:00:00+1d, counted from the first day.
func (s *script) time(k *kit, text string) (time.Time, error) {
	clock, days, plus := strings.Cut(text, "+")
	at, err := time.Parse("15:04:05", clock)
	if err != nil {
		return at, err
	}
	n := 0
	if plus {
		if n, err = strconv.Atoi(strings.TrimSuffix(days, "d")); err != nil {
			return at, err
		}
	}
	return time.Date(2026, 3, 2+n, at.Hour(), at.Minute(), at.Second(), 0, time.UTC), nil
}

// describe shows a rule as a page does.
func describe(r *Rule) []string {
	state := "on"
	switch {
	case r.Status.Paused != "":
		state = "paused"
	case !r.Enabled:
		state = "off"
	}
	lines := []string{fmt.Sprintf("%s (version %d by %s, %s, %d waiting): %s", r.ID, r.Version, r.Saved.By, state, r.Status.Waiting, r.Triggers[0])}
	for _, p := range r.Status.Problems {
		lines = append(lines, "  "+p.Path+": "+p.Text)
	}
	return lines
}

// trace shows a run as a page does.
func trace(run *Run) []string {
	const clock = "15:04:05"
	lines := []string{run.Started.Format(clock) + " " + run.Trigger.String() + " → " + string(run.Outcome)}
	if run.Why != "" {
		lines = append(lines, "  "+run.Why)
	}
	for _, c := range run.Conditions {
		lines = append(lines, fmt.Sprintf("  %s%s: %s (%s)", strings.Repeat("  ", c.Depth), c.Text, c.Result, c.Value))
	}
	for _, a := range run.Actions {
		line := "  " + a.At.Format(clock) + " " + a.Text
		if !a.Planned.IsZero() {
			line += ", planned " + a.Planned.Format(clock)
			if !a.Ended.IsZero() {
				line += ", ended " + a.Ended.Format(clock)
			}
		}
		if !a.Given.IsZero() {
			line += ", given " + a.Given.Format(clock)
		}
		if !a.Again.IsZero() {
			line += ", again " + a.Again.Format(clock)
		}
		if a.Err != "" {
			line += ": " + a.Err
		}
		if a.Dropped != "" {
			line += ": " + a.Dropped
		}
		lines = append(lines, line)
	}
	return lines
}

// TestSweep plays every script of messages with QoS 1, forms and time with a
// power cut at each of its turns, just before and just after it is on disk, and
// with all or none of the lazy writes before it.
// What rules send must be the same as without: none lost, none doubled but for
// the commands with a worth of which the traces say that they were given again.
func TestSweep(t *testing.T) {
	scripts, err := filepath.Glob("testdata/sweep-*.txt")
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
			if len(whole.sent) == 0 {
				t.Fatal("the script sends nothing")
			}
			for cut := 2; cut <= whole.turns; cut++ {
				for variant := range 4 {
					early, eager := variant&1 != 0, variant&2 != 0
					k := newKit(t)
					k.cut, k.early, k.eager = cut, early, eager
					newScript(t, string(b)).play(k)
					if !slices.Equal(withoutAgain(k), whole.sent) {
						t.Errorf("cut at turn %d (before it is on disk: %v, with lazy writes: %v) sends\n%s\nwant\n%s", cut, early, eager,
							strings.Join(k.sent, "\n"), strings.Join(whole.sent, "\n"))
					}
				}
			}
		})
	}
}

// withoutAgain returns what rules have sent but for the commands that were
// given again, as the traces say.
func withoutAgain(k *kit) []string {
	again := 0
	for _, r := range k.engine.Rules() {
		for _, run := range k.engine.Runs(r.ID) {
			for _, a := range run.Actions {
				if !a.Again.IsZero() {
					again++
				}
			}
		}
	}
	var sent []string
	for _, line := range k.sent {
		if again > 0 && strings.HasPrefix(line, "publish dev/") && saysTheSame(sent, line) {
			again--
			continue
		}
		sent = append(sent, line)
	}
	return sent
}

// saysTheSame tells whether a command is the last that was sent to its topic.
func saysTheSame(sent []string, line string) bool {
	command := strings.Join(strings.Fields(line)[:2], " ") + " "
	for _, s := range slices.Backward(sent) {
		if strings.HasPrefix(s, command) {
			return s == line
		}
	}
	return false
}
