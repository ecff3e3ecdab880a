// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// List names what get can answer now, without a network or a mint: classic
// docker build and gitlab-runner ask for all of it and give up on one failure.
// Recognised hosts are in it for callers whose identity there has answered.
func (c *Core) List(j *job, req api.ListRequest) *api.ListResponse {
	s := c.state.Load()
	out := &api.ListResponse{Outcome: api.OK, Entries: map[string]string{}}
	env := parseEnv(req.Env)
	live, failed := c.liveAmbient(j, env), c.failedAmbient(j, env)
	for _, h := range c.hosts(s, j, slices.AppendSeq(slices.Collect(maps.Keys(live)), maps.Keys(failed))...) {
		if !j.allows(h) {
			continue
		}
		if user, ok := c.listed(s, j, h, live, failed); ok {
			out.Entries[h.DockerKey()] = user
		} else if user != "" {
			out.Withheld = append(out.Withheld, h.String(), h.DockerKey())
		}
	}
	if j == nil || !j.onlyAnywhere() {
		for _, b := range c.behindList(s, j) {
			if !slices.Contains(out.Behind, b.Helper) {
				out.Behind = append(out.Behind, b.Helper)
			}
		}
		c.listAuths(s, out)
	}
	return out
}

// failing is what listed says of a host whose get fails now.
const failing = "failing"

// listed is the user name that get answers with at h. Where ok is false, get
// finds nobody there (""), or fails.
func (c *Core) listed(s *snapshot, j *job, h providers.Host, live map[providers.Host]minter.View, failed map[providers.Host]providers.Kind) (user string, ok bool) {
	sel, err := c.selector(s, j)
	if err != nil {
		return failing, false
	}
	a, err := sel.Select(h, "", c.choice(j, h, ""))
	if err != nil {
		if providers.KindOf(err) != providers.NoAccount {
			return failing, false
		}
		if v, ok := live[h]; ok {
			return v.Credential.Username, true
		}
		kind, fails := failed[h]
		if sp, ok := c.spare(s, h); ok && kind != providers.Denied && !lockedStore(s) {
			return sp.Username, true
		}
		if fails {
			return failing, false
		}
		if a, ok = j.carried(h); !ok {
			return "", false
		}
	}
	if c.failing(h, accountID(a, j)) || c.ended(asked{host: h, account: a, until: j.until(a)}) != nil || (a.Password.Scheme == "keyring" && lockedStore(s)) {
		return failing, false
	}
	return c.username(a, h, j), true
}

// hosts are all hosts known by name: exact hosts of accounts, the job's
// targets and logins, what was asked for under wildcards, and more.
func (c *Core) hosts(s *snapshot, j *job, more ...providers.Host) []providers.Host {
	var out []providers.Host
	add := func(h providers.Host) {
		if !h.IsZero() && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	for _, h := range more {
		add(h)
	}
	accounts := s.cfg.Accounts
	if j != nil {
		accounts = j.accounts(s)
	}
	for _, a := range accounts {
		for _, p := range a.Hosts {
			if h, ok := p.Exact(); ok {
				add(h)
			}
		}
	}
	for _, sp := range s.cfg.Spares {
		for _, p := range sp.Hosts {
			if h, ok := p.Exact(); ok && sp.Until.After(c.now()) {
				add(h)
			}
		}
	}
	for p := j; p != nil; p = p.parent {
		for h := range p.named {
			add(h)
		}
		p.mu.Lock()
		for h := range p.carry {
			add(h)
		}
		p.mu.Unlock()
	}
	c.mu.Lock()
	for h := range c.asked {
		add(h)
	}
	c.mu.Unlock()
	slices.SortFunc(out, func(a, b providers.Host) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// remember notes a host that a wildcard or a recognised account answers.
func (c *Core) remember(q asked) {
	for _, p := range q.account.Hosts {
		if h, ok := p.Exact(); ok && h == q.host {
			return
		}
	}
	c.mu.Lock()
	if _, ok := c.asked[q.host]; !ok && len(c.asked) < 1024 {
		c.asked[q.host] = c.now()
	}
	c.mu.Unlock()
}

func (c *Core) failing(h providers.Host, account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.failures[failKey{host: h, account: account}]
	return ok && f.stands(c.now())
}

func lockedStore(s *snapshot) bool {
	st, err := s.secrets()
	if err != nil {
		return true
	}
	l, ok := st.(store.Locker)
	return ok && l.Locked()
}

// username is the name a listing shows: that of the cached credential, else
// the account's.
func (c *Core) username(a providers.Account, h providers.Host, j *job) string {
	id := accountID(a, j)
	for _, v := range c.mint.Views() {
		if v.ID.Host == h && v.ID.Account == id && v.Credential.Username != "" {
			return v.Credential.Username
		}
	}
	if a.Username != "" {
		return a.Username
	}
	return a.Name
}

func (j *job) onlyAnywhere() bool {
	for ; j != nil; j = j.parent {
		if j.req.Only {
			return true
		}
	}
	return false
}

// listAuths adds the plain logins of a config file behind us.
func (c *Core) listAuths(s *snapshot, out *api.ListResponse) {
	for _, v := range s.cfg.Docker.Behind {
		file, ok := strings.CutPrefix(v, configdir.AuthsPrefix)
		if !ok {
			continue
		}
		logins, warnings, err := configdir.ReadAuths(file)
		if err != nil {
			c.o.Log.Warn("docker config behind regmint cannot be read", "file", file, "err", err.Error())
			continue
		}
		for _, w := range warnings {
			c.o.Log.Warn("docker config behind regmint", "warning", w)
		}
		for _, l := range logins {
			k, err := providers.ParseKey(l.Key)
			if _, taken := out.Entries[l.Key]; !taken && (err != nil || !slices.Contains(out.Withheld, k.Host.String())) {
				out.Entries[l.Key] = l.Username
			}
		}
	}
}

// item answers for the two extra items of docker's web login.
func (c *Core) item(s *snapshot, j *job, k providers.Key) *api.GetResponse {
	name := itemName(k)
	if j != nil {
		for p := j; p != nil; p = p.parent {
			p.mu.Lock()
			l, ok := p.logins[name]
			p.mu.Unlock()
			if ok {
				return &api.GetResponse{Outcome: api.OK, Username: l.username, Secret: l.secret.Reveal()}
			}
		}
		return &api.GetResponse{Outcome: api.NotFound}
	}
	st, err := s.secrets()
	if err != nil {
		return &api.GetResponse{Outcome: api.NotFound}
	}
	sec, err := st.Get(c.background(), name)
	switch {
	case err == nil:
		return &api.GetResponse{Outcome: api.OK, Username: "docker", Secret: sec.Reveal()}
	case errors.Is(err, store.ErrNotFound):
		return &api.GetResponse{Outcome: api.NotFound, Behind: c.helperFor(s, nil, k.Host)}
	}
	return failure{host: k.Host, err: storeError(k.Host, err)}.response()
}
