// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

// The first identity that is there is used; each is taken away in turn.
func TestTheSearchGoesInGooglesOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	ci := w.g.ServiceAccount(ciAddress)
	p := w.provider()
	adc := filepath.Join(w.deps.Home, ".config", "gcloud", "application_default_credentials.json")
	w.write(adc, w.g.User("adc@example.com").Login())
	program, dir := w.gcloud()
	program.Configure(t, dir, "default", "jane@example.com", "acme", true)
	program.LogIn(t, dir, "jane@example.com")
	m := w.g.Metadata(google.MetadataOptions{Account: w.g.ServiceAccount(hopAddress)})
	r := w.c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	name := strings.Split(resource(p), "/")
	w.deps.Env = map[string]string{
		"GOOGLE_APPLICATION_CREDENTIALS": w.write("key.json", ci.Key()),
		"GCP_PROJECT_NUMBER":             name[1], "GCP_WORKLOAD_IDENTITY_FEDERATION_POOL_ID": name[5], "GCP_WORKLOAD_IDENTITY_FEDERATION_PROVIDER_ID": name[7],
		oidc.GitHubURL: r.URL, oidc.GitHubToken: r.Token,
	}
	o := &gar.Options{MetadataEndpoint: m.URL}
	w.is(w.mint(o), ci.Member())

	// An identity that is there but fails gives way to no other.
	good := w.deps.Env["GOOGLE_APPLICATION_CREDENTIALS"]
	for _, bad := range []string{filepath.Join(t.TempDir(), "absent.json"), "relative.json", t.TempDir(), w.write("bad.json", []byte("{"))} {
		w.deps.Env["GOOGLE_APPLICATION_CREDENTIALS"] = bad
		w.refused(o, providers.Misconfigured)
	}
	w.deps.Env["GOOGLE_APPLICATION_CREDENTIALS"] = good
	ci.Disable(true)
	w.refused(o, providers.Denied, ciAddress)

	delete(w.deps.Env, "GOOGLE_APPLICATION_CREDENTIALS")
	w.is(w.mint(o), p.Principal("repo:acme/app:ref:refs/heads/main"))
	w.g.ServiceAccount(deployAddress).AllowImpersonation(p.PrincipalSet("*"))
	w.deps.Env["GCP_SERVICE_ACCOUNT"] = deployAddress
	w.is(w.mint(o), "serviceAccount:"+deployAddress)

	delete(w.deps.Env, oidc.GitHubToken)
	w.is(w.mint(o), "user:adc@example.com")
	w.write(adc, []byte("{"))
	w.refused(o, providers.Misconfigured, adc)
	empty := t.TempDir()
	program.Configure(t, empty, "default", "max@example.com", "", true)
	program.LogIn(t, empty, "max@example.com")
	w.deps.Env["CLOUDSDK_CONFIG"] = empty
	w.is(w.mint(o), "user:max@example.com")
	program.LogOut(t, empty, "max@example.com")
	w.is(w.mint(o), "serviceAccount:"+hopAddress)
}

func TestNobodyIsNoAccountAndAsksTheMachineOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	program, _ := w.gcloud()
	elsewhere := w.c.Plain("elsewhere", nothing{})
	s := w.open(&gar.Options{MetadataEndpoint: elsewhere})
	for range 3 {
		_, err := s.Mint(t.Context(), w.request())
		w.failure(err, providers.NoAccount, "no Google credentials here")
	}
	if n := w.count("elsewhere"); n != 1 {
		t.Errorf("the machine was asked %d times", n)
	}
	if len(program.Calls()) != 0 {
		t.Error("gcloud was started though nobody is logged in")
	}
	if got := w.c.Reached(); !slices.Equal(got, []string{"elsewhere"}) {
		t.Errorf("reached %q", got)
	}
	// A caller that left says nothing about the machine.
	w.p = gar.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.open(&gar.Options{MetadataEndpoint: elsewhere}).Mint(ctx, w.request())
	w.failure(err, providers.Unavailable)
	// A person who wrote an account is told how to log in.
	w.layer = providers.LayerConfigured
	w.refused(&gar.Options{MetadataEndpoint: elsewhere}, providers.LoginRequired, "gcloud auth login", "regmint login "+registry+" -u _json_key --password-stdin")
}

func TestAConfiguredAccountReadsNothingOfTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.Env = map[string]string{} // what the agent gives to configured accounts
	names := w.p.Env()
	for _, n := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"} {
		if !slices.Contains(names, n) {
			t.Errorf("%s is not asked of the caller", n)
		}
	}
	o := &gar.Options{Key: providers.SecretRef{Scheme: "env", Value: "A"}, WebIdentity: w.ref("env:B"), AWSAccessKeyID: providers.SecretRef{Scheme: "env", Value: "C"}}
	if got := o.EnvRefs(); !slices.Contains(got, "A") || !slices.Contains(got, "B") || !slices.Contains(got, "C") {
		t.Errorf("EnvRefs %q", got)
	}
}

// What another tool renews is seen by the next mint, and named for the watch.
func TestFilesThatAreReadAreWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.write("token", []byte("x"))
	file := w.write("wif.json", w.provider().Credentials(google.FileSource(token), nil, 0))
	watches := func(o *gar.Options) []string {
		s, ok := w.open(o).(providers.Watcher)
		if !ok {
			t.Fatal("no watcher")
		}
		return s.Watches()
	}
	dir := filepath.Join(w.deps.Home, ".config", "gcloud")
	for _, tc := range []struct {
		o    gar.Options
		want []string
	}{
		{gar.Options{Credentials: providers.SecretRef{Scheme: "file", Value: file}}, []string{file, token}},
		{gar.Options{Key: providers.SecretRef{Scheme: "file", Value: file}}, []string{file}},
		{gar.Options{WorkloadIdentityProvider: resource(w.provider()), WebIdentity: w.ref("file:" + token)}, []string{token}},
		{gar.Options{}, []string{filepath.Join(dir, "application_default_credentials.json"), filepath.Join(dir, "credentials.db"), filepath.Join(dir, "active_config")}},
		{gar.Options{GcloudConfiguration: "work"}, []string{filepath.Join(dir, "configurations", "config_work"), filepath.Join(dir, "credentials.db")}},
	} {
		got := watches(&tc.o)
		for _, f := range tc.want {
			if !slices.Contains(got, f) {
				t.Errorf("%s is not in %q", f, got)
			}
		}
	}
	w.layer = providers.LayerAmbient
	w.deps.Env = map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": file}
	if got := watches(nil); !slices.Contains(got, file) || !slices.Contains(got, token) {
		t.Errorf("watches %q", got)
	}
}

func TestATokenFileIsReadForEveryMint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	i := w.c.Issuer(fakecloud.GitHubIssuer)
	name := w.write("token", nil)
	o := &gar.Options{WorkloadIdentityProvider: resource(p), WebIdentity: w.ref("file:" + name)}
	for _, sub := range []string{"first", "second"} {
		w.secrets["file:"+name] = i.Sign(sub, "https:"+p.Audience(), map[string]any{"repository": "acme/app"})
		w.is(w.mint(o), p.Principal(sub))
	}
}
