// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud/google"
)

// nothing is a server that is no metadata server of Google's.
type nothing struct{}

func (nothing) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

func TestTheLeastServiceAccountAndScopeThatCoverTheGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	for _, name := range []string{"images-reader", "images-writer", "reader", "app-reader"} {
		w.g.ServiceAccount(name + "@acme.iam.gserviceaccount.com").AllowImpersonation(ci.Member())
	}
	at := func(name string) string { return name + "@acme.iam.gserviceaccount.com" }
	o := &gar.Options{Key: w.secret("KEY", ci.Key()), NarrowTo: map[string]string{
		"acme/images": at("images-reader"), "acme/images=push": at("images-writer"), "*=pull": at("reader"), "acme/images/app=pull": at("app-reader"),
	}}
	for _, tc := range []struct {
		grants []providers.Grant
		who    string
		scope  string
		wider  bool
	}{
		{nil, ciAddress, google.ScopeCloudPlatform, false},
		{[]providers.Grant{pull("acme/images/app")}, at("app-reader"), google.ScopeReadOnly, false},
		{[]providers.Grant{pull("acme/images/web")}, at("images-reader"), google.ScopeReadOnly, false},
		{[]providers.Grant{push("acme/images/web")}, at("images-writer"), google.ScopeCloudPlatform, false},
		{[]providers.Grant{{Repository: "acme/images/web"}}, at("images-writer"), google.ScopeCloudPlatform, false},
		{[]providers.Grant{pull("acme/images/app"), push("acme/images/web")}, at("images-writer"), google.ScopeCloudPlatform, false},
		{[]providers.Grant{pull("acme/imagesque/app")}, at("reader"), google.ScopeReadOnly, true},
		{[]providers.Grant{pull("")}, at("reader"), google.ScopeReadOnly, false},
		{[]providers.Grant{push("other/images/app")}, ciAddress, google.ScopeCloudPlatform, true},
		{[]providers.Grant{{Repository: "acme/images/app", Access: providers.Delete}}, ciAddress, google.ScopeCloudPlatform, true},
		{[]providers.Grant{pull("acme/images/app"), push("other/x/y")}, ciAddress, google.ScopeCloudPlatform, true},
	} {
		c := w.mint(o, tc.grants...)
		w.is(c, "serviceAccount:"+tc.who, tc.scope)
		if c.Wider != tc.wider {
			t.Errorf("%v: wider is %v", tc.grants, c.Wider)
		}
	}
	s := w.open(o)
	keys := map[string]bool{}
	for _, gs := range [][]providers.Grant{nil, {pull("acme/images/app")}, {pull("acme/images/web")}, {push("acme/images/web")}, {pull("x/y/z")}} {
		keys[s.Key(w.request(gs...))] = true
	}
	if len(keys) != 5 || s.Key(w.request(pull("acme/images/a"))) != s.Key(w.request(pull("acme/images/b"))) {
		t.Errorf("keys %v", keys)
	}
}

func TestPullAloneGetsTheReadingScopeAndRepositoriesStayWider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	key := w.secret("KEY", ci.Key())
	for _, tc := range []struct {
		o     gar.Options
		g     providers.Grant
		scope string
		wider bool
	}{
		{gar.Options{Key: key}, pull(""), google.ScopeReadOnly, false},
		{gar.Options{Key: key}, pull("acme/images/app"), google.ScopeReadOnly, true},
		{gar.Options{Key: key}, push(""), google.ScopeCloudPlatform, true},
		{gar.Options{Key: key}, push("acme/images/app"), google.ScopeCloudPlatform, true},
		{gar.Options{Key: key, Scopes: []string{google.ScopeCloudPlatform}}, pull(""), google.ScopeCloudPlatform, true},
		{gar.Options{Credentials: w.secret("ADC", w.g.User("jane@example.com").Login())}, pull(""), "", true},
	} {
		c := w.mint(&tc.o, tc.g)
		if c.Wider != tc.wider {
			t.Errorf("%+v: wider is %v", tc.g, c.Wider)
		}
		if tc.scope != "" {
			w.is(c, ci.Member(), tc.scope)
		}
	}
	s := w.open(&gar.Options{Key: key})
	if s.Key(w.request(pull("a/b/c"))) == s.Key(w.request(push("a/b/c"))) || s.Key(w.request(pull("a/b/c"))) != s.Key(w.request(pull("d/e/f"))) {
		t.Error("keys do not follow the scope")
	}
	if s := w.open(&gar.Options{GcloudAccount: "jane@example.com"}); s.Key(w.request(pull("a/b/c"))) != s.Key(w.request()) {
		t.Error("a person's token is minted twice")
	}
}

func TestTheRegistryIsAskedWhetherItAcceptsACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	w.g.Repository(registry + "/acme/images").Writers(ci.Member())
	w.g.Repository(registry + "/acme/secret").Nobody()
	s := w.open(&gar.Options{Key: w.secret("KEY", ci.Key())})
	v, ok := s.(providers.Verifier)
	if !ok {
		t.Fatal("no verifier")
	}
	c, err := s.Mint(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(t.Context(), w.request(), c); err != nil {
		t.Error(err)
	}
	w.failure(v.Verify(t.Context(), w.request(pull("acme/secret/app")), c), providers.Denied)
	// Artifact Registry answers a wrong credential with 401 and no challenge.
	w.g.RevokeTokens(ci.Member())
	w.failure(v.Verify(t.Context(), w.request(), c), providers.LoginRequired)
	c.Secret = providers.NewSecret("bogus-bogus-bogus")
	w.failure(v.Verify(t.Context(), w.request(), c), providers.LoginRequired)
}

