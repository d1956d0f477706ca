package ui

import (
	"testing"
)

func TestPages(t *testing.T) {
	h, b := furnished(t)
	b.get("/").shows(200, "Hall lamp", "On · 62 %", "Not reachable", "21.4 °C")
	for _, d := range h.model.House().Devices {
		b.get("/devices/"+d.ID).shows(200, d.Name)
	}
}
