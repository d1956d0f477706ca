package automations

import (
	"slices"
	"strings"

	"lar.home/devices"
)

// commandsOf are the commands that entities of a kind can have; which of them
// one has depends on how it describes itself.
var commandsOf = map[devices.Kind][]string{
	devices.Alarm:        {"disarm", "arm_home", "arm_away", "arm_night", "arm_vacation", "arm_custom_bypass", "trigger"},
	devices.Button:       {"press"},
	devices.Climate:      {"set_mode", "set_target", "set_target_low", "set_target_high", "set_humidity", "set_fan_mode", "set_swing_mode", "set_swing_horizontal_mode", "set_preset", "set_aux", "set_away", "turn_on", "turn_off"},
	devices.Cover:        {"open", "close", "stop", "set_position", "open_tilt", "close_tilt", "stop_tilt", "set_tilt"},
	devices.Date:         {"set"},
	devices.DateTime:     {"set"},
	devices.Fan:          {"turn_on", "turn_off", "toggle", "set_speed", "set_preset", "oscillate", "set_direction"},
	devices.Humidifier:   {"turn_on", "turn_off", "toggle", "set_humidity", "set_mode"},
	devices.LawnMower:    {"start", "pause", "dock"},
	devices.Light:        {"turn_on", "turn_off", "toggle"},
	devices.Lock:         {"lock", "unlock", "open"},
	devices.Notify:       {"send"},
	devices.NumberEntity: {"set"},
	devices.Scene:        {"activate"},
	devices.Select:       {"select"},
	devices.Siren:        {"turn_on", "turn_off", "toggle"},
	devices.Switch:       {"turn_on", "turn_off", "toggle"},
	devices.TextEntity:   {"set", "update"},
	devices.TimeEntity:   {"set"},
	devices.Update:       {"install"},
	devices.Vacuum:       {"start", "pause", "stop", "return", "locate", "clean_spot", "set_fan_speed", "send"},
	devices.Valve:        {"open", "close", "stop", "set_position"},
	devices.WaterHeater:  {"set_mode", "set_target", "turn_on", "turn_off"},
}

// commandsElsewhere are what other hubs call a command.
var commandsElsewhere = map[string]string{
	"set_temperature": "set_target", "set_value": "set", "select_option": "select", "set_hvac_mode": "set_mode", "set_preset_mode": "set_preset", "set_percentage": "set_speed",
	"open_cover": "open", "close_cover": "close", "stop_cover": "stop", "set_cover_position": "set_position", "set_cover_tilt_position": "set_tilt",
	"open_valve": "open", "close_valve": "close", "set_valve_position": "set_position", "return_to_base": "return", "start_mowing": "start", "send_message": "send",
	"alarm_arm_away": "arm_away", "alarm_arm_home": "arm_home", "alarm_arm_night": "arm_night", "alarm_disarm": "disarm", "send_command": "send",
}

// known checks that entities of a kind can have a command at all. Kinds that
// are not in the table are those of devices that describe themselves freely.
func (c *checker) known(path string, kind devices.Kind, command string) {
	names := commandsOf[kind]
	if names == nil || slices.Contains(names, command) {
		return
	}
	best := nearest(command, names)
	if there := commandsElsewhere[command]; slices.Contains(names, there) {
		best = there
	}
	if best != "" {
		c.bad(path, "No %s has a command %q; is it %q?", kind, clip(command), best)
		return
	}
	c.bad(path, "No %s has a command %q; there are %s.", kind, clip(command), strings.Join(names, ", "))
}

// kindOfID returns the kind of the entity with an ID.
func kindOfID(id string) devices.Kind {
	kind, _, _ := strings.Cut(id, ".")
	return devices.Kind(kind)
}

// kindsOfIDs returns the kinds of several entities, each once.
func kindsOfIDs(ids []string) (list []devices.Kind) {
	for _, id := range ids {
		if kind := kindOfID(id); !slices.Contains(list, kind) {
			list = append(list, kind)
		}
	}
	return list
}
