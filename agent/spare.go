// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// A spare is what `aws ecr get-login-password | docker login` leaves: a token
// that lives for hours, under the user name that the product gives everybody
// (DESIGN rule 4). It answers while nothing of ours can, and never as an
// expired one.

// fetched reports such a token and how long it lives.
func (c *Core) fetched(s *snapshot, k providers.Key, user string, secret providers.Secret) (life time.Duration, ok bool) {
	if k.Item != "" {
		return 0, false
	}
	account := ""
	if a, err := s.sel.Select(k.Host, k.Repository, ""); err == nil {
		account = a.Provider // of a host whose name tells nothing
	}
	for _, p := range c.o.Providers {
		m, is := p.(providers.MintedUser)
		// The hosts of a Claimer have any name: its user names tell, wherever no
		// other product is configured.
		_, anywhere := p.(providers.Claimer)
		if !is || p.Name() != account && !p.Match(k.Host) && (!anywhere || account != "" && account != "generic") {
			continue
		}
		if life, ok = m.MintedUser(k.Host, user, secret, c.now()); ok {
			return life, true
		}
	}
	return 0, false
}

// endOf is when what a client stores ends by itself; zero: it does not.
func (c *Core) endOf(k providers.Key, l api.Login) time.Time {
	if life, ok := c.fetched(c.state.Load(), k, l.Username, providers.NewSecret(l.Secret)); ok {
		return c.now().Add(life)
	}
	return time.Time{}
}

// ended fails where the login of a job has ended: nobody gets an expired token,
// nor another account in its place.
func (c *Core) ended(q asked) error {
	if q.until.IsZero() || q.until.After(c.now()) {
		return nil
	}
	what, hint := "the token stored in this job", "fetch a new one and log in again in this job"
	if q.account.Layer == providers.LayerCarried {
		what, hint = "the token that this job brought along", "fetch a new one before the job"
	}
	return &providers.Error{Kind: providers.LoginRequired, Host: q.host, Err: errors.New(what + " has expired"), Hint: hint}
}

// KeepFetched keeps such a token until it expires; false where it is none.
func (c *Core) KeepFetched(ctx context.Context, h providers.Host, user string, secret providers.Secret) (until time.Time, ok bool, err error) {
	s := c.state.Load()
	life, ok := c.fetched(s, providers.Key{Host: h}, user, secret)
	if !ok {
		return time.Time{}, false, nil
	}
	return c.now().Add(life), true, c.saveSpare(ctx, s, h, api.Login{Username: user, Secret: secret.Reveal()}, life)
}

// unsaid lists the variables that decide who the caller is at a recognised host
// and that it has said nothing about.
func (c *Core) unsaid(j *job, h providers.Host, l api.Login) []string {
	if j != nil && j.fixedEnv() {
		return nil
	}
	a, ok := c.ambient(j, h, l.Env)
	if !ok {
		return c.unsaidClaims(j, l.Env)
	}
	return parseEnv(l.Env).missing(c.provider(a.Provider).Env())
}

// mintsFor says that the account which answers the caller now, a configured or
// a recognised one, has minted for the host in the last 24 h.
func (c *Core) mintsFor(s *snapshot, j *job, k providers.Key, l api.Login) bool {
	a, err := c.account(s, j, k, c.choice(j, k.Host, l.Account), l.Env)
	if err != nil {
		return false
	}
	switch a.Layer {
	case providers.LayerAmbient, providers.LayerConfigured, providers.LayerJobConfig:
	case providers.LayerSaved: // made by a product's own login
		if _, minted := c.provider(a.Provider).(providers.MintedUser); !minted {
			return false
		}
	default:
		return false
	}
	if sp, ok := s.spareOf(k.Host); ok && sp.Name == a.Name {
		return false
	}
	by, now := c.giver(j, k.Host, a, l), c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, at := range c.handed {
		if key.failKey == by && now.Sub(at) <= handedLife {
			return true
		}
	}
	return false
}

// spareOf is the spare of a host, expired or not.
func (s *snapshot) spareOf(h providers.Host) (config.Spare, bool) {
	for _, sp := range s.cfg.Spares {
		if slices.ContainsFunc(sp.Hosts, func(p providers.Pattern) bool { return p.MatchHost(h) }) {
			return sp, true
		}
	}
	return config.Spare{}, false
}

// spare is the spare of a host that still lives.
func (c *Core) spare(s *snapshot, h providers.Host) (config.Spare, bool) {
	sp, ok := s.spareOf(h)
	return sp, ok && sp.Until.After(c.now())
}

// spareName is the name of the spare of a host.
func spareName(s *snapshot, h providers.Host) string {
	if sp, ok := s.spareOf(h); ok {
		return sp.Name
	}
	base := strings.TrimPrefix(AccountName(h)+"-token", "-")
	name := base
	for n := 2; slices.ContainsFunc(s.cfg.Accounts, func(a providers.Account) bool { return strings.EqualFold(a.Name, name) }) ||
		slices.ContainsFunc(s.cfg.Spares, func(a config.Spare) bool { return strings.EqualFold(a.Name, name) }); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}

// saveSpare keeps a token until it expires, and forgets those that have.
func (c *Core) saveSpare(ctx context.Context, s *snapshot, h providers.Host, l api.Login, life time.Duration) error {
	pat, err := providers.ParsePattern(h.String())
	if err != nil {
		return err
	}
	st, err := s.secrets()
	if err != nil {
		return storeError(h, err)
	}
	if old, ok := s.spareOf(h); ok { // that very token, stored again by docker login, is not younger for it
		if had, err := st.Get(ctx, old.Password.Value); err == nil && had.Equal(providers.NewSecret(l.Secret)) {
			life = min(life, old.Until.Sub(c.now()))
		}
	}
	if life <= 0 {
		return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New("the token has expired already"), Hint: "fetch a new one"}
	}
	name, now := spareName(s, h), c.now()
	ref := providers.SecretRef{Scheme: "keyring", Value: h.String() + "#" + name}
	sp := config.Spare{Until: now.Add(life), Account: providers.Account{
		Name: name, Provider: "generic", Hosts: []providers.Pattern{pat}, Username: l.Username,
		Password: ref, Layer: providers.LayerSaved, PlainHTTP: h.IsLoopback(),
	}}
	if _, err := store.SetNoted(ctx, st, ref.Value, providers.NewSecret(l.Secret)); err != nil {
		return storeError(h, err)
	}
	err = c.o.Saved.Update(ctx, func(sv *config.Saved) error {
		for name, until := range sv.Expires {
			if until.Before(now) {
				sv.Remove(name)
			}
		}
		sv.PutSpare(sp)
		return nil
	})
	if err == nil {
		err = c.Reload()
	}
	if err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: err}
	}
	for _, old := range s.cfg.Spares {
		if old.Until.Before(now) && old.Name != name {
			_ = st.Delete(ctx, old.Password.Value) // useless by now; the next login tries again
		}
	}
	c.changed(h)
	return nil
}
