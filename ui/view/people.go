package view

import "time"

// Settings is what the settings page shows.
type Settings struct {
	Role        string
	Credentials []Credential
	MQTT, Web   []string // addresses
	Version     string
	Place       string // and the time zone
	Disk        []Fact
}

// A Credential is what a device connects with.
type Credential struct {
	Name              string
	Created, LastSeen time.Time
}
