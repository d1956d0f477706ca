package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
)

// A Fact is a line about a device, with a link when URL is not empty; Text is
// how long ago At was when At is set.
type Fact struct {
	Name, Text, URL string
	At              time.Time
}

func joined(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " · ")
}

// summary is a device in one line.
func summary(d *devices.Device) Tile {
	tiles := Tiles(d)
	t := tiles[0]
	if len(tiles) > 1 {
		t.More = nil
		for _, other := range tiles[1:min(len(tiles), 4)] {
			t.More = append(t.More, other.Main)
		}
	}
	return t
}

func showing(n, total int) string {
	return strconv.Itoa(n) + " of " + strconv.Itoa(total) + " devices. Filter to find the others."
}

func readOnly(list []*devices.Entity) []*devices.Entity {
	return slices.DeleteFunc(slices.Clone(list), func(e *devices.Entity) bool { return len(e.Commands) > 0 })
}

// plainCommands returns the commands that neither a switch nor a dial gives:
// those without arguments.
func plainCommands(e *devices.Entity) []devices.Command {
	return slices.DeleteFunc(slices.Clone(e.Commands), func(c devices.Command) bool {
		return len(c.Required) > 0 || c.Name == "turn_on" || c.Name == "turn_off" || c.Name == "toggle"
	})
}

func step(a devices.Aspect) string {
	if a.Step > 0 {
		return strconv.FormatFloat(a.Step, 'f', -1, 64)
	}
	if a.Max-a.Min < 10 {
		return "any"
	}
	return "1"
}

// dialValue is what a control starts from.
func dialValue(d dial) string {
	switch {
	case d.value.Type == devices.Number:
		return strconv.FormatFloat(d.value.Num, 'f', -1, 64)
	case d.value.Type == devices.Text:
		return d.value.Str
	case d.arg.Type == devices.Number && d.arg.Min < d.arg.Max:
		return strconv.FormatFloat(d.arg.Min, 'f', -1, 64)
	case d.arg.Type == devices.Color:
		return "#ffffff"
	}
	return ""
}
