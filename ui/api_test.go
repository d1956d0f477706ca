package ui

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask calls the API with a bearer token, and returns what it answers.
func (h *home) ask(method, path, body string, headers ...string) (status int, answer string, header http.Header) {
	h.t.Helper()
	req, err := http.NewRequest(method, h.ts.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token-of-Jo")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestAPI(t *testing.T) {
	h, _ := furnished(t)
	const rule = "name: Bell # of the door\ntriggers: [{message: {filter: door}}]\nactions: [{publish: {topic: bell}}]\n"
	louder := strings.Replace(rule, "topic: bell", "topic: gong", 1)
	steps := []struct {
		method, path, body string
		headers            []string
		status             int
		says               string
		etag               string
	}{
		{"GET", "/api/rules", "", []string{"Authorization", "Bearer nobody"}, 401, "", ""},
		{"GET", "/api/rules", "", nil, 200, "[]", ""},
		{"GET", "/api/rules/bell", "", nil, 404, "no such automation", ""},
		{"PUT", "/api/rules/bell", "name: Bell\nactions: []\ntriggers: [{hand: {}}]\n", nil, 422, `"line":2,"column":1,"path":"actions"`, ""},
		{"PUT", "/api/rules/bell", rule, []string{"If-Match", `"1"`}, 412, "there is no such automation", ""},
		{"PUT", "/api/rules/bell", rule, nil, 201, `"version":1`, `"1"`},
		{"GET", "/api/rules/bell", "", nil, 200, rule, `"1"`},
		{"GET", "/api/rules/bell", "", []string{"If-None-Match", `"1"`}, 304, "", `"1"`},
		{"PUT", "/api/rules/bell", louder, nil, 428, "If-Match", ""},
		{"PUT", "/api/rules/bell", louder, []string{"If-Match", `"1"`}, 200, `"version":2`, `"2"`},
		{"PUT", "/api/rules/bell", rule, []string{"If-Match", `"1"`}, 412, `+actions: [{publish: {topic: gong}}]\n`, `"2"`},
		{"PUT", "/api/rules/bell", rule, []string{"If-Match", `x`}, 400, "If-Match", ""},
		{"PUT", "/api/rules/bell?runs=stop", rule, []string{"If-Match", "*"}, 400, "finish, move or cancel", ""},
		{"PUT", "/api/rules/bell?runs=move", rule, []string{"If-Match", "*"}, 200, `"version":3`, `"3"`},
		{"PUT", "/api/rules/bell", "id: other\n" + rule, []string{"If-Match", "*"}, 422, "stays so", ""},
		{"GET", "/api/rules/bell?version=2", "", nil, 200, louder, `"2"`},
		{"GET", "/api/rules/bell/versions", "", nil, 200, `[{"version":3,"by":"Jo"`, ""},
		{"POST", "/api/rules/bell/run", "", nil, 200, `"outcome":"done"`, ""},
		{"GET", "/api/rules/bell/runs", "", nil, 200, `"by":"Jo"`, ""},
		{"POST", "/api/rules/bell/enabled", `{"enabled": false}`, nil, 200, `"enabled":false`, ""},
		{"POST", "/api/rules/bell/enabled", `{}`, nil, 400, "enabled", ""},
		{"POST", "/api/rules", "name: A\ntriggers: [{hand: {}}]\nactions: [{note: a}]\n---\nname: B\ntriggers: [{hand: {}}]\nactions: [{note: b}]\n", nil, 201, `"id":"b"`, ""},
		{"POST", "/api/rules", rule + "---\nname: C\n", nil, 422, `"line":5`, ""},
		{"PUT", "/api/rules/x", strings.Repeat("#", maxRuleBody+1), nil, 413, "too much", ""},
		{"DELETE", "/api/rules/bell", "", []string{"If-Match", `"1"`}, 412, "another version", ""},
		{"DELETE", "/api/rules/bell", "", nil, 204, "", ""},
		{"GET", "/api/rules/bell", "", nil, 404, "", ""},
		{"PUT", "/api/rules/bell", rule, nil, 409, "deleted", ""},
	}
	for _, s := range steps {
		status, answer, header := h.ask(s.method, s.path, s.body, s.headers...)
		if status != s.status || !strings.Contains(answer, s.says) && !strings.Contains(answer, strings.Trim(quoted(s.says), `"`)) || s.etag != "" && header.Get("ETag") != s.etag {
			t.Errorf("%s %s %.60q %v: %d, ETag %s\n%s\nwant %d, %s, %q", s.method, s.path, s.body, s.headers, status, header.Get("ETag"), answer, s.status, s.etag, s.says)
		}
	}
	// Over the control socket nobody signs in.
	w := httptest.NewRecorder()
	h.ui.API("the command lar").ServeHTTP(w, httptest.NewRequest("PUT", "/api/rules/lamp", strings.NewReader(strings.Replace(rule, "Bell", "Lamp", 1))))
	if r := h.rules.Rule("lamp"); w.Code != 201 || r == nil || r.Saved.By != "the command lar" {
		t.Errorf("over the socket: %d %s", w.Code, w.Body)
	}
	// A child sees and does not change.
	h.people.mu.Lock()
	h.people.tokens["token-of-Jo"] = Person{ID: "p2", Name: "Kim", Role: Child}
	h.people.mu.Unlock()
	if status, _, _ := h.ask("GET", "/api/rules", ""); status != 200 {
		t.Errorf("a child may not look: %d", status)
	}
	if status, _, _ := h.ask("DELETE", "/api/rules/a", ""); status != 403 {
		t.Errorf("a child may delete: %d", status)
	}
	// A page of another site cannot use the browser's sign-in.
	if status, _, _ := h.ask("POST", "/api/rules/a/run", "", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("from another site: %d", status)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
