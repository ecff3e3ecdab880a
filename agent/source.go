// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// sourceKey is one account with one set of environment values.
type sourceKey struct {
	account string // layer, job, name
	env     string
}

type source struct {
	providers.Source
	key     sourceKey
	opened  uint64
	account providers.Account
	watches []string
	verify  verification
	work    ownWork
	// failedOn is the state of watches after a mint that failed; nil: it did not.
	failedOn atomic.Pointer[string]

	// Under Core.mu: the configuration it is known to fit, and its last use.
	fits *snapshot
	used time.Time
}

// Mint implements providers.Source and notes that it runs: programs and
// sessions write the very files that are watched.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	defer s.work.begin()()
	c, err := s.Source.Mint(ctx, r)
	if err == nil {
		s.failedOn.Store(nil)
	} else if len(s.watches) > 0 {
		now := stateOf(s.watches)
		s.failedOn.Store(&now)
	}
	return c, err
}

// renewed reports that a file which the last failure rested on is another one
// by now: somebody has logged in, and the very next get must see it, whether
// the watcher has told of it or not.
func (s *source) renewed() bool {
	on := s.failedOn.Load()
	return on != nil && *on != stateOf(s.watches)
}

// stateOf tells one state of files from another.
func stateOf(files []string) string {
	var b strings.Builder
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprint(&b, info.Size(), " ", info.ModTime().UnixNano())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// RefreshEarly implements providers.EarlyRefresher for those that do.
func (s *source) RefreshEarly() bool {
	e, ok := s.Source.(providers.EarlyRefresher)
	return ok && e.RefreshEarly()
}

// ownWork tells changes of files that a source makes itself from others.
type ownWork struct {
	mu      sync.Mutex
	running int
	ended   time.Time
}

func (w *ownWork) begin() (end func()) {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		w.running--
		w.ended = time.Now()
		w.mu.Unlock()
	}
}

// echo is how long after its work a change of a file counts as a source's own.
const echo = time.Second

func (w *ownWork) wrote() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running > 0 || time.Since(w.ended) < echo
}

// envNames lists the caller's variables that decide who account is.
func (c *Core) envNames(a providers.Account, p providers.Provider) []string {
	if a.Layer == providers.LayerAmbient {
		return p.Env()
	}
	if a.Layer == providers.LayerJobConfig {
		return nil // resolved by the wrapper
	}
	return config.EnvNames([]providers.Account{a})
}

// callerEnv holds what a caller sent: NAME=value where set, NAME alone where
// it was asked for and is unset.
type callerEnv map[string]*string

func parseEnv(list []string) callerEnv {
	e := make(callerEnv, len(list))
	for _, kv := range list {
		if name, value, ok := strings.Cut(kv, "="); ok {
			e[name] = &value
		} else {
			e[name] = nil
		}
	}
	return e
}

