// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

const (
	// checkLimit bounds one check as a whole.
	checkLimit = 18 * time.Second
	// limitLimit bounds the question about a rate limit, limitFor is how long
	// its answer counts.
	limitLimit = 2 * time.Second
	limitFor   = 5 * time.Minute
)

// Check does what a get does, and then really asks the registry.
func (c *Core) Check(ctx context.Context, j *job, req *api.GetRequest) *api.CheckResponse {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	var out *api.CheckResponse
	for range 10 {
		var err error
		if out, err = c.checkOnce(ctx, j, req); !errors.Is(err, errStale) {
			break
		}
	}
	out.Version = api.BuildVersion
	return out
}

func (c *Core) checkOnce(ctx context.Context, j *job, req *api.GetRequest) (*api.CheckResponse, error) {
	get := *req
	get.Native, get.Refresh, get.Soft = false, false, false
	resp, q := c.get(ctx, j, &get)
	out := &api.CheckResponse{
		Outcome: resp.Outcome, Kind: resp.Kind, Message: resp.Message, NeedEnv: resp.NeedEnv, Behind: resp.Behind,
		Account: resp.Account, Username: resp.Username, Wider: resp.Wider, ExpiresAt: resp.ExpiresAt,
	}
	if resp.Outcome != api.OK || q.provider == nil {
		return out, nil
	}
	env := c.envOf(j, req.Env)
	names := c.envNames(q.account, q.provider)
	k := &checking{c: c, j: j, q: q, get: &get, names: names, env: env, out: out}
	out.Rotation = c.troubledRotation(q.account)
	err := k.run(ctx, req.Native)
	if errors.Is(err, errStale) {
		return failedCheck(out, q.host, err), err
	}
	if err != nil {
		return failedCheck(out, q.host, within(ctx, checkLimit.String(), q.host, err)), nil
	}
	return out, nil
}

func failedCheck(out *api.CheckResponse, h providers.Host, err error) *api.CheckResponse {
	out.Outcome, out.Kind, out.Message = api.Failed, string(providers.KindOf(err)), message(h, err)
	return out
}

// checking is one check of an account that has answered.
type checking struct {
	c     *Core
	j     *job
	q     asked
	get   *api.GetRequest
	names []string
	env   callerEnv
	out   *api.CheckResponse
}

func (k *checking) run(ctx context.Context, native bool) (err error) {
	defer k.c.contain(k.q, &err)
	cred, src, r, err := k.credential(ctx)
	if err != nil {
		return err
	}
	if v, ok := src.Source.(providers.Verifier); ok {
		err = v.Verify(ctx, r, cred)
		if err != nil && providers.KindOf(err) == providers.LoginRequired {
			cred, src, err = k.again(ctx, cred, err)
		}
		if err != nil {
			return err
		}
		k.out.Verified = true
		k.learned(ctx, src, cred)
	}
	k.out.Username, k.out.As = cred.Username, oneLine(cred.Origin)
	if native {
		if err := k.native(ctx, src, r); err != nil {
			return err
		}
		k.out.Native = true
	}
	k.out.RateLimit = k.c.rateLimit(ctx, src, r, cred)
	return nil
}

// learned tells what the check brought to light about a saved secret.
func (k *checking) learned(ctx context.Context, src *source, cred providers.Credential) {
	k.c.learn(ctx, src, k.q, k.j, cred)
	l, ok := src.Source.(providers.Learner)
	if !ok {
		return
	}
	if known, ok := l.Learned(cred); ok && !known.ExpiresAt.IsZero() {
		k.out.ExpiresAt = known.ExpiresAt.Unix()
	}
}

func (k *checking) credential(ctx context.Context) (providers.Credential, *source, providers.Request, error) {
	r := providers.Request{Host: k.q.host, Grants: k.q.grants}
	cred, src, err := k.c.credential(ctx, k.c.state.Load(), k.j, k.q, k.names, k.env, k.get)
	if err != nil {
		return cred.Credential, src, r, err
	}
	if _, ok := src.Source.(providers.Revoker); ok && k.j != nil {
		r.Job = k.j.id
	}
	return cred.Credential, src, r, nil
}

