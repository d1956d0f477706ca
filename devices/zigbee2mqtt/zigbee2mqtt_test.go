package zigbee2mqtt

import (
	"strings"
	"testing"
	"time"
)

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"zigbee2mqtt/bridge/devices":                     "zigbee2mqtt devices ",
		"zigbee2mqtt/bridge/state":                       "zigbee2mqtt state ",
		"up/bridge/info":                                 "up info ",
		"up/bridge/response/device/rename":               "up response device/rename",
		"home/attic/bridge/groups":                       "home/attic groups ",
		"home/cellar/bridge/groups":                      "", // not told
		"zigbee2mqtt/bridge/devices/x":                   "",
		"zigbee2mqtt/bridge/response":                    "",
		"zigbee2mqtt/bridge/logging":                     "",
		"zigbee2mqtt/bridge/devices/":                    "",
		"/bridge/devices":                                "",
		"$SYS/bridge/devices":                            "",
		"bridge/devices":                                 "",
		strings.Repeat("x", maxText+1) + "/bridge/state": "",
	} {
		base, subject, rest, ok := ParseTopic(topic, []string{"home/attic"})
		got := ""
		if ok {
			got = base + " " + string(subject) + " " + rest
		}
		if got != want {
			t.Errorf("%q: %q, want %q", topic, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	info, err := ParseInfo([]byte(`{"version":"2.14.1","permit_join":true,"permit_join_end":1700000000000,"restart_required":"odd","coordinator":{"ieee_address":"0x1","type":"z"}}`))
	if err != nil || info.Version != "2.14.1" || !info.PermitJoin || !info.PermitJoinEnd.Equal(time.Unix(1_700_000_000, 0)) || info.Coordinator.IEEE != "0x1" {
		t.Errorf("info %+v %v", info, err)
	}
	for payload, want := range map[string][2]bool{
		"online": {true, true}, "offline": {false, true}, `{"state":"online"}`: {true, true},
		`{"state":"offline"}`: {false, true}, "": {false, false}, "{}": {false, false}, "[": {false, false},
	} {
		if online, ok := ParseState([]byte(payload)); online != want[0] || ok != want[1] {
			t.Errorf("state %q: %v %v, want %v", payload, online, ok, want)
		}
	}
	for payload, want := range map[string]string{
		`{"status":"ok","transaction":"a"}`:         "",
		`{"status":"error","error":"no such name"}`: "no such name",
		`{}`: "Zigbee2MQTT did not say why",
	} {
		r, err := ParseResponse([]byte(payload))
		got := ""
		if err == nil && r.Err() != nil {
			got = r.Err().Error()
		}
		if got != want || err != nil {
			t.Errorf("response %s: %q %v, want %q", payload, got, err, want)
		}
	}
	// A field of an odd type does not lose the device, nor an odd device the list.
	list, err := ParseDevices([]byte(`[{"ieee_address":"0x00158d0000000001","friendly_name":"a","type":7,"definition":{"exposes":[{"type":"numeric","name":"n","value_max":"9"},{"type":"text","property":"p","access":1}]}},{"friendly_name":"b"},[1],{"ieee_address":"0x00158D0000000002","friendly_name":"c/d"},{"ieee_address":"0x00158d0000000003","friendly_name":"e+"}]`))
	if err != nil || len(list) != 2 || list[0].Name != "a" || len(list[0].Definition.Exposes) != 2 || list[1].IEEE != "0x00158d0000000002" {
		t.Errorf("%+v %v", list, err)
	}
	for _, bad := range []string{"", "{}", "[", "[" + strings.Repeat("{},", MaxDevices) + "{}]"} {
		if _, err := ParseDevices([]byte(bad)); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}

// FuzzDevices: whatever a list says, each entity has a unique ID of its own
// device, and its topics are the device's.
func FuzzDevices(f *testing.F) {
	f.Add([]byte(`[{"ieee_address":"0x00158d0000000001","friendly_name":"a","definition":{"supports_ota":true,"exposes":[{"type":"light","features":[{"type":"binary","name":"state","property":"state","access":7},{"type":"numeric","name":"brightness","property":"brightness","access":7,"value_max":254}]},{"type":"composite","name":"c","property":"c","access":3,"features":[{"type":"enum","name":"e","property":"e","access":3,"values":[1,"x"]}]},{"type":"list","name":"l","property":"l","access":2,"item_type":{"type":"text"}}]},"endpoints":{"1":{"scenes":[{"id":1,"name":"s"}]}}}]`))
	f.Add([]byte(`[{"ieee_address":"0x00158d0000000001","friendly_name":"a/b","definition":{"exposes":[{"type":"climate","features":[{"name":"occupied_heating_setpoint","property":"q\"}}","access":7,"type":"numeric","value_min":1e300}]},{"type":"cover","features":[{"name":"position","access":7}]},{"type":"fan","features":[{"name":"state","access":2}]}]}}]`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		list, err := ParseDevices(payload)
		if err != nil {
			return
		}
		for _, d := range list {
			ids := map[string]bool{}
			for _, e := range Describe("base", "0x00124b0000000001", d) {
				if id := e.Name("unique_id"); !strings.HasPrefix(id, d.IEEE+"_") && id != "" {
					t.Errorf("unique ID %q of %s", id, d.IEEE)
				}
				if id := e.Topic.Key(); ids[id] {
					t.Errorf("%s twice in %s", id, d.IEEE)
				} else {
					ids[id] = true
				}
				for _, key := range []string{"state_topic", "command_topic"} {
					if topic := e.Text(key, ""); topic != "" && !strings.HasPrefix(topic, "base/"+d.Name) && topic != "base/bridge/request/device/ota_update/update" {
						t.Errorf("%s %q of %q", key, topic, d.Name)
					}
				}
			}
		}
	})
}
