// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

const subject = "repo:acme/app:ref:refs/heads/main"

func TestEveryIdentityMints(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.app.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: subject})
	r.app.Federate(azure.Federation{Issuer: fakecloud.GitLabIssuer, Subject: "project_path:acme/app"})
	runner := r.cloud.GitHubRunner(subject)
	r.secrets["env:ACTIONS_ID_TOKEN_REQUEST_URL"], r.secrets["env:ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = runner.URL, runner.Token
	gitlab := r.cloud.Issuer(fakecloud.GitLabIssuer).Sign("project_path:acme/app", defaultWebAudience, nil)
	tokens := r.file("token", gitlab)
	for k, v := range map[string]string{
		"env:GITLAB_OIDC_TOKEN": gitlab, "env:AZURE_TENANT_ID": r.tenant.ID, "env:AZURE_CLIENT_ID": r.app.ClientID,
		"env:AZURE_CLIENT_SECRET": r.secret, "env:AZURE_FEDERATED_TOKEN_FILE": tokens, "file:" + tokens: gitlab,
	} {
		r.secrets[k] = v
	}
	cert := r.app.AddCertificate()
	pem := r.file("app.pem", string(cert.PEM))
	own, other := r.tenant.ManagedIdentity("own"), r.tenant.ManagedIdentity("other")
	r.reg.Assign(own, azure.AcrPull)
	r.reg.Assign(other, azure.AcrPull)
	vm := r.az.Machine("vm", own, other)
	r.secrets["env:IDENTITY_HEADER"] = vm.IdentityHeader
	app := Options{TenantID: r.tenant.ID, ClientID: r.app.ClientID}
	with := func(o Options, edit func(*Options)) Options { edit(&o); return o }
	for name, o := range map[string]Options{
		"secret":                        r.bySecret(),
		"certificate":                   with(app, func(o *Options) { o.Certificate = ref(t, "file:"+pem) }),
		"certificate with its chain":    with(app, func(o *Options) { o.Certificate, o.SendChain = ref(t, "file:"+pem), true }),
		"github":                        with(app, func(o *Options) { o.Identity = identityOf(t, "github") }),
		"gitlab":                        with(app, func(o *Options) { o.Identity = identityOf(t, "gitlab") }),
		"web identity in a file":        with(app, func(o *Options) { o.WebIdentity = webIdentity(t, "file:"+tokens) }),
		"environment":                   {Identity: identityOf(t, "environment")},
		"workload":                      {Identity: identityOf(t, "workload")},
		"managed":                       {Identity: identityOf(t, "managed"), MetadataEndpoint: vm.IMDS},
		"managed by client id":          {Identity: identityOf(t, "managed"), ClientID: other.ClientID, MetadataEndpoint: vm.IMDS},
		"managed by object id":          {ObjectID: other.ObjectID, MetadataEndpoint: vm.IMDS},
		"managed by resource id":        {ResourceID: other.ResourceID, MetadataEndpoint: vm.IMDS},
		"App Service":                   {MetadataEndpoint: vm.IdentityEndpoint, MetadataHeader: ref(t, "env:IDENTITY_HEADER")},
		"found out: the machine's":      {MetadataEndpoint: vm.IMDS},
		"tenant by its domain":          with(r.bySecret(), func(o *Options) { o.TenantID = "contoso.onmicrosoft.com" }),
		"authority and cloud by option": with(r.bySecret(), func(o *Options) { o.Cloud, o.AuthorityHost = "public", "https://login.microsoftonline.com/" }),
	} {
		t.Run(name, func(t *testing.T) {
			sub := *r
			sub.t = t
			c := sub.works(sub.open(o))
			near(t, c.ExpiresAt, c.IssuedAt.Add(3*time.Hour))
			if c.Wider || claim(t, c.Secret, "grant_type") != "refresh_token" {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestThePasswordOfAnAccountIsItsClientSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(Options{TenantID: r.tenant.ID, ClientID: r.app.ClientID}, func(a *providers.Account) { a.Password = ref(t, "keyring:app") })
	r.works(s)
}

func TestSovereignCloudsAndEveryLoginServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, e := range []azure.Environment{azure.Government, azure.China, azure.Public} {
		tenant := r.az.Tenant(e, "")
		app := tenant.App("ci")
		r.secrets["keyring:app"] = app.AddSecret(0)
		label := tenant.RegistryOn("Labelled", "labelled-b7f2ckd9."+e.Registry)
		plain := tenant.Registry("plainregistry" + e.Name)
		for _, reg := range []*azure.Registry{label, plain} {
			reg.Assign(app, azure.AcrPull)
			for _, host := range []string{reg.Host, reg.Regional("east")} {
				sub := *r
				sub.host, _ = providers.ParseHost(host)
				if !New().Match(sub.host) {
					t.Fatalf("%s is not recognised", host)
				}
				sub.works(sub.open(Options{TenantID: tenant.ID, ClientID: app.ClientID, ClientSecret: ref(t, "keyring:app")}))
				if n := r.calls(e.Authority, "/"+tenant.ID+"/oauth2/v2.0/token"); n == 0 {
					t.Errorf("%s: its cloud was not asked", host)
				}
			}
		}
	}
}

// bearer is the status of a GET with a minted access token.
func (r *rig) bearer(address string, c providers.Credential) int {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+c.Secret.Reveal())
	res, err := r.cloud.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestTargetsNarrowForReal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	c := r.works(s, "team/app=pull")
	near(t, c.ExpiresAt, c.IssuedAt.Add(75*time.Minute))
	if c.Wider {
		t.Error("wider")
	}
	want := "[map[actions:[pull metadata_read] name:team/app type:repository]]"
	if got := claimText(t, c); got != want {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"team/app=push", "team/other=pull"} {
		if err := s.Verify(t.Context(), providers.Request{Host: r.host, Grants: grants(t, bad)}, c); providers.KindOf(err) != providers.Denied {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// Clean-up tools and crane list tags, which pull alone does not open.
	tags := "https://" + r.reg.Host + "/v2/team/app/tags/list"
	if res := r.bearer(tags, c); res != http.StatusNotFound { // let in: nothing was pushed yet
		t.Errorf("tags: %d", res)
	}
	two, err := r.mint(s, "team/app=push", "team/other=pull", "third")
	if err != nil || claimText(t, two) != "[map[actions:[pull push metadata_read] name:team/app type:repository] map[actions:[pull metadata_read] name:team/other type:repository] map[actions:[pull push metadata_read] name:third type:repository]]" {
		t.Errorf("%v %v", err, claimText(t, two))
	}
	all, err := r.mint(s, "=pull")
	if err != nil || !all.Wider || claim(t, all.Secret, "grant_type") != "refresh_token" {
		t.Errorf("every repository: %v %+v", err, all)
	}
	if c, err := r.mint(s, ""); err != nil || c.Wider {
		t.Errorf("as the account is: %v %v", err, c.Wider)
	}
}

func claimText(t testing.TB, c providers.Credential) string {
	t.Helper()
	if c.Secret.IsZero() {
		return ""
	}
	return fmt.Sprint(claim(t, c.Secret, "access"))
}

func TestEveryNarrowingHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	seen := map[string]string{}
	for _, targets := range [][]string{nil, {"a=pull"}, {"a=push"}, {"a=delete"}, {"a=pull", "b=pull"}, {"b=pull"}} {
		k := s.Key(providers.Request{Host: r.host, Grants: grants(t, targets...)})
		if other, twice := seen[k]; twice {
			t.Errorf("%v and %s share %q", targets, other, k)
		}
		seen[k] = fmt.Sprint(targets)
	}
	if s.Key(providers.Request{Host: r.host, Grants: grants(t, "=push")}) != s.Key(providers.Request{Host: r.host}) {
		t.Error("a grant on everything is no narrowing")
	}
}

func TestARightThatTheIdentityLacksIsDeniedWithTheRoleNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	_, err := r.mint(s, "team/app=delete")
	r.fails(err, providers.Denied, "no right to delete team/app", "AcrDelete")
	reader := r.tenant.App("reader")
	r.secrets["keyring:app"] = reader.AddSecret(0)
	r.reg.Assign(reader, azure.AcrPull)
	o := r.bySecret()
	o.ClientID = reader.ClientID
	s = r.open(o)
	_, err = r.mint(s, "team/app=push")
	r.fails(err, providers.Denied, "push", "AcrPush", reader.ClientID)
	r.works(s, "team/app") // as the account is: less is enough
	r.reg.Unassign(reader)
	r.reg.Assign(reader, azure.AcrPull, "team/app")
	_, err = r.mint(s, "team/other=pull")
	r.fails(err, providers.Denied, "team/other", "AcrPull")
}

func TestNativeCredentialsCleanUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	req := providers.Request{Host: r.host, Grants: grants(t, "team/app")}
	_, err := s.MintNative(t.Context(), req)
	r.fails(err, providers.Denied, "delete", "AcrDelete")
	r.reg.Assign(r.app, azure.AcrDelete)
	n, err := s.MintNative(t.Context(), req)
	if err != nil || claimText(t, n.Credential) != "[map[actions:[pull delete metadata_read] name:team/app type:repository]]" {
		t.Errorf("%v %s", err, claimText(t, n.Credential))
	}
	n, err = s.MintNative(t.Context(), providers.Request{Host: r.host})
	if err != nil || claimText(t, n.Credential) != "[map[actions:[*] name:catalog type:registry]]" {
		t.Errorf("%v %s", err, claimText(t, n.Credential))
	}
}

func TestFiftyRegistriesOfOneIdentityAskEntraOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	var wg sync.WaitGroup
	some := make(chan struct{}, 10) // more at once are a load test of this machine
	for i := range 50 {
		reg := r.tenant.Registry(fmt.Sprintf("many%02dregistry", i))
		reg.Assign(r.app, azure.AcrPull)
		h, err := providers.ParseHost(reg.Host)
		if err != nil {
			t.Fatal(err)
		}
		some <- struct{}{}
		wg.Go(func() {
			defer func() { <-some }()
			if _, err := s.Mint(t.Context(), providers.Request{Host: h}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.calls(azure.Public.Authority, "/"); n != 1 {
		t.Errorf("%d requests to Entra", n)
	}
}

func TestAnEntraTokenIsRenewedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.works(s)
	r.cloud.Advance(50 * time.Minute)
	r.works(s)
	if n := r.calls(azure.Public.Authority, "/"); n != 1 {
		t.Errorf("%d requests", n)
	}
	r.cloud.Advance(6 * time.Minute)
	r.works(s)
	if n := r.calls(azure.Public.Authority, "/"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestARoleGivenLaterCountsAtTheNextGet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.reg.Unassign(r.app)
	s := r.open(r.bySecret())
	_, err := r.mint(s)
	r.fails(err, providers.Denied, r.app.ClientID, r.tenant.ID, "AcrPull", "tenant_id")
	r.reg.Assign(r.app, azure.AcrPull)
	r.works(s)
}

func TestTheManagerAudienceIsAskedForOnlyWhereConfigured(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := r.bySecret()
	o.Audience = azure.Public.ARM + "/"
	r.works(r.open(o))
	r.reg.AuthenticationAsARM(false)
	_, err := r.mint(r.open(o))
	r.fails(err, providers.Denied)
	// The other way round: what the registry's own audience does not get, the fall-back asks for.
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Times: 1, Status: 401, Body: `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`})
	o = r.bySecret()
	o.ARMFallback = true
	r.reg.AuthenticationAsARM(true)
	r.works(r.open(o))
	if n := r.calls(azure.Public.Authority, "/"); n != 4 { // one, one, and two
		t.Errorf("%d requests to Entra", n)
	}
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Times: 1, Status: 401, Body: `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`})
	_, err = r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Denied)
}

