package zigbee2mqtt

import "strings"

// usual says what an expose is by its name and unit: exposes do not say it
// themselves. It is what Zigbee2MQTT says when it speaks the other convention.
func usual(e *Expose) map[string]any {
	o := map[string]any{}
	if icon := icons[e.Name]; icon != "" {
		o["icon"] = icon
	}
	if folded[e.Name] {
		o["enabled_by_default"] = false
	}
	switch {
	case e.Settable():
		if e.Name == "identify" {
			o["device_class"] = "identify"
		}
	case e.Type == "binary":
		if class := binaryClasses[e.Name]; class != "" {
			o["device_class"] = class
		}
	case e.Type == "numeric":
		class := numericClasses[e.Name]
		if class == "" {
			class = unitClasses[strings.TrimSpace(e.Unit)]
		}
		switch class {
		case "":
			if counters[e.Name] || e.Unit != "" {
				o["state_class"] = "measurement"
			}
		case "energy", "water":
			o["device_class"], o["state_class"] = class, "total_increasing"
		case "duration":
			o["device_class"] = class
		default:
			o["device_class"], o["state_class"] = class, "measurement"
		}
	}
	return o
}

var binaryClasses = map[string]string{
	"battery_low": "battery", "tamper": "tamper", "occupancy": "occupancy", "presence": "occupancy",
	"contact": "door", "water_leak": "moisture", "rain": "moisture", "smoke": "smoke", "gas": "gas",
	"carbon_monoxide": "carbon_monoxide", "window_open": "window", "vibration": "vibration", "moving": "moving",
	"garage_door_contact": "garage_door", "consumer_connected": "plug", "is_plug_connected": "plug",
	"valve_alarm": "problem", "is_charging": "battery_charging", "charging": "battery_charging", "setup": "running",
}

var numericClasses = map[string]string{
	"battery": "battery", "battery2": "battery", "humidity": "humidity", "soil_moisture": "moisture",
	"illuminance": "illuminance", "pressure": "atmospheric_pressure", "co2": "carbon_dioxide", "pm25": "pm25",
	"pm10": "pm10", "eco2": "volatile_organic_compounds_parts", "aqi": "aqi", "power_factor": "power_factor",
	"distance": "distance", "water_consumed": "water", "action_duration": "duration", "charging_duration": "duration",
	"temperature": "temperature", "local_temperature": "temperature",
}

var unitClasses = map[string]string{
	"°C": "temperature", "°F": "temperature", "W": "power", "kW": "power", "kWh": "energy", "Wh": "energy",
	"V": "voltage", "mV": "voltage", "A": "current", "mA": "current", "lx": "illuminance", "Hz": "frequency",
	"VA": "apparent_power", "hPa": "atmospheric_pressure",
}

// counters are numbers without a unit that are worth a history.
var counters = map[string]bool{
	"linkquality": true, "power_outage_count": true, "voc_index": true, "smoke_density": true,
	"formaldehyde": true, "trigger_count": true,
}

// folded are shown only to who asks.
var folded = map[string]bool{
	"linkquality": true, "power_outage_count": true, "effect": true, "effect_speed": true, "effect_color": true,
}

var icons = map[string]string{
	"linkquality": "mdi:signal", "power_on_behavior": "mdi:power-settings", "power_outage_memory": "mdi:power-settings",
	"effect": "mdi:palette", "child_lock": "mdi:account-lock", "power_outage_count": "mdi:counter",
	"occupancy_timeout": "mdi:timer", "operation_mode": "mdi:tune", "sensitivity": "mdi:tune",
	"pi_heating_demand": "mdi:radiator", "calibration": "mdi:wrench-clock",
}
