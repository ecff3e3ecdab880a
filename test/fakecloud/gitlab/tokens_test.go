// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

const api = "https://gitlab.com/api/v4/"

const (
	wasRevoked = `{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}`
	isExpired  = `{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}`
	notAllowed = `{"message":"401 Unauthorized"}`
)

// ask calls the API with a token and wants a status.
func (w world) ask(status int, method, path, token, body string) map[string]any {
	w.t.Helper()
	got, _, text := w.send(method, api+path, body, "PRIVATE-TOKEN", token)
	if got != status {
		w.t.Fatalf("%s %s: %d, not %d: %s", method, path, got, status, text)
	}
	var m map[string]any
	_ = json.Unmarshal([]byte(text), &m)
	if m == nil {
		m = map[string]any{}
	}
	m["body"] = text
	return m
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02") }

func TestTokensEndAtMidnightUTC(t *testing.T) {
	t.Parallel()
	w := start(t)
	tomorrow := w.c.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}, Expires: tomorrow.Add(23 * time.Hour)})
	dep := w.app.DeployToken(gitlab.DeploySpec{Scopes: []string{gitlab.ReadRegistry}, Expires: tomorrow.Add(23 * time.Hour)})
	if self := w.ask(200, "GET", "personal_access_tokens/self", pat.Secret, ""); self["expires_at"] != date(tomorrow) || self["active"] != true {
		t.Errorf("%v", self)
	}
	w.c.Advance(tomorrow.Sub(w.c.Now()) - time.Second)
	if !pat.Active() || !dep.Active() {
		t.Error("over before midnight")
	}
	w.c.Advance(2 * time.Second)
	if pat.Active() || dep.Active() {
		t.Error("alive after midnight")
	}
	if m := w.ask(401, "GET", "user", pat.Secret, ""); m["body"] != isExpired {
		t.Errorf("%v", m)
	}
	if status, _ := w.scopes("x", pat.Secret); status != 401 {
		t.Errorf("%d", status)
	}
	if status, _ := w.scopes(dep.Username, dep.Secret); status != 401 {
		t.Errorf("%d", status)
	}
}

func TestRotationKillsTheOldTokenAndItsReuseTheFamily(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.jane.Token(gitlab.TokenSpec{Name: "ci", Scopes: []string{gitlab.ReadRegistry, gitlab.SelfRotate}})
	bystander := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.SelfRotate}})
	m := w.ask(200, "POST", "personal_access_tokens/self/rotate", first.Secret, "")
	second := w.Token(m["token"].(string))
	if first.Active() || !second.Active() || m["expires_at"] != date(w.c.Now().AddDate(0, 0, 7)) || m["name"] != "ci" || m["id"].(float64) == float64(first.ID) {
		t.Fatalf("%v", m)
	}
	if status, got := w.scopes("x", second.Secret, "repository:acme/app:pull"); status != 200 || len(got) != 1 {
		t.Errorf("%d %q", status, got)
	}
	// Looking does no harm.
	if m := w.ask(401, "GET", "personal_access_tokens/self", first.Secret, ""); m["body"] != wasRevoked || !second.Active() {
		t.Errorf("%v", m)
	}
	if m := w.ask(401, "POST", "personal_access_tokens/self/rotate", first.Secret, ""); m["body"] != wasRevoked {
		t.Errorf("%v", m)
	}
	if second.Active() || !bystander.Active() {
		t.Error("the family lives, or another died")
	}
	if c := w.Counts(); c.Rotations != 1 || c.FamiliesKilled != 1 {
		t.Errorf("%+v", c)
	}
	if r := w.Revoked(); len(r) != 2 || r[0].Why != gitlab.ByRotation || r[1].Why != gitlab.ByReuse || r[1].ID != second.ID {
		t.Errorf("%+v", r)
	}
	until := w.c.Now().AddDate(0, 0, 30)
	m = w.ask(200, "POST", "personal_access_tokens/self/rotate?expires_at="+date(until), bystander.Secret, "")
	if m["expires_at"] != date(until) {
		t.Errorf("%v", m)
	}
	m = w.ask(400, "POST", "personal_access_tokens/self/rotate", m["token"].(string), `{"expires_at":"`+date(w.c.Now().AddDate(2, 0, 0))+`"}`)
	if !strings.Contains(m["body"].(string), "Expiration date must be before") {
		t.Errorf("%v", m)
	}
}

