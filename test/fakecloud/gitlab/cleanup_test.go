// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestDeployTokensAreMadeAndRevoked(t *testing.T) {
	t.Parallel()
	w := start(t)
	root := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret
	const path = "projects/acme%2Fapp/deploy_tokens"
	until := w.c.Now().AddDate(0, 0, 1).UTC().Format(time.RFC3339)
	m := w.ask(201, "POST", path, root, `{"name":"d","username":"ci-1","scopes":["read_registry"],"expires_at":"`+until+`"}`)
	if m["username"] != "ci-1" || m["expired"] != false || w.can(image, "ci-1", m["token"].(string)) != "pull" {
		t.Errorf("%v", m)
	}
	// A deploy token is nobody to the API.
	w.ask(401, "GET", "user", m["token"].(string), "")
	id := fmt.Sprintf("%s/%.0f", path, m["id"])
	w.ask(204, "DELETE", id, root, "")
	w.ask(404, "DELETE", id, root, "")
	if status, _ := w.scopes("ci-1", m["token"].(string)); status != 401 {
		t.Errorf("%d", status)
	}
	if m := w.ask(201, "POST", path, root, "name=d&scopes[]=read_registry"); m["username"] != fmt.Sprintf("gitlab+deploy-token-%.0f", m["id"]) {
		t.Errorf("%v", m)
	}
	for body, want := range map[string]string{`{"name":"d","scopes":["api"]}`: "scopes does not have", `{"scopes":["read_registry"]}`: "name is missing", `{"name":"d"}`: "scopes is missing"} {
		if m := w.ask(400, "POST", path, root, body); !strings.Contains(m["body"].(string), want) {
			t.Errorf("%s: %v", body, m)
		}
	}
	dev := w.User("dev")
	w.app.Add(dev, gitlab.Developer)
	w.ask(403, "POST", path, dev.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret, `{"name":"d","scopes":["read_registry"]}`)
}

func TestImagesAreCleanedUpByTheAPI(t *testing.T) {
	t.Parallel()
	w := start(t)
	dev := w.User("dev")
	w.app.Add(dev, gitlab.Developer)
	root := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret
	for _, tag := range []string{"latest", "a-1", "a-2", "b-1"} {
		if err := w.push(image+":"+tag, "x", root); err != nil {
			t.Fatal(err)
		}
	}
	const path = "projects/acme%2Fapp/registry/repositories"
	get := func(p string, header ...string) []map[string]any {
		status, _, text := w.send("GET", api+p, "", header...)
		var out []map[string]any
		if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		return out
	}
	job, other := w.app.Job(dev), w.Project("acme/other").Job(w.jane)
	repos := get(path+"?tags=true", "JOB-TOKEN", job.Token)
	if len(repos) != 1 || repos[0]["path"] != "acme/app/web" || repos[0]["name"] != "web" || repos[0]["location"] != image || len(repos[0]["tags"].([]any)) != 4 {
		t.Fatalf("%v", repos)
	}
	tags := fmt.Sprintf("%s/%.0f/tags", path, repos[0]["id"])
	if len(get(tags, "PRIVATE-TOKEN", root)) != 4 || len(get(tags+"?per_page=3&page=2", "PRIVATE-TOKEN", root)) != 1 {
		t.Error("pages are wrong")
	}
	if m := w.ask(200, "GET", tags+"/a-1", root, ""); !strings.HasPrefix(m["digest"].(string), "sha256:") {
		t.Errorf("%v", m)
	}
	try := func(status int, path string, header ...string) string {
		t.Helper()
		got, _, text := w.send("DELETE", api+path, "", header...)
		if got != status {
			t.Errorf("%s: %d %s", path, got, text)
		}
		return text
	}
	for _, scopes := range [][]string{{gitlab.ReadAPI}, {gitlab.ReadRegistry, gitlab.WriteRegistry}} {
		if text := try(403, tags+"/a-1", "PRIVATE-TOKEN", w.jane.Token(gitlab.TokenSpec{Scopes: scopes}).Secret); !strings.Contains(text, `"scope":"api"`) {
			t.Errorf("%s", text)
		}
	}
	if text := try(403, tags+"/a-1", "JOB-TOKEN", other.Token); !strings.Contains(text, "job token cannot be used") {
		t.Errorf("%s", text)
	}
	try(200, tags+"/a-1", "JOB-TOKEN", job.Token)
	try(400, tags+"/a-1", "JOB-TOKEN", job.Token)
	try(403, tags+"?name_regex_delete="+url.QueryEscape(".*"), "JOB-TOKEN", job.Token) // a developer's
	if got, _, text := w.send("DELETE", api+tags, "name_regex_delete=none-.*", "JOB-TOKEN", job.Token); got != 403 {
		t.Errorf("a form: %d %s", got, text)
	}
	try(400, tags, "PRIVATE-TOKEN", root)
	try(202, tags+"?name_regex_delete="+url.QueryEscape(".*")+"&name_regex_keep=b-.*", "PRIVATE-TOKEN", root)
	if got := w.Tags("acme/app/web"); strings.Join(got, " ") != "b-1 latest" {
		t.Errorf("%q", got)
	}
	if text := try(400, tags+"?name_regex_delete=b-1", "PRIVATE-TOKEN", root); !strings.Contains(text, "at most once an hour") {
		t.Errorf("%s", text)
	}
	job.End()
	try(401, tags+"/b-1", "JOB-TOKEN", job.Token)
	repo := strings.TrimSuffix(tags, "/tags")
	try(202, repo, "PRIVATE-TOKEN", root)
	try(404, repo, "PRIVATE-TOKEN", root)
	wantStatus(t, w.pull(image+":latest", "x", root), 404)
}
