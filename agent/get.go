// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// getLimit bounds one get (DESIGN rule 2); the helper's own limit is 10 s.
const getLimit = 9500 * time.Millisecond

// spareTime is what an account leaves of it to a token that may stand in: to
// read a secret.
const spareTime = 2500 * time.Millisecond

// asked is a get understood: who answers it and for what.
type asked struct {
	host     providers.Host
	account  providers.Account
	provider providers.Provider
	target   []providers.Grant // of this ask alone
	grants   []providers.Grant // of all that narrows
	until    time.Time         // when a token that another tool fetched ends; zero for others
}

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

// ask finds the account; a response means the answer is already known.
func (c *Core) ask(s *snapshot, j *job, req *api.GetRequest) (asked, *api.GetResponse) {
	var q asked
	if j == nil && req.Config != "" && req.Config != c.o.Config {
		return q, failure{err: &providers.Error{
			Kind: providers.Misconfigured,
			Err:  errors.New("REGMINT_CONFIG is " + req.Config + " but the running agent reads " + c.o.Config),
			Hint: "run: regmint agent restart, or use regmint run --config",
		}}.response()
	}
	key, target, err := parseAsk(req.Key)
	if err != nil {
		return q, failure{err: &providers.Error{Kind: providers.Misconfigured, Err: err}}.response()
	}
	q.host, q.target = key.Host, target
	if key.Item != "" {
		return q, c.item(s, j, key)
	}
	if j != nil {
		if why := j.closedReason(); why != "" {
			return q, failure{host: key.Host, err: &providers.Error{Kind: providers.Denied, Host: key.Host, Err: errors.New(why)}}.response()
		}
		if !j.allows(key.Host) {
			return q, &api.GetResponse{Outcome: api.NotFound, Message: message(key.Host, &providers.Error{
				Kind: providers.NoAccount, Err: errors.New("not one of the hosts that this job is for (--only)"), Hint: "open the job with -r " + key.Host.String() + " too",
			})}
		}
	}
	pick := c.choice(j, key.Host, req.Account)
	if q.account, err = c.account(s, j, key, pick, req.Env); err != nil {
		if providers.KindOf(err) == providers.NoAccount && pick == "" {
			if miss := c.unsaidClaims(j, req.Env); len(miss) > 0 {
				return q, &api.GetResponse{Outcome: api.NeedEnv, NeedEnv: miss}
			}
			return q, c.behind(s, j, key.Host, req)
		}
		return q, c.fail(s, j, q, req.Soft, err)
	}
	if sp, ok := s.spareOf(q.host); ok && sp.Name == q.account.Name && q.account.Layer == providers.LayerSaved {
		q.until = sp.Until
	}
	q.provider = c.provider(q.account.Provider)
	if q.account.Layer == providers.LayerJobLogin || q.account.Layer == providers.LayerCarried {
		q.until = j.until(q.account)
		if err := c.ended(q); err != nil {
			return q, c.fail(s, j, q, req.Soft, err)
		}
	}
	if q.provider == nil {
		return q, c.fail(s, j, q, req.Soft, &providers.Error{Kind: providers.Misconfigured, Host: q.host, Err: errors.New("account " + q.account.Name + " names the unknown provider " + q.account.Provider)})
	}
	if q.grants, err = grants(j, q, target); err != nil {
		return q, c.fail(s, j, q, req.Soft, err)
	}
	c.remember(q)
	return q, nil
}

// choice is the account named by the caller, else the one the job was opened
// with for the host, unless somebody logged in inside the job since: nobody is
// told "Login Succeeded" for what is not used. "" for neither.
func (c *Core) choice(j *job, h providers.Host, pick string) string {
	if pick == "" && j != nil && !j.loggedIn(h) {
		return j.picked(h)
	}
	return pick
}

// account is who answers for a key: an account, else an identity recognised by
// the host's name, else a login that the job's caller had. Accounts that no
// file holds get the policy and accepted realms here.
func (c *Core) account(s *snapshot, j *job, k providers.Key, pick string, sent []string) (providers.Account, error) {
	sel, err := c.selector(s, j)
	if err != nil {
		return providers.Account{}, err
	}
	a, err := sel.Select(k.Host, k.Repository, pick)
	if err != nil {
		var ok bool
		if providers.KindOf(err) != providers.NoAccount || pick != "" {
			return a, err
		}
		if a, ok = c.ambient(j, k.Host, sent); !ok {
			var sp config.Spare
			if sp, ok = c.spare(s, k.Host); ok {
				a = sp.Account
			} else if a, ok = j.carried(k.Host); !ok {
				return a, err
			}
		}
	}
	switch a.Layer {
	case providers.LayerJobLogin, providers.LayerAmbient, providers.LayerCarried:
		return s.cfg.Policy.Apply(withRealms(s.cfg, a))
	case providers.LayerJobConfig:
		return withRealms(s.cfg, a), nil
	}
	return a, nil
}

// parseAsk reads a client's key or a target.
func parseAsk(s string) (providers.Key, []providers.Grant, error) {
	if strings.Contains(s, "=") {
		t, err := providers.ParseTarget(s)
		if err != nil {
			return providers.Key{}, nil, err
		}
		return providers.Key{Host: t.Host, Repository: t.Repository}, targetGrants(t), nil
	}
	k, err := providers.ParseKey(s)
	return k, nil, err
}

// targetGrants are the grants a target asks for; none where it narrows nothing.
func targetGrants(t providers.Target) []providers.Grant {
	if t.Repository == "" && t.Access == 0 {
		return nil
	}
	a := t.Access
	if a == 0 {
		a = providers.Push
	}
	return []providers.Grant{{Repository: t.Repository, Access: a}}
}