func TestAFormThatIsNotTakenGoesByGet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/token", Times: 1, Status: 400, Body: `{"errors":[{"code":"UNSUPPORTED","message":"no"}]}`})
	c, err := r.mint(s, "team/app=pull")
	if err != nil || claimText(t, c) != "[map[actions:[pull metadata_read] name:team/app type:repository]]" {
		t.Errorf("%v %s", err, claimText(t, c))
	}
}

func TestACertificateThatIsNotTheKeysIsRefusedBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := azure.NewCertificate("one"), azure.NewCertificate("two")
	mixed := slices.Concat(one.PEM[:len(one.PEM)/2], []byte{})
	for name, tc := range map[string]struct{ text, want string }{
		"cut short":       {string(mixed), "needs a certificate"},
		"key of another":  {strings.SplitAfter(string(one.PEM), "-----END CERTIFICATE-----\n")[0] + strings.SplitAfter(string(two.PEM), "-----END CERTIFICATE-----\n")[1], "does not belong"},
		"nothing":         {"nonsense", "neither PEM nor"},
		"no key":          {strings.SplitAfter(string(one.PEM), "-----END CERTIFICATE-----\n")[0], "needs a certificate and its private key"},
		"an empty file":   {"", "neither PEM nor"},
		"not of this app": {string(two.PEM), "is none of application"},
	} {
		o := Options{TenantID: r.tenant.ID, ClientID: r.app.ClientID, Certificate: ref(t, "file:"+r.file("c.pem", tc.text))}
		_, err := r.mint(r.open(o))
		kind := providers.Misconfigured
		if name == "not of this app" {
			kind = providers.LoginRequired
		}
		r.fails(err, kind, tc.want)
	}
	o := Options{TenantID: r.tenant.ID, ClientID: r.app.ClientID, Certificate: ref(t, "file:/nowhere/c.pem")}
	_, err := r.mint(r.open(o))
	r.fails(err, providers.Misconfigured, "no such file", "/nowhere/c.pem")
}

