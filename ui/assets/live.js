// Keeps a page up to date and its controls quick. Every page works without it.
//
// data-e names the entity an element shows, data-b which of its values go
// where: "on:switch ok:enabled". There are no words here: what is said comes
// from the server.

if (self.document) page();
else serve();

// stream follows /live and begins again when the connection is lost. tell is
// called with {name, data, id}, or with {name: "lost", refused}.
function stream(tell) {
	let source = null;
	let scope = "";
	let since = "";
	let tries = 0;
	let retry = 0;
	let silence = 0;
	const quiet = () => {
		clearTimeout(silence);
		silence = setTimeout(lost, 35000);
	};
	function close() {
		clearTimeout(retry);
		clearTimeout(silence);
		source?.close();
		source = null;
	}
	function lost() {
		const refused = source?.readyState === 2;
		close();
		tell({ name: "lost", refused });
		retry = setTimeout(go, Math.min(15000, 500 * 2 ** ++tries) * (0.75 + Math.random() / 2));
	}
	function go() {
		close();
		source = new EventSource(`/live?scope=${encodeURIComponent(scope)}&since=${encodeURIComponent(since)}`);
		source.onerror = lost;
		for (const name of "vpxfrs") {
			source.addEventListener(name, (e) => {
				quiet();
				tries = 0;
				if (e.lastEventId) since = e.lastEventId;
				tell({ name, data: e.data, id: e.lastEventId });
			});
		}
		quiet();
	}
	addEventListener("online", () => { if (scope) go(); });
	return {
		close: () => { scope = ""; close(); },
		open(wanted, from) {
			scope = wanted;
			since = from;
			go();
		},
		get since() { return since; },
	};
}

// ---- in the worker: one stream for all pages of the browser

function serve() {
	const pages = new Map(); // port → {scope, seen}
	const own = stream((m) => { for (const port of pages.keys()) port.postMessage(m); });
	let scope = "";

	// earlier returns the older of two numbers of updates, or nothing when they
	// are not of the same run.
	const earlier = (a, b) => {
		const [x, y] = [a.split("-"), b.split("-")];
		return x[0] !== y[0] ? "" : +x[1] < +y[1] ? a : b;
	};
	function ask(port, { scope: wanted, since }) {
		const known = pages.get(port)?.scope === wanted;
		if (wanted) pages.set(port, { scope: wanted, seen: Date.now() });
		else pages.delete(port);
		for (const [p, page] of pages) if (Date.now() - page.seen > 150000) pages.delete(p); // gone without a word
		const all = [...new Set([...pages.values()].map((p) => p.scope))].sort().join(",");
		if (!all) own.close();
		else if (all !== scope || !known) own.open(all, scope ? earlier(own.since, since ?? own.since) : since);
		scope = all;
	}
	self.onconnect = ({ ports: [port] }) => { port.onmessage = (e) => ask(port, e.data); };
}

// ---- in a page

