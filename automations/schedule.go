package automations

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A schedule says when a trigger of the clock comes true. Instants are found
// by calculation, never by waiting, so that tables can hold them.
type schedule interface {
	// next returns the first instant later than after; false when there is
	// none in the years to come.
	next(after time.Time) (time.Time, bool)
}

// lastOf returns the last instants of a schedule that are later than from and
// not later than now, at most n, the earliest first. They are looked for in
// windows that grow, so that one that comes often costs no more than one that
// comes seldom.
func lastOf(s schedule, from, now time.Time, n int) (last []time.Time) {
	for _, span := range []time.Duration{time.Minute, time.Hour, 25 * time.Hour, 8 * 24 * time.Hour, 400 * 24 * time.Hour} {
		begin := now.Add(-span)
		whole := !begin.After(from)
		if whole {
			begin = from
		}
		last = last[:0]
		for at, found := s.next(begin); found && !at.After(now); at, found = s.next(at) {
			if len(last) == n {
				last = append(last[:0], last[1:]...)
			}
			last = append(last, at)
		}
		if len(last) == n || whole {
			break
		}
	}
	return last
}

// plan returns the schedule of a trigger; nil for one that has none.
func (t *Trigger) plan(loc *time.Location, home Place) schedule {
	switch {
	case t.Time != nil:
		return &daily{at: t.Time.At, days: daySet(t.Time.Days), skipped: t.Time.Skipped, doubled: t.Time.Doubled, loc: loc}
	case t.Cron != nil:
		c, err := parseCron(t.Cron.At)
		if err != nil {
			return nil
		}
		c.skipped, c.doubled, c.loc = t.Cron.Skipped, t.Cron.Doubled, loc
		return c
	case t.Every != nil:
		period, offset := time.Duration(t.Every.Period), time.Duration(t.Every.Offset)
		if period <= 0 {
			return nil
		}
		if period <= time.Hour {
			return &grid{period, offset, loc}
		}
		d := &daily{days: daySet(nil), loc: loc, seconds: true}
		for at := offset % period; at < 24*time.Hour; at += period {
			d.at = append(d.at, TimeOfDay(at/time.Second))
		}
		return d
	case t.Sun != nil && home.Known:
		return &solar{t.Sun, daySet(t.Sun.Days), home, loc}
	}
	return nil
}

// daySet is a set of days of the week; none named are all.
func daySet(days []Weekday) uint8 {
	var set uint8
	for _, d := range days {
		set |= 1 << d
	}
	if set == 0 {
		set = 0x7f
	}
	return set
}

// A local is a day by the calendar.
type local struct {
	year  int
	month time.Month
	day   int
}

func dayOf(t time.Time, loc *time.Location) local {
	y, m, d := t.In(loc).Date()
	return local{y, m, d}
}

func (d local) add(n int) local {
	y, m, day := time.Date(d.year, d.month, d.day+n, 12, 0, 0, 0, time.UTC).Date()
	return local{y, m, day}
}

func (d local) weekday() time.Weekday {
	return time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC).Weekday()
}

// shown returns the instants at which clocks of a place show a time of a day,
// the earlier first: one, two in an hour that comes twice, or none; then
// resumes is the first instant after the hour that was left out.
func (d local) shown(since time.Duration, loc *time.Location) (at []time.Time, resumes time.Time) {
	naive := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC).Add(since)
	_, before := naive.Add(-26 * time.Hour).In(loc).Zone()
	_, after := naive.Add(26 * time.Hour).In(loc).Zone()
	for _, offset := range []int{max(before, after), min(before, after)} {
		t := naive.Add(-time.Duration(offset) * time.Second)
		if _, is := t.In(loc).Zone(); is == offset && (len(at) == 0 || !at[0].Equal(t)) {
			at = append(at, t)
		}
	}
	if len(at) == 0 {
		resumes = transition(naive.Add(-26*time.Hour), naive.Add(26*time.Hour), loc)
	}
	return at, resumes
}

// transition returns the instant between two at which clocks are changed.
func transition(from, to time.Time, loc *time.Location) time.Time {
	_, offset := from.In(loc).Zone()
	for to.Sub(from) > time.Second {
		middle := from.Add(to.Sub(from) / 2)
		if _, is := middle.In(loc).Zone(); is == offset {
			from = middle
		} else {
			to = middle
		}
	}
	return to.Truncate(time.Second)
}

// instants resolves a planned time of a day by the policies for hours that do
// not exist or come twice.
func (d local) instants(since time.Duration, skipped, doubled string, loc *time.Location) []time.Time {
	at, resumes := d.shown(since, loc)
	switch {
	case len(at) == 0 && skipped != SkipIt:
		return []time.Time{resumes}
	case len(at) == 2 && doubled == Second:
		return at[1:]
	case len(at) == 2 && doubled != Both:
		return at[:1]
	}
	return at
}

// daily comes at times of the day.
type daily struct {
	at      []TimeOfDay
	seconds bool // at are seconds since midnight, not minutes
	days    uint8
	skipped string
	doubled string
	loc     *time.Location
}

func (s *daily) next(after time.Time) (time.Time, bool) {
	unit := time.Minute
	if s.seconds {
		unit = time.Second
	}
	today := dayOf(after, s.loc)
	for n := -1; n < 16; n++ {
		day := today.add(n)
		if s.days&(1<<day.weekday()) == 0 {
			continue
		}
		var first time.Time
		for _, at := range s.at {
			for _, t := range day.instants(time.Duration(at)*unit, s.skipped, s.doubled, s.loc) {
				if t.After(after) && (first.IsZero() || t.Before(first)) {
					first = t
				}
			}
		}
		if !first.IsZero() {
			return first, true
		}
	}
	return time.Time{}, false
}

