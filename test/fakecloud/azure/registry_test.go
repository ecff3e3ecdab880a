// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// refresh is a refresh token of the registry for p.
func (w *world) refresh(t *testing.T, host string, p *azure.Principal) string {
	t.Helper()
	got := w.exchange(t, host, w.az.EntraToken(p, azure.RegistryAudience, nil))
	if got.status != 200 {
		t.Fatalf("exchange: %d %v", got.status, got.body)
	}
	return got.text("refresh_token")
}

func refused(t *testing.T, what string, err error, status int) {
	t.Helper()
	if e, ok := errors.AsType[*transport.Error](err); !ok || e.StatusCode != status {
		t.Errorf("%s: %v, not %d", what, err, status)
	}
}

func TestExchangeChecksWhomTheTokenIsFor(t *testing.T) {
	w := newWorld(t)
	reader, nobody := w.tenant.App("reader"), w.tenant.App("nobody")
	w.reg.Assign(reader, azure.AcrPull)
	elsewhere := w.az.Tenant(azure.Public, "")
	stranger := elsewhere.App("stranger")
	token := func(p *azure.Principal, aud string, claims map[string]any) string {
		return w.az.EntraToken(p, aud, claims)
	}
	for name, tc := range map[string]struct {
		token string
		kv    []string
		want  int
	}{
		"as it should be":           {token(reader, azure.RegistryAudience, nil), nil, 200},
		"with the tenant":           {token(reader, azure.RegistryAudience, nil), []string{"tenant", w.tenant.ID}, 200},
		"for the Resource Manager":  {token(reader, azure.Public.ARM, nil), nil, 200},
		"with a slash at the end":   {token(reader, azure.Public.ARM+"/", nil), nil, 200},
		"with another tenant":       {token(reader, azure.RegistryAudience, nil), []string{"tenant", elsewhere.ID}, 401},
		"without a role":            {token(nobody, azure.RegistryAudience, nil), nil, 401},
		"of another tenant":         {token(stranger, azure.RegistryAudience, nil), nil, 401},
		"that names another tenant": {token(reader, azure.RegistryAudience, map[string]any{"tid": elsewhere.ID}), nil, 401},
		"for something else":        {token(reader, "https://graph.microsoft.com", nil), nil, 401},
		"of another environment":    {token(reader, azure.China.ARM, nil), nil, 401},
		"expired":                   {token(reader, azure.RegistryAudience, map[string]any{"exp": w.c.Now().Add(-time.Second).Unix()}), nil, 401},
		"signed by somebody":        {newWorldOf(t).EntraToken(reader, azure.RegistryAudience, nil), nil, 401},
		"no token":                  {"nonsense", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.exchange(t, w.reg.Host, tc.token, tc.kv...)
			if got.status != tc.want {
				t.Errorf("%d %v", got.status, got.body)
			}
			if tc.want == 401 && got.code() != "UNAUTHORIZED" {
				t.Errorf("%v", got.body)
			}
		})
	}
	post := func(kv ...string) response {
		return w.do(t, "POST", "https://"+w.reg.Host+"/oauth2/exchange", form(append(kv, "access_token", token(reader, azure.RegistryAudience, nil))...))
	}
	if got := post("grant_type", "access_token", "service", "other.azurecr.io"); got.status != 401 {
		t.Errorf("another service: %d", got.status)
	}
	if got := post("grant_type", "password", "service", w.reg.Host); got.status != 400 {
		t.Errorf("another grant: %d", got.status)
	}
	if got := post("grant_type", "access_token_refresh_token", "service", w.reg.Host, "refresh_token", "x"); got.status != 200 {
		t.Errorf("the old grant: %d", got.status)
	}
	w.reg.AuthenticationAsARM(false)
	if got := w.exchange(t, w.reg.Host, token(reader, azure.Public.ARM, nil)); got.status != 401 {
		t.Errorf("policy off, for the Resource Manager: %d", got.status)
	}
	if got := w.exchange(t, w.reg.Host, token(reader, azure.RegistryAudience, nil)); got.status != 200 {
		t.Errorf("policy off, for the registry: %d", got.status)
	}
}

func newWorldOf(t *testing.T) *azure.Azure {
	t.Helper()
	return azure.New(fakecloud.Start(t), azure.Options{})
}

