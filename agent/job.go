// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// job is a lease on a config directory, with grants, an environment and logins
// of its own. Jobs nest: a job opened inside a job inherits and never adds.
type job struct {
	id      string
	req     api.JobRequest
	parent  *job
	opened  time.Time
	targets map[providers.Host][]providers.Grant
	named   map[providers.Host]bool // hosts of targets; with only, the job's whole world
	picks   []pick                  // the later one first
	env     callerEnv
	config  []providers.Account // LayerJobConfig
	line    *line               // to the wrapper; nil without a lease
	// ends says when a login ends by itself; zero: it does not.
	ends  func(k providers.Key, l api.Login) time.Time
	ended chan struct{} // closed with the job
	end   context.CancelFunc

	mu     sync.Mutex
	logins map[string]jobLogin // by store key: host, or host/item
	carry  map[providers.Host]jobLogin
	edits  int // of logins and carry
	sel    *providers.Selector
	selFor *snapshot
	held   map[minter.ID]func()
	closed string
	gets   int
}

// pick is an account that was chosen when the job was opened.
type pick struct {
	name  string
	hosts []providers.Pattern
}

// newJob understands a request. Failures are for the person who ran regmint.
func (c *Core) newJob(req api.JobRequest, parent *job) (*job, error) {
	j := &job{
		id: req.ID, req: req, parent: parent, opened: c.now(),
		targets: map[providers.Host][]providers.Grant{},
		named:   map[providers.Host]bool{},
		env:     parseEnv(req.Env),
		ended:   make(chan struct{}),
		logins:  map[string]jobLogin{},
		carry:   map[providers.Host]jobLogin{},
		held:    map[minter.ID]func(){},
	}
	j.req.Logins, j.req.Env = nil, nil // kept once, in the fields above
	j.ends = c.endOf
	for _, s := range req.Targets {
		t, err := providers.ParseTarget(s)
		if err != nil {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: err}
		}
		j.named[t.Host] = true
		if g := targetGrants(t); g != nil {
			j.targets[t.Host] = providers.MergeGrants(append(j.targets[t.Host], g...))
		}
	}
	if req.Only && len(j.named) == 0 {
		return nil, &providers.Error{Kind: providers.Misconfigured, Err: errors.New("--only needs a target"), Hint: "add -r HOST"}
	}
	s := c.state.Load()
	if req.ConfigText != "" {
		cfg, err := config.LoadText(config.TextOptions{Name: req.ConfigName, Text: req.ConfigText, Providers: c.o.Providers, Policy: s.cfg.Policy})
		if err != nil {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: err}
		}
		j.config = cfg.Accounts
	}
	for _, l := range req.Logins {
		if err := j.take(l); err != nil {
			return nil, err
		}
	}
	return j, c.pick(s, j, req.Accounts)
}

// pick notes --account: each named account is chosen for its hosts, whatever
// becomes of the configuration.
func (c *Core) pick(s *snapshot, j *job, names []string) error {
	for _, name := range names {
		found := false
		for _, a := range j.accounts(s) {
			if a.Name != name {
				continue
			}
			found = true
			j.picks = slices.Insert(j.picks, 0, pick{name, a.Hosts})
		}
		if !found {
			return &providers.Error{Kind: providers.Misconfigured, Err: errors.New("no account is named " + name), Hint: "run: regmint status"}
		}
	}
	return nil
}

// picked is the account chosen for h, by this job or one around it; "" = none.
func (j *job) picked(h providers.Host) string {
	for ; j != nil; j = j.parent {
		for _, p := range j.picks {
			if slices.ContainsFunc(p.hosts, func(p providers.Pattern) bool { return p.MatchHost(h) }) {
				return p.name
			}
		}
	}
	return ""
}