// missing lists the names the caller has said nothing about.
func (e callerEnv) missing(names []string) []string {
	var out []string
	for _, n := range names {
		if _, ok := e[n]; !ok && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// digest is a salted digest of the values of names; it never leaves memory.
func (c *Core) digest(names []string, env callerEnv) string {
	if len(names) == 0 {
		return ""
	}
	names = slices.Clone(names)
	slices.Sort(names)
	m := hmac.New(sha256.New, c.salt[:])
	for _, n := range slices.Compact(names) {
		v := "-"
		if p := env[n]; p != nil {
			v = "+" + *p
		}
		for _, s := range []string{n, v} {
			m.Write([]byte(strconv.Itoa(len(s))))
			m.Write([]byte{':'})
			m.Write([]byte(s))
		}
	}
	return base64.RawStdEncoding.EncodeToString(m.Sum(nil)[:16])
}

func (c *Core) provider(name string) providers.Provider {
	for _, p := range c.o.Providers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// accountID names an account across layers and jobs: LAYER/JOB/NAME. A login
// of a job is named by the reference to its secret: the next login to the same
// host is another account.
func accountID(a providers.Account, j *job) string { return accountOf(a, j.owner(a)) }

func accountOf(a providers.Account, owner *job) string {
	id, name := "", a.Name
	if owner != nil {
		id = owner.id
	}
	if a.Layer == providers.LayerJobLogin || a.Layer == providers.LayerCarried {
		name = a.Password.Value
	}
	return idPrefix(a.Layer, id) + name
}

func idPrefix(l providers.Layer, owner string) string {
	return strconv.Itoa(int(l)) + "/" + owner + "/"
}

// splitID takes an account id apart.
func splitID(id string) (jobID, name string) {
	parts := strings.SplitN(id, "/", 3)
	if len(parts) != 3 {
		return "", id
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(parts[2], carriedPrefix), "#")
	return parts[1], name
}

func ownedByJob(l providers.Layer) bool {
	return l == providers.LayerJobLogin || l == providers.LayerJobConfig || l == providers.LayerCarried
}

// open returns the source of account for env, opening it once.
func (c *Core) open(s *snapshot, a providers.Account, p providers.Provider, names []string, env callerEnv, j *job) (*source, sourceKey, error) {
	owner := j.owner(a)
	if ownedByJob(a.Layer) && owner == nil {
		return nil, sourceKey{}, errStale
	}
	key := sourceKey{account: accountOf(a, owner), env: c.digest(names, env)}
	if src, err := c.lookup(s, key, a); src != nil || err != nil {
		return src, key, err
	}
	values := map[string]string{}
	for _, n := range names {
		if v := env[n]; v != nil {
			values[n] = *v
		}
	}
	deps := c.deps(s, a, key)
	deps.Resolve = c.resolver(a, values, owner)
	if a.Layer == providers.LayerAmbient {
		deps.Env = values
	}
	opened, err := p.Open(a, deps)
	if err != nil {
		return nil, key, err
	}
	src := &source{Source: opened, key: key, account: a, fits: s, used: c.now()}
	if w, ok := opened.(providers.Watcher); ok {
		src.watches = w.Watches()
	}
	src.watches = append(src.watches, config.SecretFiles(a)...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load() != s {
		return nil, key, errStale // its account may be another one by now
	}
	if other := c.sources[key]; other != nil {
		return other, key, nil
	}
	c.opened++
	src.opened = c.opened
	c.sources[key] = src
	if c.watch != nil {
		c.watch.add(src.watches)
	}
	return src, key, nil
}

// lookup is the source of key where it is open and made of a.
func (c *Core) lookup(s *snapshot, key sourceKey, a providers.Account) (*source, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	src := c.sources[key]
	if src == nil {
		return nil, nil
	}
	if src.fits != s {
		if c.state.Load() != s {
			return nil, errStale
		}
		if !sameAccount(src.account, a) {
			delete(c.sources, key)
			return nil, nil
		}
		src.fits = s
	}
	src.used = c.now()
	return src, nil
}

// current reports that nothing has taken the place of src, which answers for a
// in j, since it was opened.
func (c *Core) current(src *source, a providers.Account, j *job) bool {
	c.mu.Lock()
	open := c.sources[src.key] == src
	c.mu.Unlock()
	return open && j.owns(a)
}

// schemeJob marks a secret kept in the memory of a job.
const schemeJob = "job"

// resolver reads secret references for one source. owner is the job whose
// account it is, not the one that asked first: a job inside another has secrets
// of its own.
func (c *Core) resolver(a providers.Account, env map[string]string, owner *job) func(context.Context, providers.SecretRef) (providers.Secret, error) {
	return func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
		if ref.Scheme == schemeJob {
			return owner.secret(ref.Value)
		}
		if a.Layer == providers.LayerJobConfig && ref.Scheme != "keyring" {
			// A job's own configuration was resolved by the wrapper, with the
			// caller's rights (DESIGN rule 16).
			if owner != nil {
				if v, ok := owner.req.Resolved[config.RefKey(ref)]; ok {
					return providers.NewSecret(v), nil
				}
			}
			return providers.Secret{}, &providers.Error{Kind: providers.Misconfigured, Err: errors.New(ref.String() + " was not resolved when the job was opened")}
		}
		s := c.state.Load()
		if ref.Scheme == "keyring" {
			st, err := s.secrets()
			if err == nil {
				var sec providers.Secret
				if sec, err = st.Get(ctx, ref.Value); err == nil {
					return sec, nil
				}
			}
			return providers.Secret{}, storeError(hostOf(a), err)
		}
		r := config.Resolver{
			Env:     func(n string) (string, bool) { v, ok := env[n]; return v, ok },
			ExecEnv: c.o.ExecEnv,
		}
		return r.Resolve(ctx, ref)
	}
}

// hostOf is the host an account is best known by, for error texts.
func hostOf(a providers.Account) providers.Host {
	for _, p := range a.Hosts {
		if h, ok := p.Exact(); ok {
			return h
		}
	}
	return providers.Host{}
}

// identityIdle is how long the identity of a caller that has gone is kept.
const identityIdle = time.Hour

// forgetIdle closes what was opened for the variables of callers that no longer
// ask, and drops what was minted with them: each CI job brings a token of its
// own, which must not be kept for ever.
func (c *Core) forgetIdle() {
	old := map[uint64]sourceKey{}
	c.mu.Lock()
	for k, src := range c.sources {
		if k.env != "" && c.now().Sub(src.used) > identityIdle {
			old[src.opened] = k
		}
	}
	c.mu.Unlock()
	if len(old) == 0 {
		return
	}
	for _, v := range c.mint.Views() {
		if v.Held > 0 {
			delete(old, v.ID.Opened) // a job lives by it
		}
	}
	c.mu.Lock()
	for opened, k := range old {
		if src := c.sources[k]; src == nil || src.opened != opened || c.now().Sub(src.used) <= identityIdle {
			delete(old, opened)
			continue
		}
		delete(c.sources, k)
	}
	c.mu.Unlock()
	c.mint.Drop(func(id minter.ID) bool { _, ok := old[id.Opened]; return ok })
}

// dropChanged forgets sources and credentials of accounts that are no longer
// as they were.
func (c *Core) dropChanged(accounts []providers.Account) {
	now := map[string]providers.Account{}
	for _, a := range accounts {
		now[accountID(a, nil)] = a
	}
	gone := map[string]bool{}
	c.mu.Lock()
	for k, src := range c.sources {
		if ownedByJob(src.account.Layer) || src.account.Layer == providers.LayerAmbient {
			continue
		}
		a, ok := now[k.account]
		if !ok || !sameAccount(a, src.account) {
			delete(c.sources, k)
			gone[k.account] = true
		}
	}
	c.mu.Unlock()
	if len(gone) > 0 {
		c.mint.Drop(func(id minter.ID) bool { return gone[id.Account] })
	}
	c.mint.ForgetFailures(func(minter.ID) bool { return true })
}

// sameAccount ignores where an account stands in its file.
func sameAccount(a, b providers.Account) bool {
	a.Source, b.Source = "", ""
	return reflect.DeepEqual(a, b)
}

// closeSource makes the next get open an account anew.
func (c *Core) closeSource(src *source) {
	c.mu.Lock()
	if c.sources[src.key] == src {
		delete(c.sources, src.key)
	}
	c.mu.Unlock()
	c.mint.ForgetFailures(func(id minter.ID) bool { return id.Opened == src.opened })
}

// closeSources makes the next get open every account anew.
func (c *Core) closeSources() {
	c.mu.Lock()
	clear(c.sources)
	c.mu.Unlock()
	c.mint.Drop(func(minter.ID) bool { return true })
}

// dropSources forgets the sources of account ids and all they minted.
func (c *Core) dropSources(match func(account string) bool) int {
	c.mu.Lock()
	for k := range c.sources {
		if match(k.account) {
			delete(c.sources, k)
		}
	}
	c.mu.Unlock()
	return c.mint.Drop(func(id minter.ID) bool { return match(id.Account) })
}
