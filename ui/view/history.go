package view

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices/history"
)

// A Past is what a page shows of one value's history.
type Past struct {
	Label   string       // of the value: "Temperature"
	Series  []PastChoice // what else the device has
	Ranges  []PastChoice
	Range   string
	Name    string // of the series now shown, as in a form
	Empty   string // why there is nothing to see
	Say     string // in a sentence, for who does not see the picture
	Facts   []Fact
	Chart   Chart
	Head    []string // of the table
	Rows    [][]string
	Exports []PastChoice
}

// A PastChoice is a link, or an option.
type PastChoice struct {
	Label, URL string
	Now        bool
}

// A Chart is a picture in a box of 720 by 240, drawn by the server. Its labels
// stand beside it, so that they keep their size on every screen.
type Chart struct {
	Up     []string   // labels of the vertical axis, from below
	Across []string   // of the time axis
	Grid   []string   // lines, as paths
	Area   string     // between lowest and highest
	Line   string     // mean
	Bars   []ChartBar // or these
	Bands  []ChartBand
	Cells  bool // labels of the time axis are each of a stretch, not of an instant
}

// A ChartBar is a rectangle with what it says.
type ChartBar struct{ X, Y, Width, Height, Say string }

// A ChartBand is a row of times in which something was so.
type ChartBand struct {
	Label string
	Bars  []ChartBar
	Gaps  []ChartBar // nothing was known
}

const (
	chartWidth  = 720.0
	chartHeight = 240.0
)

func coordinate(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// A scale maps values to the height of a chart.
type scale struct{ low, high, step float64 }

// niceScale finds a scale of round numbers with 3 to 6 lines.
func niceScale(low, high float64) scale {
	if high-low < 1e-9*max(1, math.Abs(low)) {
		pad := max(math.Abs(low)*0.05, 0.5)
		low, high = low-pad, high+pad
	}
	raw := (high - low) / 4
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*unit >= raw*0.999 {
			step = f * unit
			break
		}
	}
	s := scale{math.Floor(low/step) * step, math.Ceil(high/step) * step, step}
	if s.low == s.high {
		s.high += step
	}
	return s
}

func (s scale) y(v float64) float64 {
	return chartHeight - (v-s.low)/(s.high-s.low)*chartHeight
}

// lines draws the scale.
func (c *Chart) lines(s scale) {
	digits := 0
	for f := s.step; digits < 6 && math.Abs(f-math.Round(f)) > 1e-6; f *= 10 {
		digits++
	}
	for i := 0; i <= int(math.Round((s.high-s.low)/s.step)); i++ {
		v := s.low + float64(i)*s.step
		if math.Abs(v) < s.step/1e6 {
			v = 0
		}
		c.Up = append(c.Up, strconv.FormatFloat(v, 'f', digits, 64))
		y := coordinate(s.y(v))
		c.Grid = append(c.Grid, "M0 "+y+"H720")
	}
}

