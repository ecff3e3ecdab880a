// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

func TestRefusedKeysSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	o := &gar.Options{Key: w.secret("KEY", ci.Key())}
	ci.Disable(true)
	w.refused(o, providers.Denied, ciAddress+" is disabled", "enable the service account")
	ci.Disable(false)
	w.c.Advance(2 * time.Hour)
	w.refused(o, providers.Misconfigured, "the clock of this machine differs from Google's", "set the time of this machine")
	w.c.Advance(-2 * time.Hour)
	ci.DeleteKeys()
	w.refused(o, providers.LoginRequired, ciAddress+" has no such key any more", "Invalid JWT Signature", "put a new key into env:KEY")

	other := newWorld(t).g.ServiceAccount("stranger@elsewhere.iam.gserviceaccount.com").Key()
	w.refused(&gar.Options{Key: w.secret("KEY", other)}, providers.Denied, "there is no service account stranger@elsewhere")
	for text, want := range map[string]string{
		"":                           "env:KEY: is empty",
		"garbage":                    "env:KEY: not a Google credentials JSON",
		"{}":                         "it has no type",
		`{"type":"service_account"}`: "it has no client_email or no private_key",
		`{"type":"service_account","client_email":"a@b","private_key":"nonsense-nonsense"}`: "its private_key cannot be read",
		`{"type":"authorized_user"}`:            "its type is authorized_user, not service_account: write credentials",
		`{"type":"gdch_service_account","x":1}`: "its type is gdch_service_account",
		`{"type":"service_account","type":"x"}`: "not a Google credentials JSON",
	} {
		w.refused(&gar.Options{Key: w.secret("KEY", []byte(text))}, providers.Misconfigured, want)
	}
	for text, want := range map[string]string{
		`{"type":"authorized_user","client_id":"x"}`:                                                                             "it has no refresh_token, client_id or client_secret",
		`{"type":"external_account"}`:                                                                                            "it has no audience",
		`{"type":"external_account","audience":"//iam.googleapis.com/x"}`:                                                        "names no file, url, executable or AWS",
		`{"type":"gdch_service_account"}`:                                                                                        "type gdch_service_account cannot be used here",
		`{"type":"impersonated_service_account"}`:                                                                                "source_credentials",
		`{"type":"external_account","audience":"a","credential_source":{"file":"relative"}}`:                                     "relative path",
		`{"type":"external_account","audience":"a","credential_source":{"environment_id":"aws2"}}`:                               "aws2 is not known",
		`{"type":"external_account","audience":"a","credential_source":{"certificate":{"use_default_certificate_config":true}}}`: "by certificate",
	} {
		w.refused(&gar.Options{Credentials: w.secret("C", []byte(text))}, providers.Misconfigured, want)
	}
}

func TestRefusedPeopleAreToldToLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jane := w.g.User("jane@example.com")
	adc := filepath.Join(w.deps.Home, ".config", "gcloud", "application_default_credentials.json")
	w.write(adc, jane.Login())
	w.is(w.mint(&gar.Options{}), jane.Member())
	jane.RequireReauth(true)
	w.refused(&gar.Options{}, providers.LoginRequired, "your organisation asks for a new login", "run: gcloud auth application-default login")
	jane.RequireReauth(false)
	jane.Logout()
	w.refused(&gar.Options{}, providers.LoginRequired, "the login in "+adc+" is expired or revoked", "Token has been expired or revoked", "run: gcloud auth application-default login")
	w.write(adc, jane.Login()) // another tool logs in: the next mint works
	w.is(w.mint(&gar.Options{}), jane.Member())
}