function page() {
	const main = document.getElementById("main");
	const notices = document.getElementById("notices");
	const build = document.documentElement.dataset.build;

	// ---- what the server said last, and where it is shown

	const values = new Map(); // entity → binding → value
	const shown = new Map(); // entity → elements with data-e
	const dirty = new Set(); // elements to patch
	const visible = new WeakSet();
	const pending = new Map(); // entity → {cmd, form, timer, next}
	let frame = 0;

	const watcher = new IntersectionObserver((list) => {
		for (const { target, isIntersecting } of list) {
			if (isIntersecting) {
				visible.add(target);
				if (dirty.has(target)) draw();
			} else visible.delete(target);
		}
	}, { rootMargin: "200px" });

	function index(root) {
		for (const el of root.querySelectorAll("[data-e]")) {
			const list = shown.get(el.dataset.e) ?? [];
			shown.set(el.dataset.e, list);
			list.push(el);
			watcher.observe(el);
		}
	}

	function forget(root) {
		for (const el of root.querySelectorAll("[data-e]")) {
			watcher.unobserve(el);
			dirty.delete(el);
			const list = (shown.get(el.dataset.e) ?? []).filter((other) => other !== el);
			if (list.length) shown.set(el.dataset.e, list);
			else shown.delete(el.dataset.e);
		}
	}

	function draw() {
		frame ||= requestAnimationFrame(() => {
			frame = 0;
			for (const el of dirty) {
				if (!visible.has(el)) continue;
				dirty.delete(el);
				patch(el);
			}
		});
	}

	// bound visits the elements of el that show its entity, el itself included.
	function* bound(el) {
		if (el.dataset.b) yield el;
		for (const inner of el.querySelectorAll("[data-b]")) {
			if (inner.closest("[data-e]") === el) yield inner;
		}
	}

	function patch(el) {
		const have = values.get(el.dataset.e);
		if (!have) return;
		for (const target of bound(el)) {
			for (const pair of target.dataset.b.split(" ")) {
				const cut = pair.lastIndexOf(":");
				const name = pair.slice(0, cut);
				if (have.has(name)) set(target, pair.slice(cut + 1), have.get(name), el);
			}
		}
	}

	function set(el, as, v, host) {
		switch (as) {
			case "text":
				if (el.textContent !== v && !(el.tagName === "OUTPUT" && held(el.form))) el.textContent = v;
				break;
			case "state":
				el.dataset.state = v;
				break;
			case "href":
				if (el.getAttribute("href") !== v) el.setAttribute("href", v);
				break;
			case "enabled":
				el.disabled = !v;
				break;
			case "switch":
				if (pending.has(host.dataset.e)) break;
				check(el, !!v);
				break;
			case "value":
				if (v !== null && !held(el) && !pending.has(host.dataset.e)) el.value = v;
				break;
		}
	}

	function check(el, on) {
		el.setAttribute("aria-checked", on);
		el.value = on ? "turn_off" : "turn_on";
	}

	// held tells whether somebody has their hand on a control.
	let grip = null;
	addEventListener("pointerdown", (e) => { grip = e.target; }, true);
	for (const type of ["pointerup", "pointercancel"]) {
		addEventListener(type, () => { grip = null; setTimeout(release); }, true);
	}
	addEventListener("focusout", () => setTimeout(release));

	function held(el) {
		if (!el) return false;
		if (grip && el.contains(grip)) return true;
		const at = document.activeElement;
		return !!at && el.contains(at) && at.matches("input:not([type=range]), textarea, select");
	}

	// release brings what was held up to date.
	const parts = new Map(); // id → HTML that waits
	function release() {
		for (const [id, html] of parts) replace(id, html);
		for (const list of shown.values()) for (const el of list) dirty.add(el);
		draw();
	}

	function replace(id, html) {
		const old = document.getElementById(id);
		if (!old) return;
		if (held(old)) {
			parts.set(id, html);
			return;
		}
		parts.delete(id);
		const t = document.createElement("template");
		t.innerHTML = html;
		const fresh = t.content.firstElementChild;
		for (const d of old.querySelectorAll("details[open][id]")) {
			const same = fresh.querySelector("#" + CSS.escape(d.id));
			if (same) same.open = true;
		}
		const at = old.contains(document.activeElement) ? path(document.activeElement) : "";
		forget(old);
		old.replaceWith(fresh);
		index(fresh);
		if (at) fresh.querySelector(at)?.focus({ preventScroll: true });
		ago();
	}

	// path names an element so that it can be found again after a part was drawn
	// anew.
	function path(el) {
		if (el.id) return "#" + CSS.escape(el.id);
		if (el.getAttribute("href")) return `a[href="${CSS.escape(el.getAttribute("href"))}"]`;
		const form = el.closest("form");
		return form ? `form[action="${CSS.escape(form.getAttribute("action"))}"] ${el.localName}` : "";
	}

	// ---- the stream, by the worker where there is one

	let link = null;
	let since = main.dataset.since;
	let tries = 0;
	let asleep = 0;
	let heard = new Date();

	const on = {
		v: (d) => { if (d.build !== build) document.getElementById("newer").hidden = false; },
		x: () => location.reload(),
		f: (d) => { if (d.scope === main.dataset.scope) replace(d.id, d.html); },
		r: (d) => settle(d.cmd, d.ok),
		s: (d) => {
			for (const [entity, ...pairs] of d.e) {
				if (!shown.has(entity)) continue;
				const have = values.get(entity) ?? new Map();
				values.set(entity, have);
				for (let i = 0; i < pairs.length; i += 2) have.set(pairs[i], pairs[i + 1]);
				for (const el of shown.get(entity)) dirty.add(el);
			}
			draw();
		},
	};

	function told({ name, data, id, refused }) {
		if (name === "lost") return lost(refused);
		if (id) since = id;
		tries = 0;
		heard = new Date();
		document.getElementById("stale").hidden = true;
		delete main.dataset.stale;
		on[name]?.(JSON.parse(data));
	}

	async function lost(refused) {
		if (!link) return;
		if (tries++ > 0) {
			const stale = document.getElementById("stale");
			const time = stale.querySelector("time");
			time.dateTime = heard.toISOString();
			time.textContent = heard.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
			stale.hidden = false;
			main.dataset.stale = "";
		}
		if (refused) {
			const page = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
			if (page?.type === "opaqueredirect") location.reload();
		}
	}

	function alone() {
		const own = stream(told);
		own.open(main.dataset.scope, since);
		return own;
	}

	// shared leaves the stream to the worker, so that all pages of a browser need
	// one connection.
	function shared() {
		const worker = new SharedWorker(import.meta.url, { type: "module", name: "lar" });
		const { port } = worker;
		const ask = () => port.postMessage({ scope: main.dataset.scope, since });
		const here = setInterval(ask, 20000);
		worker.onerror = () => { // it did not load
			clearInterval(here);
			link = alone();
		};
		port.onmessage = (e) => told(e.data);
		ask();
		return {
			close() {
				clearInterval(here);
				port.postMessage({});
				port.close();
			},
		};
	}

	function wake() {
		link ??= window.SharedWorker ? shared() : alone();
	}

	function sleep() {
		link?.close();
		link = null;
	}

	if (main.dataset.scope) {
		index(document);
		wake();
		addEventListener("pagehide", sleep);
		addEventListener("pageshow", (e) => { if (e.persisted) wake(); });
		document.addEventListener("visibilitychange", () => {
			clearTimeout(asleep);
			if (document.hidden) asleep = setTimeout(sleep, 5000);
			else wake();
		});
	}

	// ---- commands

	document.addEventListener("submit", (e) => {
		const form = e.target;
		if (!form.matches("[data-do]")) return;
		e.preventDefault();
		send(form, new FormData(form, e.submitter), e.submitter);
	});

	function send(form, data, button) {
		const host = form.closest("[data-e]");
		const entity = host.dataset.e;
		if (main.dataset.stale !== undefined) return;
		const before = pending.get(entity);
		if (button?.matches(".switch")) check(button, data.get("command") === "turn_on");
		if (before?.sending) { // one after the other, and of those that wait the latest
			before.next = [form, data, button];
			return;
		}
		clearTimeout(before?.timer);
		const cmd = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
		data.set("cmd", cmd);
		host.dataset.pending = "";
		host.setAttribute("aria-busy", "true");
		delete host.dataset.failed;
		const wish = { cmd, form, data, button, sending: true, timer: setTimeout(settle, 7000, cmd, false) };
		pending.set(entity, wish);
		fetch(form.action, { method: "POST", body: new URLSearchParams(data), headers: { Accept: "application/json" } })
			.then(async (answer) => {
				if (answer.status === 401) return location.reload();
				if (!answer.ok) settle(cmd, false, (await answer.json()).why);
			})
			.catch(() => settle(cmd, false))
			.finally(() => {
				wish.sending = false;
				if (wish.next) send(...wish.next);
			});
	}

	// settle ends the wait for what became of a command.
	function settle(cmd, ok, why) {
		for (const [entity, wish] of pending) {
			if (wish.cmd !== cmd || wish.next) continue;
			clearTimeout(wish.timer);
			pending.delete(entity);
			for (const el of shown.get(entity) ?? []) {
				delete el.dataset.pending;
				el.removeAttribute("aria-busy");
				dirty.add(el);
				if (!ok) {
					el.dataset.failed = "";
					setTimeout(() => delete el.dataset.failed, 4000);
				}
			}
			if (!ok) {
				if (!values.has(entity)) { // what the page came with is the last that is known
					wish.form.reset();
					if (wish.button?.matches(".switch")) check(wish.button, wish.data.get("command") !== "turn_on");
				}
				tell(why ?? wish.form.dataset.lost, wish);
			}
			draw();
		}
	}

	function tell(text, wish) {
		const p = document.createElement("p");
		p.className = "notice bad";
		p.append(text);
		const again = document.createElement("button");
		again.textContent = notices.dataset.retry;
		again.onclick = () => {
			p.remove();
			if (wish.form.isConnected) send(wish.form, wish.data, wish.button);
		};
		p.append(again);
		notices.replaceChildren(p);
		setTimeout(() => p.remove(), 15000);
	}

	// A dial says what it is set to, and sends it while it is moved.
	let last = 0;
	let later = 0;
	document.addEventListener("input", (e) => {
		const el = e.target;
		if (!el.matches("[data-do] input[type=range]")) return;
		const out = el.form.querySelector("output");
		if (out) out.textContent = el.value + (out.dataset.unit ? "\u00a0" + out.dataset.unit : "");
		clearTimeout(later);
		const go = () => { last = Date.now(); send(el.form, new FormData(el.form)); };
		const rest = last + 150 - Date.now();
		if (rest <= 0) go();
		else later = setTimeout(go, rest);
	});
	document.addEventListener("change", (e) => {
		const el = e.target;
		if (el.matches("[data-do] :is(input, select)") && el.value !== "") {
			clearTimeout(later);
			send(el.form, new FormData(el.form));
		}
		if (el.matches("[data-show]")) document.getElementById(el.dataset.show).type = el.checked ? "text" : "password";
		if (el.matches("[data-submit]")) el.form.requestSubmit(el.closest(".block")?.querySelector("[value=refresh]"));
	});

	// ---- the place of the home: asked for by a press of a button only

	const locate = document.querySelector("[data-locate]");
	if (locate) {
		const fill = (name, value) => {
			const el = locate.form.elements[name];
			if (el && !el.disabled) el.value = value;
		};
		locate.hidden = false;
		locate.addEventListener("click", () => {
			fill("zone", Intl.DateTimeFormat().resolvedOptions().timeZone ?? "");
			if (isSecureContext) navigator.geolocation?.getCurrentPosition(({ coords }) => {
				fill("latitude", coords.latitude.toFixed(3));
				fill("longitude", coords.longitude.toFixed(3));
			});
		});
	}

	// ---- times

	const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
	const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
	function ago() {
		for (const el of document.querySelectorAll("time[data-ago]")) {
			const s = (new Date(el.dateTime) - Date.now()) / 1000;
			const [unit, size] = units.find(([, size]) => Math.abs(s) >= size * 1.5) ?? ["minute", 60];
			if (Math.abs(s) >= 45) el.textContent = words.format(Math.round(s / size), unit);
		}
	}
	setInterval(ago, 30000);
}
