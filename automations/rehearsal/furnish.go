package rehearsal

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
)

// rules reads rules that are written out, or those of a file.
func (p *player) rules(path string, n *yaml.Node) []automations.Rule {
	if n.Kind != yaml.ScalarNode {
		r := automations.Rule{Enabled: true}
		places, problems := automations.ReadNode(n, &r)
		if len(problems) == 0 {
			for _, problem := range r.Validate(nil) {
				line, column := places.At(problem.Path)
				problems = append(problems, automations.TextProblem{Line: line, Column: column, Problem: problem})
			}
		}
		start, _ := p.places.At("")
		offset := start - p.rootLine()
		for _, problem := range problems {
			if !problem.Warning {
				problem.Line += offset
				problem.Path = path + "." + problem.Path
				p.result.Errors = append(p.result.Errors, problem)
			}
		}
		return []automations.Rule{r}
	}
	name := n.Value
	data, err := p.open(filepath.Join(p.dir, name))
	if err != nil {
		p.bad(path, "The file of rules cannot be opened: %v.", err)
		return nil
	}
	var rules []automations.Rule
	texts := automations.ParseYAML(data)
	if len(texts) == 0 {
		p.bad(path, "There is no rule in %s.", name)
	}
	for _, text := range texts {
		for _, problem := range text.Problems {
			if !problem.Warning {
				p.bad(path, "%s:%s", name, problem)
			}
		}
		rules = append(rules, text.Rule)
	}
	return rules
}

// rootLine is the line of the test's first key within its document.
func (p *player) rootLine() int {
	line, _ := p.places.At("")
	return line - (p.result.Line - 1)
}

func (p *player) save(rules []automations.Rule, fate automations.Fate) error {
	for _, r := range rules {
		err := p.house.do(func(t *mqtt.Turn) error {
			basedOn := 0
			if old := p.house.engine.Rule(r.ID); old != nil && r.ID != "" {
				basedOn = old.Version
			}
			_, err := p.house.engine.SaveAnd(t, r, "test", basedOn, fate)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// furnish brings the house to where the test begins.
func (p *player) furnish() bool {
	g := &p.test.Given
	place := automations.Place{}
	if g.Home.Latitude != nil && g.Home.Longitude != nil {
		place = automations.Place{Known: true, Latitude: *g.Home.Latitude, Longitude: *g.Home.Longitude}
	}
	p.house = newHouse(place, p.location, p.clock, g.Trusted == nil || *g.Trusted)
	if p.house.back = time.Duration(g.DevicesBack); p.house.back < 0 || p.house.back > time.Minute {
		p.bad("given.devices_back", "It is from 0s to 1m.")
	}
	var rules [][]automations.Rule
	for i := range g.Rules {
		rules = append(rules, p.rules(fmt.Sprintf("given.rules[%d]", i), &g.Rules[i]))
	}
	for i := range g.Retained {
		m := &g.Retained[i]
		path := fmt.Sprintf("given.retained[%d]", i)
		p.house.keep(&mqtt.Message{Topic: m.Topic, Payload: []byte(p.payload(path, &m.Payload)), Retain: true})
	}
	for i := range g.Devices {
		p.announce(fmt.Sprintf("given.devices[%d]", i), &g.Devices[i])
	}
	if len(p.result.Errors) > 0 {
		return false
	}
	if err := p.house.start(); err != nil {
		p.bad("", "The hub does not start: %v.", err)
		return false
	}
	for i, made := range g.Groups {
		err := p.house.do(func(t *mqtt.Turn) error {
			_, err := p.house.model.AddGroup(t, devices.Group{Name: made.Name, Members: made.Members})
			return err
		})
		if err != nil {
			p.bad(fmt.Sprintf("given.groups[%d]", i), "%v.", err)
			return false
		}
	}
	for i := range g.States {
		m := &g.States[i]
		p.house.come(mqtt.Message{Topic: m.Topic, Payload: []byte(p.payload(fmt.Sprintf("given.states[%d]", i), &m.Payload)), ClientID: "before"})
	}
	p.house.turn(p.house.model.Flush) // they were there long before
	p.house.flush()
	p.house.recording = true
	for i, list := range rules {
		if err := p.save(list, automations.Finish); err != nil {
			p.bad(fmt.Sprintf("given.rules[%d]", i), "%s.", strings.TrimSuffix(err.Error(), "."))
			return false
		}
	}
	if p.furnished != nil {
		p.furnished(p.house)
	}
	return len(p.result.Errors) == 0
}

// announce makes the retained discovery message of a device.
func (p *player) announce(path string, d *device) {
	if d.Name == "" || strings.Trim(d.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(d.Name) > 60 {
		p.bad(path+".name", "A device has a name of a-z, 0-9 and _.")
		return
	}
	config := map[string]any{
		"name": strings.ReplaceAll(d.Name, "_", " "), "unique_id": d.Name, "object_id": d.Name,
	}
	base := "dev/" + d.Name
	if d.Kind != "button" && d.Kind != "scene" && d.Kind != "notify" {
		config["state_topic"] = base + "/state"
	}
	switch devices.Kind(d.Kind) {
	case devices.Sensor, devices.BinarySensor, devices.Tracker:
	case devices.Event:
		config["event_types"] = []string{"press", "double", "hold"}
	default:
		config["command_topic"] = base + "/set"
	}
	if d.Online != nil {
		config["availability_topic"] = base + "/available"
		payload := "offline"
		if *d.Online {
			payload = "online"
		}
		p.house.keep(&mqtt.Message{Topic: base + "/available", Payload: []byte(payload), Retain: true})
	}
	if d.Config != nil {
		text := p.payload(path+".config", d.Config)
		if json.Unmarshal([]byte(text), &config) != nil {
			p.bad(path+".config", "Keys of the discovery message are needed here.")
			return
		}
	}
	b, err := json.Marshal(config)
	if err != nil {
		p.bad(path+".config", "%v.", err)
		return
	}
	p.house.keep(&mqtt.Message{Topic: "homeassistant/" + d.Kind + "/" + d.Name + "/config", Payload: b, Retain: true})
}