func TestRotationIsForTokensThatMay(t *testing.T) {
	t.Parallel()
	w := start(t)
	plain := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry}})
	m := w.ask(403, "POST", "personal_access_tokens/self/rotate", plain.Secret, "")
	if m["error"] != "insufficient_scope" || m["scope"] != "api self_rotate" || !plain.Active() {
		t.Errorf("%v", m)
	}
	bot := w.app.Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: []string{gitlab.SelfRotate}})
	m = w.ask(200, "POST", "projects/acme%2Fapp/access_tokens/self/rotate", bot.Secret, "")
	if m["access_level"] != 30.0 || bot.Active() {
		t.Errorf("%v", m)
	}
	next := m["token"].(string)
	w.ask(401, "POST", "projects/acme%2Fapp/access_tokens/self/rotate", bot.Secret, "")
	w.ask(401, "POST", "projects/acme%2Fapp/access_tokens/self/rotate", next, "")
	if w.Counts().FamiliesKilled != 1 {
		t.Errorf("%+v", w.Counts())
	}
	root := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	w.ask(405, "POST", "projects/acme%2Fapp/access_tokens/self/rotate", root.Secret, "")
	if m := w.ask(400, "POST", fmt.Sprintf("projects/acme%%2Fapp/access_tokens/%d/rotate", bot.ID), root.Secret, ""); m["message"] != "400 Bad request - token already revoked" {
		t.Errorf("%v", m)
	}
	pair := w.jane.OAuth(w.Application("tool", gitlab.API), gitlab.API)
	if status, _, _ := w.send("POST", api+"personal_access_tokens/self/rotate", "", "Authorization", "Bearer "+pair.Access); status != 405 {
		t.Errorf("%d", status)
	}
	w.ask(204, "DELETE", "personal_access_tokens/self", plain.Secret, "")
	if plain.Active() {
		t.Error("a token that revoked itself lives")
	}
	w.ask(401, "GET", "user", "glpat-unknown", "")
}

func TestLostAnswersAreLostAfterTheWorkIsDone(t *testing.T) {
	t.Parallel()
	w := start(t)
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.SelfRotate}})
	w.Lose(gitlab.Rotate, 1)
	if _, _, _, err := w.try("POST", api+"personal_access_tokens/self/rotate", "{}", "PRIVATE-TOKEN", pat.Secret); err == nil {
		t.Fatal("an answer came")
	}
	if c := w.Counts(); c.Rotations != 1 || pat.Active() || len(w.Tokens()) != 1 {
		t.Errorf("%+v", c)
	}
	old := w.Tokens()[0]
	w.Delay(gitlab.Rotate, 1, time.Millisecond)
	if status, _, text := w.send("POST", api+"personal_access_tokens/self/rotate", "", "PRIVATE-TOKEN", old.Secret, "Content-Type", "application/json"); status != 200 {
		t.Errorf("no body: %d %s", status, text)
	}
	w.Delay(gitlab.CreateToken, 1, time.Millisecond)
	root := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	w.ask(201, "POST", "projects/acme%2Fapp/access_tokens", root.Secret, `{"name":"ci","scopes":["read_registry"]}`)
}

func TestProjectTokensAreMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	w := start(t)
	root := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret
	tomorrow := w.c.Now().AddDate(0, 0, 1)
	const path = "projects/acme%2Fapp/access_tokens"
	m := w.ask(201, "POST", path, root, `{"name":"regmint-1","description":"job 1","scopes":["read_registry","write_registry"],"access_level":30,"expires_at":"`+date(tomorrow)+`"}`)
	token := w.Token(m["token"].(string))
	if m["access_level"] != 30.0 || m["expires_at"] != date(tomorrow) || m["description"] != "job 1" || !token.User.Bot || m["user_id"] != float64(token.User.ID) {
		t.Errorf("%v", m)
	}
	if got := w.can(image, "any", token.Secret); got != "pull push" {
		t.Errorf("%q", got)
	}
	w.ask(201, "POST", fmt.Sprintf("projects/%d/access_tokens", w.app.ID), root, "name=other&scopes[]=read_registry&access_level=20")
	list := func(query string) int {
		_, _, text := w.send("GET", api+path+query, "", "PRIVATE-TOKEN", root)
		var out []map[string]any
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(text)
		}
		for _, x := range out {
			if x["token"] != nil {
				t.Errorf("a list tells secrets: %v", x)
			}
		}
		return len(out)
	}
	if list("") != 2 || list("?state=active&search=regmint-") != 1 || list("?state=inactive") != 0 || list("?per_page=1&page=2") != 1 {
		t.Error("lists are wrong")
	}
	id := fmt.Sprintf("%s/%d", path, token.ID)
	w.ask(200, "GET", id, root, "")
	w.ask(204, "DELETE", id, root, "")
	if m := w.ask(404, "DELETE", id, root, ""); m["message"] != fmt.Sprintf("404 Could not find project access token with token_id: %d Not Found", token.ID) {
		t.Errorf("%v", m)
	}
	if token.Active() || list("?state=active") != 1 || list("?state=inactive") != 1 {
		t.Error("a revoked token lives")
	}
	pair := w.jane.OAuth(w.Application("tool", gitlab.API), gitlab.API)
	if status, _, text := w.send("POST", api+path, `{"name":"b","scopes":["api"]}`, "Authorization", "Bearer "+pair.Access); status != 201 {
		t.Errorf("with OAuth: %d %s", status, text)
	}
	if w.Counts().Created != 3 {
		t.Errorf("%+v", w.Counts())
	}
}

