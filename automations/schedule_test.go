package automations

import (
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// all lists the instants of a schedule from one instant to before another.
func all(s schedule, from, to time.Time) (list []time.Time) {
	for at, ok := s.next(from.Add(-1)); ok && at.Before(to); at, ok = s.next(at) {
		list = append(list, at)
	}
	return list
}

// TestClockChanges counts on the days on which clocks are changed.
func TestClockChanges(t *testing.T) {
	days := []struct {
		zone, day string
		hours     int
	}{
		{"Europe/Paris", "2026-03-29", 23}, {"Europe/Paris", "2026-10-25", 25}, {"Europe/Paris", "2026-06-01", 24},
		{"America/New_York", "2026-03-08", 23}, {"America/New_York", "2026-11-01", 25},
		{"America/Santiago", "2026-09-06", 23}, {"America/Santiago", "2026-04-04", 25}, // at midnight
		{"Asia/Kolkata", "2026-03-29", 24}, {"Asia/Kathmandu", "2026-03-29", 24},
	}
	quarter := Trigger{Every: &EveryTrigger{Period: Duration(15 * time.Minute)}}
	cron := Trigger{Cron: &CronTrigger{At: "*/15 * * * *"}}
	six := Trigger{Every: &EveryTrigger{Period: Duration(6 * time.Hour)}}
	for _, d := range days {
		loc := zone(t, d.zone)
		begin, err := time.ParseInLocation(time.DateOnly, d.day, loc)
		if err != nil {
			t.Fatal(err)
		}
		end := begin.Add(time.Duration(d.hours) * time.Hour)
		for _, trigger := range []Trigger{quarter, cron} {
			if got := len(all(trigger.plan(loc, Place{}), begin, end)); got != 4*d.hours {
				t.Errorf("%s on %s in %s: %d times, want %d", trigger, d.day, d.zone, got, 4*d.hours)
			}
		}
		if got := len(all(six.plan(loc, Place{}), begin, end)); got != 4 {
			t.Errorf("%s on %s in %s: %d times, want 4", six, d.day, d.zone, got)
		}
	}
}

// TestPolicies holds the table of hours that do not exist or come twice.
func TestPolicies(t *testing.T) {
	paris := zone(t, "Europe/Paris")
	const spring, autumn = "2026-03-29", "2026-10-25"
	tests := []struct {
		day, skipped, doubled string
		want                  []string // UTC
	}{
		{spring, "", "", []string{"01:00"}}, // 03:00, as the clock goes on
		{spring, After, "", []string{"01:00"}},
		{spring, SkipIt, "", nil},
		{autumn, "", "", []string{"00:30"}},
		{autumn, "", First, []string{"00:30"}},
		{autumn, "", Second, []string{"01:30"}},
		{autumn, "", Both, []string{"00:30", "01:30"}},
		{"2026-06-01", SkipIt, Both, []string{"00:30"}},
	}
	for _, tt := range tests {
		begin, err := time.ParseInLocation(time.DateOnly, tt.day, paris)
		if err != nil {
			t.Fatal(err)
		}
		for _, trigger := range []Trigger{
			{Time: &TimeTrigger{At: []TimeOfDay{Clock(2, 30)}, Skipped: tt.skipped, Doubled: tt.doubled}},
			{Cron: &CronTrigger{At: "30 2 * * *", Skipped: tt.skipped, Doubled: tt.doubled}},
		} {
			var got []string
			for _, at := range all(trigger.plan(paris, Place{}), begin, begin.AddDate(0, 0, 1)) {
				got = append(got, at.UTC().Format("15:04"))
			}
			if len(got) != len(tt.want) || len(got) > 0 && (got[0] != tt.want[0] || got[len(got)-1] != tt.want[len(got)-1]) {
				t.Errorf("%s on %s, skipped %q, doubled %q: %v, want %v", trigger, tt.day, tt.skipped, tt.doubled, got, tt.want)
			}
		}
	}
}

func TestCron(t *testing.T) {
	tests := []struct{ at, from, want string }{
		{"0 7 * * mon-fri", "2026-03-06 08:00", "2026-03-09 07:00"},
		{"*/20 6-8,22 * * *", "2026-03-06 08:30", "2026-03-06 08:40"},
		{"5/25 * * * *", "2026-03-06 08:30", "2026-03-06 08:55"},
		{"0 0 29 2 *", "2026-03-06 08:30", "2028-02-29 00:00"},
		{"0 12 13 * 5", "2026-03-06 12:00", "2026-03-13 12:00"}, // the 13th or a Friday
		{"0 12 14 * fri", "2026-03-13 12:00", "2026-03-14 12:00"},
		{"0 12 * jan,JUL 7", "2026-03-06 12:00", "2026-07-05 12:00"},
		{"0 0 31 2 *", "", ""}, {"60 * * * *", "", ""}, {"* * * *", "", ""}, {"* * * * * *", "", ""}, {"@daily", "", ""},
		{"*/0 * * * *", "", ""}, {"5-2 * * * *", "", ""}, {"+5 * * * *", "", ""}, {"1,,2 * * * *", "", ""}, {"* * * foo *", "", ""},
	}
	for _, tt := range tests {
		c, err := parseCron(tt.at)
		if (err == nil) != (tt.want != "") {
			t.Errorf("parseCron(%q): %v", tt.at, err)
		}
		if err != nil {
			continue
		}
		from, _ := time.Parse("2006-01-02 15:04", tt.from)
		if at, _ := c.next(from); at.Format("2006-01-02 15:04") != tt.want {
			t.Errorf("%q after %s is %s, want %s", tt.at, tt.from, at, tt.want)
		}
	}
}

// TestSun compares with what almanacs print, to the minute or two.
func TestSun(t *testing.T) {
	tests := []struct {
		zone      string
		lat, long float64
		day       string
		rise, set string // empty: it does not
	}{
		{"Europe/London", 51.5074, -0.1278, "2026-06-21", "04:43", "21:21"},
		{"Europe/London", 51.5074, -0.1278, "2026-12-21", "08:04", "15:53"},
		{"America/New_York", 40.7128, -74.006, "2026-12-21", "07:17", "16:32"},
		{"Australia/Sydney", -33.8688, 151.2093, "2026-12-21", "05:41", "20:05"},
		{"Africa/Nairobi", -1.2921, 36.8219, "2026-03-20", "06:36", "18:42"},
		{"Europe/Oslo", 69.6492, 18.9553, "2026-06-21", "", ""}, // Tromsø: midnight sun
		{"Europe/Oslo", 69.6492, 18.9553, "2026-12-21", "", ""}, // and polar night
		{"Antarctica/Troll", -90, 0, "2026-12-21", "", ""},
	}
	for _, tt := range tests {
		loc, home := zone(t, tt.zone), Place{true, tt.lat, tt.long}
		day, err := time.ParseInLocation(time.DateOnly, tt.day, loc)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []struct{ name, want string }{{Sunrise, tt.rise}, {Sunset, tt.set}} {
			at, ok := home.event(dayOf(day, loc), e.name)
			if !ok || e.want == "" {
				if ok || e.want != "" {
					t.Errorf("%s on %s in %s: %v %v, want %q", e.name, tt.day, tt.zone, at, ok, e.want)
				}
				continue
			}
			want, _ := time.ParseInLocation("2006-01-02 15:04", tt.day+" "+e.want, loc)
			if at.Sub(want).Abs() > 2*time.Minute {
				t.Errorf("%s on %s in %s is at %s, want %s", e.name, tt.day, tt.zone, at.In(loc).Format("15:04:05"), e.want)
			}
			if h := home.elevation(at); h < horizon-0.05 || h > horizon+0.05 {
				t.Errorf("%s on %s in %s: the sun stands at %.3f°", e.name, tt.day, tt.zone, h)
			}
		}
	}
	// Clamped, in a polar day nothing, and on after it.
	early := Clock(7, 0)
	s := (&Trigger{Sun: &SunTrigger{Event: Sunrise, NotBefore: &early}}).plan(zone(t, "Europe/Oslo"), Place{true, 69.6492, 18.9553})
	at, ok := s.next(time.Date(2026, 6, 21, 0, 0, 0, 0, time.UTC))
	if at = at.In(zone(t, "Europe/Oslo")); !ok || at.Format("15:04") != "07:00" || at.Month() != time.July {
		t.Errorf("after the midnight sun the first sunrise counts at %v %v", at, ok)
	}
}

// FuzzSchedule holds that what comes next is later, and shows the right time.
func FuzzSchedule(f *testing.F) {
	f.Add(int64(1774746000), uint16(150), uint8(0), uint8(3))
	f.Add(int64(1792890000), uint16(90), uint8(1), uint8(1))
	zones := []*time.Location{zone(f, "Europe/Paris"), zone(f, "America/St_Johns"), zone(f, "Australia/Lord_Howe"), time.UTC}
	f.Fuzz(func(t *testing.T, unix int64, minute uint16, where, kind uint8) {
		loc := zones[int(where)%len(zones)]
		after := time.Unix(unix%(1<<33), 0)
		clock := TimeOfDay(minute % 1440)
		period := []time.Duration{time.Minute, 15 * time.Minute, 20 * time.Minute, time.Hour}[kind%4]
		d := &daily{at: []TimeOfDay{clock}, days: 0x7f, loc: loc}
		at, ok := d.next(after)
		if local := at.In(loc); !ok || !at.After(after) || at.Sub(after) > 49*time.Hour {
			t.Fatalf("%s after %s is %s", clock, after.In(loc), local)
		} else if shown, _ := dayOf(at, loc).shown(time.Duration(clock)*time.Minute, loc); len(shown) > 0 && Clock(local.Hour(), local.Minute()) != clock {
			t.Fatalf("%s after %s shows %s", clock, after.In(loc), local)
		}
		g := &grid{period, 0, loc}
		at, ok = g.next(after)
		local := at.In(loc)
		if !ok || !at.After(after) || at.Sub(after) > period+time.Hour || (time.Duration(local.Minute())*time.Minute+time.Duration(local.Second())*time.Second)%period != 0 {
			t.Fatalf("every %s after %s is %s", period, after.In(loc), local)
		}
	})
}
