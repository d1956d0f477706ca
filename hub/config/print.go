package config

import (
	"fmt"
	"io"
	"strings"
)

// Example writes a file with every key, its comment and its default.
func Example(w io.Writer) {
	fmt.Fprint(w, `# The configuration of Lar: lar --config lar.toml
#
# Every key stands here with its default. A key is also an environment variable:
# LAR_ and its name in capitals, with _ for what stands between its parts, as in
# LAR_LOG_LEVEL or LAR_LIMITS_PACKET_SIZE. A flag counts more than an environment
# variable, and this more than the file. File names are looked for from the
# folder of this file. lar check --config FILE says what is wrong with a file and
# prints what holds; after a change, SIGHUP has a running Lar read it again.
`)
	defaults := Defaults()
	table := ""
	for _, s := range settings {
		key := s.key
		if t, rest, ok := strings.Cut(key, "."); ok {
			if t != table {
				fmt.Fprintf(w, "\n[%s]\n", t)
				table = t
			}
			key = rest
		}
		about(w, s, "")
		fmt.Fprintf(w, "%s = %s\n", key, s.text(defaults))
	}
	fmt.Fprint(w, "\n# Further listeners, as many as are needed, each with a heading of its own. The\n# variables of the first are LAR_LISTENER_1_TYPE and so on.\n#[[listener]]\n")
	defaults.Listeners = append(defaults.Listeners, newListener())
	for _, s := range listenerSettings(0) {
		about(w, s, "# ")
		fmt.Fprintf(w, "#%s = %s\n", lastPart(s.key), s.text(defaults))
	}
}

func about(w io.Writer, s setting, indent string) {
	fmt.Fprintln(w)
	for line := range strings.SplitSeq(s.comment, "\n") {
		fmt.Fprintf(w, "# %s%s\n", indent, line)
	}
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// Print writes every value that holds, as a file that says the same, and where
// it is from.
func (e *Effective) Print(w io.Writer) {
	table := ""
	for _, s := range e.all() {
		key, heading := s.key, ""
		switch {
		case strings.HasPrefix(key, "listener."):
			heading = key[:strings.LastIndexByte(key, '.')]
		case strings.Contains(key, "."):
			heading, _, _ = strings.Cut(key, ".")
		}
		if heading != table {
			table = heading
			if strings.HasPrefix(table, "listener.") {
				fmt.Fprint(w, "\n[[listener]]\n")
			} else {
				fmt.Fprintf(w, "\n[%s]\n", table)
			}
		}
		from := e.From[s.key]
		if from == "" {
			from = "default"
		}
		fmt.Fprintf(w, "%-36s # %s\n", lastPart(key)+" = "+s.text(&e.Config), from)
	}
}

// NeedsRestart names the keys whose values differ in next but are put in force
// by a new start only.
func (e *Effective) NeedsRestart(next *Effective) (keys []string) {
	if len(e.Listeners) != len(next.Listeners) {
		return append(keys, "listener")
	}
	for _, s := range e.all() {
		if !s.reload && s.text(&e.Config) != s.text(&next.Config) {
			keys = append(keys, s.key)
		}
	}
	return keys
}