// accounts are the job's own accounts, those of the jobs around it, and the
// configuration's.
func (j *job) accounts(s *snapshot) []providers.Account {
	var out []providers.Account
	seen := map[providers.Host]bool{}
	for p := j; p != nil; p = p.parent {
		p.mu.Lock()
		for name, l := range p.logins {
			if name != l.host.String() || seen[l.host] {
				continue // an item of the web login, or a login of an inner job
			}
			seen[l.host] = true
			out = append(out, loginAccount(l, providers.LayerJobLogin, l.ref("")))
		}
		p.mu.Unlock()
		for _, a := range p.config {
			if !slices.ContainsFunc(out, func(b providers.Account) bool { return b.Layer == a.Layer && b.Name == a.Name }) {
				out = append(out, a)
			}
		}
	}
	return append(out, s.cfg.Accounts...)
}

// owner is the job, of j and those around it, that a belongs to; nil for none.
func (j *job) owner(a providers.Account) *job {
	if !ownedByJob(a.Layer) {
		return nil
	}
	for ; j != nil; j = j.parent {
		if a.Layer == providers.LayerJobConfig {
			if slices.ContainsFunc(j.config, func(b providers.Account) bool { return b.Name == a.Name }) {
				return j
			}
			continue
		}
		j.mu.Lock()
		login, ok := j.logins[a.Name]
		mine := ok && login.ref("") == a.Password.Value
		for _, l := range j.carry {
			mine = mine || l.ref(carriedPrefix) == a.Password.Value
		}
		j.mu.Unlock()
		if mine {
			return j
		}
	}
	return nil
}

// owns is false for an account of a job that another login has replaced.
func (j *job) owns(a providers.Account) bool { return !ownedByJob(a.Layer) || j.owner(a) != nil }

// selector is the selector for j, made again when its logins or the
// configuration change.
func (c *Core) selector(s *snapshot, j *job) (*providers.Selector, error) {
	if j == nil {
		return s.sel, nil
	}
	j.mu.Lock()
	if j.sel != nil && j.selFor == s && (j.parent == nil) {
		sel := j.sel
		j.mu.Unlock()
		return sel, nil
	}
	plain := j.parent == nil && len(j.logins) == 0 && len(j.config) == 0
	edits := j.edits
	j.mu.Unlock()
	if plain {
		return s.sel, nil
	}
	sel, err := providers.NewSelector(j.accounts(s))
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	if j.edits == edits { // else a login came meanwhile that sel does not know
		j.sel, j.selFor = sel, s
	}
	j.mu.Unlock()
	return sel, nil
}

// allows says whether the job answers for h (--only, of any job around it).
func (j *job) allows(h providers.Host) bool {
	for ; j != nil; j = j.parent {
		if j.req.Only && !j.named[h] {
			return false
		}
	}
	return true
}

// allowsAny says whether the job answers for a host that a speaks about.
func (j *job) allowsAny(a providers.Account) bool {
	for ; j != nil; j = j.parent {
		if !j.req.Only {
			continue
		}
		if !slices.ContainsFunc(a.Hosts, func(p providers.Pattern) bool {
			for h := range j.named {
				if p.MatchHost(h) {
					return true
				}
			}
			return false
		}) {
			return false
		}
	}
	return true
}

// asked reports a credential that this job, or one around it, has had.
func (j *job) asked(id minter.ID) bool {
	for ; j != nil; j = j.parent {
		j.mu.Lock()
		_, ok := j.held[id]
		j.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// fixedEnv: a run job's environment was sent once, for its life.
func (j *job) fixedEnv() bool { return j.req.Kind == "run" }

// environment is the job's own over what this caller sent.
func (j *job) environment(sent callerEnv) callerEnv {
	if j.fixedEnv() {
		return maps.Clone(j.env)
	}
	out := maps.Clone(sent)
	maps.Copy(out, j.env)
	return out
}

// hold keeps what the job asked for fresh until it ends.
func (j *job) hold(r minter.Request, m *minter.Minter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gets++
	if _, ok := j.held[r.ID]; ok || j.closed != "" {
		return
	}
	j.held[r.ID] = m.Hold(r)
}

func (j *job) closedReason() string {
	for ; j != nil; j = j.parent {
		j.mu.Lock()
		why := j.closed
		j.mu.Unlock()
		if why != "" {
			return why
		}
	}
	return ""
}
