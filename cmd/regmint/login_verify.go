// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// verifyLimit bounds one question to a registry while a person waits.
const verifyLimit = 30 * time.Second

// trial is a login that is tried before it is kept.
type trial struct {
	a       *app
	core    *agent.Core
	host    providers.Host
	account providers.Account
	ref     providers.SecretRef // where the account looks for secret
	secret  providers.Secret
	keyring config.Keyring // answers the account's other references; nil: none
	asking  bool           // a person is there and stdin is free for answers
	config  string         // the person's configuration file

	env    map[string]string // the caller's, where the account is a recognised one
	source providers.Source
	cred   providers.Credential
	realm  providers.Host // accepted by the person, zero: none
}

// realmAsker is the cause of a refusal that a person may overrule: the registry
// sends logins to a host that nobody vouches for.
type realmAsker interface {
	error
	// UntrustedRealm is the realm for a person, its host, and whether a person
	// may accept it.
	UntrustedRealm() (realm string, host providers.Host, ask bool)
}

func (a *app) provider(name string) providers.Provider {
	for _, p := range a.providers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// trial tries secret as the login of acc.
func (l *local) trial(a *app, host providers.Host, acc providers.Account, secret providers.Secret) *trial {
	t := &trial{a: a, core: l.Core, host: host, account: acc, secret: secret, config: l.files.config.User}
	var ok bool
	if t.ref, ok = loginRef(acc); !ok { // a new one
		t.ref = providers.SecretRef{Scheme: "keyring", Value: "login"}
		t.account.Password = t.ref
	}
	if l.err == nil {
		t.keyring = l.store
	}
	return t
}

// prepare opens the account with the secret that is tried.
func (t *trial) prepare() error {
	acc := t.account
	src, err := t.a.provider(acc.Provider).Open(acc, t.deps())
	if err != nil {
		return err
	}
	t.source = src
	t.cred = providers.Credential{Username: acc.Username, Secret: t.secret}
	return nil
}

// deps are the surroundings of the account that is tried. What it saves in the
// place of the secret that is tried is the login from then on.
func (t *trial) deps() providers.Deps {
	d := t.core.Deps(t.account)
	if t.env != nil {
		d.Env = t.env
	}
	save := d.Save
	d.Save = func(ctx context.Context, ref providers.SecretRef, s providers.Secret) error {
		if ref.String() == t.ref.String() {
			t.secret = s // kept with the login
			return nil
		}
		return save(ctx, ref, s)
	}
	d.Resolve = func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
		if !t.ref.IsZero() && ref.String() == t.ref.String() {
			return t.secret, nil
		}
		r := t.a.resolver()
		r.Keyring = t.keyring
		return r.Resolve(ctx, ref)
	}
	return d
}

// verify asks the registry. Where it sends logins elsewhere a person may accept
// that, once.
func (t *trial) verify(ctx context.Context) error {
	err := t.try(ctx)
	var asker realmAsker
	if errors.As(err, &asker) {
		if realm, host, ask := asker.UntrustedRealm(); ask {
			if err := t.acceptRealm(ctx, realm, host, err); err != nil {
				return err
			}
			err = t.try(ctx)
		}
	}
	if err == nil {
		return nil
	}
	return t.refused(err)
}

func (t *trial) try(ctx context.Context) error {
	if err := t.prepare(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	req := providers.Request{Host: t.host}
	cred, err := t.source.Mint(ctx, req)
	if err != nil {
		return err
	}
	t.cred = cred
	return t.check(ctx)
}

// check asks the registry whether it accepts the credential.
func (t *trial) check(ctx context.Context) error {
	v, ok := t.source.(providers.Verifier)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	if err := v.Verify(ctx, providers.Request{Host: t.host}, t.cred); err != nil {
		return err
	}
	if l, ok := t.source.(providers.Learner); ok {
		if known, ok := l.Learned(t.cred); ok && !known.ExpiresAt.IsZero() {
			t.cred.ExpiresAt = known.ExpiresAt
		}
	}
	return nil
}

func (t *trial) acceptRealm(ctx context.Context, realm string, host providers.Host, cause error) error {
	if !t.asking {
		return &exitStatus{
			code: exitCode(cause), err: bare(cause),
			hint: fmt.Sprintf("if that is right, add realm_hosts = [%q] to the account, or log in on a terminal", host),
		}
	}
	t.a.say("%s sends logins to %s, which is another host", t.host, realm)
	ok, err := t.a.confirm(ctx, "Send your password there, now and later?", false)
	if err != nil {
		return err
	}
	if !ok {
		return &exitStatus{code: exitDenied, err: fmt.Errorf("%s: not logged in", t.host)}
	}
	t.realm = host
	t.account.RealmHosts = append(t.account.RealmHosts[:len(t.account.RealmHosts):len(t.account.RealmHosts)], host.String())
	return nil
}

// bare is an error without its hint.
func bare(err error) error {
	text, _ := errorText(err)
	return errors.New(text)
}

// refused words why a login was not kept.
func (t *trial) refused(err error) error {
	code := exitCode(err)
	text, hint := errorText(err)
	switch providers.KindOf(err) {
	case providers.LoginRequired:
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Err != nil {
			who := t.account.Username
			if who == "" {
				who = "the login"
			}
			text = fmt.Sprintf("%s: the registry refuses %s: %s", t.host, who, e.Err)
		}
		hint = "nothing was saved; many registries want an access token instead of the password"
	case providers.Denied:
		hint = "nothing was saved"
	case providers.Unavailable:
		if hint = t.wayHint(err); hint == "" {
			hint = "nothing was saved; --no-verify saves without asking the registry"
		}
		if errors.Is(err, context.DeadlineExceeded) {
			text = fmt.Sprintf("%s: no answer within %s", t.host, span(verifyLimit))
		}
	}
	return &exitStatus{code: code, err: errors.New(text), hint: hint}
}

// wayHint is what to set where the way to the registry is wrong: a login that
// is saved all the same would not get there either.
func (t *trial) wayHint(err error) string {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || !strings.HasPrefix(e.Hint, "set ") {
		return ""
	}
	where := t.account.Source
	if t.account.Layer != providers.LayerConfigured {
		where = "an account for " + t.host.String() + " in " + t.config
	}
	return "nothing was saved; " + e.Hint + " in " + where + ", then log in again"
}

// until says how long the login is good for.
func (t *trial) until(now time.Time) string {
	const open = "until it is changed or revoked at the registry"
	end := t.cred.ExpiresAt
	switch {
	case !end.IsZero() && !t.cred.Secret.Equal(t.secret): // another one was minted from it
		return open + "; what is minted from it lives " + span(end.Sub(t.cred.IssuedAt))
	case end.IsZero() && t.account.ExpiresIn > 0:
		end = now.Add(time.Duration(t.account.ExpiresIn))
	case end.IsZero():
		return open
	}
	return "until " + end.Local().Format("2006-01-02 15:04") + " (" + span(end.Sub(now)) + ")"
}
