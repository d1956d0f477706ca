package store

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// reportFile lies in each folder that was set aside. Whoever deletes the
// folder has seen it.
const reportFile = "report.json"

// A Report says what became of a damaged database. It stays until somebody has
// seen it.
type Report struct {
	Folder   string `json:"-"`        // where the damaged database was set aside
	Rescued  int    `json:"rescued"`  // records that could be read of it
	Lost     int    `json:"lost"`     // records, blocks and files that could not
	Restored int    `json:"restored"` // records that came back from copies beside the store
	Seen     bool   `json:"seen"`
}

// Reports returns what was set aside in a data folder, the oldest first. A
// report that cannot be read says that much.
func Reports(dir string) (list []Report) {
	folders, _ := filepath.Glob(filepath.Join(dir, "db"+asideMark+"*")) // the pattern is right
	for _, folder := range folders {
		r := Report{Folder: folder}
		if data, err := os.ReadFile(filepath.Join(folder, reportFile)); err == nil && json.Unmarshal(data, &r) != nil {
			r = Report{Folder: folder}
		}
		list = append(list, r)
	}
	return list
}

// Save writes the report into its folder.
func (r Report) Save() error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return Snapshot(filepath.Join(r.Folder, reportFile), append(data, '\n'))
}
