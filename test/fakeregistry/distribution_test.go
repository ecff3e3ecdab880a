// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// distribution finds a real registry.
func distribution(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("needs a distribution registry: apt-get install docker-registry")
	}
	return path
}

func TestRealRegistryTrustsTheTokenServer(t *testing.T) {
	binary := distribution(t)
	for name, form := range map[string]KeyForm{"x5c": KeyX5C, "kid": KeyID} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{Mode: Token, KeyForm: form, Users: []User{
				{Name: "alice", Password: "pw"}, {Name: "reader", Password: "pw", Grants: []Grant{{"team/app", []string{"pull"}}}},
			}, Issue: IssueOptions{Clients: clients}})
			stop, err := s.RunDistribution(t.Context(), binary, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			tag, img := ref(t, s, "team/app:v1"), image(t)
			if err := remote.Write(tag, img, as(t, s, "alice", "pw")...); err != nil {
				t.Fatal(err)
			}
			got, err := remote.Image(tag, as(t, s, "reader", "pw")...)
			if err != nil {
				t.Fatal(err)
			}
			if digest(t, got) != digest(t, img) {
				t.Error("another image came out")
			}
			for _, login := range [][2]string{{"reader", "pw"}, {"alice", "wrong"}, {"", ""}} {
				if err := remote.Write(tag, image(t), as(t, s, login[0], login[1])...); status(err) != http.StatusUnauthorized {
					t.Errorf("push as %q: %v", login, err)
				}
			}
			if repos, err := remote.Catalog(t.Context(), tag.Context().Registry, as(t, s, "alice", "pw")...); err != nil || !slices.Equal(repos, []string{"team/app"}) {
				t.Errorf("%q, %v", repos, err)
			}
			if got := s.Stats().Who("team/app", "push"); !slices.Equal(got, []string{"alice"}) {
				t.Errorf("pushed by %q", got)
			}
			if got := s.Stats().Who("team/app", "pull"); !slices.Equal(got, []string{"reader"}) {
				t.Errorf("pulled by %q", got)
			}
			s.Advance(time.Hour) // the token server's clock alone: its tokens come from the future
			if _, err := remote.Image(tag, as(t, s, "alice", "pw")...); status(err) != http.StatusUnauthorized {
				t.Errorf("a token from the future: %v", err)
			}
		})
	}
}

// TestChallengeEqualsTheRealOne holds the fake to the real registry's words.
func TestChallengeEqualsTheRealOne(t *testing.T) {
	binary := distribution(t)
	s := start(t, Options{Mode: Token, Users: []User{{Name: "reader", Password: "pw", Grants: []Grant{{"a/b", []string{"pull"}}}}}})
	type probe struct {
		status    int
		challenge string
		body      any
	}
	ask := func() map[string]probe {
		out := map[string]probe{}
		for _, p := range [][2]string{
			{"GET", "/v2/"},
			{"GET", "/v2/a/b/manifests/x"},
			{"PUT", "/v2/a/b/manifests/x"},
			{"POST", "/v2/a/b/blobs/uploads/"},
			{"GET", "/v2/_catalog"},
			{"POST", "/v2/a/b/blobs/uploads/?mount=sha256:0000000000000000000000000000000000000000000000000000000000000000&from=c/d"},
		} {
			for _, token := range []string{"", "garbage", fetch(t, s, "reader", "pw", "repository:x/y:pull")} {
				req := request(t, s, "", "", p[0], p[1], "")
				if token != "" {
					req.Header.Set("Authorization", "Bearer "+token)
				}
				resp := do(t, s, req)
				got := probe{status: resp.StatusCode, challenge: sortScopes(resp.Header.Get("WWW-Authenticate"))}
				_ = json.Unmarshal([]byte(resp.Body), &got.body)
				switch m, _ := got.body.(map[string]any); {
				case m == nil:
				case m["errors"] == nil:
					got.body = len(m)
				default:
					got.body = m["errors"].([]any)[0].(map[string]any)["code"]
				}
				out[p[0]+" "+p[1]+" "+token[:min(3, len(token))]] = got
			}
		}
		return out
	}
	fake := ask()
	stop, err := s.RunDistribution(t.Context(), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for k, want := range ask() {
		if got := fake[k]; got != want {
			t.Errorf("%s:\nfake %+v\nreal %+v", k, got, want)
		}
	}
}

// sortScopes orders what the real registry puts in the order of a map.
func sortScopes(challenge string) string {
	head, rest, ok := strings.Cut(challenge, `,scope="`)
	if !ok {
		return challenge
	}
	scope, tail, _ := strings.Cut(rest, `"`)
	scopes := strings.Fields(scope)
	for i, s := range scopes {
		j := strings.LastIndexByte(s, ':') + 1
		actions := strings.Split(s[j:], ",")
		slices.Sort(actions)
		scopes[i] = s[:j] + strings.Join(actions, ",")
	}
	slices.Sort(scopes)
	return head + `,scope="` + strings.Join(scopes, " ") + `"` + tail
}

func TestRegistryThatCannotStartIsAnError(t *testing.T) {
	s := start(t, Options{})
	if stop, err := s.RunDistribution(t.Context(), t.TempDir()+"/absent", t.TempDir()); err == nil {
		stop()
		t.Error("no error")
	}
	if err := s.SetBackend("127.0.0.1:5000"); err == nil {
		t.Error("an address is taken for a URL")
	}
}
