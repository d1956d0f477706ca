package history

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// What an export has of a series.
const (
	ExportPoints = "points" // each value and when it began
	ExportHours  = "hours"  // a row for each hour
	ExportDays   = "days"   // a row for each of the home's days
)

// An Export writes what was kept of a series, row by row as it is read.
type Export struct {
	Entity, Aspect string
	From, To, Now  time.Time
	Of             string // ExportPoints if empty
	JSON           bool   // else CSV
}

// Export writes. It holds no more than some records in memory.
func (h *History) Export(w io.Writer, x Export) error {
	info, ok := h.Series(x.Entity, x.Aspect)
	if !ok {
		return ErrNone
	}
	b := bufio.NewWriter(w)
	var err error
	switch {
	case x.Of != "" && x.Of != ExportPoints && x.Of != ExportHours && x.Of != ExportDays:
		return fmt.Errorf("an export is of %s, %s or %s", ExportPoints, ExportHours, ExportDays)
	case x.JSON:
		err = h.exportJSON(b, info, x)
	default:
		err = h.exportCSV(b, info, x)
	}
	if err != nil {
		return err
	}
	return b.Flush()
}

// each calls fn for each row: with a point, or with a slot.
func (h *History) each(x Export, fn func(p *Point, s *Slot) error) error {
	switch x.Of {
	case ExportHours, ExportDays:
		kind, step := byte(recHours), 64*24*time.Hour
		if x.Of == ExportDays {
			kind, step = recDay, 4*365*24*time.Hour
		}
		// In stretches, so that years need no more memory than months.
		for from := time.UnixMilli(clampTime(x.From)); from.Before(x.To) && from.Before(x.Now); from = from.Add(step) {
			to := from.Add(step)
			if x.To.Before(to) {
				to = x.To
			}
			list, err := h.slots(kind, x.Entity, x.Aspect, from, to, x.Now)
			if err != nil {
				return err
			}
			for i := range list {
				if err := fn(nil, &list[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return h.Points(x.Entity, x.Aspect, x.From, x.To, x.Now, func(p Point) error { return fn(&p, nil) })
}

func (h *History) exportCSV(w io.Writer, info Info, x Export) error {
	c := csv.NewWriter(w)
	head := []string{"time", "value"}
	if x.Of == ExportHours || x.Of == ExportDays {
		head = []string{"from", "to", "min", "mean", "max", "last", "increase", "known_seconds"}
		if info.Enum {
			head = []string{"from", "to", "last", "state", "seconds"}
		}
	}
	c.Write(head)
	err := h.each(x, func(p *Point, s *Slot) error {
		switch {
		case p != nil:
			c.Write([]string{h.stamp(p.At), info.text(*p)})
		case info.Enum:
			for _, st := range s.States {
				c.Write([]string{h.stamp(s.From.UnixMilli()), h.stamp(s.To.UnixMilli()), harmless(s.LastState), harmless(st.State), seconds(st.For)})
			}
		default:
			c.Write([]string{h.stamp(s.From.UnixMilli()), h.stamp(s.To.UnixMilli()), number(s.Min), number(s.Mean), number(s.Max),
				number(s.Last), number(s.Increase), seconds(s.Covered)})
		}
		return c.Error()
	})
	c.Flush()
	if err != nil {
		return err
	}
	return c.Error()
}

// text is the value of a point; empty for a gap.
func (i Info) text(p Point) string {
	switch {
	case p.Gap:
		return ""
	case i.Enum:
		return harmless(p.Str)
	case i.Bool && p.Num == 1:
		return "on"
	case i.Bool:
		return "off"
	}
	return number(p.Num)
}

// harmless keeps a spreadsheet from taking a device's word for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func number(f float64) string        { return strconv.FormatFloat(f, 'f', -1, 64) }
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
func (h *History) stamp(at int64) string {
	return time.UnixMilli(at).In(h.Location()).Format("2006-01-02T15:04:05.000Z07:00")
}

type slotRow struct {
	From     string             `json:"from"`
	To       string             `json:"to"`
	Min      *float64           `json:"min,omitempty"`
	Mean     *float64           `json:"mean,omitempty"`
	Max      *float64           `json:"max,omitempty"`
	Last     any                `json:"last"`
	Increase *float64           `json:"increase,omitempty"`
	States   map[string]float64 `json:"states,omitempty"` // seconds
	Known    float64            `json:"known_seconds"`
}

type pointRow struct {
	Time  string `json:"time"`
	Value any    `json:"value"` // null: a gap
}

func (h *History) exportJSON(w io.Writer, info Info, x Export) error {
	e := json.NewEncoder(w)
	head, err := json.Marshal(map[string]any{"entity": info.Entity, "aspect": info.Aspect, "unit": info.Unit})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\"rows\":[\n", head[:len(head)-1]); err != nil {
		return err
	}
	first := true
	err = h.each(x, func(p *Point, s *Slot) error {
		if !first {
			if _, err := io.WriteString(w, ","); err != nil {
				return err
			}
		}
		first = false
		if p != nil {
			return e.Encode(pointRow{h.stamp(p.At), info.value(*p)})
		}
		row := slotRow{From: h.stamp(s.From.UnixMilli()), To: h.stamp(s.To.UnixMilli()), Known: s.Covered.Seconds()}
		if row.Last = any(s.Last); info.Enum {
			row.Last = s.LastState
			row.States = map[string]float64{}
			for _, st := range s.States {
				row.States[st.State] = st.For.Seconds()
			}
			return e.Encode(row)
		}
		row.Min, row.Mean, row.Max = &s.Min, &s.Mean, &s.Max
		if info.Bool {
			row.Last = s.Last == 1
		}
		if info.Counter {
			row.Increase = &s.Increase
		}
		return e.Encode(row)
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

func (i Info) value(p Point) any {
	switch {
	case p.Gap:
		return nil
	case i.Enum:
		return p.Str
	case i.Bool:
		return p.Num == 1
	}
	return p.Num
}
