package hub

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lar.home/hub/store"
	"lar.home/mqtt"
)

// Messages at which a part of the hub went wrong are kept in a folder beside
// the store, for whoever looks into it.
const (
	asideFolder = "aside"
	asideSeen   = ".seen.json"
	maxAside    = 20        // files; what comes beyond is in the log alone
	maxKept     = 256 << 10 // bytes of a payload
)

// An asideMessage is what such a file holds.
type asideMessage struct {
	At       time.Time `json:"at"`
	Why      string    `json:"why"`
	Topic    string    `json:"topic"`
	Payload  []byte    `json:"payload"` // its head
	Size     int       `json:"size"`    // of the whole
	QoS      mqtt.QoS  `json:"qos"`
	Retain   bool      `json:"retain"`
	Retained bool      `json:"retained"`
	Client   string    `json:"client,omitempty"`
}

// setAside keeps a message for the owner to report.
func (h *Hub) setAside(m *mqtt.Message, why string) {
	if h.store.Ready() != nil {
		return // the log has it
	}
	dir := filepath.Join(h.cfg.Dir, asideFolder)
	if there, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(there) >= maxAside {
		return
	}
	now := h.clock.now().Wall
	data, err := json.MarshalIndent(asideMessage{
		At: now.Round(0), Why: why, Topic: m.Topic, Payload: m.Payload[:min(len(m.Payload), maxKept)], Size: len(m.Payload),
		QoS: m.QoS, Retain: m.Retain, Retained: m.Retained, Client: m.ClientID,
	}, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = store.Snapshot(filepath.Join(dir, "message-"+strconv.FormatInt(now.UnixNano(), 10)+".json"), append(data, '\n'))
	}
	if err != nil {
		h.log.Error("message could not be set aside", "topic", m.Topic, "err", err)
	}
}

// unseenMessages lists the files of messages that the owner has not seen yet.
func unseenMessages(dir string) (list []string) {
	files, _ := filepath.Glob(filepath.Join(dir, asideFolder, "*.json")) // the pattern is right
	for _, f := range files {
		if !strings.HasSuffix(f, asideSeen) {
			list = append(list, f)
		}
	}
	return list
}

// messagesSeen ends the notice of them; the files stay.
func messagesSeen(dir string) error {
	for _, f := range unseenMessages(dir) {
		if err := os.Rename(f, strings.TrimSuffix(f, ".json")+asideSeen); err != nil {
			return err
		}
	}
	return nil
}