// Curve draws numbers: a line of the means, and around it what lies between
// lowest and highest. Where nothing was known there is nothing.
func Curve(slots []history.Slot) (c Chart) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range slots {
		if s.Known {
			low, high = min(low, s.Min), max(high, s.Max)
		}
	}
	if low > high {
		return c
	}
	sc := niceScale(low, high)
	c.lines(sc)
	width := chartWidth / float64(len(slots))
	var line, area strings.Builder
	for i := 0; i < len(slots); {
		if !slots[i].Known {
			i++
			continue
		}
		end := i
		for end < len(slots) && slots[end].Known {
			end++
		}
		// Each stretch is as wide as its slots: one alone is seen, too.
		point := func(b *strings.Builder, first bool, x, v float64) {
			b.WriteByte("LM"[index(first)])
			b.WriteString(coordinate(x) + " " + coordinate(sc.y(v)))
		}
		left, right := float64(i)*width, float64(end)*width
		point(&line, true, left, slots[i].Mean)
		point(&area, true, left, slots[i].Max)
		for j := i; j < end; j++ {
			x := (float64(j) + 0.5) * width
			point(&line, false, x, slots[j].Mean)
			point(&area, false, x, slots[j].Max)
		}
		point(&line, false, right, slots[end-1].Last)
		point(&area, false, right, slots[end-1].Max)
		point(&area, false, right, slots[end-1].Min)
		for j := end - 1; j >= i; j-- {
			point(&area, false, (float64(j)+0.5)*width, slots[j].Min)
		}
		point(&area, false, left, slots[i].Min)
		area.WriteByte('Z')
		i = end
	}
	c.Line, c.Area = line.String(), area.String()
	return c
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Bars draws one amount for each stretch.
func Bars(slots []history.Slot, amount func(history.Slot) float64, say func(history.Slot) string) (c Chart) {
	low, high := 0.0, 0.0
	for _, s := range slots {
		if s.Known {
			low, high = min(low, amount(s)), max(high, amount(s))
		}
	}
	if low == 0 && high == 0 {
		high = 1
	}
	sc := niceScale(low, high)
	c.lines(sc)
	c.Cells = true
	width := chartWidth / float64(len(slots))
	for i, s := range slots {
		if !s.Known {
			continue
		}
		top, bottom := sc.y(max(amount(s), 0)), sc.y(min(amount(s), 0))
		c.Bars = append(c.Bars, ChartBar{
			coordinate(float64(i)*width + width*0.12), coordinate(top), coordinate(width * 0.76), coordinate(max(bottom-top, 1)), say(s),
		})
	}
	return c
}

// Bands draws when something was in which state, up to now: each state has a
// row.
func Bands(slots []history.Slot, now time.Time, states []string, labels func(string) string, in func(s history.Slot, state string) bool, when func(time.Time) string) (c Chart) {
	width := chartWidth / float64(len(slots))
	runs := func(is func(history.Slot) bool, label string) (bars []ChartBar) {
		for i := 0; i < len(slots); {
			if !is(slots[i]) {
				i++
				continue
			}
			end := i
			for end < len(slots) && is(slots[end]) {
				end++
			}
			bars = append(bars, ChartBar{coordinate(float64(i) * width), "0", coordinate(float64(end-i) * width), "24",
				label + ", " + when(slots[i].From) + " – " + when(slots[end-1].To)})
			i = end
		}
		return bars
	}
	gaps := runs(func(s history.Slot) bool { return !s.Known && s.From.Before(now) }, "Not known")
	for _, state := range states {
		label := labels(state)
		c.Bands = append(c.Bands, ChartBand{label, runs(func(s history.Slot) bool { return s.Known && in(s, state) }, label), gaps})
	}
	return c
}

// Merge rolls up several stretches.
func Merge(slots []history.Slot) (r history.Rollup) {
	weighted := 0.0
	times := map[string]time.Duration{}
	for _, s := range slots {
		r.Increase += s.Increase
		if !s.Known {
			continue
		}
		if !r.Known {
			r.Known, r.Min, r.Max = true, s.Min, s.Max
		}
		r.Min, r.Max, r.Last, r.LastState = min(r.Min, s.Min), max(r.Max, s.Max), s.Last, s.LastState
		r.Covered += s.Covered
		weighted += s.Mean * s.Covered.Seconds()
		for _, st := range s.States {
			times[st.State] += st.For
		}
	}
	r.Mean = r.Last
	if r.Covered > 0 {
		r.Mean = weighted / r.Covered.Seconds()
	}
	for state, d := range times {
		r.States = append(r.States, history.StateTime{State: state, For: d})
	}
	slices.SortFunc(r.States, func(a, b history.StateTime) int {
		return cmp.Or(cmp.Compare(b.For, a.For), strings.Compare(a.State, b.State))
	})
	return r
}

// Amount writes a number of a chart with its unit.
func Amount(f float64, unit string, precision int) string {
	if unit != "" {
		unit = "\u00a0" + unit
	}
	return Number(f, precision) + unit
}

// Lasting writes for how long something was so.
func Lasting(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "\u00a0s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Round(time.Minute).Minutes())) + "\u00a0min"
	}
	return strconv.FormatFloat(math.Round(d.Hours()*10)/10, 'f', -1, 64) + "\u00a0h"
}

func current(now bool) string {
	if now {
		return "true"
	}
	return "false"
}
