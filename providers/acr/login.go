// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// LoginGroup implements providers.LoginGrouper: accounts that name one stored
// secret share the login, and those of az its login.
func (Provider) LoginGroup(a providers.Account) string {
	o, ok := a.Options.(*Options)
	if !ok {
		return ""
	}
	p, err := compile(a, o)
	if err != nil {
		return ""
	}
	switch p.kind {
	case byDevice:
		if !a.Password.IsZero() {
			return "Entra login " + a.Password.String()
		}
	case byAz:
		return "az login " + firstOf(p.Subscription, p.TenantID)
	}
	return ""
}

// Login implements providers.Loginer. An account that names another identity
// than a person's is tried; else the logins of az are, each with the registry
// itself as judge; else, or where the person wants so, a device code.
func (p Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	a := q.Account
	if a.Options == nil {
		a.Options = &Options{}
	}
	s, err := p.open(a, q.Deps)
	if err != nil {
		return providers.LoginResult{}, err
	}
	l := &login{q: q, s: s, account: a}
	if s.plan.kind != byAmbient || a.Layer == providers.LayerConfigured {
		s.deps.Env = nil // as the agent will open it
	}
	switch s.plan.kind {
	case byDevice:
		return l.device(ctx)
	case byAmbient, byAz:
		return l.az(ctx)
	}
	return l.try(ctx)
}

// login is one login in progress.
type login struct {
	q       providers.LoginRequest
	s       *source
	account providers.Account
}

// try asks with the account as it is.
func (l *login) try(ctx context.Context) (providers.LoginResult, error) {
	g, err := l.s.refreshToken(ctx, l.q.Host)
	if err != nil {
		return providers.LoginResult{}, err
	}
	defer g.close()
	return providers.LoginResult{Account: l.account, Who: g.by.person()}, nil
}

// azLogin is one of the logins that az keeps: a person or an application in a
// tenant, by one of its subscriptions.
type azLogin struct {
	subscription, name string
	tenant, domain     string
	user               string
	isDefault          bool
	by                 entraToken
}

func (a azLogin) String() string {
	return fmt.Sprintf("az: %s, tenant %s, subscription %s", a.user, firstOf(a.domain, a.tenant), a.name)
}

// maxAzLogins bounds how many tenants the registry is asked about.
const maxAzLogins = 20

// az offers the logins of az that the registry accepts.
func (l *login) az(ctx context.Context) (providers.LoginResult, error) {
	if id, err := l.s.fromCaller(l.q.Host); id != nil || err != nil {
		if err != nil {
			return providers.LoginResult{}, err
		}
		return l.try(ctx) // the variables are there, and whoever has them needs no login
	}
	all, err := l.azLogins(ctx)
	if err != nil && l.s.plan.kind == byAz {
		return providers.LoginResult{}, err
	}
	var fit []azLogin
	var reasons []error
	for _, a := range all {
		by, err := l.accepted(ctx, a)
		if err != nil {
			if ctx.Err() != nil || unreachable(err) {
				return providers.LoginResult{}, err
			}
			reasons = append(reasons, err)
			continue
		}
		a.by = by
		fit = append(fit, a)
	}
	if len(fit) == 0 {
		return l.noAz(ctx, all, reasons)
	}
	choices := make([]string, len(fit), len(fit)+1)
	for i, a := range fit {
		choices[i] = a.String()
	}
	if len(fit) > 1 && l.s.plan.kind != byAz {
		choices = append(choices, "somebody else: sign in with a code in the browser")
	}
	i, err := l.q.UI.Choose(ctx, "which login for "+l.q.Host.String()+"?", choices)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if i >= len(fit) {
		return l.device(ctx)
	}
	return l.withAz(fit[i], len(fit) == 1), nil
}

// unreachable tells a registry or an Entra that does not answer, which no other
// login mends, from an az that fails for one of its logins.
func unreachable(err error) bool {
	_, none := errors.AsType[*httpx.TransportError](err)
	_, status := errors.AsType[*httpx.StatusError](err)
	return (none || status) && providers.KindOf(err) == providers.Unavailable
}

