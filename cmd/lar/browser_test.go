package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// missing ends a test that cannot run here. It fails where everything a test
// needs has to be there: a test that cannot run proves nothing.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// chrome is the one browser of all tests here; each has a profile of its own.
var chrome struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

func closeBrowser() {
	if chrome.cancel != nil {
		chrome.cancel()
	}
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

// hands find what a person would: a field by its label, a button or a link by
// what it says. They stay out of the way of the page's own names.
const hands = `window.hands = {
	says: (el) => (el.getAttribute("aria-label") || el.innerText || "").replace(/\s+/g, " ").trim(),
	pick(list, name, what) {
		const there = [...list].filter((el) => el.checkVisibility() && !el.closest("[aria-hidden=true]"));
		const found = there.filter((el) => hands.says(el) === name);
		if (found.length !== 1) throw new Error(found.length + " " + what + " " + JSON.stringify(name) + " among " + JSON.stringify(there.map(hands.says)));
		found[0].scrollIntoView({ block: "center", behavior: "instant" });
		return found[0];
	},
	button: (within, name) => hands.pick(document.querySelectorAll(within + " :is(button:not([role=switch]), a, summary)"), name, "buttons"),
	toggle: (within, name) => hands.pick(document.querySelectorAll(within + " [role=switch]"), name, "switches"),
	field(within, name) {
		const label = document.querySelectorAll(within + " :is(label, select[aria-label])");
		const el = hands.pick(label, name, "fields");
		return el.control ?? el;
	},
	press(el) {
		const r = el.getBoundingClientRect();
		const hit = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
		if (!el.contains(hit)) throw new Error("covered by " + hit?.outerHTML.slice(0, 100));
		const at = { bubbles: true, pointerId: 1, isPrimary: true };
		hit.dispatchEvent(new PointerEvent("pointerdown", at));
		hit.dispatchEvent(new PointerEvent("pointerup", at));
		el.click();
		return true;
	},
	wrongs: [],
};
addEventListener("securitypolicyviolation", (e) => hands.wrongs.push("policy: " + e.violatedDirective + " " + e.blockedURI));
addEventListener("error", (e) => hands.wrongs.push("error: " + (e.message || e.target.src || e.target.href)), true);
addEventListener("unhandledrejection", (e) => hands.wrongs.push("rejection: " + e.reason));`

// A tab is a person before a browser.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string // URL of the hub
}

// newTab opens an empty tab, with the profile of somebody who was never here.
func newTab(t testing.TB, base string, width, height int64) *tab {
	t.Helper()
	path := findChrome()
	if path == "" {
		missing(t, "no Chromium is here: install it, or name it in $CHROME")
	}
	chrome.once.Do(func() {
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
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
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(stop)
	b := &tab{t, ctx, base}
	b.do(chromedp.EmulateViewport(width, height))
	send(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	send(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: hands})
	return b
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
func eval[T any](b *tab, format string, args ...any) T {
	b.t.Helper()
	for i, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			b.t.Fatal(err)
		}
		args[i] = text
	}
	expression := fmt.Sprintf(format, args...)
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v\nthe page says:\n%s", expression, err, b.text())
	}
	return v
}

// text returns all that the page says.
func (b *tab) text() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText`))
	return text
}

// until waits for an expression to hold. Meanwhile a page may go and another
// one come.
func (b *tab) until(expression string) {
	b.t.Helper()
	b.within(patience, expression)
}

func (b *tab) within(limit time.Duration, expression string) {
	b.t.Helper()
	ok := eventually(limit, func() bool {
		held, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && held
	})
	if !ok {
		b.t.Fatalf("not within %v: %s\nthe page says:\n%s", limit, expression, b.text())
	}
}

// eventually asks until the answer is yes, or time is up.
func eventually(limit time.Duration, ask func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ask(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// sees waits until the page, or the part of it that a selector names, says
// something.
func (b *tab) sees(within, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((el) => el.innerText.replace(/\s+/g, " ").includes(%q))`, within, text))
}

// says returns what the first element of a selector says.
func (b *tab) says(selector string) string {
	b.t.Helper()
	return eval[string](b, `hands.says(document.querySelector(%s))`, selector)
}

