// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

// end is the end of a login that is kept as secret.
func (r *rig) end(secret string, o gitlab.Options, edit ...func(*providers.Account)) providers.Ended {
	r.t.Helper()
	return gitlab.New().EndLogin(r.t.Context(), providers.EndRequest{
		Host: r.request("").Host, Account: r.account(o, edit...), Secret: providers.NewSecret(secret), Deps: r.deps,
	})
}

func TestALogoutEndsALoginInTheBrowser(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{DeviceInterval: time.Second})
	app := r.gl.Application("regmint", fake.ReadRegistry, fake.WriteRegistry)
	p := &person{onCode: func(d providers.Device) {
		if err := r.gl.Approve(d.Code, r.jane); err != nil {
			t.Error(err)
		}
	}}
	o := gitlab.Options{ClientID: app.ClientID}
	res, err := r.login(p, o, saved)
	if err != nil {
		t.Fatal(err)
	}
	r.secrets["keyring:browser"] = res.Secret.Reveal()
	s := r.open(o, kept)
	c := r.mint(s, r.request(""))
	r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/oauth/revoke", Status: http.StatusServiceUnavailable, Times: 100})
	if got := r.end(res.Secret.Reveal(), o, kept); got.What != "" || !strings.Contains(got.Left, "did not answer") || !strings.Contains(got.Left, "https://gitlab.com/-/user_settings/applications") {
		t.Errorf("%+v", got)
	}
	r.cloud.ClearFaults()
	if got := r.end(res.Secret.Reveal(), o, kept); got != (providers.Ended{What: "the login at https://gitlab.com"}) {
		t.Errorf("%+v", got)
	}
	r.wantError(r.verify(s, r.request(""), c), providers.LoginRequired)
	r.cloud.Advance(3 * time.Hour)
	_, err = r.open(o, kept).Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "regmint login")
	// Another application's login is not sent there.
	before := len(r.cloud.Requests())
	if got := r.end(res.Secret.Reveal(), gitlab.Options{ClientID: "another"}, kept); got.What != "" || len(r.cloud.Requests()) != before {
		t.Errorf("%+v", got)
	}
}

// What a person made is that person's to end: it is said where.
func TestALogoutSaysWhereATokenLivesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	for secret, want := range map[string]string{
		pat.Secret:              "the access token: revoke it at https://gitlab.com/-/user_settings/personal_access_tokens",
		"gldt-0123456789abcdef": "the deploy token: revoke it in its project",
		"a password":            "",
		"":                      "",
	} {
		if got := r.end(secret, gitlab.Options{}, r.withSecret(secret)); got.What != "" || !strings.HasPrefix(got.Left, want) || want == "" && got.Left != "" {
			t.Errorf("%.5s: %+v", secret, got)
		}
	}
	if got := r.end("", gitlab.Options{Glab: true}); !strings.Contains(got.Left, "glab auth logout") {
		t.Errorf("%+v", got)
	}
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	r.mint(s, r.request("")) // works on, as said
}