// noAz goes on where no login of az fits.
func (l *login) noAz(ctx context.Context, all []azLogin, reasons []error) (providers.LoginResult, error) {
	for i, err := range reasons {
		if i < 3 {
			l.q.UI.Say("%s: %s", all[i], errText(err))
		}
	}
	if l.s.plan.kind == byAz {
		if len(reasons) > 0 {
			return providers.LoginResult{}, reasons[0]
		}
		return providers.LoginResult{}, l.s.fail(l.q.Host, providers.LoginRequired, errNoLogin)
	}
	return l.device(ctx)
}

// azLogins reads `az account list`: the default first, each person once in a
// tenant, those of the host's cloud only.
func (l *login) azLogins(ctx context.Context) ([]azLogin, error) {
	out, err := l.s.az(ctx, 20*time.Second, "account", "list", "-o", "json")
	if err != nil {
		return nil, (&azIdentity{s: l.s}).explain(l.q.Host, l.s.plan.Audience, err)
	}
	v, err := httpx.ParseJSON(out)
	list, ok := v.([]any)
	if err != nil || !ok {
		return nil, l.s.fail(l.q.Host, providers.Unavailable, errors.New("az account list: the answer is no list"))
	}
	var all []azLogin
	for _, e := range list {
		m, _ := e.(map[string]any)
		text := func(m map[string]any, k string) string { s, _ := m[k].(string); return httpx.Printable(s, 100) }
		user, _ := m["user"].(map[string]any)
		a := azLogin{
			subscription: text(m, "id"), name: text(m, "name"), tenant: text(m, "tenantId"), user: text(user, "name"),
			domain: firstOf(text(m, "tenantDefaultDomain"), text(m, "tenantDisplayName")),
		}
		a.isDefault, _ = m["isDefault"].(bool)
		if a.subscription != "" && isSubscription(a.subscription) && isID(a.tenant) && l.wanted(a) {
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(x, y azLogin) int {
		switch {
		case x.isDefault == y.isDefault:
			return 0
		case x.isDefault:
			return -1
		}
		return 1
	})
	var once []azLogin
	for _, a := range all {
		if len(once) < maxAzLogins && !slices.ContainsFunc(once, func(o azLogin) bool { return o.tenant == a.tenant && o.user == a.user }) {
			once = append(once, a)
		}
	}
	return once, nil
}

// wanted leaves out what the account rules out.
func (l *login) wanted(a azLogin) bool {
	p := l.s.plan
	if p.Subscription != "" && p.Subscription != a.subscription && p.Subscription != a.name {
		return false
	}
	return p.TenantID == "" || p.TenantID == a.tenant || p.TenantID == a.domain
}

// accepted asks the registry about one login of az.
func (l *login) accepted(ctx context.Context, a azLogin) (entraToken, error) {
	return l.judge(ctx, func(s *source) identity { return &azIdentity{s, a.tenant, a.subscription} })
}

// judge mints as id and keeps nothing.
func (l *login) judge(ctx context.Context, id func(*source) identity) (entraToken, error) {
	s := *l.s
	s.cache = tokenCache{}
	s.cache.init(s.deps.Now)
	s.as = id(&s)
	g, err := s.refreshToken(ctx, l.q.Host)
	if err != nil {
		return entraToken{}, err
	}
	defer g.close()
	return g.by, nil
}

// withAz writes the account where az alone would not be enough: the login that
// az uses by default, and the only one that fits, needs no word.
func (l *login) withAz(a azLogin, only bool) providers.LoginResult {
	out := providers.LoginResult{Account: l.account, Who: a.by.person()}
	o := l.s.plan.Options
	if o.Identity.Kind == byAz && (o.TenantID != "" || o.Subscription != "") {
		return out
	}
	if only && a.isDefault && l.s.plan.kind == byAmbient && l.account.Layer != providers.LayerConfigured {
		return out
	}
	o.Identity, o.TenantID = Identity{Kind: byAz}, a.tenant
	if !a.isDefault {
		o.Subscription = a.subscription
	}
	if d := l.s.deps.Env[envConfigDir]; d != "" {
		o.AzConfigDir = d
	}
	out.Account.Options, out.Write = l.written(o), true
	return out
}

// written is o without what compile filled in.
func (l *login) written(o Options) *Options {
	was, _ := l.account.Options.(*Options)
	o.Audience, o.WebIdentityAudience = was.Audience, was.WebIdentityAudience
	return &o
}
