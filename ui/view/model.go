// Package view draws pages: templ components and the words they use.
//
// Components take finished values and decide nothing. Those that stand on a
// page under an id of their own ([HomeBody], [DeviceList], [DeviceBody]) are
// also sent by themselves when the structure of the house changes.
package view

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
)

// A Page is what every page shows around its own content.
type Page struct {
	Title    string
	Place    string // of the navigation: "home", "devices", "automations", "settings"
	Home     string // the home's name
	Person   string // who is signed in; empty when nobody is
	Edit     bool   // the person may change rules, names and rooms
	Manage   bool   // the person may change people and credentials
	Notice   Notice
	Warning  string    // why clients without a credential may connect, or empty
	Troubles []Trouble // with the data folder, for who can do something about it
	Scope    string    // what the page wants to hear of; empty for a page at rest
	Since    string    // the number of the last update that the page shows
	Build    string
	Now      time.Time
}

// A Trouble is something that the owner should look after.
type Trouble struct {
	Title, Text string
	Dismiss     string // where a form is sent that ends it; empty for none
}

// A Notice tells what came of the last thing somebody did.
type Notice struct {
	Text string
	Bad  bool
	Undo string // where a form that takes it back is sent; empty for none
}

// A Form is what somebody typed, and what is wrong with it.
type Form struct {
	Values url.Values
	Errors map[string]string // by field; "" for the form as a whole
}

// Value returns what was typed in a field.
func (f Form) Value(name string) string { return f.Values.Get(name) }

// Error returns what is wrong with a field, or nothing.
func (f Form) Error(name string) string { return f.Errors[name] }

// A Room is a part of the home with its tiles.
type Room struct {
	Name  string // empty for devices without a room
	Tiles []Tile
	More  int // tiles that are left out
	Floor string
	Title string // instead of the name
	Link  string // to the page of the room; empty for none

	Groups []*devices.Group
}

// Home sorts devices and groups for the first page: favourites, then rooms by
// floor and name. What a person hid is left out.
func Home(h *devices.House, limit int) []Room {
	var shown []*devices.Device
	first := Room{Title: "Favourites"}
	for _, d := range h.Devices {
		if !d.Personal.Hidden {
			shown = append(shown, d)
		}
		if d.Personal.Favourite && len(first.Tiles) < maxFavourites {
			first.Tiles = append(first.Tiles, Tiles(d)...)
		}
	}
	rooms := Rooms(shown, limit)
	place := map[string]int{}
	for i := range rooms {
		r := &rooms[i]
		place[r.Name] = i
		if r.Name != "" {
			r.Floor, r.Link = h.Area(r.Name).Floor, roomPage(r.Name)
		}
	}
	for _, g := range h.Groups() {
		if g.Favourite {
			first.Groups = append(first.Groups, g)
		}
		if i, ok := place[g.Area]; ok && !g.Hidden {
			rooms[i].Groups = append(rooms[i].Groups, g)
		} else if !g.Hidden && !g.Favourite {
			first.Groups = append(first.Groups, g) // of a room without a device
		}
	}
	if len(rooms) > 1 {
		slices.SortStableFunc(rooms, func(a, b Room) int {
			if a.Name == "" || b.Name == "" {
				return compareNames(a.Name, b.Name)
			}
			return cmp.Or(compareNames(a.Floor, b.Floor), compareNames(a.Name, b.Name))
		})
	}
	if len(first.Tiles)+len(first.Groups) > 0 {
		if len(first.Tiles) == 0 && !slices.ContainsFunc(first.Groups, func(g *devices.Group) bool { return g.Favourite }) {
			first.Title = "Groups"
		}
		rooms = append([]Room{first}, rooms...)
	}
	return rooms
}

// maxFavourites bounds what stands first on Home.
const maxFavourites = 60

// A Tile shows a device, or one of its parts when it has several to operate.
type Tile struct {
	Device *devices.Device
	Name   string
	Of     string            // the device's name, when Name is that of a part
	Main   *devices.Entity   // nil when there is nothing to show
	More   []*devices.Entity // further values in the same line, such as what a plug draws
}