func TestNativeTokensComeAsGcloudAndTerraformTakeThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	s, ok := w.open(&gar.Options{Key: w.secret("KEY", ci.Key())}).(providers.NativeMinter)
	if !ok {
		t.Fatal("no native minter")
	}
	n, err := s.MintNative(t.Context(), w.request(providers.Grant{Repository: "acme/images/app", Access: providers.Delete}))
	if err != nil {
		t.Fatal(err)
	}
	w.is(n.Credential, ci.Member(), google.ScopeCloudPlatform)
	if len(n.Env) != 2 || n.Env[0].Name != "CLOUDSDK_AUTH_ACCESS_TOKEN" || !n.Env[1].Value.Equal(n.Secret) {
		t.Errorf("%+v", n.Env)
	}
}

// A Google token opens more than a registry: it goes to Google's names, and to
// those that a person wrote in full.
func TestTokensGoToGooglesHostsAndToThoseWrittenInFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.secret("KEY", w.g.ServiceAccount(ciAddress).Key())
	for pattern, want := range map[string]providers.Kind{"*.example.com": providers.Misconfigured, "reg.example.com": ""} {
		p, err := providers.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		w.edit = func(a *providers.Account) { a.Hosts = []providers.Pattern{p} }
		r := w.request()
		r.Host = httpxtest.Host(t, "reg.example.com")
		_, err = w.open(&gar.Options{Key: key}).Mint(t.Context(), r)
		if want == "" && err != nil || want != "" && providers.KindOf(err) != want {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	w.edit, w.layer = nil, providers.LayerAmbient
	r := w.request()
	r.Host = httpxtest.Host(t, "gcr.io.evil.example")
	_, err := w.open(nil).Mint(t.Context(), r)
	if providers.KindOf(err) != providers.NoAccount {
		t.Error(err)
	}
}

func TestConfigurationMistakesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.secret("KEY", []byte("x"))
	const provider = "projects/123/locations/global/workloadIdentityPools/p/providers/x"
	for want, o := range map[string]gar.Options{
		"key and metadata exclude each other":        {Key: key, Metadata: "default"},
		"workload_identity_provider needs web_id":    {WorkloadIdentityProvider: provider},
		"web_identity needs workload_identity":       {WebIdentity: w.ref("github")},
		"audience belongs to web_identity":           {Key: key, Audience: "a"},
		"it has the project's number":                {WorkloadIdentityProvider: "projects/acme/locations/global/workloadIdentityPools/p/providers/x", WebIdentity: w.ref("github")},
		"write projects/NUMBER/":                     {WorkloadIdentityProvider: "p/x", WebIdentity: w.ref("github")},
		"is no address of a service account":         {Key: key, ServiceAccount: "ci"},
		"delegates belong to service_account":        {Key: key, Delegates: []string{ciAddress}},
		"lifetime is between 1m and 12h":             {Key: key, ServiceAccount: ciAddress, Lifetime: 13 * hour},
		`scopes: "cloud-platform" is no scope`:       {Key: key, Scopes: []string{"cloud-platform"}},
		`narrow_to: "a=pul"`:                         {Key: key, NarrowTo: map[string]string{"a=pul": ciAddress}},
		`narrow_to: "ci" is no address`:              {Key: key, NarrowTo: map[string]string{"a": "ci"}},
		`narrow_to: "a/*": write PROJECT/REPOSITORY`: {Key: key, NarrowTo: map[string]string{"a/*": ciAddress}},
		"token_endpoint must be https":               {Key: key, TokenEndpoint: "http://oauth.corp.example/"},
		"sts_endpoint: it must be an absolute URL":   {Key: key, STSEndpoint: "sts.corp.example"},
		"iamcredentials_endpoint: it must be":        {Key: key, IAMCredentialsEndpoint: "https://u:p@iam.example"},
		"metadata_endpoint: it must be":              {MetadataEndpoint: "file:///x"},
		`universe_domain: "x" is no domain`:          {Key: key, UniverseDomain: "x"},
		`gcloud_configuration: "--x" is no valid`:    {GcloudConfiguration: "--x"},
		`metadata: "a/../b" is no valid name`:        {Metadata: "a/../b"},
		"gcloud_path must be an absolute path":       {GcloudPath: "gcloud"},
		"belong together":                            {Key: key, AWSAccessKeyID: key},
	} {
		w.refused(&o, providers.Misconfigured, `account "google": `, want)
	}
	for want, edit := range map[string]func(*providers.Account){
		"username is always oauth2accesstoken": func(a *providers.Account) { a.Username = "_json_key" },
		"password has no meaning here":         func(a *providers.Account) { a.Password = key },
		"endpoint has no meaning here":         func(a *providers.Account) { a.Endpoint = "https://x.example" },
		"rotate has no meaning here":           func(a *providers.Account) { a.Rotate = hour },
	} {
		w.edit = edit
		w.refused(&gar.Options{Key: key}, providers.Misconfigured, want)
	}
}

// In a Trusted Cloud a signed statement is the token: nothing is asked.
func TestAnotherUniverseSignsItsOwnTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := strings.Replace(string(w.g.ServiceAccount(ciAddress).Key()), `"universe_domain": "googleapis.com"`, `"universe_domain": "s3nsapis.fr"`, 1)
	raw = strings.Replace(raw, google.TokenURI, "https://oauth2.s3nsapis.fr/token", 1)
	c := w.mint(&gar.Options{Key: w.secret("KEY", []byte(raw)), UniverseDomain: "s3nsapis.fr"})
	if strings.Count(c.Secret.Reveal(), ".") != 2 || len(w.c.Reached()) != 0 {
		t.Errorf("reached %q", w.c.Reached())
	}
	w.refused(&gar.Options{Key: w.secret("KEY", []byte(raw))}, providers.Misconfigured, "it is for the universe s3nsapis.fr; set universe_domain")
}