func TestRefusedIdentityTokensSayWhichSettingRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	i := w.c.Issuer(fakecloud.GitHubIssuer)
	token := func(aud string, claims map[string]any) { w.secret("T", []byte(i.Sign("s", aud, claims))) }
	o := &gar.Options{WorkloadIdentityProvider: resource(p), WebIdentity: w.ref("env:T")}
	token("https:"+p.Audience(), map[string]any{"repository": "evil/app"})
	w.refused(o, providers.Denied, "rejected by the attribute condition", "check attribute_condition")
	token("another", map[string]any{"repository": "acme/app"})
	w.refused(o, providers.Misconfigured, "made for another audience", "set audience")
	o.Audience = "another"
	w.refused(o, providers.Misconfigured, "made for another audience", "set audience")
	o.Audience = ""
	token("https:"+p.Audience(), map[string]any{"repository": "acme/app", "exp": w.c.Now().Add(-time.Minute).Unix()})
	w.refused(o, providers.LoginRequired, "expired")
	token("https:"+p.Audience(), map[string]any{"repository": "acme/app"})
	o.WorkloadIdentityProvider += "-absent"
	o.Audience = "https:" + p.Audience()
	w.refused(o, providers.Misconfigured, "no such workload identity provider", "check workload_identity_provider")
	o.WorkloadIdentityProvider = resource(p)
	// A pod's token for its API server goes nowhere else.
	k := &gar.Options{WorkloadIdentityProvider: resource(p), WebIdentity: w.ref("kubernetes:/var/run/projected/token")}
	before := w.count("sts.googleapis.com")
	w.secrets["file:/var/run/projected/token"] = i.Sign("s", "https://kubernetes.default.svc", map[string]any{"repository": "acme/app"})
	w.refused(k, providers.Misconfigured, "the pod's identity token is not made for https://iam.googleapis.com/projects/", "or set audience")
	if w.count("sts.googleapis.com") != before {
		t.Error("it was sent")
	}
	for _, form := range []string{"https:", ""} {
		w.secrets["file:/var/run/projected/token"] = i.Sign("s", form+p.Audience(), map[string]any{"repository": "acme/app"})
		w.is(w.mint(k), p.Principal("s"))
	}
	w.secret("T", []byte(newWorld(t).c.Issuer(fakecloud.GitHubIssuer).Sign("s", "https:"+p.Audience(), nil)))
	w.refused(o, providers.Denied, "Google refuses the identity token")
	w.secret("T", []byte(w.c.Issuer(fakecloud.GitLabIssuer).Sign("s", "https:"+p.Audience(), nil)))
	w.refused(o, providers.Misconfigured, "another issuer", "check issuer_uri")
}

func TestRefusedImpersonationNamesPermissionAndRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci, deploy := w.g.ServiceAccount(ciAddress), w.g.ServiceAccount(deployAddress)
	o := &gar.Options{Key: w.secret("KEY", ci.Key()), ServiceAccount: deployAddress}
	w.refused(o, providers.Denied, "iam.serviceAccounts.getAccessToken denied to "+ciAddress, "grant roles/iam.serviceAccountTokenCreator on "+deployAddress)
	deploy.AllowImpersonation(ci.Member())
	o.Lifetime = 2 * hour
	w.refused(o, providers.Misconfigured, "gives no tokens of that life", "take lifetime down to 1h")
	deploy.ExtendLifetime()
	if l := w.mint(o).Life(); l < 119*time.Minute || l > 2*time.Hour {
		t.Errorf("life %s", l)
	}
	p := w.provider()
	w.runner()
	w.refused(&gar.Options{WorkloadIdentityProvider: resource(p), WebIdentity: w.ref("github"), ServiceAccount: deployAddress}, providers.Denied, "roles/iam.workloadIdentityUser")
}

func TestAnswersWithoutALifeOrWithoutATokenAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	m := w.g.Metadata(google.MetadataOptions{Account: ci})
	key := w.secret("KEY", ci.Key())
	for body, tc := range map[string]struct {
		kind providers.Kind
		want string
	}{
		`{"access_token":"t","token_type":"Bearer"}`:                      {providers.Misconfigured, "does not say how long the token lives; set expires_in"},
		`{"access_token":"t","expires_in":0,"token_type":"Bearer"}`:       {"", ""}, // differs: see below
		`{"access_token":"t","expires_in":7,"token_type":"Bearer"}`:       {providers.Unavailable, "the token ends in "},
		`{"access_token":"","expires_in":3599}`:                           {providers.Unavailable, "no token"},
		`{"access_token":"a\nb","expires_in":3599,"token_type":"Bearer"}`: {providers.Unavailable, "no token"},
		`{"access_token":12,"expires_in":3599}`:                           {providers.Unavailable, "no token"},
		`{"access_token":"a","access_token":"b","expires_in":3599}`:       {providers.Unavailable, "names a key twice"},
		`[]`:         {providers.Unavailable, "no JSON object"},
		`<html>`:     {providers.Unavailable, "a web page, not JSON"},
		"\xff\xfe{}": {providers.Unavailable, "not JSON"},
	} {
		for _, at := range []struct {
			host string
			o    *gar.Options
		}{{"oauth2.googleapis.com", &gar.Options{Key: key}}, {"metadata", &gar.Options{Metadata: "default", MetadataEndpoint: m.URL}}} {
			w.c.Inject(fakecloud.Fault{Host: at.host, Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body})
			if tc.kind == "" { // x/oauth2 takes 0 for "not said"
				_, err := w.open(at.o).Mint(t.Context(), w.request())
				if err == nil {
					t.Errorf("%s: a token without a life", at.host)
				}
			} else {
				w.refused(at.o, tc.kind, tc.want)
			}
			w.c.ClearFaults()
		}
	}
	w.edit = func(a *providers.Account) { a.ExpiresIn = providers.Duration(5 * time.Minute) }
	w.c.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Status: 200, Body: `{"access_token":"t","token_type":"Bearer"}`})
	if l := w.mint(&gar.Options{Key: key}).Life(); l != 5*time.Minute {
		t.Errorf("life %s", l)
	}
}

