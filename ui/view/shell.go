package view

import (
	"strings"

	"lar.home/ui/assets"
)

func title(p Page) string {
	home := p.Home
	if home == "" {
		home = "Lar"
	}
	if p.Title == "" || p.Title == home {
		return home
	}
	return p.Title + " · " + home
}

func iconURL(name string) string {
	url, ok := assets.Icon(name)
	if !ok {
		panic("no icon " + name) // found by a test of any page that has it
	}
	return url
}

// described names the elements that explain a field.
func described(name, hint, wrong string) string {
	var ids []string
	if wrong != "" {
		ids = append(ids, "e-"+name)
	}
	if hint != "" {
		ids = append(ids, "h-"+name)
	}
	return strings.Join(ids, " ")
}
