package ui

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/ui/view"
)

// fill sends the form with an id back as it is shown, changed by fields, and
// by the button named by op, as a browser without script does.
func (b *browser) fill(id, op string, fields ...string) *browser {
	b.t.Helper()
	form := url.Values{}
	for n := range b.doc.Descendants() {
		if n.Data != "form" || attr(n, "id") != id {
			continue
		}
		for c := range n.Descendants() {
			name := attr(c, "name")
			switch {
			case c.Data == "input" && (attr(c, "type") != "checkbox" || slices.ContainsFunc(c.Attr, func(a html.Attribute) bool { return a.Key == "checked" })):
				form.Add(name, attr(c, "value"))
			case c.Data == "textarea":
				text := ""
				for n := range c.ChildNodes() {
					text += n.Data
				}
				form.Add(name, text)
			case c.Data == "select":
				chosen, first := "", true
				for o := range c.Descendants() {
					if o.Data != "option" {
						continue
					}
					if selected := slices.ContainsFunc(o.Attr, func(a html.Attribute) bool { return a.Key == "selected" }); selected || first {
						chosen, first = attr(o, "value"), false
					}
				}
				form.Add(name, chosen)
			}
		}
	}
	if len(form) == 0 {
		b.t.Fatalf("%s has no form %q", b.last.Request.URL.Path, id)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if !form.Has(fields[i]) {
			b.t.Errorf("%s does not ask for %q", b.last.Request.URL.Path, fields[i])
		}
		form.Set(fields[i], fields[i+1])
	}
	if op != "" && !b.offers(op) {
		b.t.Errorf("%s has no button %q", b.last.Request.URL.Path, op)
	}
	form.Set("op", op)
	var pairs []string
	for name, values := range form {
		for _, v := range values {
			pairs = append(pairs, name, v)
		}
	}
	return b.post(b.last.Request.URL.Path, pairs...)
}

// offers tells whether the page has a button.
func (b *browser) offers(op string) bool {
	for n := range b.doc.Descendants() {
		if n.Data == "button" && attr(n, "name") == "op" && attr(n, "value") == op {
			return true
		}
	}
	return false
}

// TestMakeRule makes an automation as somebody without script does, and lets
// it run.
func TestMakeRule(t *testing.T) {
	h, b := furnished(t)
	b.get("/automations").shows(200, "No automations yet")
	b.get("/automations/new").shows(200, "New automation", "What starts it")

	b.fill("editor", "save").shows(422, "Give the automation a name.", "Choose a device.", "Say what the automation does: add an action.")
	b.fill("editor", "refresh", "name", "Kettle in the morning", "t.what", "binary_sensor.hall_motion_motion|on").shows(200, "No motion")
	b.fill("editor", "add c time", "t.test", "to", "t.value", "on")
	b.fill("editor", "add c state", "c0.from", "22:00", "c0.to", "06:00")
	b.fill("editor", "refresh", "c1.what", "sensor.bath_sensor_temperature|value").shows(200, "is below", "Value, °C")
	b.fill("editor", "add a publish", "c1.op", "<", "c1.value", "warm").shows(200)
	b.fill("editor", "add a wait", "a0.topic", "home/+/note", "a0.payload", "good morning")
	b.fill("editor", "add a command", "a1.for", "0.05")
	b.fill("editor", "save", "a2.what", "switch.kettle|turn_on").shows(422, `"warm" is not a number`)
	if wrong := errorAt(b, "a0-topic"); wrong == "" {
		t.Errorf("nothing is said at the topic with a wildcard: %s", pageText(b.doc))
	}
	b.fill("editor", "up a2", "c1.value", "25,5", "a0.topic", "home/note")
	b.fill("editor", "up a1").fill("editor", "remove a2").fill("editor", "remove c0").at("/automations/new")
	b.fill("editor", "save").at("/automations/kettle-in-the-morning").shows(200, "Saved as version 1.", "It has not run yet.")

	r := h.rules.Rule("kettle-in-the-morning")
	if r == nil || len(r.Actions) != 2 || r.Actions[0].Command == nil || r.Actions[1].Publish == nil || !r.Enabled || r.Saved.By != "Jo" {
		t.Fatalf("saved: %s", r.Encode())
	}
	if c := r.Conditions[0].State; c.Value.Num != 25.5 || c.Op != automations.Less {
		t.Errorf("condition %+v", c)
	}
	h.publish("home/hall_motion/state", "OFF")
	h.publish("home/hall_motion/state", "ON")
	if got := h.gear.heard(); !slices.Contains(got, "home/kettle/set ON") {
		t.Errorf("the kettle heard %v", got)
	}
	b.get("/automations/kettle-in-the-morning").shows(200, "Done", "Hall motion went from no motion to motion")
	run := h.rules.Runs(r.ID)[0]
	b.get("/automations/"+r.ID+"/runs/"+run.ID).shows(200, "Bath sensor Temperature is below 25.5 °C", "True: it was 21.4", "Turn on Kettle", "Send “good morning” to home/note")
	b.get("/automations/"+r.ID+"/runs/none").shows(404, "nothing known of that run")
	b.get("/automations").shows(200, "Kettle in the morning", "When Hall motion detects motion")
}

