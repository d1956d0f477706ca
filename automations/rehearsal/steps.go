package rehearsal

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

// step checks a step and returns what it does.
func (p *player) step(path string, s *step) func(path string) {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"publish", s.Publish != nil}, {"kill", s.Kill != nil}, {"stop", s.Stop != nil}, {"start", s.Start != nil}, {"clock", s.Clock != nil},
		{"trusted", s.Trusted != nil}, {"disk", s.Disk != nil}, {"save", s.Save != nil}, {"enable", s.Enable != nil}, {"disable", s.Disable != nil},
		{"delete", s.Delete != nil}, {"restore", s.Restore != nil}, {"run", s.Run != nil}, {"hook", s.Hook != nil}, {"outside", s.Outside != nil}, {"connect", s.Connect != nil}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	if len(kinds) != 1 {
		p.bad(path, "A step does exactly one thing; this one has %d.", len(kinds))
		return nil
	}
	if s.Publish == nil && s.Hook == nil && !s.Payload.IsZero() || s.Publish == nil && (s.QoS != 0 || s.Retain || s.Client != "" || s.Dup) {
		p.bad(path, "payload, qos, retain, client and dup belong to publish.")
	}
	if s.Hook == nil && s.Method != "" {
		p.bad(path+".method", "method belongs to hook.")
	}
	if s.Save == nil && s.Runs != "" {
		p.bad(path+".runs", "runs belongs to save.")
	}
	if s.ExpectError != nil && !slices.Contains([]string{"save", "enable", "disable", "delete", "restore", "run", "hook"}, kinds[0]) {
		p.bad(path+".expect_error", "expect_error belongs to save, enable, disable, delete, restore, run and hook.")
	}
	if s.Dup && (!s.Payload.IsZero() || s.QoS != 0 || s.Retain) {
		p.bad(path+".dup", "What comes once more is as it was: payload, qos and retain are not given.")
	}
	switch kinds[0] {
	case "hook":
		body := []byte(p.payload(path+".payload", &s.Payload))
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Hook(t, *s.Hook, cmp.Or(s.Method, "POST"), body) })
		})
	case "connect":
		return p.running(func(string) { p.house.connect(*s.Connect) })
	case "outside":
		if *s.Outside != "down" && *s.Outside != "ok" {
			p.bad(path+".outside", "What is outside is down or ok.")
		}
		return func(string) { p.house.outside(*s.Outside == "ok") }
	case "publish":
		if err := topic.ValidName(*s.Publish); err != nil {
			p.bad(path+".publish", "This is no topic: it %v.", err)
		}
		if s.QoS < 0 || s.QoS > 2 {
			p.bad(path+".qos", "QoS is 0, 1 or 2.")
		}
		m := mqtt.Message{Topic: *s.Publish, Payload: []byte(p.payload(path+".payload", &s.Payload)), QoS: mqtt.QoS(s.QoS), Retain: s.Retain}
		client := cmp.Or(s.Client, "client")
		return func(path string) {
			if !s.Dup {
				p.house.publish(client, m)
			} else if err := p.house.repeat(client); err != nil {
				p.bad(path, "%v.", err)
			}
		}
	case "kill":
		if lose := s.Kill.Lose; lose != "" && lose != "lazy" && lose != "nothing" && lose != "turn" {
			p.bad(path+".kill.lose", "What is lost is lazy, nothing or turn.")
		}
		return p.running(func(string) { p.house.kill(s.Kill.Lose) })
	case "stop":
		return p.running(func(string) { p.house.stop() })
	case "start":
		return func(path string) {
			if !p.house.off {
				p.bad(path, "The hub runs already.")
			} else if err := p.house.start(); err != nil {
				p.bad(path, "The hub does not start: %v.", err)
			}
		}
	case "clock", "trusted":
		return func(path string) {
			if s.Trusted != nil {
				p.house.trusted = *s.Trusted
			} else if !p.setClock(path+".clock", *s.Clock) {
				return
			}
			if !p.house.off {
				p.house.turn(p.house.wakeAll)
				p.house.settle()
			}
		}
	case "disk":
		if *s.Disk != "full" && *s.Disk != "ok" {
			p.bad(path+".disk", "The disk is full or ok.")
		}
		return func(string) {
			if p.house.full = nil; *s.Disk == "full" {
				p.house.full = errors.New("the disk is full")
			}
		}
	case "save":
		rules := p.rules(path+".save", s.Save)
		if s.Runs != "" && !slices.Contains(automations.Fates, automations.Fate(s.Runs)) {
			p.bad(path+".runs", "Runs under way finish, move or cancel.")
		}
		return p.changing(s, func() error { return p.save(rules, automations.Fate(s.Runs)) })
	case "enable", "disable":
		id := s.Enable
		if id == nil {
			id = s.Disable
		}
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.SetEnabled(t, *id, s.Enable != nil, "test") })
		})
	case "delete":
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Delete(t, *s.Delete, "test") })
		})
	case "restore":
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Restore(t, *s.Restore, "test") })
		})
	default:
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { _, err := p.house.engine.RunNow(t, *s.Run, "test"); return err })
		})
	}
}

// running does something that only a hub can do which runs.
func (p *player) running(do func(path string)) func(path string) {
	return func(path string) {
		if p.house.off {
			p.bad(path, "The hub is off.")
			return
		}
		do(path)
	}
}

// changing does what a person does on a page.
func (p *player) changing(s *step, do func() error) func(path string) {
	return p.running(func(path string) {
		err := do()
		switch {
		case err != nil && s.ExpectError == nil:
			p.bad(path, "%s.", strings.TrimSuffix(err.Error(), "."))
		case err == nil && s.ExpectError != nil:
			p.bad(path, "This was to fail with %q.", *s.ExpectError)
		case err != nil && !strings.Contains(err.Error(), *s.ExpectError):
			p.bad(path, "This was to fail with %q, and says: %v", *s.ExpectError, err)
		}
	})
}

func (p *player) setClock(path, text string) bool {
	var d automations.Duration
	if d.UnmarshalText([]byte(strings.TrimPrefix(text, "+"))) == nil {
		p.house.step = time.Duration(d)
		return true
	}
	at, err := p.time(text)
	if err != nil {
		p.bad(path, "%v.", err)
		return false
	}
	p.house.step = at.Sub(p.house.wall)
	return true
}
