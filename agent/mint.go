// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// credential asks the minter.
func (c *Core) credential(ctx context.Context, s *snapshot, j *job, q asked, names []string, env callerEnv, req *api.GetRequest) (providers.Native, *source, error) {
	src, key, err := c.open(s, q.account, q.provider, names, env, j)
	if err != nil {
		return providers.Native{}, nil, err
	}
	r := providers.Request{Host: q.host, Grants: q.grants}
	if j != nil {
		if _, ok := src.Source.(providers.Revoker); ok {
			r.Job = j.id
		}
	}
	if req.Native {
		cred, err := c.native(ctx, src, q, r)
		if err == nil {
			err = tooWide(s, q, cred.Credential)
		}
		return cred, src, err
	}
	m := minter.Request{ID: minterID(key, src, r), Source: src, Request: r}
	if req.Refresh {
		c.mint.Drop(func(id minter.ID) bool { return id == m.ID })
	}
	if err := c.verifyNow(ctx, src, q, m); err != nil {
		return providers.Native{}, nil, err
	}
	cred, err := c.mint.Get(ctx, m)
	if !c.current(src, q.account, j) {
		c.mint.Drop(func(id minter.ID) bool { return id == m.ID })
		return providers.Native{}, src, errStale
	}
	if err != nil && src.renewed() {
		c.closeSource(src)
		return providers.Native{}, src, errStale
	}
	if err == nil {
		err = tooWide(s, q, cred)
	}
	if err != nil {
		return providers.Native{}, src, timeLimit(ctx, q.host, err)
	}
	if j != nil {
		j.hold(m, c.mint)
	}
	return providers.Native{Credential: cred}, src, nil
}

// native mints for the product's own API. It is asked for rarely, by people and
// clean-ups, and by no client that cannot keep it: nothing is cached.
func (c *Core) native(ctx context.Context, src *source, q asked, r providers.Request) (cred providers.Native, err error) {
	n, ok := src.Source.(providers.NativeMinter)
	if !ok {
		return cred, &providers.Error{Kind: providers.Misconfigured, Host: q.host, Err: errors.New("provider " + q.provider.Name() + " has no token for a native API")}
	}
	defer c.contain(q, &err)
	cred, err = src.makeNative(ctx, n, r)
	if err == nil && !cred.ExpiresAt.IsZero() && !cred.ExpiresAt.After(c.now()) {
		err = &providers.Error{Kind: providers.Unavailable, Host: q.host, Err: errors.New("the answer is already expired"), Hint: "compare this machine's clock with the registry's"}
	}
	return cred, timeLimit(ctx, q.host, err)
}

// tooWide refuses a credential that could not be narrowed where that is a must.
func tooWide(s *snapshot, q asked, cred providers.Credential) error {
	if !cred.Wider || !requires(s, q.account) {
		return nil
	}
	return &providers.Error{
		Kind: providers.Denied, Host: q.host,
		Err:  errors.New("account " + q.account.Name + " cannot be narrowed to what was asked for"),
		Hint: `set narrow = "prefer" to hand it out as it is`,
	}
}

func minterID(key sourceKey, src *source, r providers.Request) minter.ID {
	return minter.ID{
		Account: key.account, Env: key.env, Host: r.Host,
		Grants: canonical(r.Grants), Source: src.Key(r), Job: r.Job, Opened: src.opened,
	}
}

// canonical writes grants so that no two sets read alike.
func canonical(gs []providers.Grant) string {
	var b strings.Builder
	for _, g := range gs {
		b.WriteString(g.Repository)
		b.WriteByte('=')
		b.WriteString(g.Access.String())
		b.WriteByte(' ') // no repository holds a blank
	}
	return b.String()
}

// timeLimit names the limit where the caller's own time ran out.
func timeLimit(ctx context.Context, h providers.Host, err error) error {
	return within(ctx, "10s", h, err)
}

func within(ctx context.Context, limit string, h providers.Host, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return &providers.Error{Kind: providers.Unavailable, Host: h, Err: errors.New("no answer within " + limit), Hint: "run: regmint status " + h.String()}
	}
	return err
}

func requires(s *snapshot, a providers.Account) bool {
	return a.Narrow == providers.NarrowRequire || (a.Narrow == "" && s.cfg.Policy.Narrow == providers.NarrowRequire)
}

// contain, deferred, makes a provider's panic an error of the account: what
// fails inside ends nobody else's answers.
func (c *Core) contain(q asked, err *error) {
	if p := recover(); p != nil {
		name := q.provider.Name()
		c.o.Log.Error("a provider failed", "provider", name, "panic", oneLine(fmt.Sprint(p)))
		*err = &providers.Error{Kind: providers.Unavailable, Host: q.host, Err: errors.New("provider " + name + " failed inside; the agent's log says more")}
	}
}
