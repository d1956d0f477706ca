package ui

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/devices/history"
	"lar.home/ui/view"
)

// A History is what was: *history.History is one.
type History interface {
	Series(entity, aspect string) (history.Info, bool)
	Chart(entity, aspect string, from, to time.Time, n int, now time.Time) ([]history.Slot, error)
	Hours(entity, aspect string, from, to, now time.Time) ([]history.Slot, error)
	Days(entity, aspect string, from, to, now time.Time) ([]history.Slot, error)
	DayBegins(t time.Time) time.Time
	Location() *time.Location
	Export(w io.Writer, x history.Export) error
}

const (
	// maxExports is how many downloads there may be at a time, and
	// exportStall how long one may take nothing of what it is sent.
	maxExports  = 4
	exportStall = 30 * time.Second
	// maxPastStates is how many words have a row in a picture.
	maxPastStates = 6
)

// A pastRange is a range that people choose.
type pastRange struct {
	name, label string
	slots       int // of a picture
}

var pastRanges = []pastRange{{"day", "Day", 288}, {"week", "Week", 336}, {"month", "Month", 360}, {"year", "Year", 365}}

// span returns where a range begins and ends, and the stretches of its table
// and its bars: hours of a day, days of a week or month, months of a year.
func (r pastRange) span(h History, now time.Time) (from, to time.Time, cuts []time.Time) {
	today := h.DayBegins(now)
	day := func(n int) time.Time { return h.DayBegins(today.AddDate(0, 0, n).Add(12 * time.Hour)) }
	switch r.name {
	case "day":
		to = now.Truncate(time.Hour).Add(time.Hour)
		for i := -24; i <= 0; i++ {
			cuts = append(cuts, to.Add(time.Duration(i)*time.Hour))
		}
	case "year":
		y, m, _ := today.Date()
		for i := -11; i <= 1; i++ {
			cuts = append(cuts, h.DayBegins(time.Date(y, m+time.Month(i), 1, 12, 0, 0, 0, today.Location())))
		}
	default:
		days := 7
		if r.name == "month" {
			days = 30
		}
		for i := 1 - days; i <= 1; i++ {
			cuts = append(cuts, day(i))
		}
	}
	return cuts[0], cuts[len(cuts)-1], cuts
}

// pastAspects lists what a device has a history of, the chosen one marked.
func (s *Server) pastAspects(d *devices.Device, chosen string) (list []view.PastChoice, e *devices.Entity, a devices.Aspect, info history.Info) {
	best := -1
	for _, entity := range d.Entities {
		for _, aspect := range entity.Aspects {
			i, ok := s.History.Series(entity.ID, aspect.Name)
			if !ok {
				continue
			}
			label := entity.Label
			if len(entity.Aspects) > 1 && aspect.Name != "value" && aspect.Name != "on" {
				label += ", " + strings.ToLower(view.Label(aspect.Name))
			}
			c := view.PastChoice{Label: label, URL: entity.ID + "/" + aspect.Name}
			rank := 1
			switch {
			case c.URL == chosen:
				rank = 4
			case entity.Category != devices.Primary:
				rank = 0
			case !i.Bool && !i.Enum && !i.Counter && entity.Kind == devices.Sensor:
				rank = 3 // what is measured says most
			case entity.Kind == devices.Sensor || entity.Kind == devices.BinarySensor:
				rank = 2
			}
			if rank > best {
				best, e, a, info = rank, entity, aspect, i
			}
			list = append(list, c)
		}
	}
	if e != nil {
		for i := range list {
			list[i].Now = list[i].URL == e.ID+"/"+a.Name
		}
	}
	return list, e, a, info
}

// past makes the history of a device's page; nil if it has none.
func (s *Server) past(r *http.Request, d *devices.Device) (*view.Past, error) {
	if s.History == nil {
		return nil, nil
	}
	q := r.URL.Query()
	list, e, a, info := s.pastAspects(d, q.Get("series"))
	if e == nil {
		return nil, nil
	}
	slices.SortStableFunc(list, func(a, b view.PastChoice) int { return strings.Compare(a.Label, b.Label) })
	rng := pastRanges[0]
	for _, x := range pastRanges {
		if x.name == q.Get("range") {
			rng = x
		}
	}
	h := &view.Past{Label: e.Label, Series: list, Range: rng.name, Name: e.ID + "/" + a.Name}
	at := "/devices/" + d.ID + "?series=" + url.QueryEscape(h.Name) + "&range="
	for _, x := range pastRanges {
		h.Ranges = append(h.Ranges, view.PastChoice{Label: x.label, URL: at + x.name + "#history", Now: x.name == rng.name})
	}
	now := time.Now()
	from, to, cuts := rng.span(s.History, now)
	p := &pastView{Past: h, history: s.History, entity: e, aspect: a, info: info, rng: rng, from: from, to: to, now: now, cuts: cuts, zone: s.History.Location()}
	export := "/history/" + e.ID + "/" + a.Name + "?range=" + rng.name
	of := map[string]string{"day": history.ExportPoints, "week": history.ExportPoints, "month": history.ExportHours, "year": history.ExportDays}[rng.name]
	for _, format := range []string{"csv", "json"} {
		h.Exports = append(h.Exports, view.PastChoice{Label: strings.ToUpper(format), URL: export + "&of=" + of + "&format=" + format})
	}
	if err := p.draw(); err != nil {
		return nil, err
	}
	return h, nil
}

