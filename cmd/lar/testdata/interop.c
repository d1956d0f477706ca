/* Plays Eclipse Paho's C client, as Debian has it: one transport, both versions.
   Usage: interop URL CERTIFICATE-OR-"-" */
#include <MQTTClient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *url, *ca;
static int version;
static char top[200];

static void fail(const char *what, long got, long want) {
	fprintf(stderr, "version %d: %s: %ld, want %ld\n", version, what, got, want);
	exit(1);
}

static const char *topic(const char *last) {
	static char names[8][300];
	static int n;
	char *t = names[n++ % 8];
	snprintf(t, sizeof names[0], "%s/%s", top, last);
	return t;
}

/* dial connects; clean or to a session that stays. present is what CONNACK says. */
static MQTTClient dial(const char *name, int clean, int present, const char *will) {
	char id[100];
	MQTTClient c;
	MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
	MQTTClient_connectOptions o = MQTTClient_connectOptions_initializer;
	MQTTClient_connectOptions o5 = MQTTClient_connectOptions_initializer5;
	MQTTClient_connectOptions w = MQTTClient_connectOptions_initializer_ws;
	MQTTClient_connectOptions w5 = MQTTClient_connectOptions_initializer5_ws;
	MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
	MQTTClient_willOptions last = MQTTClient_willOptions_initializer;
	MQTTProperties props = MQTTProperties_initializer;
	MQTTProperty expiry;
	int rc, ws = url[0] == 'w';

	snprintf(id, sizeof id, "%s-%d-%s", name, version, strrchr(url, ':') + 1);
	id[strcspn(id, "/")] = 0;
	create.MQTTVersion = version;
	rc = MQTTClient_createWithOptions(&c, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
	if (rc != 0) fail("create", rc, 0);
	if (version == MQTTVERSION_5) {
		o = ws ? w5 : o5;
		o.cleanstart = clean;
	} else {
		if (ws) o = w;
		o.cleansession = clean;
		o.MQTTVersion = version;
	}
	o.keepAliveInterval = 30;
	o.connectTimeout = 20;
	if (strcmp(ca, "-") != 0) {
		ssl.trustStore = ca;
		ssl.verify = 1;
		ssl.enableServerCertAuth = 1;
		o.ssl = &ssl;
	}
	if (will != NULL) {
		last.topicName = will;
		last.message = "gone";
		last.qos = 1;
		o.will = &last;
	}
	if (version == MQTTVERSION_5) {
		expiry.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL;
		expiry.value.integer4 = clean ? 0 : 300;
		MQTTProperties_add(&props, &expiry);
		MQTTResponse r = MQTTClient_connect5(c, &o, &props, NULL);
		if (r.reasonCode != 0) fail("connect", r.reasonCode, 0);
		MQTTResponse_free(r);
	} else {
		rc = MQTTClient_connect(c, &o);
		if (rc != 0) fail("connect", rc, 0);
	}
	MQTTProperties_free(&props);
	/* 3.1 does not say it, and 5.0 says it elsewhere. */
	if (version == MQTTVERSION_3_1_1 && o.returned.sessionPresent != present) fail("session present", o.returned.sessionPresent, present);
	return c;
}

static void subscribe(MQTTClient c, const char *filter, int qos) {
	if (version == MQTTVERSION_5) {
		MQTTResponse r = MQTTClient_subscribe5(c, filter, qos, NULL, NULL);
		if (r.reasonCode != qos) fail("subscribe", r.reasonCode, qos);
		MQTTResponse_free(r);
		return;
	}
	int rc = MQTTClient_subscribe(c, filter, qos);
	if (rc != 0) fail("subscribe", rc, 0);
}

static void publish(MQTTClient c, const char *to, const char *payload, int qos, int retained, MQTTProperties *props) {
	MQTTClient_deliveryToken token;
	int rc;
	if (version == MQTTVERSION_5) {
		MQTTClient_message m = MQTTClient_message_initializer;
		m.payload = (void *)payload;
		m.payloadlen = strlen(payload);
		m.qos = qos;
		m.retained = retained;
		if (props != NULL) m.properties = *props;
		MQTTResponse r = MQTTClient_publishMessage5(c, to, &m, &token);
		if (r.reasonCode != 0) fail("publish", r.reasonCode, 0);
		MQTTResponse_free(r);
	} else {
		rc = MQTTClient_publish(c, to, strlen(payload), payload, qos, retained, &token);
		if (rc != 0) fail("publish", rc, 0);
	}
	rc = MQTTClient_waitForCompletion(c, token, 20000);
	if (rc != 0) fail("acknowledgement", rc, 0);
}

/* expect waits for a message; it is the caller's if kept is not NULL. */
static void expect(MQTTClient c, const char *from, const char *payload, int qos, int retained, MQTTClient_message **kept) {
	char *name = NULL;
	int len = 0;
	MQTTClient_message *m = NULL;
	for (int i = 0; i < 20 && m == NULL; i++) {
		int rc = MQTTClient_receive(c, &name, &len, &m, 1000);
		if (rc != MQTTCLIENT_SUCCESS && rc != MQTTCLIENT_TOPICNAME_TRUNCATED) fail("receive", rc, 0);
	}
	if (m == NULL) {
		fprintf(stderr, "version %d: nothing comes, want %s %s\n", version, from, payload);
		exit(1);
	}
	if (strcmp(name, from) != 0 || m->payloadlen != (int)strlen(payload) || memcmp(m->payload, payload, m->payloadlen) != 0 ||
	    m->qos != qos || m->retained != retained) {
		fprintf(stderr, "version %d: got %s %.*s qos %d retained %d, want %s %s qos %d retained %d\n", version, name,
			m->payloadlen, (char *)m->payload, m->qos, m->retained, from, payload, qos, retained);
		exit(1);
	}
	MQTTClient_free(name);
	if (kept != NULL) *kept = m;
	else MQTTClient_freeMessage(&m);
}

static void leave(MQTTClient c) {
	MQTTClient_disconnect(c, 1000);
	MQTTClient_destroy(&c);
}

static void play(void) {
	MQTTClient sub = dial("sub", 1, 0, NULL), pub = dial("pub", 1, 0, NULL);
	subscribe(sub, topic("#"), 2);
	for (int qos = 0; qos < 3; qos++) {
		publish(pub, topic("q"), "x", qos, 0, NULL);
		expect(sub, topic("q"), "x", qos, 0, NULL);
	}
	publish(pub, topic("kept"), "r", 1, 1, NULL);
	expect(sub, topic("kept"), "r", 1, 0, NULL);
	MQTTClient late = dial("late", 1, 0, NULL);
	subscribe(late, topic("kept"), 1);
	expect(late, topic("kept"), "r", 1, 1, NULL);
	publish(pub, topic("kept"), "", 1, 1, NULL);
	expect(sub, topic("kept"), "", 1, 0, NULL);
	expect(late, topic("kept"), "", 1, 0, NULL);

	MQTTClient away = dial("away", 0, 0, NULL);
	subscribe(away, topic("queue"), 2);
	MQTTClient_disconnect(away, 1000);
	MQTTClient_destroy(&away);
	publish(pub, topic("queue"), "waited", 2, 0, NULL);
	expect(sub, topic("queue"), "waited", 2, 0, NULL);
	away = dial("away", 0, 1, NULL);
	expect(away, topic("queue"), "waited", 2, 0, NULL);
	leave(away);
	leave(dial("away", 1, 0, NULL)); /* its session is not needed any more */

	if (version == MQTTVERSION_5) {
		MQTTProperties props = MQTTProperties_initializer;
		MQTTProperty p;
		MQTTClient_message *m;
		p.identifier = MQTTPROPERTY_CODE_RESPONSE_TOPIC;
		p.value.data.data = (char *)topic("answer");
		p.value.data.len = strlen(p.value.data.data);
		MQTTProperties_add(&props, &p);
		p.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA;
		p.value.data.data = "\0017";
		p.value.data.len = 2;
		MQTTProperties_add(&props, &p);
		publish(pub, topic("ask"), "?", 1, 0, &props);
		expect(sub, topic("ask"), "?", 1, 0, &m);
		MQTTProperty *to = MQTTProperties_getProperty(&m->properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
		MQTTProperty *which = MQTTProperties_getProperty(&m->properties, MQTTPROPERTY_CODE_CORRELATION_DATA);
		if (to == NULL || strncmp(to->value.data.data, topic("answer"), to->value.data.len) != 0) fail("response topic", 0, 1);
		if (which == NULL || which->value.data.len != 2 || memcmp(which->value.data.data, "\0017", 2) != 0) fail("correlation data", 0, 1);
		publish(sub, topic("answer"), "!", 1, 0, NULL);
		expect(sub, topic("answer"), "!", 1, 0, NULL);
		MQTTClient_freeMessage(&m);
		MQTTProperties_free(&props);

		/* Two share what comes: each message goes to one of them. */
		char share[400];
		snprintf(share, sizeof share, "$share/g/%s", topic("work"));
		MQTTClient a = dial("a", 1, 0, NULL), b = dial("b", 1, 0, NULL);
		subscribe(a, share, 1);
		subscribe(b, share, 1);
		publish(pub, topic("work"), "1", 1, 0, NULL);
		publish(pub, topic("work"), "2", 1, 0, NULL);
		int got = 0;
		for (int i = 0; i < 40 && got < 2; i++) {
			char *name;
			int len;
			MQTTClient_message *w = NULL;
			MQTTClient_receive(i % 2 ? a : b, &name, &len, &w, 500);
			if (w != NULL) {
				got++;
				MQTTClient_freeMessage(&w);
				MQTTClient_free(name);
			}
		}
		if (got != 2) fail("shared messages", got, 2);
		expect(sub, topic("work"), "1", 1, 0, NULL);
		expect(sub, topic("work"), "2", 1, 0, NULL);
		leave(a);
		leave(b);
	}
	/* One that is killed leaves its will. */
	int up[2];
	char one;
	if (pipe(up) != 0) fail("pipe", 1, 0);
	pid_t child = fork();
	if (child == 0) {
		/* Threads and sockets of the parent are not this process's: it is
		   another program. */
		char v[20], fd[20];
		snprintf(v, sizeof v, "%d", version);
		snprintf(fd, sizeof fd, "%d", up[1]);
		execl("/proc/self/exe", "interop", url, ca, v, top, fd, (char *)NULL);
		_exit(1);
	}
	close(up[1]);
	if (read(up[0], &one, 1) != 1) fail("will: the client is not connected", 0, 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(up[0]);
	expect(sub, topic("will"), "gone", 1, 0, NULL);
	leave(sub);
	leave(pub);
	leave(late);
}

int main(int argc, char **argv) {
	MQTTClient_init_options init = MQTTClient_init_options_initializer;
	init.do_openssl_init = 1;
	MQTTClient_global_init(&init);
	url = argv[1];
	ca = argv[2];
	if (argc > 5) {
		version = atoi(argv[3]);
		snprintf(top, sizeof top, "%s", argv[4]);
		dial("dying", 1, 0, topic("will"));
		if (write(atoi(argv[5]), "1", 1) != 1) return 1;
		pause();
		return 1;
	}
	int versions[] = {MQTTVERSION_3_1, MQTTVERSION_3_1_1, MQTTVERSION_5};
	for (int i = 0; i < 3; i++) {
		version = versions[i];
		snprintf(top, sizeof top, "c/%.3s%zu/%d", url, strlen(ca), version);
		play();
	}
	puts("ok");
	return 0;
}
