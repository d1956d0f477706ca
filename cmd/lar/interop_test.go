package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqttclient "github.com/eclipse/paho.mqtt.golang"
)

// debianPython is the one that Debian's packages are for.
const debianPython = "/usr/bin/python3"

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T, dir string) (certFile, keyFile string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile = writeFile(t, filepath.Join(dir, "cert.pem"), string(certPEM))
	keyFile = writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, &tls.Config{RootCAs: pool}
}

// TestInteroperability has clients that nobody here wrote do what clients do,
// over each transport and in both versions.
func TestInteroperability(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, trust := certificate(t, dir)
	b := startBroker(t, writeFile(t, filepath.Join(dir, "lar.toml"), fmt.Sprintf(`
data = "data"
mqtt = "127.0.0.1:0"
http = "off"
mdns = false
[[listener]]
type = "tls"
address = "127.0.0.1:0"
certificate = %[1]q
key = %[2]q
[[listener]]
type = "websocket"
address = "127.0.0.1:0"
[[listener]]
type = "secure-websocket"
address = "127.0.0.1:0"
certificate = %[1]q
key = %[2]q
`, certFile, keyFile)))
	for _, tt := range []struct{ name, url string }{
		{"TCP", "tcp://" + b.address["mqtt"]},
		{"TLS", "ssl://" + b.address["tls"]},
		{"WebSocket", "ws://" + b.address["websocket"] + "/mqtt"},
		{"SecureWebSocket", "wss://" + b.address["secure-websocket"] + "/mqtt"},
	} {
		t.Run(tt.name+"/Paho3.1.1", func(t *testing.T) { pahoV3(t, tt.url, trust) })
		t.Run(tt.name+"/Paho5.0", func(t *testing.T) { pahoV5(t, tt.url, trust) })
	}
	script := func(name string, args ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it waits
			code, stdout, stderr := finish(t, "", exec.Command(args[0], args[1:]...))
			if code != 0 || stdout != "ok\n" {
				t.Errorf("exit code %d, %q:\n%s", code, stdout, stderr)
			}
		})
	}
	python := func(name, transport, addr, ca string) {
		host, port, _ := net.SplitHostPort(addr)
		script(name+"/Python", debianPython, "testdata/interop.py", transport, host, port, ca)
	}
	if exec.Command(debianPython, "-c", "import paho.mqtt.client").Run() != nil {
		missing(t, "Paho's client for Python is not here: install python3-paho-mqtt")
	}
	python("TCP", "tcp", b.address["mqtt"], "-")
	python("TLS", "tcp", b.address["tls"], certFile)
	python("WebSocket", "websockets", b.address["websocket"], "-")
	python("SecureWebSocket", "websockets", b.address["secure-websocket"], certFile)

	inC := filepath.Join(t.TempDir(), "interop")
	if _, err := os.Stat("/usr/include/MQTTClient.h"); err != nil {
		missing(t, "Paho's client in C is not here: install libpaho-mqtt-dev and gcc")
	}
	if out, err := exec.Command("gcc", "-Wall", "-Werror", "-o", inC, "testdata/interop.c", "-lpaho-mqtt3cs").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	script("TCP/C", inC, "tcp://"+b.address["mqtt"], "-")
	script("TLS/C", inC, "ssl://"+b.address["tls"], certFile)
	script("WebSocket/C", inC, "ws://"+b.address["websocket"]+"/mqtt", "-")
	script("SecureWebSocket/C", inC, "wss://"+b.address["secure-websocket"]+"/mqtt", certFile)

	modules := t.TempDir()
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--prefix", modules, "mqtt@5")
	if code, _, stderr := finish(t, "", install); code != 0 {
		t.Errorf("MQTT.js is not installed: %s", stderr)
	} else {
		script("TCP/MQTT.js", "node", "testdata/interop.js", modules, "mqtt://"+b.address["mqtt"], "-")
		script("TLS/MQTT.js", "node", "testdata/interop.js", modules, "mqtts://"+b.address["tls"], certFile)
		script("WebSocket/MQTT.js", "node", "testdata/interop.js", modules, "ws://"+b.address["websocket"]+"/mqtt", "-")
		script("SecureWebSocket/MQTT.js", "node", "testdata/interop.js", modules, "wss://"+b.address["secure-websocket"]+"/mqtt", certFile)
	}

	needMosquitto(t)
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		t.Run("TCP/Mosquitto-"+version, func(t *testing.T) { mosquitto(t, b.address["mqtt"], "-V", version) })
		t.Run("TLS/Mosquitto-"+version, func(t *testing.T) { mosquitto(t, b.address["tls"], "-V", version, "--cafile", certFile) })
	}
}

