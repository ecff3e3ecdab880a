// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestFaultReplacesTheAnswer(t *testing.T) {
	s := start(t, Options{Mode: Token, Users: []User{{Name: "alice", Password: "pw"}, {Name: "bob", Password: "pw"}}})
	get := func(user string) (int, http.Header, string) {
		resp := getToken(t, s, user, "pw", "")
		return resp.StatusCode, resp.Header, resp.Body
	}
	remove := s.Inject(Throttle("/token", "7"))
	if code, h, b := get("alice"); code != 429 || h.Get("Retry-After") != "7" || !strings.Contains(b, "TOOMANYREQUESTS") || !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
		t.Errorf("%d %v %s", code, h, b)
	}
	if resp := raw(t, s, "", "", http.MethodGet, "/v2/", ""); resp.StatusCode != 401 {
		t.Errorf("another path: %s", resp.Status)
	}
	remove()
	remove()
	if code, _, _ := get("alice"); code != 200 {
		t.Errorf("removed: %d", code)
	}
	s.Inject(Fault{Path: "/token", Identity: "alice", Times: 2, Status: 503})
	for i, want := range []int{503, 503, 200} {
		if code, _, _ := get("bob"); code != 200 {
			t.Errorf("another identity: %d", code)
		}
		if code, _, _ := get("alice"); code != want {
			t.Errorf("request %d: %d", i, code)
		}
	}
	s.Inject(Garbage("/token"))
	if code, h, b := get("alice"); code != 200 || h.Get("Content-Type") != "text/html" || !strings.HasPrefix(b, "<!doctype") {
		t.Errorf("%d %v %s", code, h, b)
	}
	if st := s.Stats(); st.Faults != 4 || st.Count("/token", "alice") != 6 || st.Count("/token", "*") != 9 {
		t.Errorf("%+v", st)
	}
}

func TestFaultCutsTheConnection(t *testing.T) {
	s := start(t, Options{Issue: IssueOptions{Clients: clients}})
	form := url.Values{"client_id": {"ci"}, "client_secret": {"s3"}}.Encode()
	ask := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.IssueURL(), strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client(s).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	s.Inject(Fault{Path: "/issue", Drop: true, Times: 1})
	if err := ask(); err == nil || s.Stats().Issued["acme-bot"] != 0 {
		t.Errorf("dropped: %v, %v", err, s.Stats().Issued)
	}
	s.Inject(Fault{Path: "/issue", Lost: true, Times: 1})
	if err := ask(); err == nil || s.Stats().Issued["acme-bot"] != 1 {
		t.Errorf("lost: %v, %v", err, s.Stats().Issued)
	}
	if err := ask(); err != nil || s.Stats().Issued["acme-bot"] != 2 {
		t.Errorf("afterwards: %v, %v", err, s.Stats().Issued)
	}
}

func TestFaultHangsUntilTheClientLeaves(t *testing.T) {
	s := start(t, Options{})
	s.Inject(Fault{Path: "/v2/", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client(s).Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("it answered")
	}
}

func TestFaultDelaysAndTrickles(t *testing.T) {
	s := start(t, Options{Users: []User{{Name: "alice", Password: "pw"}}})
	s.Inject(Fault{Path: "/v2/", Times: 1, Delay: time.Millisecond})
	if resp := raw(t, s, "alice", "pw", http.MethodGet, "/v2/", ""); resp.StatusCode != 200 {
		t.Errorf("slow: %s", resp.Status)
	}
	s.Inject(Fault{Path: "/v2/", Status: 500, Body: "slow", Trickle: time.Microsecond})
	if resp := raw(t, s, "alice", "pw", http.MethodGet, "/v2/", ""); resp.StatusCode != 500 || resp.Body != "slow" {
		t.Errorf("trickle: %s", resp.Status)
	}
}

func TestAFaultHoldsAnAnswerBackUntilTheTestLetsItGo(t *testing.T) {
	s := start(t, Options{Users: []User{{Name: "alice", Password: "pw"}}})
	until, answered := make(chan struct{}), make(chan int, 1)
	s.Inject(Fault{Path: "/v2/", Until: until})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("alice", "pw")
	go func() {
		status := 0
		if resp, err := client(s).Do(req); err == nil {
			status = resp.StatusCode
			_ = resp.Body.Close()
		}
		answered <- status
	}()
	for s.Stats().Count("/v2/", "*") == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case status := <-answered:
		t.Errorf("answered %d before it was let go", status)
	default:
	}
	close(until)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func TestLogHasNoSecrets(t *testing.T) {
	var out bytes.Buffer
	s := start(t, Options{Mode: Token, Log: &out, Users: []User{{Name: "alice", Password: newSecret("t")}}, Issue: IssueOptions{Clients: clients}})
	pw := s.Secrets()[0]
	fetch(t, s, "alice", pw, "repository:a:pull")
	raw(t, s, "alice", pw, http.MethodGet, "/v2/", "")
	postForm(t, s, s.IssueURL(), url.Values{"client_id": {"ci"}, "client_secret": {"s3"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `GET /token as "alice": 200`) || !strings.Contains(out.String(), `POST /issue as "ci": 200`) {
		t.Error(out.String())
	}
	for _, secret := range append(s.Secrets(), "s3", "Bearer", "eyJ") {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
