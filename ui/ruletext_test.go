package ui

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

const doorRule = `# The bell of the front door.
name: Door
triggers:
  - message: {filter: door, payload: {is: [open, ajar]}} # both
conditions:
  - sun: {after: sunset, before: sunrise}
actions:
  - publish: {topic: bell}
  - if:
      when: [{time: {from: "22:00", to: "06:00"}}]
      then: [{publish: {topic: quiet}}] # at night
    on_error: continue
variables: {count: 3}
`

// TestTextFace takes a rule through its text and its blocks: nothing of it is
// lost, comments included.
func TestTextFace(t *testing.T) {
	h, b := furnished(t)
	err := h.Do(t.Context(), func(t *mqtt.Turn) error {
		h.rules.SetPlace(t, automations.Place{Known: true, Latitude: 52}, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.get("/automations/new?as=text").shows(200, "The automation as text")
	b.fill("editor", "save", "text", "name: x\ntriggers:\n- hand: {}\naction: []\n").shows(422, `Line 4, column 1: action: There is no key "action" here; is it "actions"?`)
	b.fill("editor", "save", "text", doorRule+"---\n"+doorRule).shows(422, "column 1: Here begins another automation")
	b.fill("editor", "save", "text", doorRule).at("/automations/door?as=text").shows(200, "Saved as version 1.", "# The bell of the front door.")
	if got := h.rules.Rule("door").YAML(); got != doorRule {
		t.Errorf("saved as text it is\n%s", got)
	}
	// What the blocks cannot show stands in them as text, with words for it.
	b.get("/automations/door").shows(200, "the sun is down", "on_error: continue")
	if !strings.Contains(b.body, `value="open, ajar"`) {
		t.Error("a list is not shown in its block")
	}
	b.fill("editor", "save").shows(200, "Saved as version 2.")
	if got := h.rules.Rule("door").YAML(); got != doorRule {
		t.Errorf("saved as blocks it is\n%s", got)
	}
	b.get("/automations/door").fill("editor", "save", "a0.topic", "gong", "name", "Front door").shows(200, "Saved as version 3.")
	want := strings.Replace(strings.Replace(doorRule, "topic: bell", "topic: gong", 1), "name: Door", "name: Front door", 1)
	if got := h.rules.Rule("door").YAML(); got != want {
		t.Errorf("changed as blocks it is\n%s\nwant\n%s", got, want)
	}
	// A block of text is checked at its line and column.
	b.get("/automations/door").fill("editor", "save", "a1.yaml", "if:\n  when: []\n  than: []\n").shows(422, `Line 3, column 3: There is no key "than" here`)
	b.get("/automations/door").fill("editor", "save", "a1.yaml", "if:\n  when: [{state: {entity: a.b, is: 3}}]\n  then: []\n").shows(422)
	if wrong := errorAt(b, "a1-yaml"); wrong == "" {
		t.Errorf("nothing is said at the text of the block: %s", pageText(b.doc))
	}
	// From one face to the other without saving.
	b.get("/automations/door").fill("editor", "text", "name", "Back door").shows(200, "name: Back door", "Not saved yet", "# at night")
	b.fill("editor", "form").shows(200, "What starts it")
	if !strings.Contains(b.body, `value="Back door"`) {
		t.Error("the name typed as blocks is lost on its way through the text")
	}
	b.fill("editor", "save").shows(200, "Saved as version 4.")
	b.get("/automations/door?as=text").fill("editor", "save", "text", "id: other\n"+doorRule).shows(422, "id: The ID of this automation is door and stays so.")
	b.get("/automations/door?as=text").fill("editor", "form", "text", strings.Replace(doorRule, "count: 3", "count: 4", 1)).shows(422, "Save the text first")
}

// TestStaleSave holds that a save on an outdated version is refused, and shown
// what has changed.
func TestStaleSave(t *testing.T) {
	h, b := furnished(t)
	r := h.automate()
	path := "/automations/" + r.ID
	theirs := *h.rules.Rule(r.ID)
	theirs.Name, theirs.Actions = "Theirs", theirs.Actions[:3]
	change := func() {
		t.Helper()
		base := h.rules.Rule(r.ID).Version
		if err := h.Do(t.Context(), func(t *mqtt.Turn) error { _, err := h.rules.Save(t, theirs, "Ben", base); return err }); err != nil {
			t.Fatal(err)
		}
	}
	b.get(path)
	change()
	b.fill("editor", "save", "name", "Ours").shows(409, "Ben has changed this automation in the meantime", "Changed in the meantime", "- name: Hall lamp when somebody comes in", "+ name: Theirs", "command: turn_off")
	if got := h.rules.Rule(r.ID); got.Name != "Theirs" || !strings.Contains(b.body, `value="Ours"`) {
		t.Errorf("the rule is %q, and what was typed is there: %v", got.Name, strings.Contains(b.body, `value="Ours"`))
	}
	b.fill("editor", "save").shows(200, "Saved as version 3.")
	b.get(path + "?as=text")
	theirs.Name = "Theirs again"
	change()
	b.fill("editor", "save").shows(409, "Ben has changed this automation", "+ name: Theirs again")
	b.fill("editor", "save").shows(200, "Saved as version 5.")
}

// TestVersionPages shows what each version changed, brings one back, and lets
// runs that wait be moved or cancelled.
func TestVersionPages(t *testing.T) {
	h, b := furnished(t)
	r := h.automate()
	path := "/automations/" + r.ID
	b.get(path)
	b.post(path + "/run")
	b.get(path).shows(200, "What it is doing now")
	b.fill("editor", "save", "a1.for", "20", "runs", "move").shows(200, "Saved as version 2.")
	if run := h.rules.Runs(r.ID)[0]; run.Version != 2 || run.Began != 1 || run.Outcome != automations.Waiting {
		t.Errorf("after it was moved the run is %+v", run)
	}
	b.get(path+"/versions/2").shows(200, "by Jo", "for: 10m", "for: 20m")
	b.get(path+"/versions/1").shows(200, "This is how it began.", "Use this version again")
	b.fill("restore", "", "runs", "cancel").at(path).shows(200, "Version 1 is in use again, as version 3.")
	if run := h.rules.Runs(r.ID)[0]; run.Outcome != automations.Stopped || !strings.Contains(run.Why, "saved anew by Jo") {
		t.Errorf("after it was cancelled the run is %+v", run)
	}
	if got := h.rules.Rule(r.ID); string(encodePlain(got)) != string(encodePlain(r)) {
		t.Errorf("brought back it is\n%s\nwant\n%s", encodePlain(got), encodePlain(r))
	}
	b.post(path+"/versions/2", "base", "1").at(path).shows(200, "Nothing was changed.")
	b.get(path + "/versions/9").shows(404)
	b.get(path)
	if strings.Contains(b.body, `name="runs"`) {
		t.Error("it is asked what becomes of runs, and none waits")
	}
	b.post(path + "/run")
	b.get(path).post(path+"/enabled", "enabled", "false").at(path).shows(200, "is off. What it was doing was stopped.")
	b.post(path + "/delete")
	b.get("/automations").shows(200, "Deleted", "by Jo", "Bring back")
}

func encodePlain(r *automations.Rule) []byte {
	c := *r
	c.Version, c.Text, c.Saved = 0, "", automations.Saved{}
	return c.Encode()
}

func TestImport(t *testing.T) {
	h, b := furnished(t)
	b.get("/automations/import").shows(200, "Import automations")
	two := "id: one\nname: One\ntriggers: [{hand: {}}]\nactions: [{note: a}]\n---\nname: Two\ntriggers: [{hand: {}}]\nactions: [{note: b}]\n"
	b.fill("editor", "", "text", two+"---\nname: Three\ntriggers: [{hand: {}}]\nactions: [{nota: b}]\n").shows(422, "Line 12, column", `There is no key "nota"`)
	b.fill("editor", "", "text", "id: a\n"+two).shows(422)
	if n := len(h.rules.Rules()); n != 0 {
		t.Fatalf("%d rules were imported of a text with errors", n)
	}
	b.get("/automations/import").fill("editor", "", "text", two).at("/automations").shows(200, "2 automations were imported.", "One", "Two")
	b.get("/automations/import").fill("editor", "", "text", two).shows(422, "Line 1, column 1: id: There is an automation with this ID already.")
	b.fill("editor", "", "text", "# nothing").shows(422, "There is no automation in it.")
}

// TestFormKeepsAnyRule holds that every rule of the examples and tests of the
// language comes through the form unchanged.
func TestFormKeepsAnyRule(t *testing.T) {
	h, _ := furnished(t)
	n := 0
	for _, pattern := range []string{"../packaging/docs/examples/*.yaml", "../automations/rehearsal/testdata/*.yaml", "../automations/rehearsal/testdata/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, given := range automations.ParseYAML(data) {
				if slices.ContainsFunc(given.Problems, func(p automations.TextProblem) bool { return !p.Warning }) {
					continue // a test, perhaps
				}
				n++
				checkForm(t, h, file, given.Rule)
			}
		}
	}
	every := automations.ParseYAML([]byte(everyBlock))[0].Rule
	checkForm(t, h, "everyBlock", every)
	f := formOf(&every, h.model.House())
	var texts []string
	var look func(list []view.Block)
	look = func(list []view.Block) {
		for _, b := range list {
			if isText(b) {
				texts = append(texts, b.Prefix+": "+strings.TrimSpace(b.Get("yaml")))
			}
			for _, l := range b.Lists {
				look(l.Blocks)
			}
		}
	}
	look(slices.Concat(f.Triggers, f.Conditions, f.Actions))
	if want := []string{"c10: trigger: [evening]"}; !slices.Equal(texts, want) {
		t.Errorf("of every block these are shown as text: %q, want %q", texts, want)
	}
	t.Logf("%d rules of files", n)
}

func isText(b view.Block) bool { return b.Kind == "text" }

func checkForm(t *testing.T, h *home, name string, r automations.Rule) {
	t.Helper()
	f := formOf(&r, h.model.House())
	read := readForm(sent(&f), h.model.House())
	read.ID = r.ID
	got, ok := ruleOf(&read, &r)
	if !ok || string(got.Encode()) != string(r.Encode()) {
		t.Errorf("%s: %s comes back as\n%s\nwant\n%s", name, r.Name, got.Encode(), r.Encode())
	}
}

// TestPausedIsTold holds that the owner hears of a rule that sets itself off.
func TestPausedIsTold(t *testing.T) {
	h, b := furnished(t)
	given := automations.ParseYAML([]byte("name: Echo\ntriggers: [{message: {filter: loop}}]\nactions: [{publish: {topic: loop}}]\n"))[0]
	if err := h.Do(t.Context(), func(t *mqtt.Turn) error { _, err := h.rules.Save(t, given.Rule, "Jo", 0); return err }); err != nil {
		t.Fatal(err)
	}
	h.publish("loop", "x")
	b.get("/").shows(200, "The automation Echo is paused.", "sets itself off")
	b.post("/automations/echo/enabled", "enabled", "true")
	b.get("/")
	if strings.Contains(b.body, "is paused") {
		t.Error("it is told though the rule runs again")
	}
}
