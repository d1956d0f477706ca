package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds the configuration file.
const maxFile = 1 << 20

// An Effective configuration is what holds, and where each value is from.
type Effective struct {
	Config
	File     string            // its path; empty: none
	From     map[string]string // by key; what is not there is a default
	Warnings []string
}

// Load reads the file, if path names one, the variables of environ that begin
// with LAR_, and flags, which are text by key. All that is wrong with them is
// in its error, a line each.
func Load(path string, environ []string, flags map[string]string) (*Effective, error) {
	e := &Effective{Config: *Defaults(), File: path, From: make(map[string]string)}
	l := loader{Effective: e}
	if path != "" {
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		l.file(data)
	}
	l.environ(environ)
	for _, s := range settings {
		if text, given := flags[s.key]; given {
			l.text(s, text, "--"+s.flag)
		}
	}
	if len(l.wrong) == 0 {
		l.check()
	}
	return e, errors.Join(l.wrong...)
}

// Flags has set put what is given of the flags among the settings into given,
// as text by key.
func Flags(set *flag.FlagSet, given map[string]string) {
	for _, s := range settings {
		take := func(text string) error {
			if _, err := s.kind.text(text); err != nil {
				return fmt.Errorf("it is not %s", s.kind.want)
			}
			given[s.key] = text
			return nil
		}
		switch {
		case s.flag == "":
		case s.kind.want == boolKind.want:
			set.BoolFunc(s.flag, "", take)
		default:
			set.Func(s.flag, "", take)
		}
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is no configuration: it has more than %d bytes", path, maxFile)
	}
	return data, nil
}

type loader struct {
	*Effective
	wrong []error
	lines map[string]int // of keys in the file
}

func (l *loader) fail(where, format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// file takes the settings out of the file.
func (l *loader) file(data []byte) {
	name := filepath.Base(l.File)
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		line := 0
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = at.Position()
		}
		l.fail(fmt.Sprintf("%s:%d", name, line), "%s", strings.TrimPrefix(err.Error(), "toml: "))
		return
	}
	l.lines = keyLines(data)
	known := make(map[string]setting)
	for _, s := range settings {
		known[s.key] = s
	}
	if tables, ok := tree["listener"].([]any); ok {
		for range tables[:min(len(tables), maxListeners)] {
			l.addListener()
		}
		for i := range l.Listeners {
			for _, s := range listenerSettings(i) {
				known[s.key] = s
			}
		}
	}
	flat := make(map[string]any)
	flatten("", tree, flat)
	for _, key := range slices.SortedFunc(maps.Keys(flat), func(a, b string) int { return l.line(a) - l.line(b) }) {
		where := fmt.Sprintf("%s:%d", name, l.line(key))
		s, ok := known[key]
		if !ok {
			l.fail(where, "there is no key %s%s", plainKey(key), suggest(key, known, plainKey))
			continue
		}
		v, err := s.kind.toml(flat[key])
		if err != nil {
			l.fail(where, "%s wants %s", plainKey(key), s.kind.want)
			continue
		}
		if p, ok := v.(string); s.path && ok && p != "" && !filepath.IsAbs(p) {
			v = filepath.Join(filepath.Dir(l.File), p)
		}
		s.set(&l.Config, v)
		l.From[key] = where
	}
}

func (l *loader) addListener() { l.Listeners = append(l.Listeners, newListener()) }

// line is where a key stands, or the nearest thing around it.
func (l *loader) line(key string) int {
	for {
		if n, ok := l.lines[key]; ok {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 1
		}
		key = key[:i]
	}
}

// keyLines finds the line of each key.
func keyLines(data []byte) map[string]int {
	lines := make(map[string]int)
	arrays := make(map[string]int)
	var p unstable.Parser
	p.Reset(data)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		path, line := "", 0
		for it := e.Key(); it.Next(); {
			path = join(path, string(it.Node().Data))
			if line == 0 {
				line = p.Shape(it.Node().Raw).Start.Line
			}
		}
		switch e.Kind {
		case unstable.Table:
			table = path
		case unstable.ArrayTable:
			arrays[path]++
			table = join(path, strconv.Itoa(arrays[path]))
			path = table
		case unstable.KeyValue:
			path = join(table, path)
		}
		if _, seen := lines[path]; !seen {
			lines[path] = line
		}
	}
	return lines
}

