package rehearsal

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"lar.home/automations"
)

// whole describes entities with all that their kind can have.
const whole = `
alarm_control_panel {}
binary_sensor {}
button {}
climate {"modes": ["off", "heat"], "mode_command_topic": "c", "temperature_command_topic": "c", "temperature_high_command_topic": "c", "temperature_low_command_topic": "c", "target_humidity_command_topic": "c", "current_temperature_topic": "s", "current_humidity_topic": "s", "action_topic": "s", "fan_modes": ["low"], "fan_mode_command_topic": "c", "swing_modes": ["on"], "swing_mode_command_topic": "c", "swing_horizontal_modes": ["on"], "swing_horizontal_mode_command_topic": "c", "preset_modes": ["eco"], "preset_mode_command_topic": "c", "power_command_topic": "c"}
cover {"position_topic": "s", "set_position_topic": "c", "tilt_command_topic": "c", "tilt_status_topic": "s", "payload_stop_tilt": "STOP"}
date {}
datetime {}
device_tracker {}
event {"event_types": ["press"]}
fan {"percentage_command_topic": "c", "preset_modes": ["eco"], "preset_mode_command_topic": "c", "oscillation_command_topic": "c", "direction_command_topic": "c"}
humidifier {"target_humidity_command_topic": "c", "modes": ["eco"], "mode_command_topic": "c", "action_topic": "s", "current_humidity_topic": "s"}
lawn_mower {"activity_state_topic": "s", "start_mowing_command_topic": "c", "pause_command_topic": "c", "dock_command_topic": "c"}
light {"schema": "json", "brightness": true, "supported_color_modes": ["color_temp", "hs"], "effect": true, "effect_list": ["rainbow"], "flash": true, "transition": true}
lock {"payload_open": "OPEN"}
notify {}
number {}
scene {}
select {"options": ["a"]}
sensor {}
siren {"available_tones": ["a"], "support_volume_set": true, "support_duration": true}
switch {}
text {}
time {}
update {"payload_install": "go", "latest_version_topic": "s"}
vacuum {"supported_features": ["start", "stop", "pause", "return_home", "battery", "status", "locate", "clean_spot", "fan_speed", "send_command"], "fan_speed_list": ["low"], "set_fan_speed_topic": "c", "send_command_topic": "c"}
valve {"reports_position": true, "position_topic": "s", "set_position_topic": "c"}
water_heater {"modes": ["off", "eco"], "mode_command_topic": "c", "temperature_command_topic": "c", "current_temperature_topic": "s", "power_command_topic": "c"}
`

// TestKindsAreDescribed compares what entities are worth and can be told with
// the table in rules.md, and with what a rule may say.
func TestKindsAreDescribed(t *testing.T) {
	doc, err := os.ReadFile("../../packaging/docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	_, table, _ := strings.Cut(string(doc), "## 1.5")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			for _, kind := range strings.Split(strings.Trim(cells[1], " `"), "`, `") {
				rows[kind] = cells[2] + "|" + cells[3]
			}
		}
		if strings.HasPrefix(line, "## ") {
			break
		}
	}
	h := newHouse(automations.Place{}, time.UTC, time.Now(), true)
	p := &player{house: h}
	for line := range strings.Lines(strings.TrimSpace(whole)) {
		kind, config, _ := strings.Cut(strings.TrimSpace(line), " ")
		c := map[string]any{}
		if err := json.Unmarshal([]byte(config), &c); err != nil {
			t.Fatal(kind, err)
		}
		p.announce("", &device{Kind: kind, Name: "x"})
		m := h.retained[len(h.retained)-1]
		if err := json.Unmarshal(m.Payload, &c); err != nil {
			t.Fatal(kind, err)
		}
		for k, v := range c {
			if v == "c" || v == "s" {
				c[k] = kind + "/" + k
			}
		}
		m.Payload, _ = json.Marshal(c)
	}
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	kinds := 0
	for _, d := range h.model.House().Devices {
		for _, e := range d.Entities {
			kind := string(e.Kind)
			kinds++
			if e.Problem != "" {
				t.Errorf("%s: %s", e.ID, e.Problem)
			}
			for _, a := range e.Aspects {
				if !strings.Contains(rows[kind], "`"+a.Name+"`") && a.Name != "attributes" {
					t.Errorf("rules.md does not say that a %s has the aspect %s", kind, a.Name)
				}
			}
			for _, c := range e.Commands {
				if !strings.Contains(rows[kind], "`"+c.Name) {
					t.Errorf("rules.md does not say that a %s has the command %s", kind, c.Name)
				}
				for _, a := range c.Args {
					if !strings.Contains(rows[kind], a.Name) {
						t.Errorf("rules.md does not say that %s of a %s takes %s", c.Name, kind, a.Name)
					}
				}
				r := automations.Rule{Name: "x", Enabled: true, Triggers: []automations.Trigger{{Hand: &automations.HandTrigger{}}},
					Actions: []automations.Action{{Command: &automations.CommandAction{Entity: e.ID, Command: c.Name}}}}
				for _, problem := range r.Validate(nil) {
					t.Errorf("%s %s: %s", e.ID, c.Name, problem.Text)
				}
				r.Actions[0].Command.Command = c.Name + "x"
				if problems := r.Validate(nil); len(problems) != 1 || !strings.Contains(problems[0].Text, "is it") {
					t.Errorf("%s %sx: %v", e.ID, c.Name, problems)
				}
			}
		}
	}
	if want := strings.Count(whole, "{\"") + strings.Count(whole, "{}"); kinds != want {
		t.Errorf("%d entities, want %d", kinds, want)
	}
}