// A pastView draws one series.
type pastView struct {
	*view.Past
	history  History
	entity   *devices.Entity
	aspect   devices.Aspect
	info     history.Info
	rng      pastRange
	from, to time.Time
	now      time.Time
	cuts     []time.Time
	zone     *time.Location
}

// stretches rolls up what lies between the cuts.
func (p *pastView) stretches() ([]history.Slot, error) {
	read := p.history.Days
	if p.rng.name == "day" {
		read = p.history.Hours
	}
	parts, err := read(p.entity.ID, p.aspect.Name, p.from, p.to, p.now)
	if err != nil {
		return nil, err
	}
	slots := make([]history.Slot, len(p.cuts)-1)
	for i := range slots {
		slots[i].From, slots[i].To = p.cuts[i], p.cuts[i+1]
		n := 0
		for n < len(parts) && parts[n].From.Before(slots[i].To) {
			n++
		}
		slots[i].Rollup, parts = view.Merge(parts[:n]), parts[n:]
	}
	return slots, nil
}

func (p *pastView) draw() error {
	rows, err := p.stretches()
	if err != nil {
		return err
	}
	whole := view.Merge(rows)
	if !whole.Known {
		p.Empty = "Nothing was kept in this time."
		return nil
	}
	amount := func(f float64) string { return view.Amount(f, p.info.Unit, p.aspect.Precision) }
	name := p.Label + ", " + p.when(p.from) + " to " + p.when(p.to) + ": "
	switch {
	case p.info.Counter:
		used := func(s history.Slot) float64 { return s.Increase }
		p.Chart = view.Bars(rows, used, func(s history.Slot) string { return p.stretch(s) + ": " + amount(round(s.Increase)) })
		p.Facts = []view.Fact{{Name: "In this time", Text: amount(round(whole.Increase))}, {Name: "Counter now", Text: amount(whole.Last)}}
		p.Say = name + amount(round(whole.Increase)) + " in all."
		p.table([]string{"", "Amount", "Counter"}, rows, func(s history.Slot) []string { return []string{amount(round(s.Increase)), amount(s.Last)} })
	case p.info.Bool && (p.rng.name == "month" || p.rng.name == "year"):
		on := func(s history.Slot) float64 { return s.Mean * s.Covered.Hours() }
		p.Chart = view.Bars(rows, on, func(s history.Slot) string { return p.stretch(s) + ": " + view.Lasting(onFor(s.Rollup)) })
		p.boolean(name, whole, rows)
	case p.info.Bool:
		slots, err := p.history.Chart(p.entity.ID, p.aspect.Name, p.from, p.to, p.rng.slots, p.now)
		if err != nil {
			return err
		}
		word := view.Word(p.entity, true)
		p.Chart = view.Bands(slots, p.now, []string{word}, func(s string) string { return s }, func(s history.Slot, _ string) bool { return s.Max == 1 }, p.when)
		p.boolean(name, whole, rows)
	case p.info.Enum:
		slots, err := p.history.Chart(p.entity.ID, p.aspect.Name, p.from, p.to, p.rng.slots, p.now)
		if err != nil {
			return err
		}
		var states []string
		for _, st := range whole.States[:min(len(whole.States), maxPastStates)] {
			states = append(states, st.State)
			p.Facts = append(p.Facts, view.Fact{Name: st.State, Text: view.Lasting(st.For)})
		}
		p.Chart = view.Bands(slots, p.now, states, func(s string) string { return s }, func(s history.Slot, state string) bool {
			return slices.ContainsFunc(s.States, func(st history.StateTime) bool { return st.State == state && st.For > 0 })
		}, p.when)
		if len(states) > 0 {
			p.Say = name + "mostly " + states[0] + "."
		}
		p.table([]string{"", "Mostly", "At the end"}, rows, func(s history.Slot) []string {
			most := "–"
			if len(s.States) > 0 {
				most = s.States[0].State
			}
			return []string{most, s.LastState}
		})
	default:
		slots, err := p.history.Chart(p.entity.ID, p.aspect.Name, p.from, p.to, p.rng.slots, p.now)
		if err != nil {
			return err
		}
		p.Chart = view.Curve(slots)
		p.Facts = []view.Fact{{Name: "Lowest", Text: amount(whole.Min)}, {Name: "Mean", Text: amount(round(whole.Mean))}, {Name: "Highest", Text: amount(whole.Max)}}
		p.Say = name + "from " + amount(whole.Min) + " to " + amount(whole.Max) + ", " + amount(round(whole.Mean)) + " on average."
		p.table([]string{"", "Lowest", "Mean", "Highest"}, rows, func(s history.Slot) []string {
			return []string{amount(s.Min), amount(round(s.Mean)), amount(s.Max)}
		})
	}
	p.labels()
	return nil
}

