// SPDX-License-Identifier: Apache-2.0

package google_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

func send(t *testing.T, c *fakecloud.Cloud, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res, strings.TrimSpace(string(b))
}

type puller struct {
	t *testing.T
	c *fakecloud.Cloud
}

func (p puller) options(user, pass string) []remote.Option {
	auth := authn.FromConfig(authn.AuthConfig{Username: user, Password: pass})
	if user == "" {
		auth = authn.Anonymous
	}
	return []remote.Option{remote.WithTransport(p.c.Client().Transport), remote.WithAuth(auth), remote.WithContext(p.t.Context())}
}

func (p puller) push(ref, user, pass string) error {
	p.t.Helper()
	return remote.Write(p.ref(ref), p.image(), p.options(user, pass)...)
}

func (p puller) pull(ref, user, pass string) error {
	p.t.Helper()
	img, err := remote.Image(p.ref(ref), p.options(user, pass)...)
	if err == nil {
		_, err = img.Digest()
	}
	return err
}

func (p puller) ref(s string) name.Reference {
	p.t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p puller) image() v1.Image {
	p.t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	return img
}

func wantStatus(t *testing.T, err error, status int, words ...string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.StatusCode != status {
		t.Fatalf("not a %d: %v", status, err)
	}
	wantError(t, err, words...)
}

