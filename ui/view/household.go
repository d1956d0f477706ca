package view

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/ui/assets"
)

// A Floor has the rooms on it; its name is empty for those on none.
type Floor struct {
	Name  string
	Rooms []FloorRoom
}

// A FloorRoom is a room and how many devices are in it.
type FloorRoom struct {
	Area    devices.Area
	Devices int
}

// Floors sorts the rooms of a house, those with devices and those with a
// record, by floor and name; rooms on no floor come last.
func Floors(h *devices.House) []Floor {
	counts := map[string]int{}
	for _, a := range h.Areas() {
		counts[a.Name] = 0
	}
	for _, d := range h.Devices {
		if d.Area != "" {
			counts[d.Area]++
		}
	}
	byName := map[string]*Floor{}
	for name, n := range counts {
		a := h.Area(name)
		f := byName[a.Floor]
		if f == nil {
			f = &Floor{Name: a.Floor}
			byName[a.Floor] = f
		}
		f.Rooms = append(f.Rooms, FloorRoom{a, n})
	}
	var floors []Floor
	for _, f := range byName {
		slices.SortFunc(f.Rooms, func(a, b FloorRoom) int { return compareNames(a.Area.Name, b.Area.Name) })
		floors = append(floors, *f)
	}
	slices.SortFunc(floors, func(a, b Floor) int { return compareNames(a.Name, b.Name) })
	return floors
}

// compareNames orders names as people do, the empty one last.
func compareNames(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
}

func floorTitle(name string) string { return cmp.Or(name, "Elsewhere") }

func roomPage(name string) string { return "/rooms/" + url.PathEscape(name) }

func groupURL(g *devices.Group) string { return "/groups/" + url.PathEscape(g.ID) }

func query(s string) string { return url.QueryEscape(s) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// iconOr returns the icon that somebody chose, if there is one of that name.
func iconOr(chosen, usual string) string {
	if name, ok := strings.CutPrefix(chosen, "mdi:"); ok {
		if _, ok := assets.Icon(name); ok {
			return name
		}
	}
	return usual
}

func areaIcon(a devices.Area) string { return iconOr(a.Icon, "home-variant-outline") }

func groupIcon(g *devices.Group) string { return iconOr(g.Icon, "toggle-switch-variant") }

// choosable are the icons that a person may give.
var choosable = []string{
	"lightbulb", "lightbulb-outline", "power", "power-socket-eu", "toggle-switch-variant", "flash", "radiator", "thermometer",
	"water-percent", "weather-windy", "motion-sensor", "door-closed", "door-open", "window-closed-variant", "lock", "smoke-detector-variant",
	"shield-alert-outline", "gauge", "speedometer", "eye-outline", "home-variant-outline", "account-outline", "devices", "robot-outline",
	"palette-outline", "battery", "wifi", "timer-outline", "clock-outline",
}

func iconChoices(chosen string) []option {
	var list []option
	for _, name := range choosable {
		list = append(list, option{"mdi:" + name, Label(strings.ReplaceAll(name, "-", "_"))})
	}
	slices.SortFunc(list, func(a, b option) int { return cmp.Compare(a.text, b.text) })
	if chosen != "" && !slices.ContainsFunc(list, func(o option) bool { return o.value == chosen }) {
		list = append(list, option{chosen, chosen})
	}
	return list
}

// RoomsOf returns the rooms of a house, by floor and name.
func RoomsOf(h *devices.House) []string {
	var names []string
	for _, f := range Floors(h) {
		for _, r := range f.Rooms {
			names = append(names, r.Area.Name)
		}
	}
	return names
}

// InRoom returns one room with its tiles; none if nothing is in it.
func InRoom(h *devices.House, name string, limit int) []Room {
	room := Room{Title: "Devices"}
	for _, d := range h.Devices {
		if d.Area == name && !d.Personal.Hidden {
			room.Tiles = append(room.Tiles, Tiles(d)...)
		}
	}
	room.More = max(0, len(room.Tiles)-limit)
	room.Tiles = room.Tiles[:len(room.Tiles)-room.More]
	for _, g := range h.Groups() {
		if g.Area == name {
			room.Groups = append(room.Groups, g)
		}
	}
	if len(room.Tiles)+len(room.Groups) == 0 {
		return nil
	}
	return []Room{room}
}

// Health says how a device is, as far as it or its silence tells.
func Health(d *devices.Device, now time.Time) []Fact {
	var facts []Fact
	if d.Silent(now) {
		facts = append(facts, Fact{Name: "Attention", Text: "Silent for longer than usual: it is usually heard within " + Span(d.Usual().Round(time.Second)) + "."})
	} else if usual := d.Usual(); usual > 0 {
		facts = append(facts, Fact{Name: "Usually heard", Text: "at least every " + Span(usual.Round(time.Second))})
	}
	if b, ok := d.Battery(); ok {
		text := "Enough"
		if b.Low {
			text = "Low: change it soon"
		}
		if b.HasPercent {
			text = Number(b.Percent, 0) + "\u00a0%"
			if b.Low {
				text += ": change it soon"
			}
		}
		facts = append(facts, Fact{Name: "Battery", Text: text})
	}
	if r, unit, ok := d.Signal(); ok {
		facts = append(facts, Fact{Name: "Signal", Text: Number(r.Value.Num, -1) + "\u00a0" + unit})
	}
	return facts
}

// A memberChoice is an entity that may be in a group.
type memberChoice struct {
	value, text string
	chosen      bool
}

// maxChoices is how many entities a page offers.
const maxChoices = 400

// memberChoices lists what can be told something, the members of the group
// first.
func memberChoices(h *devices.House, form Form) []memberChoice {
	chosen := form.Values["member"]
	var list []memberChoice
	for _, id := range chosen {
		text := id + " (not here now)"
		if e := h.Entity(id); e != nil {
			text = joined(Name(e), e.Area)
		}
		list = append(list, memberChoice{id, text, true})
	}
	for _, d := range h.Devices {
		for _, e := range d.Entities {
			if len(list) >= maxChoices {
				return list
			}
			if len(e.Commands) > 0 && e.Category == devices.Primary && e.Enabled && !slices.Contains(chosen, e.ID) {
				list = append(list, memberChoice{e.ID, joined(Name(e), e.Area), false})
			}
		}
	}
	return list
}

// groupButtons are the commands without arguments, but for toggle: of several
// some would go on and some off.
func groupButtons(commands []devices.Command) []devices.Command {
	return slices.DeleteFunc(slices.Clone(commands), func(c devices.Command) bool {
		return len(c.Required) > 0 || c.Name == "toggle"
	})
}

// groupDials are the ranges that all members can be set to.
func groupDials(commands []devices.Command) []dial {
	var list []dial
	for _, c := range commands {
		for _, a := range c.Args {
			if a.Type == devices.Number && a.Min < a.Max && len(c.Required) < 2 && slices.Contains([]string{"brightness", "color_temp", "position", "speed"}, a.Name) {
				list = append(list, dial{command: c.Name, arg: a})
			}
		}
	}
	return list
}

func gatewayWords(g *devices.Gateway) string {
	switch {
	case !g.Online:
		return "Not running"
	case g.RestartRequired:
		return "Running, and wants to be restarted"
	}
	return "Running"
}

func until(end, now time.Time) string {
	if end.IsZero() || !end.After(now) {
		return ""
	}
	return " until " + end.In(now.Location()).Format("15:04")
}
