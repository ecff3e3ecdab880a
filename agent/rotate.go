// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

const (
	// rotateLimit bounds one question to a product about a long-lived secret.
	rotateLimit = time.Minute
	// settleAfter is how long a request whose answer was lost may still be
	// under way: before that, an old secret that lives proves nothing.
	settleAfter = 30 * time.Second
	// nextPrefix makes, with rotationID, the second name of a secret in the
	// store; no login has such a name, which begins with a registry.
	nextPrefix = "rotate:"
)

// Rotated says what a rotation did.
type Rotated struct {
	Account   string
	At        time.Time
	ExpiresAt time.Time // of the new secret; zero: not known
	// Finished: an interrupted rotation was brought to its end, and no other
	// was begun. Shared: another process rotated it meanwhile.
	Finished, Shared bool
	Where            string // what took the new secret, in words
}

// rotation is the long-lived secret of one account on its way to the next one.
type rotation struct {
	c       *Core
	account providers.Account
	host    providers.Host
	ref     providers.SecretRef // where the account has its secret
	name    string              // of the item that ref names in the store; "" elsewhere
	next    string              // the second name, which has the new secret first
	store   store.Store
	source  providers.Rotator // nil: without the product, only what is here is settled
	env     map[string]string
}

// RotateAccount is the account that a rotation at host is about.
func (c *Core) RotateAccount(h providers.Host, repository, pick string) (providers.Account, error) {
	a, err := c.state.Load().sel.Select(h, repository, pick)
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.NoAccount && e.Hint == "" {
		own := *e
		own.Hint = "log in first: regmint login " + h.String()
		return a, &own
	}
	return a, err
}

// AccountNamed is a configured or saved account.
func (c *Core) AccountNamed(name string) (providers.Account, error) {
	for _, a := range c.state.Load().cfg.Accounts {
		if a.Name == name {
			return a, nil
		}
	}
	return providers.Account{}, &providers.Error{Kind: providers.NoAccount, Err: errors.New("there is no account " + oneLine(name))}
}

// RotateEnv lists the variables that opening the account needs.
func (c *Core) RotateEnv(a providers.Account) []string {
	return config.EnvNames([]providers.Account{a})
}

// SharedBy lists the accounts that live by the secret that a rotation of a would
// replace, a among them.
func (c *Core) SharedBy(a providers.Account) []providers.Account {
	ref, err := rotateRef(a)
	if err != nil {
		return []providers.Account{a}
	}
	return slices.DeleteFunc(slices.Clone(c.state.Load().cfg.Accounts), func(o providers.Account) bool {
		return !slices.ContainsFunc(config.SecretRefs(o), func(r providers.SecretRef) bool { return config.RefKey(r) == config.RefKey(ref) })
	})
}

// rotateRef is where an account has its long-lived secret.
func rotateRef(a providers.Account) (providers.SecretRef, error) {
	bad := func(hint, format string, args ...any) (providers.SecretRef, error) {
		return providers.SecretRef{}, &providers.Error{Kind: providers.Misconfigured, Host: hostOf(a), Err: fmt.Errorf(format, args...), Hint: hint}
	}
	ref := a.Password
	if ref.IsZero() {
		var kept []providers.SecretRef
		for _, r := range config.SecretRefs(a) {
			if r.Scheme == "keyring" {
				kept = append(kept, r)
			}
		}
		if len(kept) != 1 {
			return bad("", "account %s has no one secret of its own to rotate", a.Name)
		}
		ref = kept[0]
	}
	switch {
	case ref.Scheme == "keyring" && ref.Value != "":
		return ref, nil
	case ref.Scheme == "env":
		return bad(`set password = "keyring:`+a.Name+`", then run: `+commandAt("login", hostOf(a), a.Name),
			"account %s has its secret in variable %s, where no new one can be put", a.Name, ref.Value)
	case (ref.Scheme == "file" || ref.Scheme == "exec") && a.RotateTo.IsZero():
		return bad(`set rotate_to = { exec = ["/PATH", "ARG"] }, a program that gets the new secret on stdin`,
			"account %s has its secret in %s, which regmint does not write", a.Name, ref)
	case ref.Scheme == "file" || ref.Scheme == "exec":
		return ref, nil
	}
	return bad("", "account %s: the secret in %s cannot be replaced", a.Name, ref)
}

