// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

type issued struct {
	Username, Password, Scope, Error string
	ExpiresIn                        int    `json:"expires_in"`
	IssuedAt                         string `json:"issued_at"`
}

var clients = []Client{
	{ID: "ci", Secret: "s3", Subject: "repo:acme/app", User: "acme-bot", Grants: []Grant{{"acme/*", []string{"pull", "push"}}}},
	{ID: "plain", Secret: "s4", Life: time.Minute},
}

func answer(t testing.TB, resp reply) issued {
	t.Helper()
	var a issued
	if err := json.Unmarshal([]byte(resp.Body), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func assertion(t testing.TB, s *Server, subject string) string {
	t.Helper()
	a, err := s.SignAssertion(subject, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// forgeAssertion signs claims other than those SignAssertion makes.
func forgeAssertion(t testing.TB, k *signer, s *Server, change jwt.MapClaims) string {
	t.Helper()
	now := s.now()
	claims := jwt.MapClaims{"iss": AssertionIssuer, "sub": "repo:acme/app", "aud": "fakeregistry", "exp": now.Add(time.Minute).Unix()}
	for k, v := range change {
		claims[k] = v
	}
	a, err := k.sign(KeyID, claims)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPasswordIsIssuedAndExpires(t *testing.T) {
	everyMode(t, Options{Issue: IssueOptions{Clients: clients}}, func(t *testing.T, s *Server) {
		a := answer(t, postForm(t, s, s.IssueURL(), url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci"}, "client_secret": {"s3"}}))
		if a.Username != "acme-bot" || !strings.HasPrefix(a.Password, "CNRY") || a.ExpiresIn != 3600 || a.IssuedAt == "" || a.Scope != "" {
			t.Fatalf("%+v", a)
		}
		img := image(t)
		if err := remote.Write(ref(t, s, "acme/app"), img, as(t, s, a.Username, a.Password)...); err != nil {
			t.Error(err)
		}
		if err := remote.Write(ref(t, s, "other/app"), img, as(t, s, a.Username, a.Password)...); err == nil {
			t.Error("push beyond the grants")
		}
		second := answer(t, postForm(t, s, s.IssueURL(), url.Values{"client_id": {"ci"}, "client_secret": {"s3"}, "expires_in": {"7200"}}))
		if second.Password == a.Password || second.ExpiresIn != 3600 {
			t.Errorf("%+v", second)
		}
		s.Advance(50 * time.Minute)
		if _, err := remote.Image(ref(t, s, "acme/app"), as(t, s, a.Username, a.Password)...); err != nil {
			t.Errorf("before the end: %v", err)
		}
		s.Advance(11 * time.Minute)
		if _, err := remote.Image(ref(t, s, "acme/app"), as(t, s, a.Username, a.Password)...); status(err) != http.StatusUnauthorized {
			t.Errorf("after the end: %v", err)
		}
		if st := s.Stats(); st.Issued["acme-bot"] != 2 || st.Count("/issue", "ci") != 2 || st.AuthFailures["acme-bot"] == 0 {
			t.Errorf("%+v", st)
		}
		if !strings.Contains(fmt.Sprint(s.Secrets()), a.Password) {
			t.Error("the secret is not in the list")
		}
	})
}

func TestWhoMayHaveAPassword(t *testing.T) {
	s := start(t, Options{Issue: IssueOptions{Clients: clients}})
	old, err := s.SignAssertion("repo:acme/app", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newSigner()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		form string
		want string // user, or error
	}{
		{"secret", "grant_type=client_credentials&client_id=ci&client_secret=s3", "acme-bot"},
		{"secret without a grant type", "client_id=plain&client_secret=s4", "plain"},
		{"assertion", "grant_type=" + jwtBearer + "&assertion=" + assertion(t, s, "repo:acme/app"), "acme-bot"},
		{"assertion without a grant type", "assertion=" + assertion(t, s, "repo:acme/app"), "acme-bot"},
		{"token exchange", "grant_type=" + tokenExchange + "&subject_token=" + assertion(t, s, "repo:acme/app"), "acme-bot"},
		{"wrong secret", "client_id=ci&client_secret=s4", "invalid_client"},
		{"unknown client", "client_id=nobody&client_secret=s3", "invalid_client"},
		{"no secret", "grant_type=client_credentials&client_id=ci", "invalid_client"},
		{"other subject", "assertion=" + assertion(t, s, "repo:acme/evil"), "invalid_grant"},
		{"empty subject", "assertion=" + assertion(t, s, ""), "invalid_grant"},
		{"expired assertion", "assertion=" + old, "invalid_grant"},
		{"other key", "assertion=" + forgeAssertion(t, other, s, nil), "invalid_grant"},
		{"key of the token server", "assertion=" + forgeAssertion(t, s.signer, s, nil), "invalid_grant"},
		{"other audience", "assertion=" + forgeAssertion(t, s.assertion, s, jwt.MapClaims{"aud": "sigstore"}), "invalid_grant"},
		{"several audiences", "assertion=" + forgeAssertion(t, s.assertion, s, jwt.MapClaims{"aud": []string{"sigstore", "fakeregistry"}}), "acme-bot"},
		{"other issuer", "assertion=" + forgeAssertion(t, s.assertion, s, jwt.MapClaims{"iss": "https://evil.example"}), "invalid_grant"},
		{"without an expiry", "assertion=" + forgeAssertion(t, s.assertion, s, jwt.MapClaims{"exp": nil}), "invalid_grant"},
		{"garbage", "assertion=x.y.z", "invalid_grant"},
		{"nothing", "scope=x", "invalid_request"},
		{"unknown grant type", "grant_type=password&username=ci&password=s3", "unsupported_grant_type"},
	} {
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		a := answer(t, postForm(t, s, s.IssueURL(), form))
		if got := a.Username + a.Error; got != tt.want || (a.Password == "") != (a.Error != "") {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
	for _, header := range []string{"Bearer " + assertion(t, s, "repo:acme/app"), "Basic Y2k6czM="} {
		req := request(t, s, "", "", http.MethodPost, "/issue", "grant_type=")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", header)
		if a := answer(t, do(t, s, req)); a.Username != "acme-bot" {
			t.Errorf("%s: %+v", header[:6], a)
		}
	}
}

func TestIssueReadsTheConfiguredFormat(t *testing.T) {
	for format, want := range map[IssueFormat][2]int{AnyFormat: {200, 200}, FormFormat: {200, 415}, JSONFormat: {415, 200}} {
		s := start(t, Options{Issue: IssueOptions{Clients: clients, Format: format}})
		form := postForm(t, s, s.IssueURL(), url.Values{"client_id": {"ci"}, "client_secret": {"s3"}})
		req := request(t, s, "", "", http.MethodPost, "/issue", `{"client_id":"ci","client_secret":"s3","expires_in":60}`)
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		asJSON := do(t, s, req)
		if form.StatusCode != want[0] || asJSON.StatusCode != want[1] {
			t.Errorf("format %d: form %s, JSON %s", format, form.Status, asJSON.Status)
		}
		if a := answer(t, asJSON); want[1] == 200 && (a.ExpiresIn != 60 || a.Username != "acme-bot") {
			t.Errorf("%+v", a)
		}
	}
	s := start(t, Options{Issue: IssueOptions{Clients: clients}})
	if resp := raw(t, s, "", "", http.MethodGet, "/issue", ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", resp.Status)
	}
	if resp := raw(t, s, "", "", http.MethodPost, "/issue", "client_id=ci"); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("no content type: %s", resp.Status)
	}
	for _, bad := range []string{"{", "[]", `"x"`} {
		req := request(t, s, "", "", http.MethodPost, "/issue", bad)
		req.Header.Set("Content-Type", "application/json")
		if resp := do(t, s, req); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", bad, resp.Status)
		}
	}
}

func TestIssuedPasswordIsNarrowedByScope(t *testing.T) {
	everyMode(t, Options{Issue: IssueOptions{Clients: clients}}, func(t *testing.T, s *Server) {
		form := url.Values{"client_id": {"ci"}, "client_secret": {"s3"}, "scope": {"repository:acme/app:pull repository:other/app:pull"}}
		a := answer(t, postForm(t, s, s.IssueURL(), form))
		if a.Scope != "repository:acme/app:pull" {
			t.Fatalf("%+v", a)
		}
		s.AddUser(User{Name: "root", Password: "pw"})
		for _, r := range []string{"acme/app", "acme/second"} {
			if err := remote.Write(ref(t, s, r), image(t), as(t, s, "root", "pw")...); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := remote.Image(ref(t, s, "acme/app"), as(t, s, a.Username, a.Password)...); err != nil {
			t.Error(err)
		}
		if _, err := remote.Image(ref(t, s, "acme/second"), as(t, s, a.Username, a.Password)...); err == nil {
			t.Error("pull beyond the scope")
		}
		if err := remote.Write(ref(t, s, "acme/app"), image(t), as(t, s, a.Username, a.Password)...); err == nil {
			t.Error("push beyond the scope")
		}
		form.Set("scope", "repository:other/app:pull")
		if a := answer(t, postForm(t, s, s.IssueURL(), form)); a.Error != "invalid_scope" || a.Password != "" {
			t.Errorf("%+v", a)
		}
	})
}

func TestIssueAnswerMayHaveAnotherShape(t *testing.T) {
	s := start(t, Options{Issue: IssueOptions{Clients: clients, Answer: func(u, p string, _, end time.Time) any {
		return map[string]any{"data": map[string]any{"login": u, "secret": p, "until": end.UnixMilli()}}
	}}})
	got := postForm(t, s, s.IssueURL(), url.Values{"client_id": {"ci"}, "client_secret": {"s3"}}).Body
	if !strings.Contains(got, `{"data":{"login":"acme-bot","secret":"CNRY`) || !strings.Contains(got, `"until":1`) {
		t.Error(got)
	}
}
