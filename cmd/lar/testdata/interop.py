"""Plays Eclipse Paho's Python client, as Debian has it: one transport, both versions.

Usage: interop.py tcp|websockets HOST PORT CERTIFICATE-OR-"-" """
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

transport, host, port, ca = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def connect(name, version, clean=True, will=None, present=False):
    args = dict(client_id="%s-%d" % (name, port), protocol=version, transport=transport)
    if version != mqtt.MQTTv5:
        args["clean_session"] = clean
    if hasattr(mqtt, "CallbackAPIVersion"):  # 2.0 and later
        args["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
    c = mqtt.Client(**args)
    c.got, c.up, c.acked = queue.Queue(), queue.Queue(), queue.Queue()
    c.on_connect = lambda *a: c.up.put((a[3], a[2].get("session present")))
    c.on_subscribe = lambda *a: c.acked.put(a)
    c.on_message = lambda _c, _u, m: c.got.put((m.topic, m.payload.decode(), m.qos, bool(m.retain)))
    if transport == "websockets":
        c.ws_set_options(path="/mqtt")
    if ca != "-":
        c.tls_set(ca)
    if will:
        c.will_set(*will)
    if version == mqtt.MQTTv5:
        p = Properties(PacketTypes.CONNECT)
        p.SessionExpiryInterval = 0 if clean else 300
        c.connect(host, port, clean_start=clean, properties=p)
    else:
        c.connect(host, port)
    c.loop_start()
    code, was = c.up.get(timeout=15)
    assert code == 0, code
    assert version == mqtt.MQTTv31 or bool(was) == present, was  # 3.1 does not say it
    return c


def subscribe(c, filter, qos):
    c.subscribe(filter, qos)
    c.acked.get(timeout=15)


def expect(c, *want):
    got = c.got.get(timeout=15)
    assert got == want, (got, want)


for version in mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5:
    top = "py/%s/%s/%d" % (transport, port, version)
    sub, pub = connect("s%d" % version, version), connect("p%d" % version, version)
    subscribe(sub, top + "/#", 2)
    for qos in range(3):
        info = pub.publish(top + "/q", "x", qos)
        info.wait_for_publish()
        expect(sub, top + "/q", "x", qos, False)
    pub.publish(top + "/kept", "r", 1, retain=True).wait_for_publish()
    expect(sub, top + "/kept", "r", 1, False)
    late = connect("l%d" % version, version)
    subscribe(late, top + "/kept", 1)
    expect(late, top + "/kept", "r", 1, True)
    dying = connect("d%d" % version, version, will=(top + "/will", "gone", 1))
    dying.loop_stop()
    dying.socket().close()  # without a goodbye
    expect(sub, top + "/will", "gone", 1, False)
    away = connect("a%d" % version, version, clean=False)
    subscribe(away, top + "/queue", 2)
    away.disconnect()
    away.loop_stop()
    pub.publish(top + "/queue", "waited", 2).wait_for_publish()
    expect(sub, top + "/queue", "waited", 2, False)
    away = connect("a%d" % version, version, clean=False, present=True)
    expect(away, top + "/queue", "waited", 2, False)
    away.disconnect()
    away.loop_stop()
    if version == mqtt.MQTTv5:
        both = [connect("w%d" % i, version) for i in range(2)]
        shared = queue.Queue()
        for c in both:
            c.on_message = lambda _c, _u, m: shared.put(m.payload.decode())
            subscribe(c, "$share/g/" + top + "/work", 1)
        for i in range(4):
            pub.publish(top + "/work", str(i), 1).wait_for_publish()
            expect(sub, top + "/work", str(i), 1, False)
        assert sorted(shared.get(timeout=15) for _ in range(4)) == list("0123")
        for c in both:
            c.disconnect()
            c.loop_stop()
        p = Properties(PacketTypes.PUBLISH)
        p.ResponseTopic, p.CorrelationData = top + "/answer", b"7"
        seen = queue.Queue()
        sub.on_message = lambda _c, _u, m: seen.put(m.properties)
        pub.publish(top + "/ask", "?", 1, properties=p).wait_for_publish()
        got = seen.get(timeout=15)
        assert (got.ResponseTopic, got.CorrelationData) == (top + "/answer", b"7"), got
    for c in sub, pub, late:
        c.disconnect()
        c.loop_stop()
print("ok")
