package view

import "time"

// Settings is what the settings page shows.
type Settings struct {
	Role        string
	Credentials []Credential
	MQTT, Web   []string // addresses
	Version     string
	Disk        []Fact
}

// A Credential is what a device connects with.
type Credential struct {
	Name              string
	Created, LastSeen time.Time
}
