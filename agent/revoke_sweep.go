// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// load reads entries of agents before this one.
func (v *revocations) load() {
	files, err := os.ReadDir(v.c.revokeDir())
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range files {
		name := f.Name()
		if v.entries[name] != nil || v.unread[name] || filepath.Ext(name) != ".json" || strings.HasPrefix(name, ".") {
			continue
		}
		m, err := v.read(name)
		if err != nil {
			v.unread[name] = true
			v.c.o.Log.Warn("an entry of things to take back is not read", "err", err.Error())
			continue
		}
		v.entries[name] = m
	}
}

// read reads one entry. Only what was made for a job of ours is taken back.
func (v *revocations) read(name string) (*made, error) {
	m := &made{}
	path := filepath.Join(v.c.revokeDir(), name)
	if err := readRecord(path, m); err != nil {
		return nil, err
	}
	if !configdir.ValidID(m.Job) || m.Host.IsZero() || m.Account == "" {
		return nil, errors.New(path + " is damaged")
	}
	if now := v.c.now(); m.Created.IsZero() || m.Created.After(now) { // by a wrong clock
		m.Created = now.UTC()
	}
	m.file, m.earlier = name, true
	return m, nil
}

// maxSweeps is how many accounts are asked at once.
const maxSweeps = 8

// sweep takes back what jobs left that are no more. lives reports a job that is
// open, here or with another agent.
func (v *revocations) sweep(ctx context.Context, lives func(job string) bool) {
	v.load()
	free := make(chan struct{}, maxSweeps)
	var wg sync.WaitGroup
	for _, due := range v.due(lives) {
		free <- struct{}{}
		wg.Go(func() { // one after another, each within getLimit
			defer func() { <-free }()
			for _, m := range due {
				v.mu.Lock()
				stop := ctx.Err() != nil || v.resting(m)
				v.mu.Unlock()
				if stop {
					return
				}
				v.try(ctx, m)
			}
		})
	}
	wg.Wait()
}

// due lists what is to be tried now, for each account what has waited longest
// first.
func (v *revocations) due(lives func(job string) bool) map[string][]*made {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string][]*made{}
	for _, m := range v.entries {
		if !m.over && m.minting == 0 && !lives(m.Job) && !v.livesElsewhere(m) {
			m.over = true
		}
		wait := m.next.Sub(v.c.now())
		if wait > revokeAtMost { // by a wrong clock
			wait = 0
		}
		if m.over && !m.busy && m.minting == 0 && wait <= 0 && !v.resting(m) {
			out[m.where()] = append(out[m.where()], m)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b *made) int {
			return cmp.Or(a.next.Compare(b.next), a.Created.Compare(b.Created), strings.Compare(a.file, b.file))
		})
	}
	return out
}

// livesElsewhere reports a job whose wrapper holds it in another runtime
// directory, or which may live on another machine: until what it got has ended.
func (v *revocations) livesElsewhere(m *made) bool {
	if m.src != nil {
		return false
	}
	if m.Machine != "" && m.Machine != v.c.machine {
		return v.c.now().Before(m.end())
	}
	if !filepath.IsAbs(m.Dir) {
		return false
	}
	held, err := configdir.LockHeld(m.Dir)
	return held || err != nil
}

// end is when what was made has ended by itself.
func (m *made) end() time.Time {
	if m.ExpiresAt.IsZero() {
		return m.Created.Add(revokeKeep)
	}
	return m.ExpiresAt
}

// resting reports that the account of m has just not answered; v.mu is held.
func (v *revocations) resting(m *made) bool {
	r := v.rests[m.where()]
	if r == nil || !r.until.After(v.c.now()) || r.until.Sub(v.c.now()) > revokeAtMost {
		return false
	}
	if r.until.After(m.next) {
		m.next, m.err = r.until, r.err
	}
	return true
}

// answered keeps whether the account of m answers; v.mu is held.
func (v *revocations) answered(m *made, err error) {
	if err == nil || providers.KindOf(err) != providers.Unavailable {
		delete(v.rests, m.where())
		return
	}
	r := v.rests[m.where()]
	if r == nil {
		r = &rest{}
		v.rests[m.where()] = r
	}
	r.until, r.err = v.c.now().Add(pause(r.tries)), err
	r.tries++
}

// pause is how long to wait after so many failures before.
func pause(tries int) time.Duration {
	if tries < 8 {
		return min(revokeAgain<<tries, revokeAtMost)
	}
	return revokeAtMost
}

// try takes one thing back, or plans the next attempt.
func (v *revocations) try(ctx context.Context, m *made) {
	v.mu.Lock()
	if m.busy || m.minting > 0 || v.entries[m.file] != m {
		v.mu.Unlock()
		return
	}
	m.busy = true
	src, creds, notes := m.src, slices.Clone(m.creds), slices.Clone(m.Sealed)
	v.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	done, err := v.takeBack(ctx, m, src, creds, notes)
	cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	m.busy, m.err = false, err
	v.answered(m, err)
	if done {
		v.remove(m)
		return
	}
	if !v.c.now().Before(m.end()) {
		v.c.o.Log.Warn("what was made for a job is not taken back; it ends by itself", "host", m.Host.String(), "job", m.Job)
		v.remove(m)
		return
	}
	m.next = v.c.now().Add(pause(m.tries))
	m.tries++
	if err != nil {
		v.c.o.Log.Error("not revoked", "host", m.Host.String(), "job", m.Job, "err", err.Error())
	}
}
