// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

const (
	verifyEvery = 10 * time.Minute // of a long-lived secret in use
	verifyLimit = 8 * time.Second
)

// verification is what is known about a long-lived secret of one source.
type verification struct {
	mu       sync.Mutex
	last     time.Time
	running  bool
	rejected map[minter.ID]time.Time
	secrets  int // counts those that took the place of another
}

// replaced: what is being asked, or was refused, is about a former secret.
func (v *verification) replaced() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets++
	v.last = time.Time{}
	clear(v.rejected)
}

// verifyLater asks the registry in the background whether it still accepts a
// credential without expiry, or a saved secret. A 401 makes it login_required at
// once; anything else (5xx, no network) says nothing about the secret.
func (c *Core) verifyLater(src *source, q asked, j *job, cred providers.Credential) {
	v, ok := src.Source.(providers.Verifier)
	if !ok || !cred.ExpiresAt.IsZero() && !learns(src, cred) {
		return
	}
	now := c.now()
	src.verify.mu.Lock()
	if src.verify.running || (!src.verify.last.IsZero() && now.Sub(src.verify.last) < verifyEvery && !now.Before(src.verify.last)) {
		src.verify.mu.Unlock()
		return
	}
	src.verify.running, src.verify.last = true, now
	secrets := src.verify.secrets
	src.verify.mu.Unlock()
	go func() { // ends within verifyLimit
		ctx, cancel := context.WithTimeout(c.background(), verifyLimit)
		defer cancel()
		err := c.verify(ctx, v, q, cred)
		src.verify.mu.Lock()
		src.verify.running = false
		former := src.verify.secrets != secrets
		src.verify.mu.Unlock()
		if former || !c.current(src, q.account, j) {
			return
		}
		if err != nil && providers.KindOf(err) == providers.LoginRequired {
			c.reject(src, q, err)
			return
		}
		c.learn(ctx, src, q, j, cred)
	}()
}

// verify asks the registry whether it accepts cred.
func (c *Core) verify(ctx context.Context, v providers.Verifier, q asked, cred providers.Credential) (err error) {
	defer c.contain(q, &err)
	return v.Verify(ctx, providers.Request{Host: q.host}, cred)
}

// learns reports a saved secret that its source hands out unseen.
func learns(src *source, cred providers.Credential) bool {
	l, ok := src.Source.(providers.Learner)
	if ok {
		_, ok = l.Learned(cred)
	}
	return ok
}

// learn mints once more what was handed out unseen, now that its end is known.
func (c *Core) learn(ctx context.Context, src *source, q asked, j *job, cred providers.Credential) {
	l, ok := src.Source.(providers.Learner)
	if !ok {
		return
	}
	known, ok := l.Learned(cred)
	if !ok || known.ExpiresAt.IsZero() || known.ExpiresAt.Equal(cred.ExpiresAt) || !c.current(src, q.account, j) {
		return
	}
	r := providers.Request{Host: q.host, Grants: q.grants}
	if _, ok := src.Source.(providers.Revoker); ok && j != nil {
		r.Job = j.id
	}
	m := minter.Request{ID: minterID(src.key, src, r), Source: src, Request: r}
	c.mint.Drop(func(id minter.ID) bool { return id == m.ID })
	if _, err := c.mint.Get(ctx, m); err != nil {
		c.o.Log.Info("a saved secret does not do", "host", r.Host.String(), "err", err.Error())
	}
}

// reject drops what was cached of a refused secret and makes the next get ask
// the registry first.
func (c *Core) reject(src *source, q asked, why error) {
	key := src.key
	at := c.now()
	c.count.rejected.Add(1)
	c.o.Log.Warn("the registry refuses a saved secret", "host", q.host.String(), "account", q.account.Name)
	src.verify.mu.Lock()
	if src.verify.rejected == nil {
		src.verify.rejected = map[minter.ID]time.Time{}
	}
	src.verify.mu.Unlock()
	c.mint.Drop(func(m minter.ID) bool {
		if m.Host != q.host || m.Account != key.account || m.Env != key.env {
			return false
		}
		src.verify.mu.Lock()
		src.verify.rejected[m] = at
		src.verify.mu.Unlock()
		return true
	})
	c.mu.Lock()
	about := failKey{host: q.host, account: key.account}
	if q.account.Layer == providers.LayerAmbient {
		about.env = key.env
	}
	c.failures[about] = failure{host: q.host, account: q.account, err: rejectedError(q.host, at, why), at: at}
	c.mu.Unlock()
}

// rejectedError is a secret that the registry refuses. What the provider knows
// about it is kept, where that is more than the status.
func rejectedError(h providers.Host, at time.Time, why error) error {
	out := &providers.Error{
		Kind: providers.LoginRequired, Host: h,
		Err:  errors.New("rejected by the registry at " + at.Format("15:04")),
		Hint: "run: regmint login " + h.String(),
	}
	e, ok := errors.AsType[*providers.Error](why)
	if ok && e.Err != nil && !strings.Contains(e.Err.Error(), "HTTP 401") {
		out.Err = fmt.Errorf("%w: %w", out.Err, e.Err)
		out.Hint = cmp.Or(e.Hint, out.Hint)
	}
	return out
}

// verifyNow asks the registry before a secret is handed out that it has
// refused before; a secret that was replaced or revived clears the mark.
func (c *Core) verifyNow(ctx context.Context, src *source, q asked, m minter.Request) error {
	src.verify.mu.Lock()
	at, marked := src.verify.rejected[m.ID]
	src.verify.mu.Unlock()
	v, ok := src.Source.(providers.Verifier)
	if !marked || !ok {
		return nil
	}
	cred, err := c.mint.Get(ctx, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	if err := c.verify(ctx, v, q, cred); err != nil && providers.KindOf(err) == providers.LoginRequired {
		c.mint.Drop(func(id minter.ID) bool { return id == m.ID })
		return rejectedError(q.host, at, err)
	}
	src.verify.mu.Lock()
	delete(src.verify.rejected, m.ID)
	src.verify.mu.Unlock()
	return nil
}
