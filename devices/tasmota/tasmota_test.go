package tasmota

import (
	"strings"
	"testing"
)

const mac = "A4CF12AABB04"

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"tasmota/discovery/A4CF12AABB04/config":   "A4CF12AABB04 config",
		"tasmota/discovery/a4cf12aabb04/sensors":  "a4cf12aabb04 sensors",
		"tasmota/discovery/A4CF12AABB04":          "",
		"tasmota/discovery/A4CF12AABB04/":         "",
		"tasmota/discovery/A4CF12AABB04/config/x": "",
		"tasmota/discovery/A4CF12AABB0/config":    "",
		"tasmota/discovery/A4CF12AABB0G/config":   "",
		"tasmota/discovery/+4CF12AABB04/config":   "",
		"x/tasmota/discovery/A4CF12AABB04/config": "",
	} {
		got := ""
		if m, p, ok := ParseTopic(topic); ok {
			got = m + " " + string(p)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", topic, got, want)
		}
	}
}

// TestTopics holds how the full topic makes the device's topics.
func TestTopics(t *testing.T) {
	for fields, want := range map[string]string{
		`"t":"lamp"`: "cmnd/lamp/ stat/lamp/ tele/lamp/",
		`"t":"lamp","ft":"%topic%/%prefix%/","tp":["c","s","t"]`:    "lamp/c/ lamp/s/ lamp/t/",
		`"t":"lamp","ft":"home/%prefix%/%topic%"`:                   "home/cmnd/lamp/ home/stat/lamp/ home/tele/lamp/",
		`"t":"lamp","hn":"host-1","ft":"%hostname%/%id%/%prefix%/"`: "host-1/AABB04/cmnd/ host-1/AABB04/stat/ host-1/AABB04/tele/",
		`"t":"lamp","ft":"%topic%/"`:                                "",
		`"t":"a/#"`:                                                 "",
		`"t":"a","ft":"$SYS/%prefix%/%topic%/"`:                     "",
		`"ft":"%prefix%/%topic%/"`:                                  "",
		`"t":"` + strings.Repeat("x", 300) + `","ft":"%prefix%%topic%%topic%%topic%%topic%"`: "",
	} {
		c, err := ParseConfig(mac, []byte(`{"mac":"a4cf12aabb04",`+fields+`}`))
		got := ""
		if err == nil {
			got = strings.Join(c.topics[:], " ")
		}
		if got != want {
			t.Errorf("%s: %q %v, want %q", fields, got, err, want)
		}
	}
}