func TestTokensPushAndPullWhatTheirOwnerMay(t *testing.T) {
	c, g, ctx := start(t)
	ci := g.ServiceAccount(ciEmail)
	g.Repository("europe-west1-docker.pkg.dev/acme/images").Writers(ci.Member()).Readers("user:" + jane)
	g.Repository("gcr.io/acme").Admins(ci.Member())
	p := puller{t, c}
	const image, user = "europe-west1-docker.pkg.dev/acme/images/team/app:1", "oauth2accesstoken"
	tok, err := mint(ctx, t, ci.Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.push(image, user, tok.AccessToken); err != nil {
		t.Fatal(err)
	}
	if err := p.pull(strings.Replace(image, "europe-west1-docker.pkg.dev", "docker.europe-west1.rep.pkg.dev", 1), user, tok.AccessToken); err != nil {
		t.Errorf("by its regional name: %v", err)
	}
	if err := p.push("gcr.io/acme/app:1", user, tok.AccessToken); err != nil {
		t.Error(err)
	}
	if err := p.push("gcr.io/other/app:1", user, tok.AccessToken); err == nil {
		t.Error("another project was written")
	}
	reader := g.Token("user:"+jane, time.Hour)
	if err := p.pull(image, user, reader); err != nil {
		t.Error(err)
	}
	wantStatus(t, p.push(image, user, reader), 403, "artifactregistry.repositories.uploadArtifacts", "projects/acme/locations/europe-west1/repositories/images")
	readOnly := g.Token(ci.Member(), time.Hour, google.ScopeReadOnly)
	if err := p.pull(image, user, readOnly); err != nil {
		t.Error(err)
	}
	wantStatus(t, p.push(image, user, readOnly), 403, "insufficient authentication scopes")
	if err := remote.Delete(p.ref(image), p.options(user, tok.AccessToken)...); err == nil {
		t.Error("a writer deleted")
	}
	if err := remote.Delete(p.ref("gcr.io/acme/app:1"), p.options(user, tok.AccessToken)...); err != nil {
		t.Errorf("an admin could not delete: %v", err)
	}

	key := ci.Key()
	for u, pass := range map[string]string{
		"_json_key": string(key), "_json_key_base64": base64.StdEncoding.EncodeToString(key), "_dcgcr_2_1_22_token": tok.AccessToken, "_dcgcloud_token": tok.AccessToken,
	} {
		if err := p.push(image, u, pass); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	// Identity-token style logins are refused: no POST.
	identity := authn.FromConfig(authn.AuthConfig{IdentityToken: tok.AccessToken})
	if err := remote.Write(p.ref(image), p.image(), remote.WithTransport(c.Client().Transport), remote.WithAuth(identity)); err == nil {
		t.Error("an identity token was accepted")
	}
	c.Advance(time.Hour)
	wantStatus(t, p.pull(image, user, tok.AccessToken), 401)
	if !slices.ContainsFunc(g.Done(), func(d fakecloud.Done) bool {
		return d.Host == "europe-west1-docker.pkg.dev" && d.Who == ci.Member() && d.Action == "push" && d.Repository == "acme/images/team/app"
	}) {
		t.Errorf("%v", g.Done())
	}
}

func TestPublicRepositoriesArePulledByAnybody(t *testing.T) {
	c, g, _ := start(t)
	g.Repository("us-docker.pkg.dev/acme/open").Readers("allUsers").Writers("user:" + jane)
	p := puller{t, c}
	if err := p.push("us-docker.pkg.dev/acme/open/app", "oauth2accesstoken", g.Token("user:"+jane, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := p.pull("us-docker.pkg.dev/acme/open/app", "", ""); err != nil {
		t.Error(err)
	}
	wantStatus(t, p.push("us-docker.pkg.dev/acme/open/app", "", ""), 403, "Unauthenticated request.")
	wantStatus(t, p.pull("us-docker.pkg.dev/acme/closed/app", "", ""), 403, "downloadArtifacts", "(or it may not exist)")
}

// The wire of section 4.5 of the facts, as captured from the real registry.
func TestChallengesAndRefusalsAreTheRegistrysOwn(t *testing.T) {
	c, g, _ := start(t)
	g.Repository("us-central1-docker.pkg.dev/p/r").Readers("user:" + jane)
	const host = "us-central1-docker.pkg.dev"
	basic := func(u, p string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(u+":"+p)) }
	good := g.Token("user:"+jane, time.Hour)
	for name, tc := range map[string]struct {
		method, path, auth string
		status             int
		challenge, body    string
	}{
		"no credential": {
			"GET", "/v2/", "", 401, `Bearer realm="https://us-central1-docker.pkg.dev/v2/token"`,
			`{"errors":[{"code":"UNAUTHORIZED","message":"not authenticated: No credential was supplied."}]}`,
		},
		"no credential for an image": {
			"GET", "/v2/p/r/i/manifests/x", "", 401,
			`Bearer realm="https://us-central1-docker.pkg.dev/v2/token",service="us-central1-docker.pkg.dev",scope="repository:p/r/i:pull"`,
			`{"errors":[{"code":"UNAUTHORIZED","message":"not authenticated: No valid credential was supplied."}]}`,
		},
		"a delete": {
			"DELETE", "/v2/p/r/i/manifests/x", "", 401,
			`Bearer realm="https://us-central1-docker.pkg.dev/v2/token",service="us-central1-docker.pkg.dev",scope="repository:p/r/i:pull,push"`, "UNAUTHORIZED",
		},
		"a repository without an image": {
			"GET", "/v2/foo/bar/manifests/x", "", 401,
			`Bearer realm="https://us-central1-docker.pkg.dev/v2/token",service="us-central1-docker.pkg.dev",scope="repository:foo/bar/pkg:pull"`, "UNAUTHORIZED",
		},
		"a bad bearer":           {"GET", "/v2/", "Bearer bogus", 401, "", `{"errors":[{"code":"UNAUTHORIZED","message":"No valid credential was supplied."}]}`},
		"a bad password":         {"GET", "/v2/", basic("oauth2accesstoken", "bogus"), 401, "", "No valid credential was supplied."},
		"another user name":      {"GET", "/v2/", basic("jane", good), 401, "", "No valid credential was supplied."},
		"a raw access token":     {"GET", "/v2/", "Bearer " + good, 200, "", ""},
		"a password without one": {"GET", "/v2/", basic("oauth2accesstoken", good), 200, "", ""},
		"one path component":     {"GET", "/v2/app/manifests/x", "", 400, "", `{"errors":[{"code":"NAME_INVALID","message":"invalid number of path components: 1"}]}`},
		"a bogus token login":    {"GET", "/v2/token", basic("oauth2accesstoken", "bogus"), 401, "", `{"errors":[{"code":"UNAUTHORIZED","message":"authentication failed"}]}`},
		"a scope not allowed": {
			"GET", "/v2/token?service=" + host + "&scope=repository:p/r/i:pull", "", 403, "",
			`{"errors":[{"code":"DENIED","message":"Unauthenticated request. Unauthenticated requests do not have permission \"artifactregistry.repositories.downloadArtifacts\" on resource \"projects/p/locations/us-central1/repositories/r\" (or it may not exist)"}]}`,
		},
		"a post": {"POST", "/v2/token", basic("oauth2accesstoken", good), 405, "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://"+host+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.auth != "" {
			r.Header.Set("Authorization", tc.auth)
		}
		res, body := send(t, c, r)
		if res.StatusCode != tc.status || res.Header.Get("Www-Authenticate") != tc.challenge || !strings.Contains(body, tc.body) {
			t.Errorf("%s: %d %q %s", name, res.StatusCode, res.Header.Get("Www-Authenticate"), body)
		}
	}
	for _, h := range []string{"evil-docker.pkg.dev.example", "mirror.gcr.io", "xgcr.io"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.Client().Do(r); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s answers", h)
		}
	}
}
