// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

func TestOptionsThatDoNotGoTogetherAreRefusedInWords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := Options{TenantID: "contoso.example", ClientID: "c"}
	with := func(o Options, edit func(*Options)) Options { edit(&o); return o }
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"secret and certificate":        {with(id, func(o *Options) { o.ClientSecret, o.Certificate = ref(t, "env:A"), ref(t, "env:B") }), "write identity to say which"},
		"secret of a managed identity":  {with(id, func(o *Options) { o.Identity, o.ClientSecret = identityOf(t, "managed"), ref(t, "env:A") }), "client_secret does not go with"},
		"secret without tenant":         {Options{ClientID: "c", ClientSecret: ref(t, "env:A")}, "needs tenant_id"},
		"secret without application":    {Options{TenantID: "t", ClientSecret: ref(t, "env:A")}, "needs client_id"},
		"secret without secret":         {with(id, func(o *Options) { o.Identity = identityOf(t, "secret") }), "needs client_secret"},
		"certificate without one":       {with(id, func(o *Options) { o.Identity = identityOf(t, "certificate") }), "needs certificate"},
		"federated without token":       {with(id, func(o *Options) { o.Identity = identityOf(t, "federated") }), "needs web_identity"},
		"github without tenant":         {Options{Identity: identityOf(t, "github"), ClientID: "c"}, "needs tenant_id"},
		"two names of one identity":     {Options{ObjectID: "a", ResourceID: "/b"}, "named once"},
		"header without endpoint":       {Options{MetadataHeader: ref(t, "env:A")}, "needs metadata_endpoint"},
		"a tenant that is a path":       {Options{TenantID: "a/../b"}, "no id has"},
		"an application that is a flag": {Options{ClientID: "-x"}, "no id has"},
		"a subscription that is a flag": {Options{Subscription: "--help"}, "is not passed to az"},
		"a subscription for a shell":    {Options{Subscription: "x & calc"}, "is not passed to az"},
		"an audience for a shell":       {Options{Audience: "https://x\"&calc"}, "no audience has"},
		"an unknown cloud":              {Options{Cloud: "mars"}, "public, china or usgov"},
		"an authority by http":          {Options{AuthorityHost: "http://login.example"}, "authority_host is no https URL"},
		"a metadata service with query": {Options{MetadataEndpoint: "http://127.0.0.1/?a=b"}, "metadata_endpoint"},
	} {
		_, err := r.shared.open(r.account(tc.o), r.deps)
		if providers.KindOf(err) != providers.Misconfigured || err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), `account "acme"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := r.account(Options{})
	a.Username = "token"
	if _, err := r.shared.open(a, r.deps); err == nil || !strings.Contains(err.Error(), "generic") {
		t.Errorf("user name: %v", err)
	}
	a = r.account(Options{})
	a.Options = nil
	if _, err := r.shared.open(a, r.deps); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("no options: %v", err)
	}
}

func TestIdentitiesReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"environment", "workload", "secret", "certificate", "federated", "github", "gitlab", "kubernetes", "buildkite", "managed", "az", "device"} {
		i := identityOf(t, s)
		if b, err := i.MarshalText(); err != nil || string(b) != s {
			t.Errorf("%s: %s %v", s, b, err)
		}
	}
	for _, s := range []string{"surroundings", "gitlab:NAME", "file:/x", "AZ"} {
		var i Identity
		if err := i.UnmarshalText([]byte(s)); err == nil || !strings.Contains(err.Error(), "workload") {
			t.Errorf("%s: %v", s, err)
		}
	}
	o := Options{Identity: identityOf(t, "workload"), WebIdentity: webIdentity(t, "gitlab:MINE"), ClientSecret: ref(t, "env:S")}
	if got := strings.Join(o.EnvRefs(), " "); got != "MINE S AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_FEDERATED_TOKEN_FILE" {
		t.Error(got)
	}
}

func TestAConfiguredAccountReadsNothingOfTheCallerUnlessItSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for k, v := range map[string]string{envTenant: r.tenant.ID, envClient: r.app.ClientID, envSecret: r.secret} {
		r.secrets["env:"+k] = v
	}
	_, err := r.mint(r.open(Options{MetadataEndpoint: "http://127.0.0.1:9"}))
	r.fails(err, providers.LoginRequired, "no Azure identity")
	r.works(r.open(Options{Identity: identityOf(t, "environment")}))
	delete(r.secrets, "env:"+envSecret)
	_, err = r.mint(r.open(Options{Identity: identityOf(t, "environment")}))
	r.fails(err, providers.Misconfigured, envSecret)
}
