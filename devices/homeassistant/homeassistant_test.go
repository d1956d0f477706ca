package homeassistant

import (
	"strings"
	"testing"

	"lar.home/devices/template"
)

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"homeassistant/light/lamp/config":                             "light//lamp",
		"homeassistant/light/node/lamp/config":                        "light/node/lamp",
		"homeassistant/sensor/0x1/ntc status/config":                  "sensor/0x1/ntc status",
		"homeassistant/light/config":                                  "",
		"homeassistant/light/a/b/c/config":                            "",
		"homeassistant/light//lamp/config":                            "",
		"homeassistant//lamp/config":                                  "",
		"homeassistant/light/lamp/state":                              "",
		"homeassistantx/light/lamp/config":                            "",
		"homeassistant/config":                                        "",
		"/config":                                                     "",
		"homeassistant/light/la\x00mp/config":                         "",
		"homeassistant/light/" + strings.Repeat("x", 256) + "/config": "",
	} {
		got, ok := ParseTopic("homeassistant", topic)
		if ok != (want != "") || ok && got.Key() != want {
			t.Errorf("%q: %q %v, want %q", topic, got.Key(), ok, want)
		}
	}
}

// parse reads a message and prints the options of its components.
func parse(t *testing.T, topic, payload string) (*Message, string) {
	t.Helper()
	where, ok := ParseTopic("homeassistant", topic)
	if !ok {
		t.Fatalf("%q is no topic", topic)
	}
	m, err := Parse(where, []byte(payload))
	if err != nil {
		return m, err.Error()
	}
	var out []string
	for _, c := range m.Configs {
		text, err := c.Options.AppendJSON(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		if c.Remove {
			text = []byte("removed")
		}
		if c.Err != nil {
			text = []byte(c.Err.Error())
		}
		out = append(out, c.Topic.Key()+" "+string(text))
	}
	return m, strings.Join(out, "\n")
}

func TestParse(t *testing.T) {
	const single = "homeassistant/light/lamp/config"
	const device = "homeassistant/device/pump/config"
	for _, c := range []struct{ name, topic, payload, want string }{
		{"short and long keys mix", single, `{"cmd_t":"a","stat_t":"b","state_topic":"long wins","bri_scl":99}`,
			`light//lamp {"brightness_scale":99,"command_topic":"a","state_topic":"long wins"}`},
		{"families", single, `{"pct_cmd_t":1,"pct_val_tpl":2,"temp_hi_stat_tpl":3,"hum_stat_t":4,"clr_temp_cmd_tpl":5,"fx_stat_t":6,"pr_mode_val_tpl":7}`,
			`light//lamp {"color_temp_command_template":5,"effect_state_topic":6,"percentage_command_topic":1,"percentage_value_template":2,"preset_mode_value_template":7,"target_humidity_state_topic":4,"temperature_high_state_template":3}`},
		{"tilde", single, `{"~":"home/lamp","cmd_t":"~/set","stat_t":"state/~","t":"~","val_tpl":"~ is text","avty":[{"t":"~/up","pl_avail":"1"}]}`,
			`light//lamp {"availability":[{"payload_available":"1","topic":"home/lamp/up"}],"command_topic":"home/lamp/set","state_topic":"state/home/lamp","topic":"home/lamp","value_template":"~ is text","~":"home/lamp"}`},
		{"availability without a list", single, `{"avty":{"t":"up"}}`, `light//lamp {"availability":[{"topic":"up"}]}`},
		{"bundle shares", device, `{"dev":{"ids":"x"},"o":{"name":"o"},"~":"top","qos":1,"avty_t":"~/up","stat_t":"~/s","cmps":{"a":{"p":"switch","cmd_t":"~/set","stat_t":"own"},"b":{"p":"sensor"},"c":{"platform":"sensor","name":"C"}}}`,
			"switch/pump/a {\"availability_topic\":\"top/up\",\"command_topic\":\"~/set\",\"platform\":\"switch\",\"qos\":1,\"state_topic\":\"own\"}\n" +
				"sensor/pump/b removed\n" +
				"sensor/pump/c {\"availability_topic\":\"top/up\",\"name\":\"C\",\"platform\":\"sensor\",\"qos\":1,\"state_topic\":\"top/s\"}"},
		{"bundle with a bad part", device, `{"dev":{"ids":"x"},"cmps":{"a":7,"b":{"name":"no platform"},"c":{"p":"tag","t":"t"}}}`,
			"unknown/pump/a component without a usable key and platform\nunknown/pump/b component without a usable key and platform\ntag/pump/c {\"platform\":\"tag\",\"topic\":\"t\"}"},
		{"bundle without components", device, `{"dev":{"ids":"x"}}`, "device message without components"},
		{"bundle without identifiers", device, `{"dev":{"name":"x"},"cmps":{}}`, "device message without identifiers or connections in its device block"},
		{"list", single, `[]`, "discovery message is not a JSON object"},
		{"text", single, `hello`, "not JSON"},
		{"migration", single, `{"migr_discvry":true}`, ""},
		{"removal", single, ``, ""},
	} {
		if _, got := parse(t, c.topic, c.payload); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if m, _ := parse(t, single, ""); !m.Remove {
		t.Error("an empty payload does not remove")
	}
	if m, _ := parse(t, single, `{"migrate_discovery":true}`); !m.Migrate {
		t.Error("migrate_discovery does not migrate")
	}
}

func TestDevice(t *testing.T) {
	m, _ := parse(t, "homeassistant/light/lamp/config", `{"dev":{"ids":["a"," b ",7,null],"cns":[["mac","AA:BB"],["bad"],["ip",""]],"name":"N","mf":"M","mdl":5,"sw":"1.0","sa":"Hall","cu":"javascript:x"}}`)
	d := m.Configs[0].Device
	if got := strings.Join(d.Identifiers, "|"); got != "a|b|7|mac:aa:bb" {
		t.Errorf("identifiers %s", got)
	}
	if d.Model != "5" || d.ConfigURL != "" || d.Area != "Hall" || d.SWVersion != "1.0" {
		t.Errorf("%+v", d)
	}
	if m, _ := parse(t, "homeassistant/light/lamp/config", `{"dev":{"name":"nobody"}}`); m.Configs[0].Device != nil {
		t.Error("a block that identifies nothing made a device")
	}
}

// TestHash: the order of keys does not matter, anything else does.
func TestHash(t *testing.T) {
	hash := func(s string) [32]byte {
		m, _ := parse(t, "homeassistant/light/lamp/config", s)
		return m.Hash
	}
	if hash(`{"a":1,"b":{"c":2,"d":3}}`) != hash(` {"b":{"d":3,"c":2},"a":1}`) {
		t.Error("the order of keys changes the hash")
	}
	if hash(`{"a":1}`) == hash(`{"a":"1"}`) || hash(`{"a":[1,2]}`) == hash(`{"a":[2,1]}`) {
		t.Error("different messages have one hash")
	}
}

func TestOptions(t *testing.T) {
	v, err := template.Decode(`{"n":5,"s":" 5.5 ","t":true,"f":"False","l":["a",1,null,true],"null":null,"bad":"x"}`)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Options: v}
	if c.Number("n", 0) != 5 || c.Number("s", 0) != 5.5 || c.Number("bad", 7) != 7 || c.Number("none", 8) != 8 {
		t.Error("Number")
	}
	if !c.Flag("t", false) || c.Flag("f", true) || !c.Flag("bad", true) {
		t.Error("Flag")
	}
	if c.Text("t", "") != "True" || c.Text("null", "def") != "def" || c.Text("n", "") != "5" {
		t.Error("Text")
	}
	if got := strings.Join(c.Texts("l", 10), "|"); got != "a|1|True" {
		t.Errorf("Texts %q", got)
	}
	if c.Has("null") || !c.Null("null") || c.Null("none") || !c.Has("n") {
		t.Error("Has and Null")
	}
}

func TestAddress(t *testing.T) {
	for ident, want := range map[string]string{
		"zigbee2mqtt_0x00158D0001020304":        "ieee:0x00158d0001020304",
		"0x00158d0001020304":                    "ieee:0x00158d0001020304",
		"zigbee:00:15:8d:00:01:02:03:04":        "ieee:0x00158d0001020304",
		"mac:AA:BB:CC:00:11:22":                 "mac:aa:bb:cc:00:11:22",
		"aabbcc001122":                          "mac:aa:bb:cc:00:11:22",
		"AA-BB-CC-00-11-22":                     "mac:aa:bb:cc:00:11:22",
		"mac:aabbcc001122":                      "mac:aa:bb:cc:00:11:22",
		"zigbee2mqtt_bridge_0x00158d0001020304": "",
		"0x00158d0001020304_l1":                 "",
		"gateway_aabbcc001122":                  "",
		"plug1":                                 "",
		"0xaabbcc001122":                        "",
		"":                                      "",
	} {
		if got := address(ident); got != want {
			t.Errorf("address(%q) = %q, want %q", ident, got, want)
		}
	}
}