// flatten names each value of a tree; tables in a list are counted from 1.
func flatten(prefix string, v any, into map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			flatten(join(prefix, k), sub, into)
		}
		if len(v) == 0 && !slices.Contains([]string{"", "home", "limits", "rights"}, prefix) && !strings.HasPrefix(prefix, "listener.") {
			into[prefix] = v
		}
	case []any:
		if _, tables := first(v).(map[string]any); !tables {
			into[prefix] = v
			return
		}
		for i, sub := range v {
			flatten(join(prefix, strconv.Itoa(i+1)), sub, into)
		}
	default:
		into[prefix] = v
	}
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

// environ takes the settings out of environment variables.
func (l *loader) environ(environ []string) {
	vars := make(map[string]string)
	for _, v := range environ {
		if name, text, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, "LAR_") {
			vars[name] = text
		}
	}
	delete(vars, env("config"))
	for i := range maxListeners {
		of := func(name string) bool { return strings.HasPrefix(name, env(listenerKey(i, ""))) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(vars)), of) {
			continue
		}
		if i > len(l.Listeners) {
			l.fail(env(listenerKey(i, "")), "there is no listener %d before it", i)
			return
		}
		if i == len(l.Listeners) {
			l.addListener()
		}
	}
	known := make(map[string]setting)
	for _, s := range l.all() {
		known[env(s.key)] = s
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		s, ok := known[name]
		if !ok {
			// Whoever starts Lar may set some of their own.
			l.Warnings = append(l.Warnings, fmt.Sprintf("there is no setting %s%s", name, suggest(name, known, func(s string) string { return s })))
			continue
		}
		l.text(s, vars[name], name)
	}
}

// all are the settings and those of each listener there is.
func (e *Effective) all() []setting {
	list := slices.Clone(settings)
	for i := range e.Listeners {
		list = append(list, listenerSettings(i)...)
	}
	return list
}

// text takes a setting from a flag or an environment variable.
func (l *loader) text(s setting, text, from string) {
	v, err := s.kind.text(text)
	if err != nil {
		l.fail(from, "%q is not %s", text, s.kind.want)
		return
	}
	s.set(&l.Config, v)
	l.From[s.key] = from
}

// check finds what is wrong with values that are right each by itself.
func (l *loader) check() {
	if l.Data == "" {
		l.fail(l.where("data"), "the data folder wants a name")
	}
	for i := range l.Listeners {
		if key, err := l.Listeners[i].Check(); err != nil {
			l.fail(l.where(listenerKey(i, key)), "%s: %v", plainKey(listenerKey(i, key)), err)
		}
	}
	if l.MQTT == Off && l.HTTP == Off && l.HTTPS.Address == Off && len(l.Listeners) == 0 {
		l.fail(l.where("mqtt"), "with mqtt, http and https off there has to be a listener")
	}
}

// where is what a setting is from, for messages.
func (l *loader) where(key string) string {
	if from, ok := l.From[key]; ok {
		return from
	}
	if l.lines != nil {
		return fmt.Sprintf("%s:%d", filepath.Base(l.File), l.line(key))
	}
	return env(key)
}

// plainKey is a key as it stands in the file.
func plainKey(key string) string {
	if rest, ok := strings.CutPrefix(key, "listener."); ok {
		n, sub, _ := strings.Cut(rest, ".")
		return sub + " of [[listener]] " + n
	}
	if table, rest, ok := strings.Cut(key, "."); ok {
		return rest + " in [" + table + "]"
	}
	return key
}

// suggest names the key that is most like one that does not exist.
func suggest(key string, known map[string]setting, show func(string) string) string {
	best, distance := "", len(key)/2+2
	for k := range known {
		d := edits(key, k)
		if i := strings.LastIndexByte(k, '.'); !strings.Contains(key, ".") && i >= 0 {
			d = min(d, edits(key, k[i+1:])) // the right key outside of its table
		}
		if d < distance || d == distance && k < best {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + show(best) + "?"
}

// edits counts the letters to add, take away or change to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
