// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
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
	revoked *revocations // where what it makes for jobs is written down
	// failedOn is the state of watches after a mint that failed; nil: it did not.
	failedOn atomic.Pointer[string]

	// Under Core.mu: the configuration it is known to fit, and its last use.
	fits *snapshot
	used time.Time
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
// it was asked for and is unset, and an entry that covers the rest of the table
// of names (api.CallerEnv).
type callerEnv map[string]*string

// allOfTable is the key under which that entry is kept.
const allOfTable = "*"

func parseEnv(list []string) callerEnv {
	e := make(callerEnv, len(list))
	for _, kv := range list {
		if api.CompletesEnv(kv) {
			e[allOfTable] = nil
			continue
		}
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
	_, all := e[allOfTable]
	for _, n := range names {
		if _, ok := e[n]; ok || slices.Contains(out, n) {
			continue
		}
		if all {
			if _, known := slices.BinarySearch(api.EnvNames, n); known {
				continue
			}
		}
		out = append(out, n)
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
	src := &source{Source: opened, key: key, account: a, fits: s, used: c.now(), revoked: c.revoked}
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

// schemeJob marks a secret kept in the memory of a job.
const schemeJob = "job"

// resolver reads secret references for one source. owner is the job whose
// account it is, not the one that asked first: a job inside another has secrets
// of its own.
//
// A rotation that was interrupted with the new secret at hand is finished first.
func (c *Core) resolver(a providers.Account, env map[string]string, owner *job) func(context.Context, providers.SecretRef) (providers.Secret, error) {
	plain := c.plainResolver(a, env, owner)
	return func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
		if ref.Scheme == "keyring" || owner == nil {
			if s, err := c.settleHere(ctx, a, ref); err != nil || !s.IsZero() {
				return s, err
			}
		}
		return plain(ctx, ref)
	}
}

// plainResolver reads secrets as they are.
func (c *Core) plainResolver(a providers.Account, env map[string]string, owner *job) func(context.Context, providers.SecretRef) (providers.Secret, error) {
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