// T1: every endpoint fails in every way: the right kind, in bounded time, and
// nothing of the secrets shows.
func TestEveryFaultOfGooglesEndpointsIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	ca := httpxtest.NewCA(t)
	raw, adc := ci.Key(), w.g.User("jane@example.com").Login()
	var parsed struct {
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(adc, &parsed)
	subject := w.c.Issuer(fakecloud.GitHubIssuer).Sign("s", "aud", nil)
	key := gar.Options{Key: w.secret("KEY", raw)}
	wif := gar.Options{WorkloadIdentityProvider: resource(w.provider()), WebIdentity: w.ref("env:T"), Audience: "aud"}
	w.secret("T", []byte(subject))
	good := ca.Server(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fakecloud.WriteJSON(rw, 200, map[string]any{"access_token": "CNRYsource0123456789abcdef0123456", "expires_in": 3599, "token_type": "Bearer"})
	})).URL
	for name, options := range map[string]func(origin string) gar.Options{
		"token endpoint, key": func(u string) gar.Options { o := key; o.TokenEndpoint = u; return o },
		"token endpoint, user": func(u string) gar.Options {
			return gar.Options{Credentials: w.secretRef("ADC"), TokenEndpoint: u}
		},
		"sts": func(u string) gar.Options { o := wif; o.STSEndpoint = u; return o },
		"impersonation": func(u string) gar.Options {
			o := key
			o.TokenEndpoint, o.IAMCredentialsEndpoint, o.ServiceAccount = good, u, deployAddress
			return o
		},
		"metadata": func(u string) gar.Options { return gar.Options{Metadata: "default", MetadataEndpoint: u} },
	} {
		w.secret("ADC", adc)
		// They share one way to the network: that failures which may pass are tried
		// again, and for how long, is seen at two of them.
		all := name == "token endpoint, key" || name == "impersonation"
		for _, f := range httpxtest.Faults() {
			if !all && (f.Kind == providers.Unavailable && f.Name != "503" || f.Stuck) {
				continue
			}
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				addr := f.Start(t, ca)
				deps, log := httpxtest.Deps(t, map[string]string{"env:KEY": string(raw), "env:ADC": string(adc), "env:T": subject})
				deps.Network = providers.Network{CAFile: ca.File()}
				o := options("https://" + addr)
				s, err := gar.New().Open(providers.Account{Name: "g", Options: &o}, deps)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
				defer cancel()
				_, err = s.Mint(ctx, providers.Request{Host: httpxtest.Host(t, registry)})
				want := f.Kind
				if want == "" {
					want = providers.Unavailable
				}
				if err == nil || providers.KindOf(err) != want || !strings.HasPrefix(err.Error(), registry+": ") {
					t.Errorf("want %s, got %s: %v", want, providers.KindOf(err), err)
				}
				for _, secret := range []string{parsed.Refresh, subject[len(subject)-60:], "CNRYsource0123456789abcdef0123456"} {
					if l := httpxtest.Leaks(fmt.Sprint(err, log), secret); len(l) > 0 {
						t.Errorf("secret in %v", err)
					}
				}
			})
		}
	}
}

// The end of an impersonated token is a date by Google's clock.
func TestAClockThatIsBehindMakesNoTokenLiveLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	w.g.ServiceAccount(deployAddress).AllowImpersonation(ci.Member())
	w.deps.Now = func() time.Time { return w.c.Now().Add(-2 * time.Hour) }
	c := w.mint(&gar.Options{Key: w.secret("KEY", ci.Key()), ServiceAccount: deployAddress, Lifetime: providers.Duration(30 * time.Minute)})
	if c.Life() != 30*time.Minute {
		t.Errorf("life %s, asked for 30m", c.Life())
	}
}

func (w *world) secretRef(name string) providers.SecretRef {
	return providers.SecretRef{Scheme: "env", Value: name}
}

func TestAProxyThatAsksForALoginIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.secret("KEY", w.g.ServiceAccount(ciAddress).Key())
	w.c.ProxyAuth("u:p")
	w.refused(&gar.Options{Key: key}, providers.Misconfigured, "407", "https_proxy")
	w.edit = func(a *providers.Account) {
		a.HTTPSProxy = strings.Replace(w.c.ProxyURL(), "http://", "http://u:p@", 1)
	}
	w.mint(&gar.Options{Key: key})
}
