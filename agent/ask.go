// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// asked is a get understood: who answers it and for what.
type asked struct {
	host     providers.Host
	account  providers.Account
	provider providers.Provider
	target   []providers.Grant // of this ask alone
	grants   []providers.Grant // of all that narrows
	until    time.Time         // when a token that another tool fetched ends; zero for others
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