// Rooms sorts devices into rooms, by name; devices without one come last. Of a
// home with more tiles than limit each room shows only some.
func Rooms(list []*devices.Device, limit int) []Room {
	byName := map[string][]Tile{}
	for _, d := range list {
		byName[d.Area] = append(byName[d.Area], Tiles(d)...)
	}
	rooms := make([]Room, 0, len(byName))
	total := 0
	for name, tiles := range byName {
		rooms = append(rooms, Room{Name: name, Tiles: tiles})
		total += len(tiles)
	}
	if total > limit {
		share := max(1, limit/len(rooms))
		for i := range rooms {
			r := &rooms[i]
			r.More = max(0, len(r.Tiles)-share)
			r.Tiles = r.Tiles[:len(r.Tiles)-r.More]
		}
	}
	slices.SortFunc(rooms, func(a, b Room) int {
		switch {
		case a.Name == "":
			return 1
		case b.Name == "":
			return -1
		}
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return rooms
}

// RoomNames returns the rooms in use, by name.
func RoomNames(list []*devices.Device) []string {
	var names []string
	for _, d := range list {
		if d.Area != "" {
			names = append(names, d.Area)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// primary tells whether an entity is shown without asking.
func primary(e *devices.Entity) bool {
	return !e.Personal.Hidden && e.Category == devices.Primary && e.Enabled && len(e.Aspects) > 0
}

// Tiles returns the tiles of a device: one for each thing to switch when there
// are several, otherwise one.
func Tiles(d *devices.Device) []Tile {
	var operable, values []*devices.Entity
	for _, e := range d.Entities {
		switch {
		case !primary(e):
		case CanSwitch(e):
			operable = append(operable, e)
		default:
			values = append(values, e)
		}
	}
	slices.SortStableFunc(values, func(a, b *devices.Entity) int { return cmp.Compare(rank(a), rank(b)) })
	switch {
	case len(operable) > 1:
		tiles := make([]Tile, len(operable))
		for i, e := range operable {
			tiles[i] = Tile{Device: d, Name: cmp.Or(e.Label, e.Name), Of: d.Name, Main: e}
		}
		return tiles
	case len(operable) == 1:
		power := slices.IndexFunc(values, func(e *devices.Entity) bool { return e.DeviceClass == "power" })
		if power < 0 {
			return []Tile{{Device: d, Name: d.Name, Main: operable[0]}}
		}
		return []Tile{{Device: d, Name: d.Name, Main: operable[0], More: values[power : power+1]}}
	case len(values) > 0:
		return []Tile{{Device: d, Name: d.Name, Main: values[0], More: values[1:min(len(values), 2)]}}
	}
	return []Tile{{Device: d, Name: d.Name}}
}

// Shown tells whether an entity is on a tile of its device.
func Shown(e *devices.Entity) bool {
	if !primary(e) {
		return false
	}
	for _, t := range Tiles(e.Device) {
		if t.Main.ID == e.ID || slices.ContainsFunc(t.More, func(o *devices.Entity) bool { return o.ID == e.ID }) {
			return true
		}
	}
	return false
}

// rank orders values by how much a family wants to see them.
func rank(e *devices.Entity) int {
	if e.Kind == devices.BinarySensor {
		if warns[e.DeviceClass] {
			return 3
		}
		return 0
	}
	switch e.DeviceClass {
	case "temperature":
		return 1
	case "humidity", "carbon_dioxide", "power":
		return 2
	}
	return 4
}

// A section of a device page holds entities of one category.
type section struct {
	title, id string
	entities  []*devices.Entity
}

// parts sorts the entities of a device into what is operated, what is read,
// and what is folded away.
func parts(d *devices.Device) (operable, values []*devices.Entity, folded []section) {
	config := section{title: "Settings of the device", id: "config"}
	diagnostic := section{title: "Diagnostics", id: "diagnostic"}
	for _, e := range d.Entities {
		switch {
		case len(e.Aspects) == 0 && len(e.Commands) == 0:
		case e.Category == devices.Config:
			config.entities = append(config.entities, e)
		case e.Category == devices.Diagnostic || !e.Enabled || e.Personal.Hidden:
			diagnostic.entities = append(diagnostic.entities, e)
		case len(e.Commands) > 0:
			operable = append(operable, e)
		default:
			values = append(values, e)
		}
	}
	slices.SortStableFunc(values, func(a, b *devices.Entity) int { return cmp.Compare(rank(a), rank(b)) })
	for _, s := range []section{config, diagnostic} {
		if len(s.entities) > 0 {
			folded = append(folded, s)
		}
	}
	return operable, values, folded
}

// problems returns the entities of a device that are not fully supported.
func problems(d *devices.Device) []*devices.Entity {
	return slices.DeleteFunc(slices.Clone(d.Entities), func(e *devices.Entity) bool { return e.Problem == "" })
}

// Reachable tells whether anything of a device can be reached.
func Reachable(d *devices.Device) bool {
	return len(d.Entities) == 0 || slices.ContainsFunc(d.Entities, func(e *devices.Entity) bool {
		return e.State().Available
	})
}

// maker returns maker and model in one line, without saying a name twice.
func maker(d *devices.Device) string {
	if d.Manufacturer != "" && strings.HasPrefix(strings.ToLower(d.Model), strings.ToLower(d.Manufacturer)) {
		return d.Model
	}
	return strings.TrimSpace(d.Manufacturer + " " + d.Model)
}