func (p *pastView) boolean(name string, whole history.Rollup, rows []history.Slot) {
	word := view.Word(p.entity, true)
	p.Facts = []view.Fact{{Name: word, Text: view.Lasting(onFor(whole))}, {Name: view.Word(p.entity, false), Text: view.Lasting(whole.Covered - onFor(whole))}}
	p.Say = name + word + " for " + view.Lasting(onFor(whole)) + "."
	p.table([]string{"", word}, rows, func(s history.Slot) []string { return []string{view.Lasting(onFor(s.Rollup))} })
}

func onFor(r history.Rollup) time.Duration { return time.Duration(r.Mean * float64(r.Covered)) }

// round leaves of a computed number what can be told apart.
func round(f float64) float64 { return float64(int64(f*1000+sign(f)/2)) / 1000 }

func sign(f float64) float64 {
	if f < 0 {
		return -1
	}
	return 1
}

// table writes a row for each stretch of which something is known.
func (p *pastView) table(head []string, rows []history.Slot, cells func(history.Slot) []string) {
	head[0] = map[string]string{"day": "Hour", "year": "Month"}[p.rng.name]
	if head[0] == "" {
		head[0] = "Day"
	}
	p.Head = head
	for _, s := range rows {
		if !s.From.Before(p.now) {
			continue
		}
		row := []string{p.stretch(s)}
		if s.Known {
			row = append(row, cells(s)...)
		} else {
			for range head[1:] {
				row = append(row, "–")
			}
		}
		p.Rows = append(p.Rows, row)
	}
}

// stretch names an hour, a day or a month.
func (p *pastView) stretch(s history.Slot) string {
	return s.From.In(p.zone).Format(map[string]string{"day": "Mon 15:04", "week": "Mon 2 Jan", "month": "Mon 2 Jan", "year": "January 2006"}[p.rng.name])
}

func (p *pastView) when(t time.Time) string {
	return t.In(p.zone).Format(map[string]string{"day": "Mon 15:04", "week": "Mon 2 Jan 15:04", "month": "2 Jan", "year": "2 Jan 2006"}[p.rng.name])
}

// labels writes the time axis: a few instants at the same distance, or, where
// there are bars or days, a word for each.
func (p *pastView) labels() {
	at := func(i int, layout string) {
		p.Chart.Across = append(p.Chart.Across, p.cuts[i].In(p.zone).Format(layout))
	}
	switch p.rng.name {
	case "day":
		p.Chart.Cells = false
		for i := 0; i < len(p.cuts); i += 6 {
			at(i, "15:04")
		}
	case "week":
		p.Chart.Cells = true
		for i := range len(p.cuts) - 1 {
			at(i, "Mon")
		}
	case "month":
		p.Chart.Cells = true
		for i := 2; i < len(p.cuts)-1; i += 5 {
			at(i, "2 Jan")
		}
	case "year":
		p.Chart.Cells = true
		for i := range len(p.cuts) - 1 {
			at(i, "Jan")
			p.Chart.Across[i] = p.Chart.Across[i][:1]
		}
	}
}

// exportHistory sends what was kept of a value as a file, row by row.
func (s *Server) exportHistory(w http.ResponseWriter, r *http.Request) error {
	e := s.Model.House().Entity(r.PathValue("entity"))
	if s.History == nil || e == nil {
		return errNoDevice
	}
	info, ok := s.History.Series(e.ID, r.PathValue("aspect"))
	if !ok {
		return errNoPage
	}
	q := r.URL.Query()
	x := history.Export{Entity: info.Entity, Aspect: info.Aspect, Now: time.Now(), Of: q.Get("of"), JSON: q.Get("format") == "json"}
	rng := pastRanges[0]
	for _, c := range pastRanges {
		if c.name == q.Get("range") {
			rng = c
		}
	}
	x.From, x.To, _ = rng.span(s.History, x.Now)
	for name, to := range map[string]*time.Time{"from": &x.From, "to": &x.To} {
		if text := q.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return &failure{http.StatusBadRequest, "That is not a time", "Write it as in 2026-01-31T18:00:00Z."}
			}
			*to = t
		}
	}
	if x.Of != "" && x.Of != history.ExportPoints && x.Of != history.ExportHours && x.Of != history.ExportDays {
		return &failure{http.StatusBadRequest, "There is no such export", "It is of points, hours or days."}
	}
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		return &failure{http.StatusServiceUnavailable, "Too many downloads at once", "Try again when one of them is done."}
	}
	kind, ext := "text/csv; charset=utf-8", ".csv"
	if x.JSON {
		kind, ext = "application/json", ".json"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+fileName(info.Entity+"-"+info.Aspect)+ext+`"`)
	if err := s.History.Export(&patient{w, http.NewResponseController(w)}, x); err != nil && r.Context().Err() == nil {
		s.Log.Warn("history not sent to its end", "entity", e.ID, "err", err)
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return nil
}

// fileName keeps of a name what every system takes.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, name)
}

// patient gives a slow browser time for each piece, not for the whole.
type patient struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	p.c.SetWriteDeadline(time.Now().Add(exportStall))
	return p.w.Write(b)
}
