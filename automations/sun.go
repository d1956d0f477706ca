package automations

import (
	"math"
	"time"
)

// Elevations of the sun's centre at its events, in degrees. At sunrise and
// sunset its upper edge is on the horizon, with the usual refraction.
const (
	horizon  = -0.833
	twilight = -6.0
)

// position returns the sun's declination in degrees and the equation of time
// in minutes, after J. Meeus, Astronomical Algorithms, chapter 25, as the
// United States' NOAA calculates: right to about 0.01 degrees in this century.
func position(t time.Time) (declination, equation float64) {
	c := (float64(t.Unix())/86400 + 2440587.5 - 2451545) / 36525 // Julian centuries since 2000
	mean := math.Mod(280.46646+c*(36000.76983+c*0.0003032), 360)
	anomaly := rad(357.52911 + c*(35999.05029-0.0001537*c))
	eccentricity := 0.016708634 - c*(0.000042037+0.0000001267*c)
	centre := math.Sin(anomaly)*(1.914602-c*(0.004817+0.000014*c)) +
		math.Sin(2*anomaly)*(0.019993-0.000101*c) + math.Sin(3*anomaly)*0.000289
	node := rad(125.04 - 1934.136*c)
	longitude := rad(mean + centre - 0.00569 - 0.00478*math.Sin(node))
	obliquity := rad(23 + (26+(21.448-c*(46.815+c*(0.00059-c*0.001813)))/60)/60 + 0.00256*math.Cos(node))
	declination = deg(math.Asin(math.Sin(obliquity) * math.Sin(longitude)))
	y := math.Pow(math.Tan(obliquity/2), 2)
	l := rad(mean)
	equation = 4 * deg(y*math.Sin(2*l)-2*eccentricity*math.Sin(anomaly)+4*eccentricity*y*math.Sin(anomaly)*math.Cos(2*l)-
		0.5*y*y*math.Sin(4*l)-1.25*eccentricity*eccentricity*math.Sin(2*anomaly))
	return declination, equation
}

func rad(d float64) float64 { return d * math.Pi / 180 }
func deg(r float64) float64 { return r * 180 / math.Pi }

// elevation returns how high the sun's centre stands, in degrees, without
// refraction.
func (p Place) elevation(t time.Time) float64 {
	declination, equation := position(t)
	minutes := float64(t.Unix()%86400)/60 + equation + 4*p.Longitude
	angle := rad(minutes/4 - 180)
	lat, d := rad(p.Latitude), rad(declination)
	return deg(math.Asin(math.Sin(lat)*math.Sin(d) + math.Cos(lat)*math.Cos(d)*math.Cos(angle)))
}

// crossing returns when the sun, on the day whose solar noon is nearest to
// noon, goes through an elevation on its way up or down. On a day on which it
// does not, there is none.
func (p Place) crossing(day local, elevation float64, up bool) (time.Time, bool) {
	noon := time.Date(day.year, day.month, day.day, 12, 0, 0, 0, time.UTC).Add(minutes(-4 * p.Longitude))
	_, equation := position(noon)
	noon = noon.Add(minutes(-equation))
	at := noon
	lat := rad(p.Latitude)
	for range 6 {
		declination, equation := position(at)
		d := rad(declination)
		cos := (math.Sin(rad(elevation)) - math.Sin(lat)*math.Sin(d)) / (math.Cos(lat) * math.Cos(d))
		if cos < -1 || cos > 1 || cos != cos {
			return time.Time{}, false
		}
		angle := 4 * deg(math.Acos(cos)) // minutes from noon
		if up {
			angle = -angle
		}
		base := time.Date(day.year, day.month, day.day, 12, 0, 0, 0, time.UTC).Add(minutes(-4*p.Longitude - equation))
		at = base.Add(minutes(angle))
	}
	return at.Truncate(time.Second), true
}

func minutes(m float64) time.Duration { return time.Duration(m * float64(time.Minute)) }

// event returns when an event of the sun is on a day.
func (p Place) event(day local, name string) (time.Time, bool) {
	switch name {
	case Sunrise:
		return p.crossing(day, horizon, true)
	case Sunset:
		return p.crossing(day, horizon, false)
	case Dawn:
		return p.crossing(day, twilight, true)
	}
	return p.crossing(day, twilight, false)
}

// eventOn returns when an event of the sun is on a day of the calendar. On a
// day without it, it lies far before if the sun is where the event would bring
// it, and far after if the sun is not: in the polar night the sun has set and
// does not rise, in the polar day it has risen and does not set.
func (p Place) eventOn(day local, name string, loc *time.Location) time.Time {
	for n := -1; n <= 1; n++ { // where the date is another than the sun's
		if at, ok := p.event(day.add(n), name); ok && dayOf(at, loc) == day {
			return at
		}
	}
	height, rises := horizon, name == Sunrise || name == Dawn
	if name == Dawn || name == Dusk {
		height = twilight
	}
	begin := time.Date(day.year, day.month, day.day, 0, 0, 0, 0, loc)
	end := time.Date(day.year, day.month, day.day+1, 0, 0, 0, 0, loc)
	if rises && p.elevation(begin) > height || !rises && p.elevation(end) <= height {
		return begin.AddDate(-1, 0, 0)
	}
	return end.AddDate(1, 0, 0)
}

// followsSun returns the place in a rule that needs to know where the home is;
// empty if none does.
func (r *Rule) followsSun() (path string) {
	for i, t := range r.Triggers {
		if t.Sun != nil {
			return at("triggers", i) + ".sun"
		}
	}
	walkConditions(r.allConditions(), func(c *Condition) {
		if c.Sun != nil {
			path = "conditions"
		}
	})
	return path
}

// solar comes with the sun.
type solar struct {
	trigger *SunTrigger
	days    uint8
	home    Place
	loc     *time.Location
}

func (s *solar) next(after time.Time) (time.Time, bool) {
	today := dayOf(after, s.loc)
	for n := -2; n < 400; n++ {
		var at time.Time
		var ok bool
		if day := today.add(n); s.trigger.Event != "" {
			at, ok = s.home.event(day, s.trigger.Event)
		} else if s.trigger.Elevation != nil {
			at, ok = s.home.crossing(day, *s.trigger.Elevation, s.trigger.Going == Up)
		}
		if !ok {
			continue
		}
		on := dayOf(at, s.loc)
		if s.days&(1<<on.weekday()) == 0 {
			continue
		}
		if at = s.clamp(on, at.Add(time.Duration(s.trigger.Offset))); at.After(after) {
			return at, true
		}
	}
	return time.Time{}, false
}

// clamp moves an instant into the part of the day that the rule allows.
func (s *solar) clamp(day local, at time.Time) time.Time {
	limit := func(c *TimeOfDay) time.Time {
		list := day.instants(time.Duration(*c)*time.Minute, "", "", s.loc)
		return list[0]
	}
	if c := s.trigger.NotBefore; c != nil {
		if l := limit(c); at.Before(l) {
			at = l
		}
	}
	if c := s.trigger.NotAfter; c != nil {
		if l := limit(c); at.After(l) {
			at = l
		}
	}
	return at
}