func TestAnExpiredOrFarTokenOfTheRegistryIsJudgedByBothClocks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.az.Set(func(o *azure.Options) { o.RefreshLife = -time.Minute })
	_, err := r.mint(s)
	r.fails(err, providers.Unavailable, "already expired", "clock")
	r.az.Set(func(o *azure.Options) { o.RefreshLife = 3 * time.Hour })
	// Our clock is two hours behind: what ends in three hours must not look as if it had five.
	r.deps.Now = func() time.Time { return r.cloud.Now().Add(-2 * time.Hour) }
	c, err := r.mint(r.open(r.bySecret()))
	if err != nil {
		t.Fatal(err)
	}
	near(t, c.ExpiresAt, r.deps.Now().Add(3*time.Hour))
}

func TestNoPacketLeavesForALookAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h, err := providers.ParseHost("acmeregistry.azurecr.io.attacker.example")
	if err != nil {
		t.Fatal(err)
	}
	if New().Match(h) {
		t.Fatal("claimed")
	}
	// A realm elsewhere gets nothing either.
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/v2/", Times: 1, Status: 401, Header: map[string][]string{
		"Www-Authenticate": {`Bearer realm="https://acmeregistry.azurecr.io.attacker.example/oauth2/token",service="acmeregistry.azurecr.io"`},
	}})
	_, err = r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Misconfigured, "attacker.example", "not a token server known for it")
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/v2/", Times: 1, Status: 401, Header: map[string][]string{"Www-Authenticate": {`Basic realm="x"`}}})
	_, err = r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Misconfigured, "no Azure Container Registry", "generic")
	for _, got := range r.cloud.Reached() {
		if strings.Contains(got, "attacker") {
			t.Errorf("reached %s", got)
		}
	}
}

func TestARegionalServerMayNameTheGlobalOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h, err := providers.ParseHost(r.reg.Regional("eastus"))
	if err != nil {
		t.Fatal(err)
	}
	r.cloud.Inject(fakecloud.Fault{Host: h.String(), Path: "/v2/", Times: 1, Status: 401, Header: map[string][]string{
		"Www-Authenticate": {fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s"`, r.reg.Host, r.reg.Host)},
	}})
	c, err := r.open(r.bySecret()).Mint(t.Context(), providers.Request{Host: h})
	if err != nil || fmt.Sprint(claim(t, c.Secret, "aud")) != "["+r.reg.Host+"]" {
		t.Errorf("%v", err)
	}
}

func TestAFirewallSaysWhomItKeepsOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.reg.Firewall(true)
	_, err := r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Denied, "firewall", "203.0.113.5")
}
