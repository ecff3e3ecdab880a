// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// ownLogin is a login of the product's own for an account.
type ownLogin struct {
	host     providers.Host
	account  providers.Account
	provider providers.Provider
	loginer  providers.Loginer
	fresh    bool // no account had it before
}

// ownLogin finds the product whose own login serves the host; nil where a user
// name and a password are what it takes, or what was given.
func (r *loginRun) ownLogin(host providers.Host, inJob bool) (*ownLogin, error) {
	if r.o.user != "" || r.o.stdin {
		return nil, nil
	}
	if r.o.provider != "" && r.a.provider(r.o.provider) == nil {
		return nil, usage("see: regmint providers", "there is no provider %q", r.o.provider)
	}
	acc, found, err := r.existing(host)
	if err != nil {
		return nil, err
	}
	name := acc.Provider
	switch {
	case r.o.provider != "":
		if found && acc.Layer == providers.LayerConfigured && name != r.o.provider {
			return nil, nil // place says so
		}
		name = r.o.provider
	case !found:
		name = r.local.NewLogin(host, providers.Account{}).Provider
		for _, p := range r.a.providers {
			if p.Match(host) {
				name = p.Name()
				break
			}
		}
	}
	p := r.a.provider(name)
	l, ok := p.(providers.Loginer)
	switch {
	case !ok:
		return nil, nil
	case inJob:
		return nil, usage("log in before the job, or inside it with -u USER",
			"%s: its own login is for you, not for one job", host)
	case !found:
		if acc, err = r.newAccount(host); err != nil {
			return nil, err
		}
	}
	if acc.Provider != name {
		acc.Provider, acc.Options = name, p.Options()
		acc.Username, acc.Password = "", providers.SecretRef{}
	}
	return &ownLogin{host: host, account: acc, provider: p, loginer: l, fresh: !found}, nil
}

// own runs a product's own login, tries what it brought and keeps it.
func (r *loginRun) own(ctx context.Context, l *ownLogin) error {
	a := r.a
	asking := a.interactive()
	if s, ok := r.local.store.(store.Locker); ok && r.local.err == nil && s.Locked() {
		if err := r.local.unlock(ctx, a, asking); err != nil {
			return err
		}
	}
	ui := &loginUI{a: a, noBrowser: r.o.noBrowser, progress: &progress{out: a.err, on: asking && a.isTerminal(a.err)}}
	res, err := l.loginer.Login(ctx, providers.LoginRequest{Host: l.host, Account: l.account, Deps: r.ownDeps(l), UI: ui})
	ui.progress.stop()
	if errors.Is(err, providers.ErrNobody) {
		return usage("run it on a terminal, or save a password: regmint login "+l.host.String()+" -u USER --password-stdin",
			"%s: this login needs somebody to answer", l.host)
	}
	if err != nil {
		return err
	}
	t := r.ownTrial(l, res)
	if !r.o.noVerify {
		if err := t.try(ctx); err != nil {
			return t.unproven(err, res)
		}
	}
	note, err := r.keepOwn(ctx, t, res)
	if err != nil {
		return err
	}
	r.sayOwn(t, res, note)
	if err := r.keepDefault(ctx, t); err != nil {
		return err
	}
	a.tellAgent(ctx, l.host.String())
	return a.offerWire(ctx, r.local.files, l.host, r.o)
}

// ownDeps are the surroundings of a login: those of the agent, with the
// caller's own variables.
func (r *loginRun) ownDeps(l *ownLogin) providers.Deps {
	d := r.local.Deps(l.account)
	d.Env = r.callerValues(l.provider)
	d.Resolve = func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
		resolver := r.a.resolver()
		if r.local.err == nil {
			resolver.Keyring = r.local.store
		}
		return resolver.Resolve(ctx, ref)
	}
	return d
}

// callerValues are the caller's values of what selects an identity.
func (r *loginRun) callerValues(p providers.Provider) map[string]string {
	out := map[string]string{}
	for _, name := range p.Env() {
		if v, ok := r.a.env(name); ok {
			out[name] = v
		}
	}
	return out
}

// ownTrial tries the account as the agent will open it.
func (r *loginRun) ownTrial(l *ownLogin, res providers.LoginResult) *trial {
	acc := res.Account
	if acc.Name == "" {
		acc.Name = l.account.Name
	}
	t := &trial{a: r.a, core: r.local.Core, host: l.host, account: acc, secret: res.Secret, config: r.local.files.config.User}
	if r.local.err == nil {
		t.keyring = r.local.store
	}
	if !res.Secret.IsZero() {
		var ok bool
		if t.ref, ok = loginRef(acc); !ok {
			t.ref = providers.SecretRef{Scheme: "keyring", Value: l.host.String() + "#" + acc.Name}
			t.account.Password = t.ref
		}
	}
	if !res.Write && l.fresh {
		t.account.Layer = providers.LayerAmbient // nothing is written: it is recognised by its name
		t.env = r.callerValues(l.provider)
	}
	return t
}

// unproven words why a login that the product has taken did not stand the
// registry's test.
func (t *trial) unproven(err error, res providers.LoginResult) error {
	text, hint := errorText(err)
	if hint == "" && res.Write {
		hint = "nothing was saved; --no-verify saves without asking the registry"
	}
	return &exitStatus{code: exitCode(err), err: errors.New(text), hint: hint}
}