// grid comes each time that the clock shows a multiple of a period up to 1 h.
type grid struct {
	period, offset time.Duration
	loc            *time.Location
}

func (s *grid) next(after time.Time) (time.Time, bool) {
	from, inclusive := after, false
	for range 4 {
		_, zone := from.In(s.loc).Zone()
		shift := time.Duration(zone)*time.Second - s.offset
		wall := time.Duration(from.UnixNano()) + shift
		rest := wall % s.period
		if rest < 0 {
			rest += s.period
		}
		step := s.period - rest
		if rest == 0 && inclusive {
			step = 0
		}
		at := from.Add(step)
		if _, is := at.In(s.loc).Zone(); is == zone {
			return at, true
		}
		// The clocks are changed before: go on from there.
		from, inclusive = transition(from, at, s.loc), true
	}
	return time.Time{}, false
}

// cron comes as five fields say.
type cron struct {
	minute           uint64
	hour, day, month uint32
	weekday          uint8
	star             bool // the hour is not restricted: each time the wall shows it
	eitherDay        bool // both day fields are restricted
	skipped, doubled string
	loc              *time.Location
}

// cronDays is how far ahead a time is looked for: 29 February comes every four
// years, but for 1900 and the like.
const cronDays = 366*8 + 2

func (s *cron) onDay(d local) bool {
	if s.month&(1<<d.month) == 0 {
		return false
	}
	day, weekday := s.day&(1<<d.day) != 0, s.weekday&(1<<d.weekday()) != 0
	if s.eitherDay {
		return day || weekday
	}
	return day && weekday
}

func (s *cron) next(after time.Time) (time.Time, bool) {
	today := dayOf(after, s.loc)
	for n := -1; n < cronDays; n++ {
		day := today.add(n)
		if !s.onDay(day) {
			continue
		}
		if at, ok := s.within(day, after); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

// within returns the first instant of a day that is later than after.
func (s *cron) within(day local, after time.Time) (first time.Time, ok bool) {
	midnight := time.Date(day.year, day.month, day.day, 0, 0, 0, 0, time.UTC)
	_, zone := midnight.Add(-26 * time.Hour).In(s.loc).Zone()
	_, end := midnight.Add(50 * time.Hour).In(s.loc).Zone()
	plain := zone == end // no change of clocks is near: times are in order
	for hours := s.hour; hours != 0; hours &= hours - 1 {
		hour := bits.TrailingZeros32(hours)
		base := midnight.Add(time.Duration(hour)*time.Hour - time.Duration(zone)*time.Second)
		if plain && !base.Add(time.Hour).After(after) {
			continue
		}
		for minutes := s.minute; minutes != 0; minutes &= minutes - 1 {
			minute := bits.TrailingZeros64(minutes)
			if plain {
				if at := base.Add(time.Duration(minute) * time.Minute); at.After(after) {
					return at, true
				}
				continue
			}
			since := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
			skipped, doubled := s.skipped, s.doubled
			if s.star {
				skipped, doubled = SkipIt, Both
			}
			for _, at := range day.instants(since, skipped, doubled, s.loc) {
				if at.After(after) && (!ok || at.Before(first)) {
					first, ok = at, true
				}
			}
		}
	}
	return first, ok
}

var (
	cronMonths = []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	cronWeek   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// parseCron reads "minute hour day month weekday".
func parseCron(text string) (*cron, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 || len(text) > 256 {
		return nil, fmt.Errorf("it has five fields: minute, hour, day, month and weekday")
	}
	var set [5]uint64
	for i, f := range []struct {
		name   string
		lo, hi int
		words  []string
	}{{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day", 1, 31, nil}, {"month", 1, 12, cronMonths}, {"weekday", 0, 7, cronWeek}} {
		var err error
		if set[i], err = cronField(fields[i], f.lo, f.hi, f.words); err != nil {
			return nil, fmt.Errorf("the %s %q %w", f.name, clip(fields[i]), err)
		}
	}
	c := &cron{
		minute: set[0], hour: uint32(set[1]), day: uint32(set[2]), month: uint32(set[3]),
		weekday: uint8(set[4]&0x7f | set[4]>>7),
		star:    strings.HasPrefix(fields[1], "*"),
		// As cron has it: with both restricted either suffices.
		eitherDay: !strings.HasPrefix(fields[2], "*") && !strings.HasPrefix(fields[4], "*"),
	}
	c.loc = time.UTC
	if _, ok := c.next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return nil, fmt.Errorf("never comes")
	}
	return c, nil
}

func cronField(text string, lo, hi int, words []string) (uint64, error) {
	number := func(s string) (int, bool) {
		if i := slices.Index(words, strings.ToLower(s)); i >= 0 && s != "" {
			return i, true
		}
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= lo && n <= hi && s[0] != '+'
	}
	var set uint64
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > hi {
				return 0, fmt.Errorf("has a step that is no number from 1 to %d", hi)
			}
			step = n
		}
		from, to := lo, hi
		if span != "*" {
			a, b, ranged := strings.Cut(span, "-")
			var ok bool
			if from, ok = number(a); !ok {
				return 0, fmt.Errorf("is not from %d to %d", lo, hi)
			}
			to = from
			if ranged {
				if to, ok = number(b); !ok || to < from {
					return 0, fmt.Errorf("is not a range from %d to %d", lo, hi)
				}
			} else if stepped {
				to = hi
			}
		}
		if span == "*" && hi == 7 {
			to = 6
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}
