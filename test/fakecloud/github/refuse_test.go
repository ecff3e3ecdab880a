// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/github"
)

const apiURL = "https://api.github.com"

// as is an App's JWT of now.
func (r rig) as(a *github.App) string {
	r.t.Helper()
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(a.Key))
	if err != nil {
		r.t.Fatal(err)
	}
	now := r.c.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": a.ClientID, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix()}).SignedString(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func TestJWTsAreBearersAndEveryRequestHasAUserAgent(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	a := r.g.App("minter")
	res, b := r.do("GET", apiURL+"/app", "Bearer "+r.as(a), "", "")
	r.expect("as a bearer", res, b, 200, "minter")
	res, b = r.do("GET", apiURL+"/app", "token "+r.as(a), "", "")
	r.expect("as a token", res, b, 401, "JSON web token")
	q, err := http.NewRequest("GET", apiURL+"/app", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("User-Agent", "")
	res, err = r.c.Client().Do(q)
	if err != nil || res.StatusCode != 403 {
		t.Errorf("without a user agent: %v %v", res, err)
	}
	_ = res.Body.Close()
}

func TestTokensAreNarrowedByNamesWithoutOwner(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	r.g.Package("acme/app")
	a := r.g.App("minter")
	in := a.Install("acme", github.Write)
	ask := func(body string) (*http.Response, string) {
		return r.do("POST", fmt.Sprintf("%s/app/installations/%d/access_tokens", apiURL, in.ID), "Bearer "+r.as(a), "", body)
	}
	many := strings.Repeat(`"app",`, 500) + `"app"`
	for body, want := range map[string]string{
		`{"repositories":["acme/app"]}`:                     "at least one repository",
		`{"repositories":["none"]}`:                         "at least one repository",
		`{"repositories":[` + many + `]}`:                   "Too many",
		`{"permissions":{"packages":"admin"}}`:              "not granted",
		`{"permissions":{"contents":"read"}}`:               "not granted",
		`{"permissions":{"packages":"read","x":"write"}}`:   "not granted",
		`{"permissions":{"packages":"read"},"repositories"`: "",
	} {
		res, b := ask(body)
		if want == "" {
			r.expect(body, res, b, 400, "parsing JSON")
			continue
		}
		r.expect(body[:min(len(body), 60)], res, b, 422, want)
	}
	res, b := ask(`{"permissions":{"metadata":"read"}}`) // that, and nothing else
	var got struct{ Permissions map[string]string }
	if err := json.Unmarshal([]byte(b), &got); err != nil || res.StatusCode != 201 || got.Permissions["packages"] != "" {
		t.Errorf("%d %+v", res.StatusCode, got)
	}
}

func TestListsHavePages(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	a := r.g.App("minter")
	for i := range 31 {
		a.Install(fmt.Sprintf("org%d", i), github.Read)
	}
	seen := 0
	for next := apiURL + "/app/installations"; next != ""; {
		res, b := r.do("GET", next, "Bearer "+r.as(a), "", "")
		var list []struct{ ID int }
		if err := json.Unmarshal([]byte(b), &list); err != nil || len(list) > 30 {
			t.Fatalf("%d %v", len(list), err)
		}
		seen += len(list)
		next, _, _ = strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	}
	if seen != 31 {
		t.Errorf("%d installations", seen)
	}
}

func TestSingleSignOnHoldsForTheAPIToo(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	jane := r.g.User("jane")
	org := r.g.Org("acme")
	org.Add(jane)
	org.RequireSSO()
	r.g.Package("acme/app")
	pat := jane.Classic(github.ReadPackages)
	res, b := r.do("GET", apiURL+"/orgs/acme/packages/container/app/versions", "Bearer "+pat.Secret, "", "")
	r.expect("unauthorized", res, b, 403, "SAML")
	pat.AuthorizeSSO("acme")
	res, b = r.do("GET", apiURL+"/orgs/acme/packages/container/app/versions", "Bearer "+pat.Secret, "", "")
	r.expect("authorized", res, b, 200, "[]")
}

func TestNamesOfImagesAreLowerCase(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	res, b := r.do("GET", "https://ghcr.io/v2/Acme/app/manifests/1", "", "", "")
	r.expect("upper case", res, b, 400, "NAME_INVALID")
}

func TestAServerWithoutIsolationHasItsRegistryBelowItsName(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{Host: "github.corp.example", Registry: "github.corp.example"})
	res, b := r.do("GET", "https://github.corp.example/v2/", "", "", "")
	r.expect("the registry", res, b, 401, "authentication required")
	pat := r.g.User("jane").Classic(github.ReadPackages)
	res, b = r.do("GET", "https://github.corp.example/api/v3/user", "Bearer "+pat.Secret, "", "")
	r.expect("the API", res, b, 200, "jane")
	if got := r.c.Count(func(q fakecloud.Request) bool { return q.Host != "github.corp.example" }); got != 0 {
		t.Errorf("%d requests elsewhere", got)
	}
}

// Permissions of a GitHub App's user token are those of both.
func TestAPersonThroughAnAppMayDoNoMoreThanTheApp(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	jane := r.g.User("jane")
	r.g.Org("acme").Add(jane)
	r.g.Package("acme/app")
	app := r.g.App("tool")
	_, b := r.do("POST", "https://github.com/login/device/code", "", "application/json", "client_id="+app.ClientID)
	var d struct {
		Code string `json:"device_code"`
		User string `json:"user_code"`
	}
	if err := json.Unmarshal([]byte(b), &d); err != nil || !r.g.Approve(d.User, jane) {
		t.Fatalf("%v %s", err, b)
	}
	token, _ := r.poll(app.ClientID, d.Code)["access_token"].(string)
	list := func() int {
		res, _ := r.do("GET", apiURL+"/orgs/acme/packages/container/app/versions", "Bearer "+token, "", "")
		return res.StatusCode
	}
	if code := list(); token == "" || code != 403 {
		t.Errorf("not installed: %d", code)
	}
	app.Install("acme", github.Read)
	if code := list(); code != 200 {
		t.Errorf("installed: %d", code)
	}
	res, b := r.do("DELETE", apiURL+"/orgs/acme/packages/container/app", "Bearer "+token, "", "")
	r.expect("delete with read", res, b, 403, "by integration")
}
