// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// Mint implements providers.Source and notes that it runs: programs and
// sessions write the very files that are watched.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	defer s.work.begin(s.watches)()
	c, err := s.make(ctx, r)
	if err == nil {
		s.failedOn.Store(nil)
	} else if len(s.watches) > 0 {
		now := stateOf(s.watches)
		s.failedOn.Store(&now)
	}
	return c, err
}

// make mints. What is made for a job alone is written down first.
func (s *source) make(ctx context.Context, r providers.Request) (c providers.Credential, err error) {
	if _, ok := s.Source.(providers.Revoker); !ok || r.Job == "" {
		return s.Source.Mint(ctx, r)
	}
	m, err := s.revoked.begin(s, r)
	if err != nil {
		return c, err
	}
	err = errUnended
	defer func() { s.revoked.end(ctx, s, m, c, err) }()
	c, err = s.Source.Mint(ctx, r)
	return c, err
}

// errUnended is a mint that panicked.
var errUnended = errors.New("the mint did not end")

// errNotMade is a mint that handed out what was there before.
var errNotMade = &providers.Error{Kind: providers.NoAccount, Err: errors.New("nothing was made")}

// makeNative mints for the product's own API, and writes down before what is
// made for a job alone.
func (s *source) makeNative(ctx context.Context, n providers.NativeMinter, r providers.Request) (c providers.Native, err error) {
	defer s.work.begin(s.watches)()
	if _, ok := s.Source.(providers.Revoker); !ok || r.Job == "" {
		return n.MintNative(ctx, r)
	}
	m, err := s.revoked.begin(s, r)
	if err != nil {
		return c, err
	}
	err = errUnended
	defer func() {
		made := err
		if err == nil && !c.ForJob {
			made = errNotMade
		}
		s.revoked.end(ctx, s, m, c.Credential, made)
	}()
	c, err = n.MintNative(ctx, r)
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
	left    map[string]string // by file: as it was when work ended last
}

func (w *ownWork) begin(files []string) (end func()) {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	return func() {
		left := make(map[string]string, len(files))
		for _, f := range files {
			left[f] = stateOf([]string{f})
		}
		w.mu.Lock()
		w.running--
		w.left = left
		w.mu.Unlock()
	}
}

// wrote reports that a changed file is as the source left it, or that the
// source is still at work. Time is no measure: a script that mints and then
// logs in as somebody else does so within a moment.
func (w *ownWork) wrote(file string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	left, known := w.left[file]
	return w.running > 0 || known && left == stateOf([]string{file})
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

// maxNobody is how many sources may be open before one that has no identity is
// closed at once: names of hosts are free, and so is asking for them.
const maxNobody = 1024

func (c *Core) closeNobody(src *source, err error) {
	if src == nil || src.account.Layer != providers.LayerAmbient || providers.KindOf(err) != providers.NoAccount {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sources) > maxNobody && c.sources[src.key] == src {
		delete(c.sources, src.key)
	}
}

// dropChanged forgets sources and credentials of accounts that are no longer
// as they were.
func (c *Core) dropChanged(cfg *config.Config) {
	now := map[string]providers.Account{}
	for _, a := range cfg.Accounts {
		now[accountID(a, nil)] = a
	}
	for _, sp := range cfg.Spares {
		now[accountID(sp.Account, nil)] = sp.Account
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