// TestMakeRuleOfMoreBlocks makes an automation of the blocks that are seldom
// asked for, as somebody without script does: rooms and groups, who is home,
// other automations, waiting until, scenes.
func TestMakeRuleOfMoreBlocks(t *testing.T) {
	h, b := furnished(t)
	h.equip()
	h.automate()
	b.get("/automations/new").fill("editor", "refresh", "name", "Good night", "t.kind", "rule").shows(200, "Which automation", "Hall lamp when somebody comes in")
	b.fill("editor", "add t state", "t.rule", "hall-lamp-when-somebody-comes-in", "t.ended", "any")
	b.fill("editor", "refresh", "t1.kind", "webhook").shows(200, "The address to call")
	b.fill("editor", "add c home", "t1.hook", "Good night")
	b.fill("editor", "add c rule", "c0.is", "nobody")
	b.fill("editor", "add c expr", "c1.is", "idle")
	b.fill("editor", "add a many", "c2.expr", "1 +")
	b.fill("editor", "refresh", "a0.where", "area|light|Hall").shows(200, "Evening lamps", "Hall: each light", "Turn off")
	b.fill("editor", "refresh", "a0.command", "turn_on").shows(200, "Brightness", "Worth it for")
	b.fill("editor", "add a many", "a0.arg.brightness", "20", "a0.worth", "10")
	b.fill("editor", "refresh", "a1.where", "group|group.evening_lamps")
	b.fill("editor", "add a until", "a1.command", "turn_off")
	b.fill("editor", "refresh", "a2.what", "switch.kettle|on")
	b.fill("editor", "add a check", "a2.value", "off")
	b.fill("editor", "refresh", "a3.what", "switch.kettle|on")
	b.fill("editor", "add a scene", "a3.value", "off").shows(200, "None has been captured yet")
	b.fill("editor", "add a rule")
	b.fill("editor", "save", "a5.do", "disable").shows(422)
	for field, want := range map[string]string{"c1-rule": "Choose an automation.", "c2-expr": "cannot be calculated", "a2-within": "Say how long at the most.",
		"a4-scene": "Say which scene.", "a5-rule": "Choose an automation.", "t1-hook": ""} {
		if got := errorAt(b, field); !strings.Contains(got, want) || got == "" {
			t.Errorf("at %s is said %q, want %q", field, got, want)
		}
	}
	b.fill("editor", "save", "t1.hook", "good-night", "c1.rule", "hall-lamp-when-somebody-comes-in", "c2.expr", "1 + 1 == 2", "a2.within", "30", "a4.scene", "evening",
		"a5.rule", "hall-lamp-when-somebody-comes-in").at("/automations/good-night").shows(200, "Saved as version 1.")
	want := `id: good-night
name: Good night
mode: restart
triggers:
- rule:
    id: hall-lamp-when-somebody-comes-in
    outcome: [done, failed, stopped]
- webhook:
    id: good-night
conditions:
- home:
    is: nobody
- rule:
    id: hall-lamp-when-somebody-comes-in
    is: idle
- expr: 1 + 1 == 2
actions:
- command:
    area: Hall
    kind: light
    command: turn_on
    args:
      brightness: 20
    worth: 10m
- command:
    group: group.evening_lamps
    command: turn_off
- wait:
    until:
    - state:
        entity: switch.kettle
        aspect: "on"
        is: false
    within: 30m
- check:
  - state:
      entity: switch.kettle
      aspect: "on"
      is: false
- scene:
    apply: evening
- disable:
    rule: hall-lamp-when-somebody-comes-in
`
	if got := h.rules.Rule("good-night").YAML(); got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

// errorAt returns what is said to be wrong at a field.
func errorAt(b *browser, id string) string {
	for n := range b.doc.Descendants() {
		if attr(n, "id") == "e-"+id {
			return pageText(n)
		}
	}
	return ""
}

func TestRuleChanges(t *testing.T) {
	h, b := furnished(t)
	r := h.automate()
	path := "/automations/" + r.ID
	b.get(path).fill("editor", "save", "name", "Hall lamp").at(path).shows(200, "Saved as version 2.", "Version 1", "Version 2 (now)")
	if got := h.rules.Rule(r.ID); got.Triggers[0].String() != r.Triggers[0].String() || len(got.Actions) != 4 || got.Actions[0].String() != r.Actions[0].String() || got.Conditions[0].String() != r.Conditions[0].String() || got.Mode != r.Mode {
		t.Errorf("saved as it was, it is another: %s", got.Encode())
	}
	b.get(path+"?version=1").shows(200, "Not saved yet")
	if !strings.Contains(b.body, `value="Hall lamp when somebody comes in"`) {
		t.Error("an old version does not come back into the form")
	}
	b.fill("editor", "save").shows(200, "Saved as version 3.")

	b.post(path+"/enabled", "enabled", "false").at(path).shows(200, "is off.")
	if h.rules.Rule(r.ID).Enabled {
		t.Error("it is still on")
	}
	b.get(path).fill("editor", "save").shows(200, "Saved as version 4.")
	if h.rules.Rule(r.ID).Enabled {
		t.Error("a save turned it on")
	}
	b.post(path + "/run")
	b.shows(200, "Started by Jo")

	b.get(path)
	b.fill("editor", "save", "base", "1").shows(409, "has changed this automation in the meantime")
	b.fill("editor", "save").shows(200, "Saved as version 5.")

	b.post(path+"/delete").at("/automations").shows(200, "was deleted.", "Undo", "No automations yet")
	b.get(path).shows(404)
	b.post(path+"/restore").at(path).shows(200, "is back.")
	b.post("/automations/none/delete").shows(404, "There is no such automation")
}

// TestFormKeepsRules holds that whatever rule there is comes through the form
// unchanged.
func TestFormKeepsRules(t *testing.T) {
	h, _ := furnished(t)
	on, low, high := automations.On(), 18.5, 21.0
	rules := []automations.Rule{
		{Name: "message", Mode: automations.Single,
			Triggers: []automations.Trigger{{Message: &automations.MessageTrigger{Filter: "zigbee/+/action", Payload: &automations.Compare{Path: "action", Op: automations.Equal, Value: automations.Text("single")}}}},
			Actions:  []automations.Action{{Publish: &automations.PublishAction{Topic: "a/{{value}}", Payload: "{\n\"x\": 1}", QoS: 2, Retain: true}}},
		},
		{Name: "between", Mode: automations.Parallel, Max: 10,
			Triggers: []automations.Trigger{{State: &automations.StateTrigger{Entity: "sensor.bath_sensor_temperature", Aspect: "value", Above: &low, Below: &high, For: automations.Duration(90e9)}}},
			Conditions: []automations.Condition{
				{Not: &automations.Condition{State: &automations.StateCondition{Entity: "switch.kettle", Aspect: "on", Op: automations.Equal, Value: on}}},
				{Time: &automations.TimeCondition{From: automations.Clock(22, 0), To: automations.Clock(6, 30), Days: []automations.Weekday{1, 5}}},
				{Payload: &automations.Compare{Op: automations.GreaterEq, Value: automations.Number(3)}},
			},
			Actions: []automations.Action{
				{Wait: &automations.WaitAction{For: automations.Duration(7200e9)}},
				{Command: &automations.CommandAction{Entity: "light.gone", Command: "turn_on", Args: map[string]automations.Value{"brightness": automations.Number(5)}}},
			},
		},
		{Name: "change", Mode: automations.Restart,
			Triggers: []automations.Trigger{{State: &automations.StateTrigger{Entity: "light.hall_lamp", Aspect: "color_temp"}}},
			Actions: []automations.Action{{Command: &automations.CommandAction{Entity: "light.hall_lamp", Command: "turn_on", Args: map[string]automations.Value{
				"effect": automations.Text("candle"), "color": automations.Text("#ffaa00"), "transition": automations.Number(2.5)}}}},
		},
	}
	for _, r := range rules {
		f := formOf(&r, h.model.House())
		read := readForm(sent(&f), h.model.House())
		got, ok := ruleOf(&read, nil)
		if !ok || string(got.Encode()) != string(r.Encode()) {
			t.Errorf("%s comes back as\n%s, %v\nwant\n%s", r.Name, got.Encode(), ok, r.Encode())
		}
	}
}

// sent is what a browser sends of a form.
func sent(f *view.RuleForm) url.Values {
	posted := url.Values{"name": {f.Name}, "mode": {f.Mode}, "max": {f.Max}}
	var send func(list []view.Block)
	send = func(list []view.Block) {
		for _, b := range list {
			posted.Set(b.Prefix+".kind", b.Kind)
			for name, values := range b.Fields {
				posted[b.Prefix+"."+name] = values
			}
			for _, l := range b.Lists {
				send(l.Blocks)
			}
		}
	}
	send(slices.Concat(f.Triggers, f.Conditions, f.Actions))
	return posted
}

// FuzzForm holds that nothing a browser can send brings the editor down, and
// that a form which reads without complaint draws and reads as the same rule.
func FuzzForm(f *testing.F) {
	f.Add("name=x&op=save&t.kind=message&t.filter=a/%23&a0.kind=wait&a0.for=5&a0.forunit=m", "up a0")
	f.Add("t.kind=state&t.what=switch.kettle|on&t.test=to&t.value=on&c0.kind=text&c0.yaml=sun:+{below:+3}", "add c time")
	f.Add("c0.kind=time&c0.from=22:00&c0.to=6&c0.day=mon&c0.day=mon&a49.kind=publish&a0.kind=command&a0.what=x", "remove c0")
	f.Add("a0.kind=choose&a0.n=2&a0_when1_0.kind=any&a0_when1_0_of_0.kind=payload&a0_when1_0_of_0.op=in&a0_when1_0_of_0.value=a,+\"b,c\"&a0_then0_3.kind=note&a0_then0_3.note=x", "less a0 1")
	f.Add("a0.kind=set&a0.n=2&a0.k0=a&a0.v0=\"1\"&a1.kind=repeat&a1.how=each&a1.each={{a,b}}&a1_do_0.kind=parallel&a1_do_0_branch0_0.kind=stop", "add a1_do note")
	house := &devices.House{}
	f.Fuzz(func(t *testing.T, query, op string) {
		posted, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		form := readForm(posted, house)
		arrange(&form, op)
		r, ok := ruleOf(&form, nil)
		place(&form, r.Validate(house))
		if !ok {
			return
		}
		again := formOf(&r, house)
		r2, ok := ruleOf(&again, &r)
		if valid := len(r.Validate(nil)) == 0; valid && (!ok || string(r2.Encode()) != string(r.Encode())) {
			t.Errorf("read as %s, then as %s", r.Encode(), r2.Encode())
		}
	})
}