// open shows a page.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
	b.until(`document.readyState === "complete"`)
}

// click presses a button or link, named by what it says. Rows say nothing
// before the first frame is drawn (content-visibility), so it waits for that.
func (b *tab) click(within, name string) {
	b.t.Helper()
	b.press(fmt.Sprintf(`hands.button(%q, %q)`, within, name))
}

// flip presses a switch, named by what it is called to those who cannot see it.
func (b *tab) flip(within, name string) {
	b.t.Helper()
	b.press(fmt.Sprintf(`hands.toggle(%q, %q)`, within, name))
}

// press waits until a control is there and nothing covers it, and presses it
// in the same moment: a page that is alive may move it in the next.
func (b *tab) press(control string) {
	b.t.Helper()
	var err error
	ok := eventually(patience, func() bool {
		_, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool](`hands.press(`+control+`)`))
		return err == nil
	})
	if !ok {
		b.t.Fatalf("%s: %v\nthe page says:\n%s", control, err, b.text())
	}
}

// turn does something that leads to another page, and waits for that.
func (b *tab) turn(do func()) {
	b.t.Helper()
	eval[bool](b, `hands.old = true`)
	do()
	b.until(`window.hands && !hands.old && document.readyState === "complete"`)
	b.clean()
}

// follow presses a button or link that leads to another page.
func (b *tab) follow(within, name string) {
	b.t.Helper()
	b.turn(func() { b.click(within, name) })
}

// fill types into a field, named by its label.
func (b *tab) fill(within, label, text string) {
	b.t.Helper()
	eval[bool](b, `(() => { const el = hands.field(%s, %s); el.focus(); el.select(); return true })()`, within, label)
	b.do(chromedp.KeyEvent(text))
}

// choose takes an option of a field, both named by what they say.
func (b *tab) choose(within, label, option string) {
	b.t.Helper()
	choose := func() {
		eval[bool](b, `(() => {
			const el = hands.field(%s, %s), name = %s;
			const found = [...el.options].filter((o) => o.text === name);
			if (found.length !== 1) throw new Error(found.length + " options " + name + " among " + [...el.options].map((o) => o.text).join(", "));
			el.value = found[0].value;
			setTimeout(() => el.dispatchEvent(new Event("change", { bubbles: true })));
			return true;
		})()`, within, label, option)
	}
	if eval[bool](b, `hands.field(%s, %s).matches("[data-submit]")`, within, label) {
		b.turn(choose)
	} else {
		choose()
	}
}

// clean fails the test if the page broke the policy or a script failed.
func (b *tab) clean() {
	b.t.Helper()
	if wrongs := eval[[]string](b, `hands.wrongs`); len(wrongs) > 0 {
		b.t.Errorf("%s: %s", eval[string](b, `location.pathname`), strings.Join(wrongs, "; "))
	}
}

// moveIn goes through the first run.
func (b *tab) moveIn(home, name, password string) {
	b.t.Helper()
	b.open("/")
	b.fill("main", "What is your home called?", home)
	b.fill("main", "Your name", name)
	b.fill("main", "Choose a password", password)
	b.follow("main", "Move in")
	b.sees("h1", home)
}

func (b *tab) signIn(name, password string) {
	b.t.Helper()
	b.open("/")
	b.fill("main", "Your name", name)
	b.fill("main", "Password", password)
	b.follow("main", "Sign in")
}

// addCredential returns a client that has a credential, and stays on the page
// that shows it.
func (b *tab) addCredential(name string) client {
	b.t.Helper()
	b.open("/settings")
	b.fill("main", "New credential", name)
	b.follow("main", "Add credential")
	b.sees("h1", "Credential for "+name)
	return client{b.t, b.says(".facts code"), b.says("[data-testid=user]"), b.says("[data-testid=password]")}
}

// automate makes an automation by form.
func (b *tab) automate(name string, fill func()) {
	b.t.Helper()
	b.open("/automations/new")
	b.fill("#editor", "Name", name)
	fill()
	b.follow(".savebar", "Save")
	b.sees("h1", name)
}
