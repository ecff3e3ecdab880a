// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// Status says what is configured and cached; never a secret. j limits it to
// what that job may see.
func (c *Core) Status(j *job) api.Status {
	s := c.state.Load()
	st := api.Status{Schema: 1, Version: api.BuildVersion, Config: c.o.Config, Accounts: []api.AccountStatus{}, Jobs: []api.JobStatus{}, Tokens: []api.TokenStatus{}}
	if sec, err := s.secrets(); err != nil {
		st.Store = "unavailable: " + err.Error()
	} else {
		st.Store = sec.Describe()
		l, ok := sec.(store.Locker)
		st.Locked = ok && l.Locked()
	}
	st.Warnings = append(st.Warnings, s.cfg.Warnings...)
	if s.loadErr != nil {
		st.Warnings = append(st.Warnings, "configuration not reloaded: "+s.loadErr.Error())
	}
	views := c.mint.Views()
	accounts := s.cfg.Accounts
	if j != nil {
		accounts = slices.DeleteFunc(j.accounts(s), func(a providers.Account) bool { return !j.allowsAny(a) })
		views = slices.DeleteFunc(views, func(v minter.View) bool { return !j.asked(v.ID) })
	}
	for _, a := range accounts {
		st.Accounts = append(st.Accounts, c.accountStatus(a, j, views))
	}
	st.Accounts = append(st.Accounts, c.ambientStatus(j, views)...)
	for _, sp := range s.cfg.Spares {
		if j.allowsAny(sp.Account) && sp.Until.After(c.now()) {
			a, until := c.accountStatus(sp.Account, j, views), sp.Until.UTC()
			a.Until = &until
			st.Accounts = append(st.Accounts, a)
		}
	}
	for _, v := range views {
		if v.Credential.Username == "" && v.Credential.IssuedAt.IsZero() {
			continue // a remembered failure: shown with its account
		}
		t := c.tokenStatus(v)
		if sp, ok := s.spareOf(v.ID.Host); ok && sp.Name == t.Account && t.ExpiresAt == nil {
			until := sp.Until.UTC()
			t.ExpiresAt = &until
		}
		st.Tokens = append(st.Tokens, t)
	}
	st.Rotations = c.rotationStatus(accounts, j == nil)
	for _, v := range c.revoked.pending() {
		if j == nil || j.id == v.Job {
			st.Revocations = append(st.Revocations, v)
		}
	}
	slices.SortFunc(st.Tokens, func(a, b api.TokenStatus) int {
		return strings.Compare(a.Host+"\x00"+a.Account+"\x00"+a.Grants, b.Host+"\x00"+b.Account+"\x00"+b.Grants)
	})
	return st
}

var layerNames = map[providers.Layer]string{
	providers.LayerJobLogin: "job", providers.LayerJobConfig: "job", providers.LayerConfigured: "configured",
	providers.LayerSaved: "saved", providers.LayerAmbient: "ambient", providers.LayerCarried: "job",
}

func (c *Core) accountStatus(a providers.Account, j *job, views []minter.View) api.AccountStatus {
	out := api.AccountStatus{
		Name: a.Name, Provider: a.Provider, Username: a.Username, Layer: layerNames[a.Layer],
		Source: a.Source, State: "idle", Default: a.Default,
	}
	for _, p := range a.Hosts {
		out.Hosts = append(out.Hosts, p.String())
	}
	id := accountID(a, j)
	for _, v := range views {
		if v.ID.Account != id {
			continue
		}
		if v.Err == nil {
			out.State = "ok"
			continue
		}
		if out.State == "ok" && a.Layer == providers.LayerAmbient {
			continue // another terminal's identity is well
		}
		out.State, out.Message = string(providers.KindOf(v.Err)), message(v.ID.Host, v.Err)
		if !v.Credential.ExpiresAt.IsZero() || v.Credential.Username != "" {
			out.State = "ok" // the old one still lives; the message says what is wrong
		}
	}
	first := ""
	for k, f := range c.failuresOf(j) {
		if h := k.host.String(); k.account == id && out.State != "ok" && (first == "" || h < first) {
			first = h
			out.State, out.Message = string(providers.KindOf(f.err)), message(k.host, f.err)
		}
	}
	return out
}

func (c *Core) tokenStatus(v minter.View) api.TokenStatus {
	owner, name := splitID(v.ID.Account)
	if v.ID.Job != "" {
		owner = v.ID.Job // made for this job alone
	}
	t := api.TokenStatus{
		Host: v.ID.Host.String(), Account: name, Username: v.Credential.Username,
		Job: owner, Grants: strings.TrimSpace(v.ID.Grants), IssuedAt: v.Credential.IssuedAt.UTC(),
		Wider: v.Credential.Wider, Origin: v.Credential.Origin, Mints: v.Mints,
	}
	if c.productsName(name, v.ID.Host, v.Credential.Username) {
		t.As = v.Credential.Origin
	}
	if !v.Credential.ExpiresAt.IsZero() {
		e := v.Credential.ExpiresAt.UTC()
		t.ExpiresAt = &e
	}
	if !v.RefreshAt.IsZero() {
		r := v.RefreshAt.UTC()
		t.RefreshAt = &r
	}
	if v.Err != nil {
		t.LastError = message(v.ID.Host, v.Err)
	}
	return t
}

// productsName reports a user name that the product of an account gives to
// everybody: AWS.
func (c *Core) productsName(account string, h providers.Host, user string) bool {
	of, _ := c.AccountNamed(account) // of a host whose name tells nothing
	for _, p := range c.o.Providers {
		if m, ok := p.(providers.MintedUser); ok && (p.Match(h) || p.Name() == of.Provider) {
			_, yes := m.MintedUser(h, user, providers.Secret{}, c.now())
			return yes
		}
	}
	return false
}

// Metrics writes the counters as Prometheus text.
func (c *Core) Metrics(w io.Writer, jobs int) {
	m := c.mint.Stats()
	row := func(kind, name, help string, v any) {
		fmt.Fprintf(w, "# HELP regmint_%s %s\n# TYPE regmint_%s %s\nregmint_%s %v\n", name, help, name, kind, name, v)
	}
	row("counter", "gets_total", "gets answered", c.count.gets.Load())
	row("counter", "gets_not_found_total", "gets answered with not found", c.count.notFound.Load())
	row("counter", "gets_failed_total", "gets that failed", c.count.failed.Load())
	row("counter", "gets_softened_total", "failures answered as not found by on_failure or a -soft link", c.count.softened.Load())
	row("counter", "cache_hits_total", "gets answered from memory", m.Hits)
	row("counter", "mints_total", "credentials minted", m.Mints)
	row("counter", "mint_errors_total", "mints that failed", m.MintErrors)
	row("counter", "secrets_rejected_total", "saved secrets refused by their registry", c.count.rejected.Load())
	row("gauge", "credentials", "credentials in memory", m.Entries)
	row("counter", "peers_refused_total", "connections of other users that were closed", c.count.refusedPeers.Load())
	row("gauge", "jobs", "open jobs", jobs)
	row("gauge", "goroutines", "goroutines of the agent", runtime.NumGoroutine())
}
