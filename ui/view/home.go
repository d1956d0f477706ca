package view

import (
	"cmp"
	"net/url"
	"strconv"

	"lar.home/devices"
)

// A Hint is what somebody needs to know to bring in a first device.
type Hint struct {
	Addresses []string // where devices connect, "192.168.1.20:1883"
	Manage    bool     // the person may add a credential
}

func roomHeading(r Room, rooms int) string { return cmp.Or(r.Title, roomTitle(r.Name, rooms)) }

func roomTitle(name string, rooms int) string {
	switch {
	case name != "":
		return name
	case rooms > 1:
		return "Elsewhere"
	}
	return "Devices"
}

// roomURL leads to the devices of a room.
func roomURL(name string) string { return "/devices?q=" + url.QueryEscape(name) }

func more(n int) string { return "and " + strconv.Itoa(n) + " more" }

func deviceURL(d *devices.Device) string { return "/devices/" + url.PathEscape(d.ID) }

func doURL(e *devices.Entity) string { return "/do/" + url.PathEscape(e.ID) }

// opposite names the command that a switch gives next.
func opposite(e *devices.Entity, st *devices.State) string {
	if isOn(e, st) {
		return "turn_off"
	}
	return "turn_on"
}
