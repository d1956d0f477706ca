package automations

import "strings"

// A captured level of a filter: home/+room/state has one, "room".
type captured struct {
	name  string
	level int
	rest  bool // # and a name: all levels from here on
}

// plainFilter returns a filter as MQTT has it, and what it captures. In MQTT
// no level has a wildcard beside other characters, so nothing is mistaken.
func plainFilter(filter string) (string, []captured) {
	if !strings.ContainsAny(filter, "+#") {
		return filter, nil
	}
	levels := splitLevels(filter)
	var captures []captured
	for i, l := range levels {
		if len(l) > 1 && (l[0] == '+' || l[0] == '#') && validCapture(l[1:]) {
			captures = append(captures, captured{l[1:], i, l[0] == '#'})
			levels[i] = l[:1]
		}
	}
	return joinLevels(levels), captures
}

func validCapture(name string) bool {
	return len(name) <= 40 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func splitLevels(s string) []string     { return strings.Split(s, "/") }
func joinLevels(levels []string) string { return strings.Join(levels, "/") }
