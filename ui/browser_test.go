package ui

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

var shots = flag.String("shots", "", "a folder to put screenshots of the pages in")

// chrome is the one browser of all tests here; each has a context of its own.
var chrome struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chrome.cancel != nil {
		chrome.cancel()
	}
	os.Exit(code)
}

// findChrome returns the browser to test with: $CHROME, or one on the PATH.
func findChrome() string {
	if p := os.Getenv("CHROME"); p != "" {
		return p
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// A tab is a page in a real browser, signed in as the owner.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string
}

func newTab(t *testing.T, h *home, width int64, scheme string) *tab {
	t.Helper()
	path := findChrome()
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium found: install it, or name it in $CHROME")
		}
		t.Skip("no Chromium found: install it, or name it in $CHROME")
	}
	chrome.once.Do(func() {
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
			chromedp.Flag("hide-scrollbars", true))
		if os.Geteuid() == 0 {
			opts = append(opts, chromedp.NoSandbox)
		}
		alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, cancel := chromedp.NewContext(alloc)
		chrome.ctx, chrome.cancel = ctx, func() { cancel(); stop() }
		chrome.err = chromedp.Do(ctx)
	})
	if chrome.err != nil {
		t.Fatalf("start %s: %v", path, chrome.err)
	}
	ctx, cancel := chromedp.NewContext(chrome.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	b := &tab{t, ctx, h.ts.URL}
	b.prepare(width, scheme)
	send(b, network.SetCookie, network.SetCookieParams{Name: cookie, Value: "token-of-Jo", URL: h.ts.URL})
	return b
}

// another opens a further tab beside b, in the same browser.
func (b *tab) another() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	other := &tab{b.t, ctx, b.base}
	other.prepare(412, "light")
	return other
}