func TestTokensAreNotMadeForThoseWhoMayNot(t *testing.T) {
	t.Parallel()
	w := start(t)
	dev := w.User("dev")
	w.app.Add(dev, gitlab.Developer)
	scope := []string{gitlab.API}
	root := w.jane.Token(gitlab.TokenSpec{Scopes: scope}).Secret
	owner := w.User("owner")
	w.Group("acme").Add(owner, gitlab.Owner)
	const path, good = "projects/acme%2Fapp/access_tokens", `{"name":"a","scopes":["read_registry"]}`
	for _, tc := range []struct {
		name, path, token, body string
		status                  int
		want                    string
	}{
		{"a developer", path, dev.Token(gitlab.TokenSpec{Scopes: scope}).Secret, good, 400, `{"message":"400 Bad request - User does not have permission to create project access token"}`},
		{"a bot", path, w.app.Token(gitlab.TokenSpec{Scopes: scope}).Secret, good, 400, "does not have permission to create project access token"},
		{"a stranger", path, w.User("eve").Token(gitlab.TokenSpec{Scopes: scope}).Secret, good, 404, `{"message":"404 Project Not Found"}`},
		{"a maintainer's owner", path, root, `{"name":"a","scopes":["api"],"access_level":50}`, 400, "can't be greater the access level"},
		{"read_api", path, w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadAPI}}).Secret, good, 403, "insufficient_scope"},
		{"nobody", path, "", good, 401, notAllowed},
		{"no name", path, root, `{"scopes":["api"]}`, 400, `{"error":"name is missing"}`},
		{"no scopes", path, root, `{"name":"a"}`, 400, `{"error":"scopes is missing"}`},
		{"an unknown scope", path, root, `{"name":"a","scopes":["x"]}`, 400, `{"error":"scopes does not have a valid value"}`},
		{"an unknown level", path, root, `{"name":"a","scopes":["api"],"access_level":31}`, 400, `{"error":"access_level does not have a valid value"}`},
		{"no date", path, root, `{"name":"a","scopes":["api"],"expires_at":"soon"}`, 400, `{"error":"expires_at is invalid"}`},
		{"too long", path, root, `{"name":"a","scopes":["api"],"expires_at":"2999-01-01"}`, 400, "Expiration date must be before"},
		{"no JSON", path, root, `{`, 400, "parsing"},
		{"a group's maintainer", "groups/acme/access_tokens", root, good, 404, `{"message":"404 Group Not Found"}`},
		{"a group's owner", "groups/acme/access_tokens", owner.Token(gitlab.TokenSpec{Scopes: scope}).Secret, good, 201, `"access_level":40`},
		{"no such path", "projects/acme%2Fapp/tokens", root, good, 404, ""},
	} {
		status, _, text := w.send("POST", api+tc.path, tc.body, "PRIVATE-TOKEN", tc.token)
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s", tc.name, status, text)
		}
	}
	w.Set(func(o *gitlab.Options) { o.Free = true })
	if m := w.ask(400, "POST", path, root, good); !strings.Contains(m["body"].(string), "does not have permission") {
		t.Errorf("%v", m)
	}
	w.jane.Block(true)
	w.ask(403, "GET", "user", root, "")
}
