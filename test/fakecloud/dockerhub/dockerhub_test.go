// SPDX-License-Identifier: Apache-2.0

package dockerhub_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

type rig struct {
	t     *testing.T
	cloud *fakecloud.Cloud
	hub   *dockerhub.Hub
	acme  *dockerhub.Org
	bot   *dockerhub.User
}

func newRig(t *testing.T) *rig {
	c := fakecloud.Start(t)
	r := &rig{t: t, cloud: c, hub: dockerhub.New(c, dockerhub.Options{})}
	r.acme, r.bot = r.hub.Org("acme"), r.hub.User("acme-bot", "correct-horse")
	r.acme.Add(r.bot, dockerhub.Admin)
	r.hub.Repository("acme/app", dockerhub.Private)
	return r
}

func (r *rig) options(user, secret string) []remote.Option {
	auth := authn.Anonymous
	if user != "" {
		auth = authn.FromConfig(authn.AuthConfig{Username: user, Password: secret})
	}
	return []remote.Option{
		remote.WithAuth(auth), remote.WithTransport(r.cloud.Client().Transport),
		remote.WithRetryPredicate(func(error) bool { return false }), remote.WithRetryStatusCodes(),
	}
}

// push and pull answer the status that go-containerregistry meets; 0: it works.
func (r *rig) push(ref, user, secret string) int {
	img, err := random.Image(64, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.status(remote.Write(r.ref(ref), img, r.options(user, secret)...))
}

func (r *rig) pull(ref, user, secret string) int {
	_, err := remote.Get(r.ref(ref), r.options(user, secret)...)
	return r.status(err)
}

func (r *rig) ref(s string) name.Reference {
	n, err := name.ParseReference(s)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) status(err error) int {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return e.StatusCode
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return 0
}

// call sends a form or JSON and reads the answer.
func (r *rig) call(method, to, bearer, contentType, body string) (int, http.Header, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		q.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		q.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := r.cloud.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func (r *rig) form(to string, kv ...string) (int, map[string]any) {
	r.t.Helper()
	f := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		f.Set(kv[i], kv[i+1])
	}
	code, _, body := r.call(http.MethodPost, to, "", "application/x-www-form-urlencoded", f.Encode())
	m := map[string]any{}
	_ = json.Unmarshal([]byte(body), &m)
	return code, m
}

func TestTheRegistryGivesEachIdentityItsRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	write, read, public := r.bot.PAT(dockerhub.RepoWrite).Secret, r.bot.PAT(dockerhub.RepoRead).Secret, r.bot.PAT(dockerhub.RepoPublicRead).Secret
	if got := r.push("acme/app:1", "acme-bot", write); got != 0 {
		t.Fatal(got)
	}
	r.hub.Repository("acme/public", dockerhub.Public)
	if got := r.push("acme/public:1", "acme", r.acme.OAT(dockerhub.RepoWrite).Secret); got != 0 {
		t.Fatal(got)
	}
	stranger := r.hub.User("stranger", "other-horse")
	for _, c := range []struct {
		user, secret        string
		private, open, push int
	}{
		{"acme-bot", "correct-horse", 0, 0, 0},
		{"acme-bot", read, 0, 0, 401},
		{"acme-bot", public, 401, 0, 401},
		{"stranger", "other-horse", 401, 0, 401},
		{"", "", 401, 0, 401},
		{"acme", read, 401, 401, 401}, // a token of somebody else
		{"acme-bot", "wrong", 401, 401, 401},
	} {
		if a, b, p := r.pull("acme/app:1", c.user, c.secret), r.pull("acme/public:1", c.user, c.secret), r.push("acme/app:2", c.user, c.secret); a != c.private || b != c.open || p != c.push {
			t.Errorf("%s: private %d, public %d, push %d", c.user, a, b, p)
		}
	}
	r.bot.TwoFactor("123456")
	if got := r.pull("acme/app:1", "acme-bot", "correct-horse"); got != 401 {
		t.Errorf("a password of an account with 2FA: %d", got)
	}
	r.acme.Add(stranger, dockerhub.Reader)
	r.acme.EnforceSSO()
	if got := r.pull("acme/app:1", "stranger", "other-horse"); got != 401 {
		t.Errorf("a password under SSO: %d", got)
	}
}

func TestPullsAreCountedAndHeadsAreNot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pat := r.bot.PAT(dockerhub.RepoWrite).Secret
	if got := r.push("acme/app:1", "acme-bot", pat); got != 0 {
		t.Fatal(got)
	}
	r.hub.LimitPulls(2)
	for range 5 {
		if _, err := remote.Head(r.ref("acme/app:1"), r.options("acme-bot", pat)...); err != nil {
			t.Fatal(err)
		}
	}
	if a, b, c := r.pull("acme/app:1", "acme-bot", pat), r.pull("acme/app:1", "acme-bot", pat), r.pull("acme/app:1", "acme-bot", pat); a != 0 || b != 0 || c != 429 {
		t.Errorf("%d %d %d", a, b, c)
	}
}

func TestTheAPITellsTokensApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	login := func(id, secret string) string {
		t.Helper()
		code, _, body := r.call(http.MethodPost, "https://hub.docker.com/v2/auth/token", "", "application/json", `{"identifier":"`+id+`","secret":"`+secret+`"}`)
		var m map[string]string
		if code != 200 || json.Unmarshal([]byte(body), &m) != nil {
			t.Fatalf("%d %s", code, body)
		}
		return m["access_token"]
	}
	const tag = "https://hub.docker.com/v2/repositories/acme/app/tags/1/"
	pat := r.bot.PAT(dockerhub.RepoAdmin).Secret
	if got := r.push("acme/app:1", "acme-bot", pat); got != 0 {
		t.Fatal(got)
	}
	if code, _, body := r.call(http.MethodDelete, tag, login("acme-bot", pat), "", ""); code != 403 || !strings.Contains(body, "issued from a personal access token") {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := r.call(http.MethodDelete, tag, "", "", ""); code != 401 {
		t.Errorf("without a token: %d", code)
	}
	token := login("acme", r.acme.OAT(dockerhub.RepoAdmin).Secret)
	r.cloud.Advance(11 * time.Minute)
	if code, _, _ := r.call(http.MethodDelete, tag, token, "", ""); code != 401 {
		t.Errorf("after ten minutes: %d", code)
	}
	if code, _, _ := r.call(http.MethodDelete, tag, login("acme", r.acme.OAT(dockerhub.RepoWrite).Secret), "", ""); code != 403 {
		t.Errorf("without repo:admin: %d", code)
	}
	if code, _, _ := r.call(http.MethodDelete, tag, login("acme-bot", "correct-horse"), "", ""); code != 204 {
		t.Errorf("%d", code)
	}
	if got := r.pull("acme/app:1", "acme-bot", pat); got != 404 {
		t.Errorf("the deleted tag: %d", got)
	}
	until := r.cloud.Now().Add(time.Minute)
	r.hub.LimitAPI(0, until)
	if code, h, _ := r.call(http.MethodDelete, tag, token, "", ""); code != 429 || h.Get("X-Retry-After") == "" || len(h.Get("X-Retry-After")) < 10 {
		t.Errorf("%d %v", code, h)
	}
}
