// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// getLimit bounds one get (DESIGN rule 2); the helper's own limit is 10 s.
const getLimit = 9500 * time.Millisecond

// spareTime is what an account leaves of it to a token that may stand in: to
// read a secret.
const spareTime = 2500 * time.Millisecond

// Get answers one get. j is nil outside jobs.
func (c *Core) Get(ctx context.Context, j *job, req *api.GetRequest) *api.GetResponse {
	start := c.now()
	ctx, cancel := withLateTimer(ctx, getLimit)
	defer cancel()
	resp, q := c.get(ctx, j, req)
	resp.Version = api.BuildVersion
	if resp.Outcome != api.NeedEnv {
		c.note(start, j, req, resp, q.host)
	}
	return resp
}

// errStale: an account changed between the choice of it and its answer.
var errStale = errors.New("the configuration changes too often; try again")

// get asks anew where the account changed meanwhile: nobody gets a new
// password with an old user name.
func (c *Core) get(ctx context.Context, j *job, req *api.GetRequest) (resp *api.GetResponse, q asked) {
	for range 100 {
		var err error
		if resp, q, err = c.getOnce(ctx, c.state.Load(), j, req); !errors.Is(err, errStale) || ctx.Err() != nil {
			break
		}
	}
	return resp, q
}

func (c *Core) getOnce(ctx context.Context, s *snapshot, j *job, req *api.GetRequest) (*api.GetResponse, asked, error) {
	q, resp := c.ask(s, j, req)
	if resp != nil {
		return resp, q, nil
	}
	own := ctx
	if sp, ok := c.spare(s, q.host); ok && sp.Name != q.account.Name {
		var cancel context.CancelFunc
		own, cancel = withLateTimer(ctx, getLimit-spareTime)
		defer cancel()
	}
	resp, q, err := c.serve(own, s, j, q, req)
	if err == nil || errors.Is(err, errStale) {
		return resp, q, err
	}
	return c.beyond(ctx, s, j, q, req, err)
}

// serve answers with the account of q. An error other than errStale is that of
// the account, noted already.
func (c *Core) serve(ctx context.Context, s *snapshot, j *job, q asked, req *api.GetRequest) (*api.GetResponse, asked, error) {
	names := c.envNames(q.account, q.provider)
	var env callerEnv // most accounts read none of it
	if len(names) > 0 {
		env = c.envOf(j, req.Env)
	}
	if miss := env.missing(names); len(miss) > 0 {
		if j != nil && j.fixedEnv() {
			for _, n := range miss {
				env[n] = nil
			}
		} else {
			return &api.GetResponse{Outcome: api.NeedEnv, NeedEnv: miss}, q, nil
		}
	}
	about := c.failKey(q, j, names, env)
	cred, src, err := c.credential(ctx, s, j, q, names, env, req)
	if err == nil && req.Native {
		err = nativeTooWide(q, cred)
	}
	if errors.Is(err, errStale) {
		return failure{host: q.host, err: err}.response(), q, err
	}
	if err != nil {
		c.noteFailure(q, about, req.Native, err)
		c.closeNobody(src, err)
		return nil, q, err
	}
	if !req.Native {
		c.succeeded(about)
	}
	if !q.until.IsZero() && (cred.ExpiresAt.IsZero() || cred.ExpiresAt.After(q.until)) {
		cred.ExpiresAt = q.until
	}
	c.handOut(about, cred.Credential)
	if !req.Native {
		c.verifyLater(src, q, j, cred.Credential)
	}
	r := &api.GetResponse{
		Outcome: api.OK, Username: cred.Username, Secret: cred.Secret.Reveal(),
		Account: q.account.Name, Wider: cred.Wider, IssuedAt: cred.IssuedAt.Unix(),
	}
	if !cred.ExpiresAt.IsZero() {
		r.ExpiresAt = cred.ExpiresAt.Unix()
	}
	for _, v := range cred.Env {
		r.NativeEnv = append(r.NativeEnv, v.Name+"="+v.Value.Reveal())
	}
	return r, q, nil
}

// nativeTooWide refuses what reaches the whole product where something narrows
// to less than a clean-up does: no pull is worth a cloud's session.
func nativeTooWide(q asked, cred providers.Native) error {
	if !cred.Wider || len(q.grants) == 0 || slices.ContainsFunc(q.grants, func(g providers.Grant) bool { return full(g.Access)&providers.Delete != 0 }) {
		return nil
	}
	return &providers.Error{
		Kind: providers.Denied, Host: q.host,
		Err:  errors.New("a token for its own API cannot be narrowed to " + describe(q.grants)),
		Hint: "a clean-up asks for =delete, and its job too",
	}
}

// beyond answers where the account of q did not: a recognised host whose
// machine and caller have no identity there belongs to whoever answered before
// us, and the reason goes along for people.
func (c *Core) beyond(ctx context.Context, s *snapshot, j *job, q asked, req *api.GetRequest, err error) (*api.GetResponse, asked, error) {
	ambient := q.account.Layer == providers.LayerAmbient
	if sp, ok := c.spare(s, q.host); ok && c.mayStandIn(j, q, req, err) {
		if next, ok := c.instead(s, q, sp.Account); ok {
			next.until = sp.Until
			resp, next, second := c.serve(ctx, s, j, next, req)
			// It has the rights of whoever fetched it: where the account must be
			// narrowed it is no stand-in.
			if errors.Is(second, errStale) || second == nil && !(resp.Wider && requires(s, q.account)) {
				return resp, next, second
			}
		}
	}
	if !ambient || providers.KindOf(err) != providers.NoAccount {
		return c.fail(s, j, q, req.Soft, err), q, nil
	}
	if a, ok := j.carried(q.host); ok && !req.Native {
		if next, ok := c.instead(s, q, a); ok {
			next.until = j.until(a)
			if err := c.ended(next); err != nil {
				return c.fail(s, j, next, req.Soft, err), next, nil
			}
			resp, next, second := c.serve(ctx, s, j, next, req)
			if second != nil && !errors.Is(second, errStale) {
				return c.fail(s, j, next, req.Soft, second), next, nil
			}
			return resp, next, second
		}
	}
	r := c.behind(s, j, q.host, req)
	if r.Outcome == api.NotFound && r.Message == "" {
		r.Message = message(q.host, err)
	}
	return r, q, nil
}

// mayStandIn says that a spare may answer for the account of q, which failed:
// not where somebody chose the account, and not for more than it may do.
func (c *Core) mayStandIn(j *job, q asked, req *api.GetRequest, err error) bool {
	if req.Native || c.choice(j, q.host, req.Account) != "" || providers.KindOf(err) == providers.Denied {
		return false
	}
	return q.account.Layer == providers.LayerAmbient || q.account.Layer == providers.LayerConfigured
}

// instead is q with another account, for no more than that of q may do; false
// where policy forbids it.
func (c *Core) instead(s *snapshot, q asked, a providers.Account) (asked, bool) {
	a, err := s.cfg.Policy.Apply(withRealms(s.cfg, a))
	if err != nil {
		return q, false
	}
	p := c.provider(a.Provider)
	if p == nil {
		return q, false
	}
	return asked{host: q.host, account: a, provider: p, target: q.target, grants: q.grants}, true
}