// keepOwn shows the account, then writes it with its secret.
func (r *loginRun) keepOwn(ctx context.Context, t *trial, res providers.LoginResult) (note string, err error) {
	if !res.Write {
		if res.Secret.IsZero() {
			return "", nil
		}
		if r.local.err != nil {
			return "", r.local.err
		}
		if note, err = store.SetNoted(ctx, r.local.store, t.ref.Value, t.secret); err == nil {
			r.local.SecretSaved(ctx, t.ref.Value)
		}
		return note, err
	}
	configured := t.account.Layer == providers.LayerConfigured
	acc, err := r.ownSaved(t.account)
	if err != nil {
		return "", err
	}
	block, err := config.Block(acc)
	if err != nil {
		return "", err
	}
	if configured {
		r.a.say("account %s is yours to write (%s); this is what was found:", acc.Name, acc.Source)
		r.showBlock(block)
		return "", &providers.Error{Kind: providers.Misconfigured, Host: t.host, Err: errors.New("not written: the account is in your own configuration"), Hint: "change it there"}
	}
	r.a.say("this account is written to %s:", r.local.files.config.Saved)
	r.showBlock(block)
	if note, err = r.local.SaveAccount(ctx, t.host, acc, t.ref, t.secret); err == nil {
		t.account = acc
		t.account.Layer = providers.LayerSaved
	}
	return note, err
}

func (r *loginRun) showBlock(block string) {
	for line := range strings.Lines(block) {
		_, _ = fmt.Fprintln(r.a.err, "  "+printable(strings.TrimRight(line, "\n")))
	}
}

// ownSaved is an account as its file will have it: what the policy and accepted
// realms add holds without being written down.
func (r *loginRun) ownSaved(acc providers.Account) (providers.Account, error) {
	saved, err := r.a.savedFile(r.local.files).Read()
	if err != nil {
		return acc, err
	}
	acc.RealmHosts, acc.Access, acc.Repositories, acc.Grants = nil, 0, nil, nil
	for _, s := range saved.Accounts {
		if s.Name == acc.Name {
			acc.RealmHosts, acc.Access, acc.Repositories, acc.Default = s.RealmHosts, s.Access, s.Repositories, s.Default
			acc.Narrow, acc.OnFailure = s.Narrow, s.OnFailure
			return acc, nil
		}
	}
	acc.Narrow, acc.OnFailure = "", ""
	return acc, nil
}

// sayOwn says who, where it is kept, and for how long.
func (r *loginRun) sayOwn(t *trial, res providers.LoginResult, note string) {
	a := r.a
	who := ""
	if res.Who != "" {
		who = " as " + res.Who
	}
	if r.o.noVerify {
		a.say("login to %s%s was not tried at the registry", t.host, who)
	} else {
		a.say("logged in to %s%s", t.host, who)
	}
	if !res.Secret.IsZero() && !strings.Contains(note, r.local.describe()) {
		a.say("saved: %s", r.local.describe())
	}
	if note != "" {
		a.say("%s", note)
	}
	asIs := !res.Secret.IsZero() && t.cred.Secret.Equal(t.secret) // nothing is minted from it
	if asIs && res.Until.IsZero() {
		a.say("valid %s", t.until(a.now()))
	} else if asIs {
		a.say("valid %s", untilText(res.Until, a.now()))
	} else if !res.Until.IsZero() {
		a.say("valid %s; what is minted from it is renewed until then", untilText(res.Until, a.now()))
	} else if t.cred.ExpiresAt.After(a.now()) {
		a.say("what is minted from it lives %s and is renewed", span(t.cred.ExpiresAt.Sub(t.cred.IssuedAt)))
	}
}

func untilText(end, now time.Time) string {
	return "until " + end.Local().Format("2006-01-02 15:04") + " (" + span(end.Sub(now)) + ")"
}

// loginGroup is the identity that several accounts share; "" for an account
// alone.
func (a *app) loginGroup(acc providers.Account) string {
	if g, ok := a.provider(acc.Provider).(providers.LoginGrouper); ok {
		return g.LoginGroup(acc)
	}
	return ""
}

// isLoginer reports an account whose product has a login of its own.
func (a *app) isLoginer(provider string) bool {
	_, ok := a.provider(provider).(providers.Loginer)
	return ok
}

// layerAmbient is how a status names recognised accounts.
const layerAmbient = "ambient"

// ambientDue is a recognised account that an agent could not use without a
// login; false for others.
func (r *loginRun) ambientDue(st api.AccountStatus) (providers.Account, bool) {
	if st.Layer != layerAmbient || !r.a.isLoginer(st.Provider) || len(st.Hosts) != 1 {
		return providers.Account{}, false
	}
	h, err := providers.ParseHost(st.Hosts[0])
	if err != nil {
		return providers.Account{}, false
	}
	acc, err := r.newAccount(h)
	if err != nil {
		return acc, false
	}
	p := r.a.provider(st.Provider)
	acc.Provider, acc.Options = p.Name(), p.Options()
	return acc, true
}