func (b *tab) prepare(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	send(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	send(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		window.wrongs = [];
		addEventListener("securitypolicyviolation", (e) => wrongs.push("policy: " + e.violatedDirective + " " + e.blockedURI));
		addEventListener("error", (e) => wrongs.push("error: " + (e.message || e.target.src || e.target.href)), true);
		addEventListener("unhandledrejection", (e) => wrongs.push("rejection: " + e.reason));`})
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// send gives the browser a command of its protocol.
func send[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is worth in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", expression, err)
	}
	return v
}

// open shows a page.
func (b *tab) open(path string) *tab {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
	return b
}

// until waits for an expression to hold, at most for some time; the page may
// give way to another meanwhile.
func (b *tab) until(expression string) *tab {
	b.t.Helper()
	for end := time.Now().Add(patience); ; {
		_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`!!document.body && (`+expression+`)`,
			chromedp.WithPollingTimeout(max(time.Until(end), time.Millisecond)), chromedp.WithPollingInterval(10*time.Millisecond)))
		if err == nil {
			return b
		}
		if time.Now().After(end) || b.ctx.Err() != nil {
			says := eval[string](b, `document.body.innerText`)
			b.t.Fatalf("not within %v: %s (%v)\nthe page says:\n%s", patience, expression, err, says)
		}
	}
}

// clean fails the test if the page broke the policy or a script failed.
func (b *tab) clean() *tab {
	b.t.Helper()
	if wrongs := eval[[]string](b, `wrongs`); len(wrongs) > 0 {
		b.t.Errorf("%s: %v", eval[string](b, `location.pathname`), wrongs)
	}
	return b
}

func (b *tab) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	height := eval[int64](b, `Math.max(900, document.documentElement.scrollHeight)`)
	width := eval[int64](b, `innerWidth`)
	b.do(chromedp.EmulateViewport(width, height))
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, 900))
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// axe fails the test for everything axe-core finds wrong in the page.
func (b *tab) axe() {
	b.t.Helper()
	found, err := filepath.Glob("testdata/axe-core@*/axe.min.js")
	if err != nil || len(found) != 1 {
		b.t.Fatalf("axe-core: %v %v", found, err)
	}
	source, err := os.ReadFile(found[0])
	if err != nil {
		b.t.Fatal(err)
	}
	eval[bool](b, string(source)+"; true")
	wrong := eval[[]string](b, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
		.then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.failureSummary + " " + n.html.slice(0, 200))))`)
	for _, w := range wrong {
		b.t.Errorf("%s: %s", eval[string](b, `location.pathname`), w)
	}
}

// pages are the ones to look at, once a home is furnished and has an
// automation that ran.
func (h *home) pages() map[string]string {
	pages := map[string]string{
		"home": "/", "devices": "/devices", "automations": "/automations", "automation-new": "/automations/new",
		"settings": "/settings", "missing": "/nowhere",
		"device": "/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID,
		"strip":  "/devices/" + h.model.House().Entity("switch.power_strip_with_a_really_long_name_television").Device.ID,
		"sensor": "/devices/" + h.model.House().Entity("sensor.bath_sensor_temperature").Device.ID,
	}
	if len(h.model.House().Groups()) > 0 {
		pages["rooms"], pages["room"], pages["zigbee"] = "/rooms", "/rooms/Hall", "/zigbee"
		pages["group"], pages["group-new"] = "/groups/group.evening_lamps", "/groups/new"
		pages["porch"] = "/devices/" + h.model.House().Entity("switch.porch").Device.ID
	}
	pages["import"], pages["automation-text"] = "/automations/import", "/automations/new?as=text"
	pages["place"], pages["channels"] = "/settings/place", "/settings/channels"
	for _, c := range h.settings.Channels() {
		pages["channel-"+string(c.Kind)] = "/settings/channels/" + c.Name
	}
	for _, r := range h.rules.Rules() {
		pages[r.ID] = "/automations/" + r.ID
		if r.Version > 1 {
			pages["version"] = "/automations/" + r.ID + "/versions/" + strconv.Itoa(r.Version)
		}
		if r.Status.Last != nil {
			pages["run"] = "/automations/" + r.ID + "/runs/" + r.Status.Last.ID
		}
	}
	return pages
}

// correspond makes channels, and a rule that has a block of every kind.
func (h *home) correspond() {
	h.t.Helper()
	h.ui.Sender = &sender{state: Outbox{
		Waiting: []Unsent{{Rule: "every-block", Run: "1", What: "notify phone The washing is done", Why: "no route to host", Tries: 2, Made: time.Now(), Next: time.Now()}},
		GivenUp: []GivenUp{{Rule: "every-block", Run: "2", What: "POST http://192.168.1.5/in", Why: "the answer is 403 Forbidden", At: time.Now()}},
	}}
	for _, c := range []Channel{
		{Name: "phone", Kind: Ntfy, URL: "https://ntfy.sh/a-name-nobody-guesses-and-that-is-rather-long", Token: "tk"},
		{Name: "family", Kind: Email, Server: "smtp.example.org:587", Security: StartTLS, User: "jo", Password: "x", From: "jo@example.org", To: "jo@example.org, kim@example.org"},
	} {
		if err := h.settings.SetChannel(context.Background(), c); err != nil {
			h.t.Fatal(err)
		}
	}
	given := automations.ParseYAML([]byte(everyBlock))[0]
	if len(given.Problems) > 0 {
		h.t.Fatal(given.Problems)
	}
	err := h.Do(context.Background(), func(t *mqtt.Turn) error {
		h.rules.SetPlace(t, automations.Place{Known: true, Latitude: 52}, nil)
		first, err := h.rules.Save(t, given.Rule, "Jo", 0)
		if err != nil {
			return err
		}
		again := *first
		again.Name += " again"
		_, err = h.rules.Save(t, again, "Ben", 1)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

const everyBlock = `id: every-block
name: Every block
triggers:
  - state: {entity: sensor.bath_sensor_temperature, above: 25, hysteresis: 2, for: 5m}
  - time: {at: ["07:00", "19:30"], days: [mon, fri]}
  - sun: {event: sunset, offset: -30m, not_before: "17:00"}
  - every: {period: 15m}
  - message: {filter: home/+/button, payload: single, on: changed}
  - silent: {entity: sensor.bath_sensor_temperature, for: 2h}
  - cron: {at: 30 6 * * mon-fri}
  - start: {after: 1m}
  - hand: {}
  - webhook: {id: bell}
  - rule: {id: washer, outcome: [failed]}
  - scene: {id: evening}
  - sun: {elevation: -4, going: down, offset: 5m}
  - state: {entity: sensor.boiler_mode, to: [heating, hot water], from: idle}
  - {id: evening, message: {filter: home/+room/evening}}
conditions:
  - state: {entity: switch.kettle, is: on, for: 10m}
  - time: {from: "22:00", to: "06:00"}
  - sun: {after: sunset, before: sunrise}
  - home: {is: nobody}
  - rule: {id: washer, is: idle}
  - payload: {path: action, contains: double}
  - expr: 'vars.count < 3'
  - any: [{time: {from: "08:00", to: "09:00"}}, {not: {state: {entity: switch.kettle, is: on}}}]
  - not: {payload: {path: action, is: [single, double, "21", 22, on]}}
  - state: {entity: sensor.bath_sensor_temperature, at_least: 18, below: 24.5}
  - trigger: [evening]
actions:
  - command: {entity: light.hall_lamp, command: turn_on, args: {brightness: 20}, worth: 10m}
  - command: {area: Hall, kind: light, command: turn_on, args: {brightness: 30}}
  - command: {group: upstairs, command: turn_off}
  - wait: {for: 2m}
  - wait: {until: [{state: {entity: switch.kettle, is: off}}], within: 30m}
  - check: [{state: {entity: switch.kettle, is: off, for: 1m}}]
  - scene: {apply: evening}
  - call: {rule: washer, conditions: true}
  - disable: {rule: washer}
  - notify: {to: phone, title: Hello, text: The washing is done}
  - publish: {topic: home/note, payload: x, expiry: 1h}
  - if: {when: [{time: {from: "22:00", to: "06:00"}}], then: [{note: night}], else: [{note: "day\nand light"}]}
  - choose:
      options:
        - {when: [{payload: {path: action, is: single}}], then: [{command: {entity: switch.kettle, command: turn_on}}]}
        - {when: [{payload: {path: action, is: double}}, {home: {is: anyone}}], then: [{wait: {for: 1m}}]}
      else: [{fail: {why: nobody knows}}]
  - repeat: {each: [hall, "21", 5, on, "a, b"], max: 9, do: [{publish: {topic: 'home/{{ repeat.item }}', payload: x}}]}
  - parallel: {branches: [[{wait: {for: 5s}}], [{note: a}]]}
  - confirm: {do: [{publish: {topic: off}}], until: [{state: {entity: switch.kettle, is: off}}], within: 20s, retries: 2, else: [{stop: {}}]}
  - wait: {until: [{state: {entity: switch.kettle, is: off}}], within: 30m, then: [{note: off}], else: [{note: still on}]}
  - scene: {capture: before-film, entities: [switch.kettle, light.hall_lamp, light.gone]}
  - http: {url: 'https://example.org/{{ value }}', method: PUT, headers: {X-Key: '{{ vars.count }}', Accept: text/plain}, body: '{"a": 1}', timeout: 10s}
  - note: 'It was {{ value }}.'
  - set: {count: '{{ vars.count + 1 }}', word: "on"}
  - command: {entities: [switch.kettle, light.hall_lamp], command: turn_off}
  - stop: {why: enough}
variables: {count: 0}
`

// furtherSteps are more actions of the kinds that everyBlock has one of.
const furtherSteps = `  - repeat: {count: 3, do: [{publish: {topic: 'home/{{ repeat.index }}', payload: x}}]}
  - repeat: {while: [{state: {entity: switch.kettle, is: on}}], do: [{wait: {for: 10s}}]}
  - repeat: {until: [{expr: 'vars.count > 3'}], do: [{set: {count: '{{ vars.count + 1 }}', word: "on", other: true, big: "12", much: 12.5}}]}
  - repeat: {each: '{{ split(payload, ",") }}', do: [{note: '{{ repeat.item }}'}]}
  - confirm: {do: [{publish: {topic: ask, payload: x}}], until: {message: {filter: answer, payload: {path: ok, is: [yes, sure]}}}, within: 5s}
  - wait: {until: {message: {filter: answer/+who}}, within: 30s}
  - check: [{home: {is: anyone}}, {not: {expr: 'vars.count > 3'}}]
  - set: {count: 0}
  - http: {url: 'http://kitchen.local/on'}
  - if: {when: [{all: [{home: {is: anyone}}, {any: [{sun: {below: -4}}]}]}], then: [{if: {when: [{not: {home: {is: nobody}}}], then: [{stop: {}}]}}]}
`

// TestLook opens every page, narrow and light, wide and dark, and with -shots
// the other two ways as well: nothing may break the
// policy, fail in script, be wider than the screen, or be found wrong by axe.
func TestLook(t *testing.T) {
	h, _ := homeOn(t, remembering(t))
	h.furnish()
	h.announce("sensor", "mode", "Mode", "Boiler", "Kitchen", map[string]any{"device_class": "enum", "options": []string{"heating", "idle", "hot water"}})
	h.automate()
	h.equip()
	h.correspond()
	for _, width := range []int64{412, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			if *shots == "" && (width == 412) != (scheme == "light") {
				continue // each width and each scheme once
			}
			t.Run(fmt.Sprint(width, "-", scheme), func(t *testing.T) {
				b := newTab(t, h, width, scheme)
				pages := h.pages()
				for entity, rng := range map[string]string{"sensor.bath_sensor_temperature": "week", "sensor.electricity_meter_energy": "month",
					"binary_sensor.kitchen_window_window": "day", "sensor.boiler_mode": "week"} {
					pages["past-"+entity] = "/devices/" + h.model.House().Entity(entity).Device.ID + "?series=" + entity + "/value&range=" + rng
				}
				for name, path := range pages {
					b.open(path).until(`document.readyState === "complete"`)
					eval[bool](b, `document.querySelectorAll("details").forEach((d) => d.open = true), true`)
					if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
						t.Errorf("%s is %d pixels wider than the screen", path, over)
					}
					b.axe()
					b.clean()
					b.shoot(strings.Join([]string{name, fmt.Sprint(width), scheme}, "-"))
				}
			})
		}
	}
}

// TestLiveInBrowser follows a page in a real browser: states change without a
// reload, a click reaches the device, what fails rolls back.
func TestLiveInBrowser(t *testing.T) {
	h, _ := furnished(t)
	b := newTab(t, h, 412, "light")
	const (
		kettle = `document.querySelector("[data-e='switch.kettle']")`
		button = `document.querySelector("[data-e='switch.kettle'] .switch")`
	)
	b.open("/").until(`document.readyState === "complete"`)
	eval[bool](b, `window.same = true`) // gone after a reload

	h.publish("home/kettle/state", "ON")
	b.until(button + `.getAttribute("aria-checked") === "true" && ` + kettle + `.dataset.state === "on" && ` + kettle + `.innerText.includes("On")`)
	h.publish("home/window/state", "ON")
	b.until(`document.body.innerText.includes("Open")`)

	b.do(chromedp.Click(chromedp.CSS("[data-e='switch.kettle'] .switch")))
	b.until(button + `.getAttribute("aria-checked") === "false" && ` + kettle + `.dataset.state === "off" && ` + kettle + `.dataset.pending === undefined`)
	if got := h.gear.heard(); len(got) != 1 || got[0] != "home/kettle/set OFF" {
		t.Errorf("after a click the kettle heard %v", got)
	}

	h.gear.deafen("home/kettle", true)
	b.do(chromedp.Click(chromedp.CSS("[data-e='switch.kettle'] .switch")))
	b.until(button + `.getAttribute("aria-checked") === "true" && ` + kettle + `.dataset.pending === ""`)
	b.until(button + `.getAttribute("aria-checked") === "false" && document.getElementById("notices").innerText.includes("Kettle did not answer")`)
	h.gear.deafen("home/kettle", false)
	b.do(chromedp.Click(chromedp.CSS("#notices button")))
	b.until(kettle + `.dataset.state === "on"`)

	h.announce("switch", "fan", "", "Fan", "Kitchen", map[string]any{"command_topic": "home/fan/set"})
	b.until(`document.querySelector("[data-e='switch.fan'] .switch") !== null`)
	h.publish("home/fan/state", "ON")
	b.until(`document.querySelector("[data-e='switch.fan']").dataset.state === "on"`)
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	b.clean()
}

// TestDialsInBrowser moves the brightness of a lamp by the keys.
func TestDialsInBrowser(t *testing.T) {
	h, _ := furnished(t)
	b := newTab(t, h, 412, "light")
	b.open("/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID).until(`document.readyState === "complete"`)
	const slider = `document.querySelector("input.brightness")`
	b.do(chromedp.Focus(chromedp.CSS("input.brightness")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	b.until(slider + `.value === "64" && ` + slider + `.form.querySelector("output").textContent.startsWith("64")`)
	h.until(func() bool {
		r, _ := view.Reading(h.model.House().Entity("light.hall_lamp"), h.model.House().Entity("light.hall_lamp").State(), "brightness")
		return r.Value.Num == 64
	})
	eval[bool](b, slider+`.blur(), true`)
	b.until(`document.querySelector("[data-pending]") === null`)
	h.publish("home/hall_lamp/state", `{"state":"ON","brightness":255}`)
	b.until(slider + `.value === "100"`)
	b.clean()
}

// TestReconnect stops the server under an open page and starts it again.
func TestReconnect(t *testing.T) {
	h, _ := furnished(t)
	b := newTab(t, h, 412, "light")
	b.open("/").until(`document.readyState === "complete"`)
	h.publish("home/kettle/state", "ON")
	b.until(`document.querySelector("[data-e='switch.kettle']").dataset.state === "on"`)

	addr := h.ts.Listener.Addr().String()
	h.ui.Close()
	h.ts.Close()
	b.until(`!document.getElementById("stale").hidden && document.querySelector("main").dataset.stale === ""`)
	h.publish("home/kettle/state", "OFF")

	s, err := New(h.ui.Config)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	again := s.HTTPServer()
	go again.Serve(ln)
	t.Cleanup(func() {
		s.Close()
		again.Close()
	})
	b.until(`document.getElementById("stale").hidden && document.querySelector("[data-e='switch.kettle']").dataset.state === "off"`)
}

// TestEditorInBrowser holds that a choice which decides what else is asked
// draws the form anew by itself.
func TestEditorInBrowser(t *testing.T) {
	h, _ := furnished(t)
	b := newTab(t, h, 412, "light")
	b.open("/automations/new").until(`document.readyState === "complete"`)
	eval[bool](b, `document.getElementById("name").value = "Night", true`)
	eval[bool](b, `setTimeout(() => {
		const what = document.getElementById("t-what");
		what.value = "sensor.bath_sensor_temperature|value";
		what.dispatchEvent(new Event("change", {bubbles: true}));
	}), true`)
	b.until(`document.body.innerText.includes("Value, °C") && document.getElementById("name")?.value === "Night"`)

	// A step that holds others, one in it, and a choice in that.
	press := func(op string) {
		eval[bool](b, `setTimeout(() => document.querySelector("button[value='`+op+`']").click()), true`)
	}
	press("add a if")
	b.until(`document.getElementById("a0_then") !== null`)
	eval[bool](b, `document.querySelector("[name='new a0_then']").value = "repeat", true`)
	press("add a0_then")
	b.until(`document.getElementById("a0_then_0-how") !== null && location.hash === "#a0_then"`)
	eval[bool](b, `setTimeout(() => {
		const how = document.getElementById("a0_then_0-how");
		how.value = "each";
		how.dispatchEvent(new Event("change", {bubbles: true}));
	}), true`)
	b.until(`document.getElementById("a0_then_0-each") !== null && location.hash === "#a0_then_0" && document.getElementById("name")?.value === "Night"`)
	b.clean()
}

// TestLookAtTheDoor opens the pages that somebody sees who is not in yet, or
// has nothing yet.
func TestLookAtTheDoor(t *testing.T) {
	p := &people{}
	ui, ts := serve(t, Config{House: &house{}, People: p, Model: bare{}, Rules: noRules(), Addresses: func() []Address {
		return []Address{{"mqtt", "192.168.1.20:1883"}}
	}})
	h := &home{t: t, ui: ui, ts: ts}
	for _, width := range []int64{412, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			if *shots == "" && (width == 412) != (scheme == "light") {
				continue
			}
			b := newTab(t, h, width, scheme)
			name := func(page string) string { return strings.Join([]string{page, fmt.Sprint(width), scheme}, "-") }
			look := func(page, path, at string) {
				b.open(path).until(`document.readyState === "complete" && location.pathname === "` + at + `"`)
				b.axe()
				b.clean()
				b.shoot(name(page))
			}
			*p = people{}
			look("setup", "/", "/setup")
			*p = people{home: "Maple Street", name: "Jo", tokens: map[string]Person{}}
			look("login", "/", "/login")
			*p = people{home: "Maple Street", name: "Jo", open: true, tokens: map[string]Person{"token-of-Jo": {ID: "p1", Name: "Jo", Role: Owner}}}
			look("empty", "/", "/")
			look("no-automations", "/automations", "/automations")
			eval[bool](b, `setTimeout(() => location.assign("/settings")), true`)
			b.until(`location.pathname === "/settings" && document.readyState === "complete"`)
			eval[bool](b, `document.getElementById("f-credential").value = "hall-lamp", setTimeout(() => document.querySelector(".inline").requestSubmit()), true`)
			b.until(`document.body.innerText.includes("correct-horse")`)
			b.axe()
			b.clean()
			b.shoot(name("credential"))
		}
	}
}

// TestManyTabs holds that a browser needs one stream for all its pages, where
// it has workers, and that each page manages alone where it has none.
func TestManyTabs(t *testing.T) {
	h, _ := furnished(t)
	streams := func() int {
		h.ui.live.mu.Lock()
		defer h.ui.live.mu.Unlock()
		return len(h.ui.live.streams)
	}
	lamp := "/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID
	first := newTab(t, h, 412, "light")
	tabs := []*tab{first}
	for range 7 {
		tabs = append(tabs, first.another())
	}
	for i, b := range tabs {
		b.open([]string{"/", lamp, "/devices", "/automations"}[i%4]).until(`document.readyState === "complete"`)
	}
	h.until(func() bool { return streams() == 1 })
	h.publish("home/hall_lamp/state", `{"state":"OFF"}`)
	for i, b := range tabs {
		if i%4 < 3 {
			b.until(`document.querySelector("[data-e='light.hall_lamp']").dataset.state === "off"`)
		}
	}
	h.announce("switch", "fan", "", "Fan", "Kitchen", map[string]any{"command_topic": "home/fan/set"})
	for i, b := range tabs {
		switch i % 4 {
		case 0, 2:
			b.until(`document.querySelector("[data-e='switch.fan']") !== null`)
		case 1:
			b.until(`document.querySelector("h1").textContent === "Hall lamp"`)
		}
		b.clean()
	}
	if n := streams(); n != 1 {
		t.Errorf("%d tabs of one browser keep %d streams, want 1", len(tabs), n)
	}

	poor := newTab(t, h, 412, "light")
	send(poor, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `delete window.SharedWorker`})
	poor.open("/").until(`document.readyState === "complete"`)
	h.publish("home/hall_lamp/state", `{"state":"ON"}`)
	poor.until(`document.querySelector("[data-e='light.hall_lamp']").dataset.state === "on"`).clean()
	h.until(func() bool { return streams() == 2 })
}
