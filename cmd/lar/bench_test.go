package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lar.home/hub/bench"
)

// TestBench measures a scratch hub, kill test included, in the shortest form.
func TestBench(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	code, stdout, stderr := call(t, "", "bench", "--quick", "--json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	var r bench.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v in\n%s", err, stdout)
	}
	if r.Time.IsZero() || r.Machine == "" || r.Cores == 0 || !strings.Contains(r.Broker, "lar ") || r.Devices == 0 || len(r.Verdict) == 0 {
		t.Errorf("incomplete: %s", stdout)
	}
	for _, name := range []string{
		"50 clients connect", "pipe 10:10, QoS 0", "pipe 10:10, QoS 1", "pipe 10:10, QoS 2",
		"fan-out 1:100, QoS 0", "fan-out 1:100, QoS 1", "round trip, QoS 1", "home 200 devices, 500/s, QoS 1",
		"queue for 50 sessions away, QoS 1, 80 in flight", "bare committer, 80 in flight", "drain 50 sessions, QoS 1", "killed under load, acknowledged",
	} {
		i := slices.IndexFunc(r.Rows, func(row bench.Row) bool { return row.Name == name })
		if i < 0 {
			t.Errorf("no row %q in\n%s", name, stdout)
			continue
		}
		row := r.Rows[i]
		if row.PerSecond <= 0 || row.Messages <= 0 || row.Lost+row.Repeated+row.Disorder > 0 {
			t.Errorf("%+v", row)
		}
		killed := name == "killed under load, acknowledged"
		if killed && row.Away == 0 || !killed && row.CPU == 0 {
			t.Errorf("%+v says nothing of the process", row)
		}
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestBenchOwnHub measures a hub that runs and wants a credential.
func TestBenchOwnHub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, stderr := call(t, "three small words\n", "user", "add", "Jo", "--role", "owner", "--home", "Elm Street", "--data", dir); code != 0 {
		t.Fatal(stderr)
	}
	h := start(t, dir)
	code, _, stderr := call(t, "", "bench", "--quick", "--addr", h.mqtt)
	sentence(t, "no credential", code, "", stderr, "--user", "--password-stdin")

	code, stdout, stderr := call(t, "", "mqtt", "add", "bench", "--data", dir)
	_, password, ok := strings.Cut(stdout, "Password   ")
	password, _, _ = strings.Cut(password, "\n")
	if code != 0 || !ok {
		t.Fatal(code, stdout, stderr)
	}
	code, stdout, stderr = call(t, password+"\n", "bench", "--quick", "--addr", h.mqtt, "--user", "bench", "--password-stdin")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, want := range []string{"the broker at " + h.mqtt, "pipe 10:10, QoS 2", "devices", "every 10 s", "too rough"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "killed") {
		t.Errorf("somebody's hub is not killed:\n%s", stdout)
	}
}

func TestBenchWrongCalls(t *testing.T) {
	tests := []struct {
		args, stdin string
		says        []string
	}{
		{"bench --addr 1883", "", []string{"--addr", "192.168.1.20:1883"}},
		{"bench --addr :1883", "", []string{"--addr"}},
		{"bench --addr 127.0.0.1:1 --quick", "", []string{"127.0.0.1:1"}},
		{"bench --user jo", "", []string{"--addr"}},
		{"bench --addr localhost:1 --password-stdin", "", []string{"--user"}},
		{"bench --addr localhost:1 --user jo --password-stdin", "", []string{"standard input", "lar bench"}},
		{"bench quickly", "", []string{"quickly", "lar --help"}},
		{"bench --loud", "", []string{"-loud", "lar --help"}},
		{"--addr 10.0.0.1:1883", "", []string{"lar bench", "lar --help"}},
		{"version --quick", "", []string{"lar bench", "lar --help"}},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		code := run(strings.Fields(tt.args), strings.NewReader(tt.stdin), &out, &errs)
		said := out.String()
		if strings.HasPrefix(said, "Measuring") {
			said = "" // the head of the table
		}
		sentence(t, "lar "+tt.args, code, said, errs.String(), tt.says...)
	}
}