// TestOddConfig: what is of another type than expected does not lose the rest.
func TestOddConfig(t *testing.T) {
	c, err := ParseConfig(mac, []byte(`{"mac":"A4CF12AABB04","t":"x","dn":7,"ip":"javascript:x","fn":"a","state":["off",null],"rl":[1,"2",3,null,true],"lk":true,"bat":[0,1],"so":[],"sht":[[1,"x"],7],"btn":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "Tasmota AABB04" || c.IP != "" || c.Off != "off" || c.On != "ON" || len(c.Relays) != 5 || c.Relays[0] != 1 || c.Relays[1] != 0 || !c.Linked || !c.Sleeps {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "[]", "{}", `{"mac":"A4CF12AABB05","t":"x"}`, `{"mac":"A4CF12AABB04"`, `{"mac":"A4CF12AABB04","t":"` + strings.Repeat("x", MaxPayload) + `"}`} {
		if _, err := ParseConfig(mac, []byte(bad)); err == nil {
			t.Errorf("%.40q was read", bad)
		}
	}
}

// TestSensors holds what becomes of a measured number.
func TestSensors(t *testing.T) {
	c, err := ParseConfig(mac, []byte(`{"mac":"A4CF12AABB04","t":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ sn, id, name, unit, class, state string }{
		{`"ENERGY":{"Total":1}`, "AABB04_ENERGY_Total", "Energy total", "kWh", "energy", "total_increasing"},
		{`"ENERGY":{"TotalTariff":[1]}`, "AABB04_ENERGY_TotalTariff_1", "Energy of tariff 1", "kWh", "energy", "total_increasing"},
		{`"ENERGY":{"Yesterday":1}`, "AABB04_ENERGY_Yesterday", "Energy yesterday", "kWh", "energy", ""},
		{`"ENERGY":{"ReactivePower":1}`, "AABB04_ENERGY_ReactivePower", "Reactive power", "var", "reactive_power", "measurement"},
		{`"DS18B20":{"Id":"01","Temperature":null}`, "AABB04_DS18B20_Temperature", "DS18B20 temperature", "°C", "temperature", "measurement"},
		{`"BME280":{"Pressure":1000},"PressureUnit":"mmHg"`, "AABB04_BME280_Pressure", "BME280 pressure", "mmHg", "pressure", "measurement"},
		{`"BME280":{"SeaPressure":1000}`, "AABB04_BME280_SeaPressure", "BME280 sea level pressure", "hPa", "atmospheric_pressure", "measurement"},
		{`"TX23":{"Dir":{"Card":"N","Deg":1}}`, "AABB04_TX23_Dir_Deg", "TX23 dir deg", "", "", "measurement"},
		{`"PMS5003":{"PM2.5":1}`, "AABB04_PMS5003_PM2_5", "PMS5003 PM2.5", "µg/m³", "pm25", "measurement"},
		{`"COUNTER":{"C1":1}`, "AABB04_COUNTER_C1", "COUNTER C1", "", "", "measurement"},
	}
	for _, tt := range tests {
		s, err := ParseSensors([]byte(`{"sn":{"Time":1,` + tt.sn + `},"ver":1}`))
		if err != nil {
			t.Fatal(err)
		}
		all := DescribeSensors(c, s)
		if len(all) != 1 {
			t.Errorf("%s: %d entities, want 1", tt.sn, len(all))
			continue
		}
		e := all[0]
		got := []string{e.Name("unique_id"), e.Name("name"), e.Name("unit_of_measurement"), e.Name("device_class"), e.Name("state_class")}
		if want := []string{tt.id, tt.name, tt.unit, tt.class, tt.state}; strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %q, want %q", tt.sn, got, want)
		}
	}
	many := `{"sn":{"A":[` + strings.Repeat("1,", 20) + `1],"K":{"a":1},"Z":{"` + strings.Repeat(`x`, maxKey+1) + `":1}}}`
	if s, err := ParseSensors([]byte(many)); err != nil || len(s.Leaves) != 17 {
		t.Errorf("%+v %v", s, err)
	}
}

// FuzzDescribe: whatever a device says, each of its entities has a unique ID
// of its own, is told on the topics for commands, and read from the others.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"mac":"A4CF12AABB04","t":"x","fn":["a","a",null],"rl":[2,1,3,3,2],"lt_st":5,"lk":0,"swc":[5,0,13],"btn":[1,1],"sht":[[0,90]],"so":{"4":1,"73":1,"68":0},"if":1}`),
		[]byte(`{"sn":{"ENERGY":{"Total":[1,2],"Power":null},"TempUnit":"F","A 1":{"B":1},"A_1":{"B":1}}}`))
	f.Add([]byte(`{"mac":"A4CF12AABB04","t":"é","ft":"%topic%/%prefix%","rl":[2,2],"lt_st":4,"so":{"68":1,"30":1}}`), []byte(`{"sn":{"é":{"é":1}}}`))
	f.Fuzz(func(t *testing.T, config, sensors []byte) {
		c, err := ParseConfig(mac, config)
		if err != nil {
			return
		}
		all := Describe(c)
		if len(all) == 0 {
			t.Error("a device without entities")
		}
		if s, err := ParseSensors(sensors); err == nil {
			measured := DescribeSensors(c, s)
			if len(measured) != len(s.Leaves) {
				t.Errorf("%d entities of %d numbers", len(measured), len(s.Leaves))
			}
			all = append(all, measured...)
		}
		ids := map[string]bool{}
		for _, e := range all {
			id := e.Topic.Component + " " + e.Name("unique_id")
			if !strings.HasPrefix(e.Name("unique_id"), "AABB04_") || ids[e.Topic.Key()] {
				t.Errorf("unique ID %q", id)
			}
			ids[e.Topic.Key()] = true
			if topic := e.Text("command_topic", ""); topic != "" && !strings.HasPrefix(topic, c.topics[0]) {
				t.Errorf("command topic %q", topic)
			}
			if len(e.Sources) == 0 {
				t.Errorf("%s is read from nowhere", id)
			}
			for _, s := range e.Sources {
				if !strings.HasPrefix(s.Topic, c.topics[1]) && !strings.HasPrefix(s.Topic, c.topics[2]) {
					t.Errorf("%s reads %q", id, s.Topic)
				}
			}
		}
	})
}