func TestChallengesAreAsRecorded(t *testing.T) {
	w := newWorld(t)
	for _, tc := range [][4]string{
		{"GET", "/v2/", `Bearer realm="https://HOST/oauth2/token",service="HOST"`, ""},
		{"HEAD", "/v2/team/app/manifests/v1", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="repository:team/app:pull"`, ""},
		{"GET", "/v2/team/app/tags/list", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="repository:team/app:metadata_read"`, ""},
		{"POST", "/v2/team/app/blobs/uploads/", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="repository:team/app:pull,push"`, ""},
		{"DELETE", "/acr/v1/library%2Fbusybox", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="repository:library/busybox:delete"`, ""},
		{"GET", "/acr/v1/_catalog", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="registry:catalog:*"`, ""},
		{"GET", "/acr/v1/library%2Fbusybox/_tags", `Bearer realm="https://HOST/oauth2/token",service="HOST",scope="repository:library/busybox:metadata_read"`, ""},
		{"GET", "/v2/", `Bearer realm="https://HOST/oauth2/token",service="HOST",error="invalid_token"`, "Bearer nonsense"},
		{"GET", "/v2/", `Bearer realm="https://HOST/oauth2/token",service="HOST",error="invalid_token"`, "Basic eDp5"},
	} {
		for _, host := range []string{w.reg.Host, w.reg.Regional("westeurope")} {
			var header []string
			if tc[3] != "" {
				header = []string{"Authorization", tc[3]}
			}
			got := w.do(t, tc[0], "https://"+host+tc[1], "", header...)
			if c := got.header.Get("Www-Authenticate"); got.status != 401 || c != strings.ReplaceAll(tc[2], "HOST", host) {
				t.Errorf("%s %s: %d %s", tc[0], tc[1], got.status, c)
			}
			if tc[0] != "HEAD" && got.code() != "UNAUTHORIZED" {
				t.Errorf("%s %s: %v", tc[0], tc[1], got.body)
			}
		}
	}
}

func TestRightsAreTheOnesAssigned(t *testing.T) {
	w := newWorld(t)
	reader, one := w.tenant.App("reader"), w.tenant.App("one")
	w.reg.Assign(reader, azure.AcrPull)
	w.reg.Assign(one, azure.AcrPush, "team/app")
	as := func(p *azure.Principal) string { return w.refresh(t, w.reg.Host, p) }
	img, other := w.reg.Host+"/team/app:v1", w.reg.Host+"/team/other:v1"
	if err := push(w, other, w.pusher.ClientID, w.secret); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{img, other} {
		if err := pull(w, ref, azure.NullGUID, as(reader)); err != nil {
			t.Error(err)
		}
		refused(t, "a reader pushes", push(w, ref, azure.NullGUID, as(reader)), 401)
	}
	if err := push(w, img, azure.NullGUID, as(one)); err != nil {
		t.Error(err)
	}
	refused(t, "push elsewhere", push(w, other, azure.NullGUID, as(one)), 401)
	refused(t, "pull elsewhere", pull(w, other, azure.NullGUID, as(one)), 401)
	refused(t, "anonymous", pull(w, img, "", ""), 401)
	refused(t, "the wrong user name", pull(w, img, "oauth2accesstoken", as(reader)), 401)
	refused(t, "an Entra token as password", pull(w, img, azure.NullGUID, w.az.EntraToken(reader, azure.RegistryAudience, nil)), 401)
	if got := accessOf(t, w.scoped(t, w.reg.Host, as(one), "repository:team/app:pull,push,delete repository:team/other:pull", "registry:catalog:*").text("access_token")); got != "team/app:pull,push" {
		t.Errorf("access %q", got)
	}
	if got := accessOf(t, w.scoped(t, w.reg.Host, as(reader), "repository:*:pull", "registry:catalog:*").text("access_token")); got != "*:pull catalog:*" && got != "catalog:*" {
		t.Errorf("access %q", got)
	}
	w.reg.AnonymousPull(true)
	if err := pull(w, img, "", ""); err != nil {
		t.Error(err)
	}
	refused(t, "anonymous push", push(w, img, "", ""), 401)
	old := as(reader)
	w.reg.Unassign(reader)
	refused(t, "after the role was taken", pull(w, img, azure.NullGUID, old), 401)
	whos := map[string]bool{}
	for _, d := range w.az.Images.Done() {
		whos[d.Who] = true
		if d.Who == "reader" && d.Action != "pull" {
			t.Errorf("%+v", d)
		}
	}
	if !whos["reader"] || !whos["one"] || !whos["anonymous"] {
		t.Errorf("done by %v", whos)
	}
}

func TestAccessTokenAsPasswordGivesNoMoreThanItCarries(t *testing.T) {
	w := newWorld(t)
	img, other := w.reg.Host+"/team/app:v1", w.reg.Host+"/team/other:v1"
	if err := push(w, other, w.pusher.ClientID, w.secret); err != nil {
		t.Fatal(err)
	}
	narrow := w.scoped(t, w.reg.Host, w.refresh(t, w.reg.Host, w.pusher), "repository:team/app:pull").text("access_token")
	if err := pull(w, img, azure.NullGUID, narrow); err != nil {
		t.Error(err)
	}
	refused(t, "push", push(w, img, azure.NullGUID, narrow), 401)
	refused(t, "another repository", pull(w, other, azure.NullGUID, narrow), 401)
	if got := w.scoped(t, w.reg.Host, narrow, "repository:team/app:pull"); got.status != 401 {
		t.Errorf("as a refresh token: %d", got.status)
	}
	// An access token without any access gives none.
	empty := w.scoped(t, w.reg.Host, w.refresh(t, w.reg.Host, w.pusher)).text("access_token")
	refused(t, "no access", pull(w, img, azure.NullGUID, empty), 401)
	w.c.Advance(76 * time.Minute)
	refused(t, "expired", pull(w, img, azure.NullGUID, narrow), 401)
}

func TestTagsAreListedByWhoReadsMetadata(t *testing.T) {
	w := newWorld(t)
	refresh := w.refresh(t, w.reg.Host, w.pusher)
	list := func(user, pass string) ([]string, error) {
		repo, err := name.NewRepository(w.reg.Host + "/team/app")
		if err != nil {
			return nil, err
		}
		return remote.List(repo, remote.WithAuth(&authn.Basic{Username: user, Password: pass}), remote.WithTransport(w.c.Client().Transport), remote.WithRetryStatusCodes())
	}
	if got, err := list(azure.NullGUID, refresh); err != nil || !slices.Equal(got, []string{"v1"}) {
		t.Errorf("%q %v", got, err)
	}
	for scope, want := range map[string]int{"repository:team/app:pull": 401, "repository:team/app:pull,metadata_read": 200} {
		_, err := list(azure.NullGUID, w.scoped(t, w.reg.Host, refresh, scope).text("access_token"))
		if want == 200 && err != nil {
			t.Errorf("%s: %v", scope, err)
		}
		if want == 401 {
			refused(t, scope, err, 401)
		}
	}
}

func TestBearersAreForOneRegistryAndTime(t *testing.T) {
	w := newWorld(t)
	other := w.tenant.Registry("otheracr")
	other.Assign(w.pusher, azure.AcrPull)
	manifest := "https://" + w.reg.Host + "/v2/team/app/manifests/v1"
	bearer := func(token string) response { return w.do(t, "GET", manifest, "", "Authorization", "Bearer "+token) }
	good := w.reg.AccessToken(w.pusher, time.Minute, "repository:team/app:pull")
	for name, tc := range map[string]struct {
		token string
		want  int
		error string
	}{
		"good":               {good, 200, ""},
		"another repository": {w.reg.AccessToken(w.pusher, time.Minute, "repository:team/other:pull"), 401, "insufficient_scope"},
		"another action":     {w.reg.AccessToken(w.pusher, time.Minute, "repository:team/app:push"), 401, "insufficient_scope"},
		"expired":            {w.reg.AccessToken(w.pusher, -time.Minute, "repository:team/app:pull"), 401, "invalid_token"},
		"another registry":   {other.AccessToken(w.pusher, time.Minute, "repository:team/app:pull"), 401, "invalid_token"},
		"a refresh token":    {w.refresh(t, w.reg.Host, w.pusher), 401, "invalid_token"},
		"an Entra token":     {w.az.EntraToken(w.pusher, azure.RegistryAudience, nil), 401, "invalid_token"},
	} {
		got := bearer(tc.token)
		if got.status != tc.want || tc.error != "" && !strings.HasSuffix(got.header.Get("Www-Authenticate"), `error="`+tc.error+`"`) {
			t.Errorf("%s: %d %s", name, got.status, got.header.Get("Www-Authenticate"))
		}
	}
	w.az.Set(func(o *azure.Options) { o.RefreshLife = time.Minute })
	short := w.refresh(t, w.reg.Host, w.pusher)
	w.c.Advance(2 * time.Minute)
	if got := w.scoped(t, w.reg.Host, short, "repository:team/app:pull"); got.status != 401 {
		t.Errorf("an expired refresh token: %d", got.status)
	}
	if got := w.scoped(t, other.Host, w.refresh(t, w.reg.Host, w.pusher), "repository:team/app:pull"); got.status != 401 {
		t.Errorf("a refresh token of another registry: %d", got.status)
	}
}

func TestPasswordsOfRegistriesAndPrincipals(t *testing.T) {
	w := newWorld(t)
	img := w.reg.Host + "/team/app:v1"
	user, pass := w.reg.AdminUser()
	if err := push(w, img, user, pass[1]); err != nil {
		t.Errorf("admin: %v", err)
	}
	refused(t, "admin, wrong", pull(w, img, user, "guess"), 401)
	tok := w.reg.AddToken(azure.Token{Name: "ro", Actions: map[string][]string{"team/app": {"content/read", "metadata/read"}}, Expires: w.c.Now().Add(time.Hour)})
	if err := pull(w, img, "ro", tok.Passwords[0]); err != nil {
		t.Errorf("token: %v", err)
	}
	refused(t, "token pushes", push(w, img, "ro", tok.Passwords[0]), 401)
	refused(t, "token elsewhere", pull(w, w.reg.Host+"/team/other:v1", "ro", tok.Passwords[1]), 401)
	if err := pull(w, img, w.pusher.ClientID, w.secret); err != nil {
		t.Errorf("service principal: %v", err)
	}
	refused(t, "service principal, wrong", pull(w, img, w.pusher.ClientID, "guess"), 401)
	w.c.Advance(2 * time.Hour)
	refused(t, "token, expired", pull(w, img, "ro", tok.Passwords[0]), 401)
	forever := w.reg.AddToken(azure.Token{Name: "rw", Actions: map[string][]string{"team/app": {"content/read", "content/write"}}})
	if err := push(w, img, "rw", forever.Passwords[0]); err != nil {
		t.Errorf("token that writes: %v", err)
	}
	w.reg.DisableToken("rw")
	refused(t, "token, disabled", pull(w, img, "rw", forever.Passwords[0]), 401)
	// The OAuth2 form of a password is refused, which sends clients to the other.
	if got := w.do(t, "POST", "https://"+w.reg.Host+"/oauth2/token", form("grant_type", "password", "service", w.reg.Host, "username", user, "password", pass[0])); got.status != 400 {
		t.Errorf("password grant: %d", got.status)
	}
}

func TestLoginServersWithLabelsAndRegions(t *testing.T) {
	w := newWorld(t)
	labelled := w.tenant.RegistryOn("Widgets", "widgets-b7f2ckd9h3fnaub5.azurecr.io")
	german := w.tenant.RegistryOn("bahn", "bahn.azurecr.de")
	for _, r := range []*azure.Registry{labelled, german} {
		r.Assign(w.pusher, azure.AcrPush)
		if err := push(w, r.Host+"/a:v1", azure.NullGUID, w.refresh(t, r.Host, w.pusher)); err != nil {
			t.Errorf("%s: %v", r.Host, err)
		}
	}
	regional := labelled.Regional("westeurope")
	if regional != "widgets-b7f2ckd9h3fnaub5.westeurope.geo.azurecr.io" {
		t.Error(regional)
	}
	if err := pull(w, regional+"/a:v1", azure.NullGUID, w.refresh(t, regional, w.pusher)); err != nil {
		t.Error(err)
	}
	refused(t, "a token of the other login server", pull(w, regional+"/a:v1", azure.NullGUID, w.refresh(t, labelled.Host, w.pusher)), 401)
	for _, host := range []string{"widgets.azurecr.io", "acmeacr.azurecr.io.evil.example", "a.b.azurecr.io", "nobody.azurecr.io"} {
		if got := w.do(t, "GET", "https://"+host+"/v2/", ""); got.status != 0 {
			t.Errorf("%s answered %d", host, got.status)
		}
		if !slices.Contains(w.c.Reached(), host) {
			t.Errorf("%s is not among what was reached", host)
		}
	}
	german.Delete()
	if got := w.do(t, "GET", "https://bahn.azurecr.de/v2/", ""); got.status != 0 {
		t.Errorf("a deleted registry answered %d", got.status)
	}
}

func TestFirewallRefusesEverything(t *testing.T) {
	w := newWorld(t)
	token := w.az.EntraToken(w.pusher, azure.RegistryAudience, nil)
	w.reg.Firewall(true)
	for _, got := range []response{
		w.do(t, "GET", "https://"+w.reg.Host+"/v2/", ""), w.exchange(t, w.reg.Host, token),
	} {
		if got.status != 403 || got.code() != "DENIED" {
			t.Errorf("%d %v", got.status, got.body)
		}
	}
	w.reg.Firewall(false)
	if got := w.exchange(t, w.reg.Host, token); got.status != 200 {
		t.Errorf("%d", got.status)
	}
}
