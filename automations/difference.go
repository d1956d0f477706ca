package automations

import (
	"slices"
	"strings"
)

// A Line is one of a difference: Op is '-' for one that is gone, '+' for one
// that is new, ' ' for one around them that is as it was, and '~' stands for
// lines that were left out.
type Line struct {
	Op   byte
	Text string
}

// maxTable bounds the work of a difference.
const maxTable = 1 << 20

// around is how many lines are shown before and after a change.
const around = 2

// Difference says line by line how a text became another; nothing if it is the
// same.
func Difference(old, now string) []Line {
	if old == now {
		return nil
	}
	a, b := lines(old), lines(now)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var all []Line
	add := func(op byte, list []string) {
		for _, text := range list {
			all = append(all, Line{op, text})
		}
	}
	add(' ', a[:head])
	all = append(all, middle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	add(' ', a[len(a)-tail:])
	return shorten(all)
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// middle compares lines by their longest common part; parts that are too long
// for it are replaced as a whole.
func middle(a, b []string) (list []Line) {
	add := func(op byte, from []string) {
		for _, text := range from {
			list = append(list, Line{op, text})
		}
	}
	if len(a)*len(b) > maxTable || len(a) == 0 || len(b) == 0 {
		add('-', a)
		add('+', b)
		return list
	}
	width := len(b) + 1
	common := make([]uint16, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			add(' ', a[i:i+1])
			i, j = i+1, j+1
		case common[(i+1)*width+j] >= common[i*width+j+1]:
			add('-', a[i:i+1])
			i++
		default:
			add('+', b[j:j+1])
			j++
		}
	}
	add('-', a[i:])
	add('+', b[j:])
	return list
}

// shorten leaves out lines that are far from a change.
func shorten(all []Line) []Line {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Op != ' ' {
			for j := max(0, i-around); j <= min(len(all)-1, i+around); j++ {
				near[j] = true
			}
		}
	}
	var list []Line
	if !slices.Contains(near, true) { // another end of the last line is none
		return nil
	}
	for i, l := range all {
		switch {
		case near[i]:
			list = append(list, l)
		case len(list) == 0 || list[len(list)-1].Op != '~':
			list = append(list, Line{Op: '~'})
		}
	}
	return list
}
