// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// terminal is a person at one.
type terminal struct {
	providers.LoginUI
	t      *testing.T
	said   []string
	asked  [][]string
	choose int
	device func(providers.Device) error
}

func (p *terminal) Say(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *terminal) Choose(_ context.Context, _ string, choices []string) (int, error) {
	p.asked = append(p.asked, choices)
	if p.choose < 0 {
		return 0, providers.ErrNobody
	}
	return p.choose, nil
}

func (p *terminal) Device(_ context.Context, d providers.Device) error {
	if d.URL == "" || d.Code == "" || d.For == "" || d.ExpiresAt.IsZero() {
		p.t.Errorf("device %+v", d)
	}
	if p.device == nil {
		return providers.ErrNobody
	}
	return p.device(d)
}

func (r *rig) login(ui *terminal, o Options, edit ...func(*providers.Account)) (providers.LoginResult, error) {
	a := r.account(o)
	a.Layer = providers.LayerSaved
	for _, e := range edit {
		e(&a)
	}
	return r.shared.Login(r.t.Context(), providers.LoginRequest{Host: r.host, Account: a, Deps: r.deps, UI: ui})
}

// quick makes device codes poll fast.
func (r *rig) quick() { r.az.Set(func(o *azure.Options) { o.DeviceInterval = time.Second }) }

// keep does what the command line does with a result, and opens the account.
func (r *rig) keep(res providers.LoginResult) *source {
	r.t.Helper()
	a := res.Account
	if !res.Secret.IsZero() {
		r.secrets["keyring:login"] = res.Secret.Reveal()
		a.Password = ref(r.t, "keyring:login")
	}
	s, err := r.shared.open(a, r.deps)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestADeviceCodeSignsAPersonIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPush)
	r.az.SlowDown(1)
	ui := &terminal{t: t}
	ui.device = func(d providers.Device) error { return r.az.Approve(d.Code, jane) }
	res, err := r.login(ui, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, _ := res.Account.Options.(*Options)
	if !res.Write || res.Secret.IsZero() || !strings.Contains(res.Who, "jane@contoso.example") || !strings.Contains(res.Who, r.tenant.ID) {
		t.Errorf("%+v", res)
	}
	if o.Identity.Kind != byDevice || o.TenantID != r.tenant.ID || o.ClientID != "" || o.Audience != "" || o.WebIdentityAudience != "" {
		t.Errorf("%+v", o)
	}
	s := r.keep(res)
	before := r.secrets["keyring:login"]
	r.works(s, "team/app=push")
	if after := r.secrets["keyring:login"]; after == before || after == "" {
		t.Error("Entra's new refresh token was not kept")
	}
	r.cloud.Advance(80 * 24 * time.Hour)
	r.works(s)
	r.cloud.Advance(80 * 24 * time.Hour) // each use begins 90 days anew
	r.works(s)
	r.cloud.Advance(91 * 24 * time.Hour)
	_, err = r.mint(s)
	r.fails(err, providers.LoginRequired, "AADSTS700082", "regmint login "+r.host.String())
}

func TestAGuestIsFoundInTheRegistrysTenant(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	home, other := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com"), r.az.Tenant(azure.Public, "")
	jane := home.User("jane@fabrikam.example")
	other.Invite(jane)
	r.tenant.Invite(jane)
	r.reg.Assign(jane, azure.AcrPull)
	r.cloud.Handle("management.azure.com", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/tenants" || q.URL.Query().Get("api-version") == "" || len(q.Header.Get("Authorization")) < 100 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var list []any
		for _, x := range []*azure.Tenant{home, other, r.tenant} {
			list = append(list, map[string]any{"id": "/tenants/" + x.ID, "tenantId": x.ID, "defaultDomain": x.Domain})
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"value": append(list, map[string]any{"tenantId": "../evil"})})
	}))
	res, err := r.login(&terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, _ := res.Account.Options.(*Options)
	if o.TenantID != r.tenant.ID || !strings.Contains(res.Who, r.tenant.ID) {
		t.Errorf("%+v %q", o, res.Who)
	}
	r.works(r.keep(res))
	// Signing in again to what is written writes nothing.
	r.secrets["keyring:login"] = "over"
	again, err := r.login(&terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}, *o, savedLayer, func(a *providers.Account) { a.Password = ref(t, "keyring:login") })
	if err != nil || again.Write || again.Secret.IsZero() {
		t.Errorf("%v %+v", err, again)
	}
	r.works(r.keep(again))
}

func TestAnAccountInAPersonsOwnFileNeedsAPlaceForTheLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.login(&terminal{t: t}, Options{Identity: identityOf(t, "device")}, func(a *providers.Account) { a.Layer = providers.LayerConfigured })
	r.fails(err, providers.Misconfigured, "no place for the login", "keyring:NAME")
}

func TestOnePersonsLoginIsNeverRenewedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	ui := &terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}
	res, err := r.login(ui, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	busy := 0
	save := r.deps.Save
	r.deps.Save = func(ctx context.Context, ref providers.SecretRef, s providers.Secret) error {
		mu.Lock()
		busy++
		if busy > 1 {
			t.Error("two at once")
		}
		mu.Unlock()
		defer func() { mu.Lock(); busy--; mu.Unlock() }()
		return save(ctx, ref, s)
	}
	var wg sync.WaitGroup
	sources := []*source{r.keep(res), r.keep(res), r.keep(res)} // as two agents of one user would
	for _, s := range sources {
		wg.Go(func() {
			if _, err := r.mint(s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestARefreshTokenThatCannotBeKeptIsNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	res, err := r.login(&terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.deps.Save = func(context.Context, providers.SecretRef, providers.Secret) error {
		return &providers.Error{Kind: providers.Unavailable, Err: errors.New("the keyring does not answer")}
	}
	_, err = r.mint(r.keep(res))
	r.fails(err, providers.Unavailable, "keyring")
}

func TestEndsOfALoginAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	res, err := r.login(&terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *source { return r.keep(providers.LoginResult{Account: res.Account, Secret: res.Secret}) }
	jane.DemandMFA(true)
	_, err = r.mint(fresh())
	r.fails(err, providers.LoginRequired, "second factor", "AADSTS50076", "regmint login")
	jane.DemandMFA(false)
	jane.SignOut()
	_, err = r.mint(fresh())
	r.fails(err, providers.LoginRequired, "AADSTS50173", "regmint login")
	jane.Disable()
	_, err = r.mint(fresh())
	r.fails(err, providers.Denied, "disabled")
}

func TestADeviceCodeThatComesToNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	for name, tc := range map[string]struct {
		device func(providers.Device) error
		kind   providers.Kind
		want   []string
	}{
		"declined": {func(d providers.Device) error { return r.az.Decline(d.Code) }, providers.Denied, []string{"declined"}},
		"expired":  {func(d providers.Device) error { return r.az.ExpireCode(d.Code) }, providers.LoginRequired, []string{"in time"}},
		"no role":  {func(d providers.Device) error { return r.az.Approve(d.Code, jane) }, providers.Denied, []string{"jane@contoso.example", r.tenant.ID, "tenant_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := r.login(&terminal{t: t, device: tc.device}, Options{})
			r.fails(err, tc.kind, tc.want...)
			if !res.Secret.IsZero() {
				t.Error("a secret of a login that failed")
			}
		})
	}
	if _, err := r.login(&terminal{t: t}, Options{}); !errors.Is(err, providers.ErrNobody) {
		t.Errorf("nobody is there: %v", err)
	}
	_, err := r.login(&terminal{t: t}, Options{TenantID: "nowhere.example", Identity: identityOf(t, "device")})
	r.fails(err, providers.Misconfigured, "nowhere.example", "AADSTS90002")
	ctx, cancel := context.WithCancel(t.Context())
	ui := &terminal{t: t, device: func(providers.Device) error { cancel(); return nil }}
	if _, err := r.shared.Login(ctx, providers.LoginRequest{Host: r.host, Account: r.open(Options{}, savedLayer).account, Deps: r.deps, UI: ui}); err == nil {
		t.Error("logged in, interrupted")
	}
}

func TestAPollThatIsLostIsNoRefusal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quick()
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	ui := &terminal{t: t, device: func(d providers.Device) error {
		r.cloud.Inject(fakecloud.Fault{Host: azure.Public.Authority, Path: "/organizations/oauth2/v2.0/token", Times: 3, Status: 503})
		return r.az.Approve(d.Code, jane)
	}}
	if _, err := r.login(ui, Options{}); err != nil {
		t.Error(err)
	}
}

func TestTheLoginsOfAzThatTheRegistryTakesAreOffered(t *testing.T) {
	t.Parallel()
	needBash(t)
	r := newRig(t)
	cli := r.az.CLI(t)
	r.withAz(cli)
	dir := filepath.Join(r.deps.Home, ".azure")
	away := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	jane := away.User("jane@fabrikam.example")
	r.tenant.Invite(jane)
	r.reg.Assign(jane, azure.AcrPull)
	subs := []azure.Subscription{
		{Name: "away", Tenant: away}, {Name: "away too", Tenant: away}, {Name: "here", Tenant: r.tenant}, {Name: "here too", Tenant: r.tenant},
	}
	must(t, cli.Login(dir, jane, subs...))
	ui := &terminal{t: t}
	res, err := r.login(ui, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, _ := res.Account.Options.(*Options)
	if len(ui.asked) != 1 || len(ui.asked[0]) != 1 || !strings.Contains(ui.asked[0][0], "here") || !strings.Contains(ui.asked[0][0], "contoso") {
		t.Errorf("offered %q", ui.asked)
	}
	if !res.Write || !res.Secret.IsZero() || o.Identity.Kind != byAz || o.TenantID != r.tenant.ID || o.Subscription == "" || !strings.Contains(res.Who, "jane@fabrikam.example") {
		t.Errorf("%+v %+v", res, o)
	}
	r.works(r.keep(res))
	// The default login needs no configuration at all, nor do the caller's variables.
	must(t, cli.Login(dir, jane, subs[2], subs[0]))
	res, err = r.login(ui, Options{}, savedLayer)
	if err != nil || res.Write {
		t.Errorf("%v %+v", err, res)
	}
	r.deps.Env = map[string]string{envTenant: r.tenant.ID, envClient: r.app.ClientID, envSecret: r.secret}
	res, err = r.login(ui, Options{}, savedLayer)
	if err != nil || res.Write || !strings.Contains(res.Who, r.app.ClientID) {
		t.Errorf("%v %+v", err, res)
	}
	// Elsewhere than in ~/.azure, what is written says where.
	other := t.TempDir()
	must(t, cli.Login(other, jane, subs[0], subs[2]))
	r.deps.Env = map[string]string{envConfigDir: other}
	res, err = r.login(ui, Options{}, savedLayer)
	if err != nil || !res.Write {
		t.Fatalf("%v %+v", err, res)
	}
	r.deps.Env = map[string]string{}
	r.works(r.keep(res))
}

func savedLayer(a *providers.Account) { a.Layer = providers.LayerSaved }

func TestWhereNoLoginOfAzFitsACodeIsOffered(t *testing.T) {
	t.Parallel()
	needBash(t)
	r := newRig(t)
	r.quick()
	cli := r.az.CLI(t)
	r.withAz(cli)
	away := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	joe, jane := away.User("joe@fabrikam.example"), r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	must(t, cli.Login(filepath.Join(r.deps.Home, ".azure"), joe, azure.Subscription{Name: "away", Tenant: away}))
	ui := &terminal{t: t, device: func(d providers.Device) error { return r.az.Approve(d.Code, jane) }}
	res, err := r.login(ui, Options{})
	if err != nil || res.Secret.IsZero() || len(ui.said) != 1 || !strings.Contains(ui.said[0], "joe@fabrikam.example") || !strings.Contains(ui.said[0], away.ID) {
		t.Errorf("%v %+v %q", err, res, ui.said)
	}
	_, err = r.login(ui, Options{Identity: identityOf(t, "az")})
	r.fails(err, providers.Denied, "joe@fabrikam.example", away.ID)
	must(t, cli.Logout(filepath.Join(r.deps.Home, ".azure")))
	_, err = r.login(ui, Options{Identity: identityOf(t, "az")})
	r.fails(err, providers.LoginRequired, "az is not logged in")
}

func TestAnApplicationsLoginIsATrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	res, err := r.login(&terminal{t: t}, r.bySecret())
	if err != nil || res.Write || !res.Secret.IsZero() || !strings.Contains(res.Who, r.app.ClientID) {
		t.Errorf("%v %+v", err, res)
	}
	r.secrets["keyring:app"] = "wrong-client-secret-0123456789"
	_, err = r.login(&terminal{t: t}, r.bySecret())
	r.fails(err, providers.LoginRequired, "AADSTS7000215")
}

func TestAccountsOfOneLoginAreOneTrip(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := New()
	device := func(password string) string {
		a := r.account(Options{Identity: identityOf(t, "device"), TenantID: "contoso.example"})
		if password != "" {
			a.Password = ref(t, password)
		}
		return p.LoginGroup(a)
	}
	one, same := device("keyring:a"), device("keyring:a")
	if one == "" || one != same || one == device("keyring:b") || device("") != "" {
		t.Errorf("%q %q", device("keyring:a"), device("keyring:b"))
	}
	if g := p.LoginGroup(r.account(r.bySecret())); g != "" {
		t.Errorf("%q", g)
	}
	if p.LoginGroup(r.account(Options{TenantID: "t", Identity: identityOf(t, "az")})) != "az login t" {
		t.Error("az")
	}
}

func TestATokenThatAzAcrLoginStoresIsKnownByItsUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.works(r.open(r.bySecret()))
	p := New()
	if life, ok := p.MintedUser(r.host, User, c.Secret, r.cloud.Now()); !ok || (life-3*time.Hour).Abs() > time.Minute {
		t.Errorf("%s %v", life, ok)
	}
	if life, ok := p.MintedUser(r.host, User, providers.NewSecret("opaque"), r.cloud.Now()); !ok || life != 3*time.Hour {
		t.Errorf("%s %v", life, ok)
	}
	if _, ok := p.MintedUser(r.host, "token-of-a-scope-map", c.Secret, r.cloud.Now()); ok {
		t.Error("a person's own user name")
	}
	if h, _ := providers.ParseHost("ghcr.io"); true {
		if _, ok := p.MintedUser(h, User, c.Secret, r.cloud.Now()); ok {
			t.Error("another host")
		}
	}
}
