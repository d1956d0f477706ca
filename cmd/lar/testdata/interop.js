// Plays MQTT.js: one transport, both versions.
// Usage: node interop.js FOLDER-WITH-node_modules URL CERTIFICATE-OR-"-"
const { createRequire } = require("module");
const fs = require("fs");
const [folder, url, ca] = process.argv.slice(2);
const mqtt = createRequire(folder + "/")("mqtt");

const late = (what) => new Promise((_, no) => setTimeout(() => no(new Error("nothing comes: " + what)), 15000).unref());

async function connect(name, protocolVersion, more) {
  const clientId = name + "-" + new URL(url).port;
  const o = { clientId, protocolVersion, reconnectPeriod: 0, ...more };
  if (protocolVersion === 3) o.protocolId = "MQIsdp";
  if (ca !== "-") o.ca = fs.readFileSync(ca);
  const c = await mqtt.connectAsync(url, o, false);
  const got = [], waiting = [];
  c.on("message", (topic, payload, p) => {
    const m = [topic, payload.toString(), p.qos, p.retain].join(" ");
    waiting.length ? waiting.shift()(m) : got.push(m);
  });
  c.expect = async (want) => {
    const m = got.length ? got.shift() : await Promise.race([new Promise((yes) => waiting.push(yes)), late(want)]);
    if (m !== want) throw new Error(`got "${m}", want "${want}"`);
  };
  return c;
}

(async () => {
  for (const version of [3, 4, 5]) {
    const top = "js/" + url.replace(/[^a-z0-9]/g, "") + "/" + version;
    const sub = await connect("js-s" + version, version);
    const pub = await connect("js-p" + version, version);
    await sub.subscribeAsync(top + "/#", { qos: 2 });
    for (const qos of [0, 1, 2]) {
      await pub.publishAsync(top + "/q", "x", { qos });
      await sub.expect(`${top}/q x ${qos} false`);
    }
    await pub.publishAsync(top + "/kept", "r", { qos: 1, retain: true });
    await sub.expect(`${top}/kept r 1 false`);
    const other = await connect("js-l" + version, version);
    await other.subscribeAsync(top + "/kept", { qos: 1 });
    await other.expect(`${top}/kept r 1 true`);
    const dying = await connect("js-d" + version, version, { will: { topic: top + "/will", payload: "gone", qos: 1 } });
    dying.stream.destroy();
    await sub.expect(`${top}/will gone 1 false`);
    // 3.1 does not say whether the session was there.
    const stay = { clean: false, properties: version === 5 ? { sessionExpiryInterval: 300 } : undefined };
    let away = await connect("js-a" + version, version, stay);
    await away.subscribeAsync(top + "/queue", { qos: 2 });
    await away.endAsync();
    await pub.publishAsync(top + "/queue", "waited", { qos: 2 });
    await sub.expect(`${top}/queue waited 2 false`);
    away = await connect("js-a" + version, version, stay);
    await away.expect(`${top}/queue waited 2 false`);
    await away.endAsync();
    if (version === 5) {
      const both = [await connect("js-w1", 5), await connect("js-w2", 5)], shared = [];
      let enough;
      const all = new Promise((yes) => (enough = yes));
      for (const c of both) {
        c.on("message", (_, payload) => shared.push(payload.toString()) === 4 && enough());
        await c.subscribeAsync(`$share/g/${top}/work`, { qos: 1 });
      }
      for (const i of [0, 1, 2, 3]) {
        await pub.publishAsync(top + "/work", String(i), { qos: 1 });
        await sub.expect(`${top}/work ${i} 1 false`);
      }
      await Promise.race([all, late("shared messages")]);
      if (shared.sort().join("") !== "0123") throw new Error("shared messages: " + shared);
      for (const c of both) await c.endAsync(true);

      const asked = new Promise((yes) => sub.once("message", (_topic, _payload, p) => yes(p.properties)));
      await pub.publishAsync(top + "/ask", "?", { qos: 1, properties: { responseTopic: top + "/answer", correlationData: Buffer.from([1, 7]) } });
      const { responseTopic, correlationData } = await Promise.race([asked, late("request")]);
      await sub.expect(`${top}/ask ? 1 false`);
      const answered = new Promise((yes) => pub.once("message", (_topic, payload, p) => yes([payload.toString(), p.properties.correlationData])));
      await pub.subscribeAsync(responseTopic, { qos: 1 });
      await sub.publishAsync(responseTopic, "!", { qos: 1, properties: { correlationData } });
      const [answer, data] = await Promise.race([answered, late("response")]);
      if (answer !== "!" || data.compare(Buffer.from([1, 7])) !== 0) throw new Error(`response ${answer} ${data}`);
    }
    for (const c of [sub, pub, other]) await c.endAsync(true);
  }
  console.log("ok");
  process.exit(0);
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
