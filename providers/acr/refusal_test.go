// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

func TestRefusalsOfEntraAreSentences(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	runner := r.cloud.GitHubRunner(subject)
	r.secrets["env:ACTIONS_ID_TOKEN_REQUEST_URL"], r.secrets["env:ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = runner.URL, runner.Token
	r.secrets["keyring:wrong"] = "wrong-client-secret-0123456789"
	r.secrets["keyring:old"] = r.app.AddSecret(-time.Hour)
	lonely := r.tenant.App("lonely")
	bound := r.tenant.App("bound")
	bound.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: "repo:acme/other:ref:refs/heads/main"})
	off := r.tenant.App("off")
	r.secrets["keyring:off"] = off.AddSecret(0)
	off.Disable()
	with := func(edit func(*Options)) Options { o := r.bySecret(); edit(&o); return o }
	github := func(client string) Options {
		return Options{Identity: identityOf(t, "github"), TenantID: r.tenant.ID, ClientID: client}
	}
	for _, tc := range map[string]struct {
		o    Options
		kind providers.Kind
		want []string
	}{
		"wrong secret":       {with(func(o *Options) { o.ClientSecret = ref(t, "keyring:wrong") }), providers.LoginRequired, []string{"AADSTS7000215", "is wrong", "keyring:wrong"}},
		"old secret":         {with(func(o *Options) { o.ClientSecret = ref(t, "keyring:old") }), providers.LoginRequired, []string{"AADSTS7000222", "has expired"}},
		"no such app":        {with(func(o *Options) { o.ClientID = r.tenant.ID }), providers.Misconfigured, []string{"AADSTS700016", r.tenant.ID, "client_id"}},
		"no such tenant":     {with(func(o *Options) { o.TenantID = "nowhere.example" }), providers.Misconfigured, []string{"AADSTS90002", "nowhere.example", "cloud"}},
		"another cloud":      {with(func(o *Options) { o.Cloud = "china" }), providers.Misconfigured, []string{"AADSTS90002"}},
		"unknown audience":   {with(func(o *Options) { o.Audience = "https://registry.example" }), providers.Misconfigured, []string{"AADSTS500011", "https://registry.example"}},
		"disabled":           {with(func(o *Options) { o.ClientID, o.ClientSecret = off.ClientID, ref(t, "keyring:off") }), providers.Denied, []string{"AADSTS7000112", "disabled"}},
		"no federation":      {github(lonely.ClientID), providers.Misconfigured, []string{"no federated credential", subject, "AADSTS"}},
		"another subject":    {github(bound.ClientID), providers.Misconfigured, []string{subject, fakecloud.GitHubIssuer, defaultWebAudience, "federated credential"}},
		"no federated issue": {Options{WebIdentity: webIdentity(t, "env:JWT"), TenantID: r.tenant.ID, ClientID: bound.ClientID}, providers.Misconfigured, []string{"https://gitlab.com", "project_path:x"}},
	} {
		r.secrets["env:JWT"] = r.cloud.Issuer(fakecloud.GitLabIssuer).Sign("project_path:x", defaultWebAudience, nil)
		_, err := r.mint(r.open(tc.o))
		r.fails(err, tc.kind, tc.want...)
	}
	r.secrets["env:JWT"] = r.cloud.Issuer(fakecloud.GitHubIssuer).Sign("repo:acme/other:ref:refs/heads/main", defaultWebAudience, map[string]any{"exp": r.cloud.Now().Add(-time.Minute).Unix()})
	_, err := r.mint(r.open(Options{WebIdentity: webIdentity(t, "env:JWT"), TenantID: r.tenant.ID, ClientID: bound.ClientID}))
	r.fails(err, providers.LoginRequired, "expired")
}

func TestAnIdentityOfAnotherTenantIsToldWithBoth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	away := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	vm := r.az.Machine("vm", away.ManagedIdentity("own"))
	_, err := r.mint(r.open(Options{Identity: identityOf(t, "managed"), MetadataEndpoint: vm.IMDS, TenantID: r.tenant.ID}))
	r.fails(err, providers.Misconfigured, r.tenant.ID, away.ID)
	_, err = r.mint(r.open(Options{Identity: identityOf(t, "managed"), MetadataEndpoint: vm.IMDS}))
	r.fails(err, providers.Denied, "of tenant "+away.ID, "tenant_id")
}

func TestAnEntraThatFailsAtTheSecondAskingSpeaksForItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.works(s)
	r.reg.Unassign(r.app)
	r.cloud.Inject(fakecloud.Fault{Host: azure.Public.Authority, Status: 401, Body: "{}"})
	_, err := r.mint(s)
	r.fails(err, providers.LoginRequired, "Entra", "HTTP 401")
}

func TestAManagedIdentityThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own := r.tenant.ManagedIdentity("own")
	r.reg.Assign(own, azure.AcrPull)
	vm := r.az.Machine("vm", own)
	o := Options{Identity: identityOf(t, "managed"), ClientID: r.app.ClientID, MetadataEndpoint: vm.IMDS}
	_, err := r.mint(r.open(o))
	r.fails(err, providers.Misconfigured, r.app.ClientID, "not assigned to this machine")
	vm.Deny()
	o.ClientID = ""
	_, err = r.mint(r.open(o))
	r.fails(err, providers.Misconfigured, "no managed identity")
	_, err = r.mint(r.open(Options{MetadataEndpoint: vm.IMDS}, ambientLayer))
	r.fails(err, providers.NoAccount, "no managed identity")
	o.MetadataEndpoint = "http://127.0.0.1:9"
	_, err = r.mint(r.open(o))
	r.fails(err, providers.Unavailable, "is this a machine of Azure")
}

func TestFilesThatAnswersDependOnAreWatched(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.deps.Env = map[string]string{envTokenFile: "/run/token", envCert: "/run/cert"}
	w := r.open(Options{}, ambientLayer).Watches()
	for _, f := range []string{"/run/token", "/run/cert", filepath.Join(r.deps.Home, ".azure", "azureProfile.json")} {
		if !slices.Contains(w, f) {
			t.Errorf("%s is not among %v", f, w)
		}
	}
}
