package rehearsal

import (
	"fmt"
	"strings"
	"time"

	"lar.home/automations"
)

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// time reads a time of a test, see rule-tests.md, section 1.1.
func (p *player) time(text string) (time.Time, error) {
	if rest, ok := strings.CutPrefix(text, "+"); ok {
		var d automations.Duration
		if err := d.UnmarshalText([]byte(rest)); err != nil {
			return time.Time{}, err
		}
		return p.clock.Add(time.Duration(d)), nil
	}
	clock, days, plus := strings.Cut(text, "+")
	if plus && strings.HasSuffix(days, "d") || len(text) <= 12 && strings.Contains(text, ":") {
		var n int
		if plus {
			if _, err := fmt.Sscanf(days, "%dd", &n); err != nil || n < 0 || n > 400 {
				return time.Time{}, fmt.Errorf("%.40q is not a time such as 22:30+1d", text)
			}
		}
		for _, layout := range []string{"15:04:05.999999999", "15:04"} {
			if at, err := time.Parse(layout, clock); err == nil {
				day := p.clock.In(p.location)
				found, err := p.date(day.Year(), day.Month(), day.Day()+n, at, false)
				if err == nil && !plus && found.Before(p.clock) {
					found, err = p.date(day.Year(), day.Month(), day.Day()+1, at, false)
				}
				return found, err
			}
		}
	}
	return p.wall(text)
}

// wall reads a full date, or an instant.
func (p *player) wall(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	text, second := strings.CutSuffix(text, " second")
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return p.date(at.Year(), at.Month(), at.Day(), at, second)
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is not a time such as 22:30, 2026-03-02 22:30:00 or +90s", text)
}

// date finds the instant of a wall time.
func (p *player) date(year int, month time.Month, day int, clock time.Time, second bool) (time.Time, error) {
	at := time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), p.location)
	if at.Hour() != clock.Hour() || at.Minute() != clock.Minute() {
		return at, fmt.Errorf("the clock does not show %s on this day", clock.Format("15:04"))
	}
	for _, shift := range []time.Duration{-2 * time.Hour, -time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour} {
		if o := at.Add(shift); o.Format("02 15:04:05") == at.Format("02 15:04:05") && o.Before(at) != second {
			return o, nil
		}
	}
	return at, nil
}

func (p *player) show(at time.Time) string {
	return at.In(p.location).Format("2006-01-02 15:04:05.999")
}