// again drops a credential that the registry refuses, once, and asks with the
// one that is minted in its place.
func (k *checking) again(ctx context.Context, refused providers.Credential, why error) (providers.Credential, *source, error) {
	cred, src, r, err := k.credential(ctx)
	if err != nil {
		return cred, src, err
	}
	if cred.Secret.Equal(refused.Secret) { // nobody has renewed it meanwhile
		id := minterID(src.key, src, r)
		k.c.mint.Drop(func(m minter.ID) bool { return m == id })
		if cred, src, r, err = k.credential(ctx); err != nil {
			return cred, src, err
		}
	}
	if cred.Secret.Equal(refused.Secret) {
		if cred.ExpiresAt.IsZero() {
			k.c.reject(src, k.q, why)
		}
		return cred, src, why
	}
	if v, ok := src.Source.(providers.Verifier); ok {
		err = v.Verify(ctx, r, cred)
	}
	return cred, src, err
}

// native asks for the rights that a clean-up needs.
func (k *checking) native(ctx context.Context, src *source, r providers.Request) error {
	if n, ok := src.Source.(providers.NativeChecker); ok {
		return n.CheckNative(ctx, r)
	}
	_, err := k.c.native(ctx, src, k.q, r)
	return err
}

// limits remembers what products said about rate limits.
type limits struct {
	mu    sync.Mutex
	known map[minter.ID]knownLimit
}

type knownLimit struct {
	at    time.Time
	limit *api.RateLimitStatus
}

// rateLimit asks what is left; nil where the product does not say.
func (c *Core) rateLimit(ctx context.Context, src *source, r providers.Request, cred providers.Credential) *api.RateLimitStatus {
	l, ok := src.Source.(providers.Limiter)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limitLimit)
	defer cancel()
	got, err := l.RateLimit(ctx, r, cred)
	if err != nil {
		c.o.Log.Debug("no rate limit", "host", r.Host.String(), "err", err.Error())
		return nil
	}
	now := c.now()
	st := &api.RateLimitStatus{
		Host: r.Host.String(), Account: src.account.Name, Unlimited: got.Unlimited, Limit: got.Limit, Remaining: got.Remaining,
		Window: int64(got.Window.Seconds()), ResetsAt: timeOrNil(got.ResetsAt), Who: oneLine(got.Who), At: now.UTC(),
	}
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	for id, k := range c.limits.known {
		if now.Sub(k.at) > limitFor || now.Before(k.at) {
			delete(c.limits.known, id)
		}
	}
	c.limits.known[minterID(src.key, src, r)] = knownLimit{now, st}
	return st
}

// RateLimits are those of the credentials in memory for a host, asked for now
// unless they were within five minutes. Products that do not answer in time are
// left out.
func (c *Core) RateLimits(ctx context.Context, j *job, h providers.Host) []api.RateLimitStatus {
	ctx, cancel := context.WithTimeout(ctx, limitLimit)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var out []api.RateLimitStatus
	seen := map[sourceKey]bool{}
	for _, v := range c.mint.Views() {
		if v.ID.Host != h || v.Credential.IssuedAt.IsZero() || j != nil && !j.asked(v.ID) {
			continue
		}
		c.mu.Lock()
		src := c.sources[sourceKey{account: v.ID.Account, env: v.ID.Env}]
		c.mu.Unlock()
		if src == nil || src.opened != v.ID.Opened || v.ID.Job != "" || seen[src.key] {
			continue
		}
		if _, ok := src.Source.(providers.Limiter); !ok {
			continue
		}
		seen[src.key] = true
		wg.Go(func() {
			if st := c.limitOf(ctx, src, v.ID); st != nil {
				mu.Lock()
				out = append(out, *st)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

func (c *Core) limitOf(ctx context.Context, src *source, id minter.ID) (st *api.RateLimitStatus) {
	defer func() {
		if p := recover(); p != nil {
			c.o.Log.Error("a provider failed", "panic", oneLine(fmt.Sprint(p)))
		}
	}()
	c.limits.mu.Lock()
	k, ok := c.limits.known[id]
	c.limits.mu.Unlock()
	if age := c.now().Sub(k.at); ok && age >= 0 && age < limitFor {
		return k.limit
	}
	gs, ok := parseCanonical(id.Grants)
	if !ok {
		return nil
	}
	r := providers.Request{Host: id.Host, Grants: gs}
	cred, err := c.mint.Get(ctx, minter.Request{ID: id, Source: src, Request: r})
	if err != nil {
		return nil
	}
	return c.rateLimit(ctx, src, r, cred)
}

// parseCanonical reads what canonical wrote.
func parseCanonical(s string) ([]providers.Grant, bool) {
	var out []providers.Grant
	for _, f := range strings.Fields(s) {
		repository, access, ok := strings.Cut(f, "=")
		g := providers.Grant{Repository: repository}
		if access != "" && g.Access.UnmarshalText([]byte(access)) != nil || !ok {
			return nil, false
		}
		out = append(out, g)
	}
	return out, canonical(out) == s
}