// newRotation looks at what is here; the product is not asked. env holds the
// variables of RotateEnv.
func (c *Core) newRotation(a providers.Account, env map[string]string) (*rotation, error) {
	r, err := c.localRotation(a)
	if err != nil {
		return nil, err
	}
	r.env = env
	p := c.provider(a.Provider)
	if p == nil {
		return nil, &providers.Error{Kind: providers.Misconfigured, Host: r.host, Err: errors.New("account " + a.Name + " names the unknown provider " + a.Provider)}
	}
	d := c.Deps(a)
	others := c.plainResolver(a, env, nil)
	d.Resolve = others
	src, err := p.Open(a, d)
	if err != nil {
		return nil, err
	}
	rot, ok := src.(providers.Rotator)
	if !ok {
		return nil, &providers.Error{
			Kind: providers.Misconfigured, Host: r.host,
			Err:  errors.New("account " + a.Name + ": provider " + a.Provider + " has no secret that the product can replace"),
			Hint: "make a new one at the registry, then run: " + commandAt("login", r.host, a.Name),
		}
	}
	r.source = rot
	return r, nil
}

// localRotation is a rotation without the product.
func (c *Core) localRotation(a providers.Account) (*rotation, error) {
	ref, err := rotateRef(a)
	if err != nil {
		return nil, err
	}
	r := &rotation{c: c, account: a, host: hostOf(a), ref: ref, next: nextPrefix + rotationID(ref)}
	if ref.Scheme == "keyring" {
		r.name = ref.Value
	}
	s := c.state.Load()
	if s.cfg.Agent.Store == store.KindMemory {
		return nil, &providers.Error{
			Kind: providers.Misconfigured, Host: r.host, Err: errors.New("the store is memory: a new secret would end with the agent"),
			Hint: `set store = "auto" in [agent]`,
		}
	}
	if r.store, err = s.secrets(); err != nil {
		return nil, storeError(r.host, err)
	}
	return r, nil
}

// RotationPlan is what a rotation would do.
type RotationPlan struct {
	providers.RotationPlan
	// Interrupted: a rotation that began then has not ended. Rotate brings that
	// one to its end, and nothing else is known before.
	Interrupted time.Time
}

// PlanRotation says what Rotate would do, and changes nothing.
func (c *Core) PlanRotation(ctx context.Context, a providers.Account, env map[string]string) (RotationPlan, error) {
	r, err := c.newRotation(a, env)
	if err != nil {
		return RotationPlan{}, err
	}
	if in, _ := c.readIntent(r.ref); in != nil && in.Step == stepLost {
		return RotationPlan{}, in.lostError(r.host)
	} else if in != nil {
		return RotationPlan{Interrupted: in.Begun}, nil
	}
	old, err := r.current(ctx)
	if err != nil {
		return RotationPlan{}, err
	}
	if old.IsZero() {
		return RotationPlan{}, storeError(r.host, store.ErrNotFound)
	}
	plan, err := r.plan(ctx, old)
	return RotationPlan{RotationPlan: plan}, err
}

// Rotate replaces the long-lived secret of an account by a new one. Whoever
// calls it must outlive its own caller: an answer that nobody writes down is a
// secret lost. One process of the user rotates at a time; one that waited takes
// the other's result.
func (c *Core) Rotate(ctx context.Context, a providers.Account, env map[string]string) (Rotated, error) {
	r, err := c.newRotation(a, env)
	if err != nil {
		return Rotated{}, err
	}
	asked := c.now()
	r.at("asked")
	unlock, err := config.Lock(ctx, c.o.Saved.StateDir, r.lock())
	if err != nil {
		return Rotated{}, err
	}
	defer unlock()
	// From here on the end counts, not the caller's patience.
	ctx = context.WithoutCancel(ctx)
	done, err := r.settle(ctx)
	if rec, _ := r.record(); err == nil && done == nil && rec != nil && rec.At.After(asked) && !rec.At.After(c.now()) {
		return Rotated{Account: a.Name, At: rec.At, ExpiresAt: rec.ExpiresAt, Shared: true, Where: r.where()}, nil
	}
	if err == nil && done == nil {
		done, err = r.run(ctx)
	}
	if err != nil {
		r.failed(err)
		return Rotated{}, err
	}
	c.replaced(r.ref, sourceKey{})
	return *done, nil
}

func (r *rotation) lock() string { return "rotate " + config.RefKey(r.ref) }

// rotationID names what is known about the secret of ref on disk.
func rotationID(ref providers.SecretRef) string {
	sum := sha256.Sum256([]byte(config.RefKey(ref)))
	return hex.EncodeToString(sum[:16])
}

func (c *Core) rotateDir() string { return filepath.Join(c.o.Saved.StateDir, "rotate") }

func (r *rotation) where() string {
	if r.name != "" {
		return r.store.Describe()
	}
	return r.ref.String()
}
