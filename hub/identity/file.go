package identity

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"lar.home/hub/store"
	"lar.home/mqtt"
)

// fileFormat is the version of the copy beside the store.
const fileFormat = 1

// maxFile bounds what is read of it: 10,000 credentials are about 2.5 MB.
const maxFile = 16 << 20

type file struct {
	Format       int           `json:"format"`
	Home         string        `json:"home"`
	Installation string        `json:"installation"`
	People       []*person     `json:"people"`
	Credentials  []*credential `json:"credentials"`
}

// writeFile writes the copy whole or not at all, readable by its owner only.
// It does nothing if the file already says the same.
func (s *state) writeFile(name string) error {
	f := file{
		Format: fileFormat, Home: s.home, Installation: s.installation,
		People: s.peopleByName(), Credentials: s.credentialsByName(),
	}
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return store.Snapshot(name, data)
}

// recover adds to s what only the file still knows, and returns the writes
// that bring it back into the store. People never vanish by themselves, so
// they come back if the store has none; credentials do get removed, and come
// back only if the store has lost everything.
func (d *Directory) recover(s *state) []mqtt.Write {
	if d.cfg.File == "" || len(s.people) > 0 {
		return nil
	}
	f, err := readFile(d.cfg.File)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(f.People) == 0 && len(f.Credentials) == 0 {
		return nil
	}
	if err != nil {
		d.cfg.Log.Error("copy of people and credentials not readable", "file", d.cfg.File, "err", err)
		return nil
	}
	var writes []mqtt.Write
	everything := s.installation == ""
	if everything {
		s.home, s.installation = f.Home, f.Installation
		writes = append(writes, s.homeWrite())
		for _, c := range f.Credentials {
			s.credentials[c.Name] = c
			writes = append(writes, c.write())
		}
	}
	for _, p := range f.People {
		s.people[fold(p.Name)] = p
		writes = append(writes, p.write())
	}
	if len(writes) > 0 {
		d.cfg.Log.Warn("people recovered from the copy beside the store", "file", d.cfg.File,
			"people", len(f.People), "everything", everything)
	}
	return writes
}

func readFile(name string) (*file, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, errors.New("it is too large to be what was written")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Format != fileFormat {
		return nil, errors.New("it has another format")
	}
	if len(f.Installation) != 32 {
		return nil, errors.New("it has no installation id")
	}
	f.People = slices.DeleteFunc(f.People, func(p *person) bool { return p == nil || p.ID == "" })
	f.Credentials = slices.DeleteFunc(f.Credentials, func(c *credential) bool { return c == nil || c.Name == "" })
	for _, c := range f.Credentials {
		c.seen = new(atomic.Int64)
	}
	return &f, nil
}

func (s *state) peopleByName() []*person {
	all := make([]*person, 0, len(s.people))
	for _, p := range s.people {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *person) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (s *state) credentialsByName() []*credential {
	all := make([]*credential, 0, len(s.credentials))
	for _, c := range s.credentials {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *credential) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
