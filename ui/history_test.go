package ui

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/devices/history"
	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
)

// remembering is a store with the past of some devices of the small flat: 70
// days up to some minutes ago, with a day for which the hub was off.
func remembering(t testing.TB) *mqtttest.Store {
	t.Helper()
	store := mqtttest.NewStore()
	model, err := devices.New(devices.Options{})
	if err != nil {
		t.Fatal(err)
	}
	past, err := history.New(history.Options{House: model.House, Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	model.Watch(past)
	end := time.Now().Add(-10 * time.Minute)
	now := mqtt.Now{Wall: end.AddDate(0, 0, -70), Trusted: true, Run: time.Second}
	number := uint64(0)
	turn := func(fn func(t *mqtt.Turn)) {
		number++
		t := &mqtt.Turn{Number: number, Now: now}
		fn(t)
		store.Submit(number, append(t.Writes(), t.Lazies()...), false)
		if durable, _ := t.Deferred(); durable != nil {
			for _, fn := range durable {
				fn()
			}
		}
	}
	say := func(topic, payload string) {
		turn(func(t *mqtt.Turn) {
			model.Accept(t, &mqtt.Message{Topic: topic, Payload: []byte(payload)}, nil)
		})
	}
	say(announcement(t, "sensor", "bath_temp", "Temperature", "Bath sensor", "Bathroom", map[string]any{"device_class": "temperature", "unit_of_measurement": "°C"}))
	say(announcement(t, "sensor", "meter", "Energy", "Electricity meter", "", map[string]any{"device_class": "energy", "unit_of_measurement": "kWh"}))
	say(announcement(t, "binary_sensor", "window", "Window", "Kitchen window", "Kitchen", map[string]any{"device_class": "window"}))
	say(announcement(t, "sensor", "mode", "Mode", "Boiler", "Kitchen", map[string]any{"device_class": "enum", "options": []string{"heating", "idle", "hot water"}}))
	energy := 700.0
	for i := 0; now.Wall.Before(end); i++ {
		hour := float64(now.Wall.Hour()) + float64(now.Wall.Minute())/60
		energy += 0.05 + 0.2*math.Max(0, math.Sin((hour-9)/24*2*math.Pi)) + float64(i*7919%100)/2000
		say("home/bath_temp/state", fmt.Sprintf("%.1f", 20.5+2.5*math.Sin((hour-9)/24*2*math.Pi)+float64(i*7919%13)/20))
		say("home/meter/state", fmt.Sprintf("%.2f", energy))
		say("home/window/state", []string{"OFF", "OFF", "OFF", "ON", "OFF"}[i*7919/40%5])
		say("home/mode/state", []string{"heating", "idle", "idle", "hot water"}[i/9%4])
		step := 30 * time.Minute
		if left := end.Sub(now.Wall); left > 18*time.Hour && left < 21*time.Hour {
			step = 4 * time.Hour // off: the clock goes on, the hub does not
			now.Wall = now.Wall.Add(step)
		} else {
			now.Wall, now.Run = now.Wall.Add(step), now.Run+step
		}
		for range 4 {
			turn(past.Wake)
		}
	}
	turn(past.Flush)
	store.Flush()
	return store.Reopen(true)
}

// TestHistoryPage: each range of each kind of value has its picture, its table
// and its downloads.
func TestHistoryPage(t *testing.T) {
	h, b := homeOn(t, remembering(t))
	h.furnish()
	h.announce("sensor", "mode", "Mode", "Boiler", "Kitchen", map[string]any{"device_class": "enum", "options": []string{"heating", "idle", "hot water"}})
	page := func(entity, rng string) string {
		return "/devices/" + h.model.House().Entity(entity).Device.ID + "?range=" + rng + "&series=" + entity + "/"
	}
	tests := []struct {
		entity, aspect string
		want           map[string][]string
	}{
		{"sensor.bath_sensor_temperature", "value", map[string][]string{
			"day": {"Lowest", "Mean", "Highest", "°C", "Show as table", "CSV", "JSON"}, "week": {"Mon", "Lowest"}, "month": {"Highest"}, "year": {"January"}}},
		{"sensor.electricity_meter_energy", "value", map[string][]string{
			"day": {"In this time", "Counter now", "kWh"}, "week": {"Amount"}, "month": {"Amount"}, "year": {"Month"}}},
		{"binary_sensor.kitchen_window_window", "on", map[string][]string{
			"day": {"Open", "Closed"}, "week": {"Open"}, "month": {"Open", "h"}, "year": {"Open"}}},
		{"sensor.boiler_mode", "value", map[string][]string{
			"day": {"heating", "idle", "Mostly"}, "week": {"heating"}, "month": {"hot water"}, "year": {"heating"}}},
	}
	for _, tt := range tests {
		for rng, want := range tt.want {
			b.get(page(tt.entity, rng)+tt.aspect).shows(200, want...)
			checkPage(t, tt.entity+" "+rng, b.doc)
			for _, part := range []string{`<svg viewBox="0 0 720`, `role="img" aria-label="`, `<th scope="row">`} {
				if !strings.Contains(b.body, part) {
					t.Errorf("%s of a %s has no %s", tt.entity, rng, part)
				}
			}
		}
	}
	b.get(page("sensor.bath_sensor_temperature", "day") + "value")
	_, curve, _ := strings.Cut(b.body, `class="curve" d="`)
	curve, _, _ = strings.Cut(curve, `"`)
	if n := strings.Count(curve, "M"); n < 2 {
		t.Error("the curve has no gap where the hub was off")
	}
}

// TestExport: what was kept can be taken away, by those who may see it.
func TestExport(t *testing.T) {
	h, b := homeOn(t, remembering(t))
	h.furnish()
	b.get("/history/sensor.bath_sensor_temperature/value?range=week")
	rows, err := csv.NewReader(strings.NewReader(b.body)).ReadAll()
	if err != nil || len(rows) < 200 || rows[0][0] != "time" || b.last.Header.Get("Content-Disposition") != `attachment; filename="sensor.bath_sensor_temperature-value.csv"` {
		t.Errorf("CSV: %d rows, %v, %v", len(rows), err, b.last.Header)
	}
	for of, least := range map[string]int{"points": 200, "hours": 130, "days": 6} {
		b.get("/history/sensor.electricity_meter_energy/value?range=week&format=json&of=" + of)
		var got struct {
			Entity, Unit string
			Rows         []map[string]any
		}
		if err := json.Unmarshal([]byte(b.body), &got); err != nil || got.Entity != "sensor.electricity_meter_energy" || got.Unit != "kWh" || len(got.Rows) < least {
			t.Errorf("JSON of %s: %v, %d rows of %q", of, err, len(got.Rows), got.Entity)
		}
	}
	b.get("/history/sensor.bath_sensor_temperature/value?from=" + time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	if n := strings.Count(b.body, "\n"); n < 3 || n > 8 {
		t.Errorf("two hours have %d lines:\n%s", n, b.body)
	}
	b.get("/history/sensor.bath_sensor_temperature/value?of=seconds").shows(400, "There is no such export")
	b.get("/history/sensor.bath_sensor_temperature/value?from=yesterday").shows(400, "That is not a time")
	b.get("/history/sensor.bath_sensor_temperature/nothing").shows(404, "There is no such page")
	b.get("/history/sensor.nothing/value").shows(404, "There is no such device")
	newBrowser(t, h.ts).get("/history/sensor.bath_sensor_temperature/value").shows(200, "Sign in")
}
