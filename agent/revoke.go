// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

const (
	// What could not be taken back is tried again after revokeAgain, then after
	// twice as long each time, up to revokeAtMost.
	revokeAgain  = 15 * time.Second
	revokeAtMost = time.Hour
	// revokeKeep is how long something without a known end is tried.
	revokeKeep = 30 * 24 * time.Hour
	// revokeWait is how long an agent with nothing else to do stays for it; the
	// next one goes on.
	revokeWait = 24 * time.Hour
)

// made is the entry of something that is made for one job alone: in the journal
// before it is made, out of it once it is taken back. It holds no secret.
type made struct {
	Schema    int               `json:"schema"`
	Account   string            `json:"account"`
	Provider  string            `json:"provider"`
	Host      providers.Host    `json:"host"`
	Grants    []providers.Grant `json:"grants,omitempty"`
	Job       string            `json:"job"`
	Created   time.Time         `json:"created"`
	ExpiresAt time.Time         `json:"expires_at,omitzero"`
	// Where the job is: agents of other directories and machines may share the
	// state directory.
	Dir     string `json:"dir,omitempty"`
	Machine string `json:"machine,omitempty"`
	// Sealed are those that can be taken back with themselves alone.
	Sealed []sealed `json:"sealed,omitempty"`

	// Of this process alone.
	file    string
	earlier bool    // written by an agent before this one
	src     *source // nil: made by an earlier agent
	creds   []providers.Credential
	minting int
	over    bool // the job has ended
	busy    bool
	tries   int
	next    time.Time
	err     error
}

func (m *made) request() providers.Request {
	return providers.Request{Host: m.Host, Grants: m.Grants, Job: m.Job}
}

// revocations is the journal.
type revocations struct {
	c  *Core
	mu sync.Mutex
	// entries by file name.
	entries map[string]*made
	unread  map[string]bool  // files that are no entries, known as such
	rests   map[string]*rest // by account and host
}

// rest is how long an account that does not answer is left alone, whatever is to
// be taken back there.
type rest struct {
	tries int
	until time.Time
	err   error
}

func newRevocations(c *Core) *revocations {
	return &revocations{c: c, entries: map[string]*made{}, unread: map[string]bool{}, rests: map[string]*rest{}}
}

// where tells what is to be taken back with one account at one host.
func (m *made) where() string { return m.Account + "\x00" + m.Host.String() }

func (c *Core) revokeDir() string { return filepath.Join(c.o.Saved.StateDir, "revoke") }

// begin writes the entry of what src is about to make for a job.
func (v *revocations) begin(src *source, r providers.Request) (*made, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sum := sha256.Sum256([]byte(src.key.account + "\x00" + r.Host.String() + "\x00" + canonical(r.Grants) + "\x00" + r.Job))
	file := hex.EncodeToString(sum[:16]) + ".json"
	m := v.entries[file]
	if m == nil {
		m = &made{Schema: 1, Account: src.account.Name, Provider: src.account.Provider, Host: r.Host, Grants: r.Grants, Job: r.Job, Created: v.c.now().UTC(), file: file}
		if m.Machine = v.c.machine; v.c.jobDir != nil {
			m.Dir = v.c.jobDir(r.Job)
		}
		m.follow(filepath.Join(v.c.revokeDir(), file))
		if sl, ok := src.Source.(providers.Sealer); ok {
			m.ExpiresAt = later(m.ExpiresAt, v.c.now().Add(sl.Lives()))
		}
		if err := writeRecord(filepath.Join(v.c.revokeDir(), file), m); err != nil {
			return nil, &providers.Error{
				Kind: providers.Misconfigured, Host: r.Host, Err: fmt.Errorf("nothing is made for a job that could not be taken back: %w", err),
				Hint: "look at " + v.c.revokeDir(),
			}
		}
		v.entries[file] = m
	}
	m.src = src
	m.minting++
	return m, nil
}

// follow takes from the entry of an agent before this one, for the same job, what
// that one made.
func (m *made) follow(path string) {
	var old made
	err := readRecord(path, &old)
	m.earlier = !errors.Is(err, fs.ErrNotExist)
	if err != nil || old.Job != m.Job || old.Account != m.Account || old.Host != m.Host {
		return
	}
	if !old.Created.IsZero() && old.Created.Before(m.Created) {
		m.Created = old.Created
	}
	m.ExpiresAt, m.Sealed = old.ExpiresAt, old.Sealed
}

// later is the later of two times, in UTC.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b.UTC()
	}
	return a
}

// end notes what a mint brought.
func (v *revocations) end(ctx context.Context, src *source, m *made, c providers.Credential, err error) {
	text := ""
	if err == nil {
		text = v.seal(ctx, src, m, c)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	m.minting--
	if err != nil {
		if k := providers.KindOf(err); k != providers.Unavailable && len(m.creds) == 0 && m.minting == 0 && !m.earlier {
			v.remove(m) // refused: nothing was made
		}
		return
	}
	over := func(at time.Time) bool { return !at.IsZero() && !at.After(v.c.now()) }
	m.creds = slices.DeleteFunc(m.creds, func(o providers.Credential) bool { return over(o.ExpiresAt) })
	m.creds = append(m.creds, c)
	if text != "" {
		m.Sealed = slices.DeleteFunc(m.Sealed, func(o sealed) bool { return over(o.ExpiresAt) })
		m.Sealed = append(m.Sealed, sealed{text, c.ExpiresAt.UTC()})
	}
	if text != "" || c.ExpiresAt.After(m.ExpiresAt) {
		m.ExpiresAt = later(m.ExpiresAt, c.ExpiresAt)
		if err := writeRecord(filepath.Join(v.c.revokeDir(), m.file), m); err != nil {
			v.c.o.Log.Warn("the journal of things to take back is not up to date", "err", err.Error())
		}
	}
}

func (v *revocations) remove(m *made) {
	if err := os.Remove(filepath.Join(v.c.revokeDir(), m.file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.c.o.Log.Warn("an entry of things to take back is not removed", "err", err.Error())
	}
	delete(v.entries, m.file)
}

// close takes back what was made for a job that ends.
func (v *revocations) close(ctx context.Context, job string) {
	v.mu.Lock()
	var own []*made
	for _, m := range v.entries {
		if m.Job == job {
			m.over = true
			if !v.resting(m) {
				own = append(own, m)
			}
		}
	}
	v.mu.Unlock()
	var wg sync.WaitGroup
	for _, m := range own {
		wg.Go(func() { v.try(ctx, m) }) // each within getLimit
	}
	wg.Wait()
}

// pending lists what is to be taken back, the oldest first.
func (v *revocations) pending() []api.RevocationStatus {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := []api.RevocationStatus{}
	for _, m := range v.entries {
		if !m.over {
			continue
		}
		st := api.RevocationStatus{
			Host: m.Host.String(), Account: m.Account, Job: m.Job, Grants: strings.TrimSpace(canonical(m.Grants)),
			Created: m.Created.UTC(), ExpiresAt: timeOrNil(m.ExpiresAt), NextAt: timeOrNil(m.next),
		}
		if m.err != nil {
			st.Message = message(m.Host, m.err)
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b api.RevocationStatus) int { return a.Created.Compare(b.Created) })
	return out
}

// waits reports something to take back that is worth staying for.
func (v *revocations) waits() bool {
	now := v.c.now()
	return slices.ContainsFunc(v.pending(), func(s api.RevocationStatus) bool {
		return s.Message != "" && now.Sub(s.Created) < revokeWait || s.NextAt == nil
	})
}
