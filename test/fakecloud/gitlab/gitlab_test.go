// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

type world struct {
	t testing.TB
	c *fakecloud.Cloud
	*gitlab.GitLab
	jane *gitlab.User
	app  *gitlab.Project
}

// start is gitlab.com with acme/app, where jane is a Maintainer.
func start(t testing.TB) world {
	t.Helper()
	c := fakecloud.Start(t)
	g := gitlab.New(c, gitlab.Options{})
	w := world{t: t, c: c, GitLab: g, jane: g.User("jane"), app: g.Project("acme/app")}
	w.app.Add(w.jane, gitlab.Maintainer)
	return w
}

func (w world) options(user, pass string) []remote.Option {
	auth := authn.FromConfig(authn.AuthConfig{Username: user, Password: pass})
	if user == "" {
		auth = authn.Anonymous
	}
	return []remote.Option{remote.WithTransport(w.c.Client().Transport), remote.WithAuth(auth), remote.WithContext(w.t.Context())}
}

func (w world) ref(s string) name.Reference {
	w.t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w world) push(ref, user, pass string) error {
	w.t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return remote.Write(w.ref(ref), img, w.options(user, pass)...)
}

func (w world) pull(ref, user, pass string) error {
	w.t.Helper()
	img, err := remote.Image(w.ref(ref), w.options(user, pass)...)
	if err == nil {
		_, err = img.Digest()
	}
	return err
}

// can says which of pull and push work: "pull push", "pull", "push" or "".
func (w world) can(repo, user, pass string) string {
	w.t.Helper()
	var out []string
	admin := w.User("root")
	admin.SetAdmin(true)
	seed := admin.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	if err := w.push(repo+":seed", "root", seed.Secret); err != nil {
		w.t.Fatal(err)
	}
	if w.pull(repo+":seed", user, pass) == nil {
		out = append(out, "pull")
	}
	if w.push(repo+":try", user, pass) == nil {
		out = append(out, "push")
	}
	return strings.Join(out, " ")
}

func wantStatus(t testing.TB, err error, status int, words ...string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.StatusCode != status {
		t.Fatalf("not a %d: %v", status, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

// send makes a request; body "" is none, {…} is JSON and anything else a form.
func (w world) send(method, rawURL, body string, header ...string) (int, http.Header, string) {
	w.t.Helper()
	status, h, text, err := w.try(method, rawURL, body, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return status, h, text
}

func (w world) try(method, rawURL, body string, header ...string) (int, http.Header, string, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, rawURL, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := w.c.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, strings.TrimSpace(string(b)), err
}

func basic(user, pass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
}

const jwtAuth = "https://gitlab.com/jwt/auth?service=container_registry&client_id=docker&offline_token=true&account=any"

// scopes asks for a token and says what it carries.
func (w world) scopes(user, pass string, scopes ...string) (int, []string) {
	w.t.Helper()
	u := jwtAuth
	for _, s := range scopes {
		u += "&scope=" + url.QueryEscape(s)
	}
	var header []string
	if user != "" {
		header = []string{"Authorization", basic(user, pass)}
	}
	status, _, body := w.send("GET", u, "", header...)
	if status != 200 {
		return status, nil
	}
	got, err := w.Access(gitlab.TokenOf([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	return status, got
}

const image = "registry.gitlab.com/acme/app/web"
