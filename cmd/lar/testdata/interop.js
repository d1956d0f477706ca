// Plays MQTT.js: one transport, both versions.
// Usage: node interop.js FOLDER-WITH-node_modules URL CERTIFICATE-OR-"-"
const { createRequire } = require("module");
const fs = require("fs");
const [folder, url, ca] = process.argv.slice(2);
const mqtt = createRequire(folder + "/")("mqtt");

const late = (what) => new Promise((_, no) => setTimeout(() => no(new Error("nothing comes: " + what)), 15000).unref());

async function connect(clientId, protocolVersion, more) {
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
    for (const c of [sub, pub, other]) await c.endAsync(true);
  }
  console.log("ok");
  process.exit(0);
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