// mosquitto plays all QoS, retained messages, wills and a session that is
// taken up again.
func mosquitto(t *testing.T, addr string, more ...string) {
	topic := "m/" + t.Name()
	c := client{t: t, addr: addr}
	in := c.subscribe(topic+"/#", append(more, "-q", "2")...)
	for _, qos := range []string{"0", "1", "2"} {
		c.publish(topic+"/qos", qos, append(more, "-q", qos)...)
		in.next(topic + "/qos " + qos)
	}
	c.publish(topic+"/kept", "r", append(more, "-r")...)
	in.next(topic + "/kept r")
	c.subscribe(topic+"/kept", more...).next(topic + "/kept r")

	if more[1] == "mqttv5" {
		a := c.subscribe("$share/g/"+topic+"/work", more...)
		b := c.subscribe("$share/g/"+topic+"/work", more...)
		for _, n := range []string{"1", "2", "3", "4"} {
			c.publish(topic+"/work", n, more...)
			in.next(topic + "/work " + n)
		}
		if !eventually(patience, func() bool { return a.count()+b.count() >= 4 }) || a.count() != 2 || b.count() != 2 {
			t.Errorf("of four shared messages %d and %d came", a.count(), b.count())
		}
		respond := c.subscribe(topic+"/ask", append(more, "-F", "got %t %R")...)
		rr := exec.Command("mosquitto_rr", c.args(append(more, "-t", topic+"/ask", "-e", topic+"/answer", "-m", "?", "-W", "30")...)...)
		answered := make(chan string, 1)
		go func() {
			out, err := rr.Output()
			if err != nil {
				out = append(out, err.Error()...)
			}
			answered <- string(out)
		}()
		in.next(topic + "/ask ?")
		respond.next(topic + "/ask " + topic + "/answer")
		c.publish(topic+"/answer", "!", more...)
		in.next(topic + "/answer !")
		if got := <-answered; got != "!\n" {
			t.Errorf("mosquitto_rr prints %q", got)
		}
	}
	args := c.args(append(more, "-t", topic+"/none", "-E", "-i", "resumed")...)
	if more[1] != "mqttv31" { // whose clients have 23 letters, and that one too few ways
		keep := append(more, "-t", topic+"/queue", "-q", "1", "-i", "kept-"+more[1], "-c")
		if more[1] == "mqttv5" {
			keep = append(keep, "-x", "300")
		}
		if code, _, stderr := finish(t, "", exec.Command("mosquitto_sub", c.args(append(slices.Clone(keep), "-E")...)...)); code != 0 {
			t.Fatalf("mosquitto_sub -E: %d %s", code, stderr)
		}
		c.publish(topic+"/queue", "waited", more...)
		in.next(topic + "/queue waited")
		code, stdout, stderr := finish(t, "", exec.Command("mosquitto_sub", c.args(append(slices.Clone(keep), "-C", "1")...)...))
		if code != 0 || stdout != "waited\n" {
			t.Errorf("a session taken up again gets %q, %d %s", stdout, code, stderr)
		}
	}
	if code, _, stderr := finish(t, "", exec.Command("mosquitto_sub", args...)); code != 0 {
		t.Errorf("mosquitto_sub: %d %s", code, stderr)
	}
	// A client that is killed leaves its will; its subscription says that it
	// is there.
	cmd := exec.Command("mosquitto_sub", c.args(append(more, "-t", topic+"/alive", "--will-topic", topic+"/will", "--will-payload", "gone", "--will-qos", "1")...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.publish(topic+"/alive", "?", append(more, "-r")...)
	in.next(topic + "/alive ?")
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Errorf("mosquitto_sub: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	in.next(topic + "/will gone")
	in.empty()
}

func waitFor(t *testing.T, token mqttclient.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("no answer: %v", token.Error())
	}
}

func take[T comparable](t *testing.T, from <-chan T, want T) {
	t.Helper()
	select {
	case got := <-from:
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("nothing comes, want %v", want)
	}
}

// pahoV3 plays a session of 3.1.1 with Eclipse Paho's older Go client.
func pahoV3(t *testing.T, server string, trust *tls.Config) {
	topic := "three/" + t.Name()
	dial := func(id string, got chan string) mqttclient.Client {
		o := mqttclient.NewClientOptions().AddBroker(server).SetTLSConfig(trust).SetClientID(id + t.Name()).
			SetCleanSession(false).SetAutoReconnect(false).SetProtocolVersion(4)
		o.SetDefaultPublishHandler(func(_ mqttclient.Client, m mqttclient.Message) {
			got <- fmt.Sprintf("%d %v %s", m.Qos(), m.Retained(), m.Payload())
		})
		c := mqttclient.NewClient(o)
		waitFor(t, c.Connect())
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	got := make(chan string, 10)
	sub, pub := dial("s", got), dial("p", nil)
	waitFor(t, sub.Subscribe(topic, 2, nil))
	for qos := range byte(3) {
		waitFor(t, pub.Publish(topic, qos, false, "x"))
		take(t, got, fmt.Sprintf("%d false x", qos))
	}
	big := make([]byte, 300<<10) // of many frames
	for i := range big {
		big[i] = 'a' + byte(i%26)
	}
	waitFor(t, pub.Publish(topic, 1, false, big))
	take(t, got, "1 false "+string(big))
	sub.Disconnect(250)
	waitFor(t, pub.Publish(topic, 1, false, "while away"))
	sub = dial("s", got)
	take(t, got, "1 false while away")
	// One whose transport goes leaves its will.
	var mine net.Conn
	o := mqttclient.NewClientOptions().AddBroker(server).SetTLSConfig(trust).SetClientID("w"+t.Name()).
		SetAutoReconnect(false).SetProtocolVersion(4).SetWill(topic, "gone", 2, false)
	o.SetCustomOpenConnectionFn(func(u *url.URL, o mqttclient.ClientOptions) (net.Conn, error) {
		var err error
		mine, err = dialFor(u, trust)
		return mine, err
	})
	waitFor(t, mqttclient.NewClient(o).Connect())
	mine.Close()
	take(t, got, "2 false gone")
	waitFor(t, pub.Publish(topic+"/r", 1, true, "kept"))
	waitFor(t, sub.Subscribe(topic+"/+", 1, nil))
	take(t, got, "1 true kept")
}

// dialFor opens the transport that a URL names.
func dialFor(u *url.URL, trust *tls.Config) (net.Conn, error) {
	switch u.Scheme {
	case "ssl":
		return tls.Dial("tcp", u.Host, trust)
	case "ws", "wss":
		return mqttclient.NewWebsocket(u.String(), trust.Clone(), patience, http.Header{}, nil)
	}
	return net.Dial("tcp", u.Host)
}

// pahoV5 plays shared subscriptions, a request with its response and retained
// messages of 5.0 with Eclipse Paho's newer Go client.
func pahoV5(t *testing.T, server string, trust *tls.Config) {
	topic := "five/" + t.Name()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(id string, got chan *paho.Publish, filters ...string) *autopaho.ConnectionManager {
		cfg := autopaho.ClientConfig{ServerUrls: []*url.URL{u}, TlsCfg: trust, KeepAlive: 30, CleanStartOnInitialConnection: true,
			ClientConfig: paho.ClientConfig{ClientID: id + t.Name(), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
				func(r paho.PublishReceived) (bool, error) { got <- r.Packet; return true, nil },
			}}}
		c, err := autopaho.NewConnection(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitConnection(ctx); err != nil {
			t.Fatalf("not connected: %v", err)
		}
		var subs []paho.SubscribeOptions
		for _, f := range filters {
			subs = append(subs, paho.SubscribeOptions{Topic: f, QoS: 2})
		}
		if len(subs) > 0 {
			if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: subs}); err != nil {
				t.Fatalf("not subscribed: %v", err)
			}
		}
		return c
	}
	next := func(from chan *paho.Publish, want string) *paho.Publish {
		t.Helper()
		select {
		case p := <-from:
			if got := fmt.Sprintf("%d %v %s", p.QoS, p.Retain, p.Payload); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			return p
		case <-ctx.Done():
			t.Fatalf("nothing comes, want %q", want)
			return nil
		}
	}
	asked, answered, shared := make(chan *paho.Publish, 10), make(chan *paho.Publish, 10), make(chan *paho.Publish, 20)
	responder := dial("a", asked, topic+"/ask")
	requester := dial("b", answered, topic+"/answer")
	publish := func(c *autopaho.ConnectionManager, p *paho.Publish) {
		t.Helper()
		if _, err := c.Publish(ctx, p); err != nil {
			t.Fatalf("not published: %v", err)
		}
	}
	for qos := range byte(3) {
		publish(requester, &paho.Publish{Topic: topic + "/ask", QoS: qos, Payload: []byte("?"),
			Properties: &paho.PublishProperties{ResponseTopic: topic + "/answer", CorrelationData: []byte{qos, 7}}})
		p := next(asked, fmt.Sprintf("%d false ?", qos))
		publish(responder, &paho.Publish{Topic: p.Properties.ResponseTopic, QoS: qos, Payload: []byte("!"),
			Properties: &paho.PublishProperties{CorrelationData: p.Properties.CorrelationData}})
		if p = next(answered, fmt.Sprintf("%d false !", qos)); string(p.Properties.CorrelationData) != string([]byte{qos, 7}) {
			t.Errorf("correlation data %v", p.Properties.CorrelationData)
		}
	}
	dial("c", shared, "$share/g/"+topic+"/work")
	dial("d", shared, "$share/g/"+topic+"/work")
	for i := range 6 {
		publish(requester, &paho.Publish{Topic: topic + "/work", QoS: 1, Payload: fmt.Append(nil, i)})
	}
	var got []string
	for range 6 {
		select {
		case p := <-shared:
			got = append(got, string(p.Payload))
		case <-ctx.Done():
			t.Fatalf("of shared messages came %q", got)
		}
	}
	if slices.Sort(got); fmt.Sprint(got) != "[0 1 2 3 4 5]" {
		t.Errorf("shared messages: %q, want each once", got)
	}
	publish(requester, &paho.Publish{Topic: topic + "/kept", QoS: 1, Retain: true, Payload: []byte("r")})
	kept := make(chan *paho.Publish, 1)
	dial("e", kept, topic+"/kept")
	next(kept, "1 true r")
	// A session that is taken up again, and a will.
	direct := func(id string, got chan *paho.Publish, connect *paho.Connect) (*paho.Client, net.Conn, bool) {
		conn, err := dialFor(u, trust)
		if err != nil {
			t.Fatal(err)
		}
		conn = packets.NewThreadSafeConn(conn) // its first PINGREQ is written while others write
		c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) { got <- r.Packet; return true, nil },
		}})
		connect.ClientID, connect.KeepAlive = id+t.Name(), 30
		ack, err := c.Connect(ctx, connect)
		if err != nil {
			t.Fatalf("not connected: %v", err)
		}
		return c, conn, ack.SessionPresent
	}
	stays := &paho.ConnectProperties{SessionExpiryInterval: new(uint32(300))}
	away, _, present := direct("f", nil, &paho.Connect{CleanStart: true, Properties: stays})
	if present {
		t.Error("a session is there before its time")
	}
	if _, err := away.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic + "/queue", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	if err := away.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	publish(requester, &paho.Publish{Topic: topic + "/queue", QoS: 2, Payload: []byte("waited")})
	waited := make(chan *paho.Publish, 1)
	away, _, present = direct("f", waited, &paho.Connect{Properties: stays})
	if !present {
		t.Error("the session is not there")
	}
	next(waited, "2 false waited")
	away.Disconnect(&paho.Disconnect{})

	gone := make(chan *paho.Publish, 1)
	dial("g", gone, topic+"/will")
	_, conn, _ := direct("h", nil, &paho.Connect{CleanStart: true, WillMessage: &paho.WillMessage{Topic: topic + "/will", QoS: 1, Payload: []byte("gone")}})
	conn.Close()
	next(gone, "1 false gone")
}
