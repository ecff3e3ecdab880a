// SPDX-License-Identifier: Apache-2.0

// Package agent answers for credentials: it chooses the account, opens its
// source, lets the minter mint, keeps jobs apart, and serves all of it over
// unix sockets. Core is the part without a server; direct mode uses it alone.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// CoreOptions is what a Core needs. Every field but Clock and Home is required.
type CoreOptions struct {
	Providers []providers.Provider
	// Load reads the configuration; lenient turns unknown keys into warnings.
	Load func(lenient bool) (*config.Config, error)
	// Store opens the secret store of cfg; called again when its settings change.
	Store func(cfg *config.Config) (store.Store, error)
	// Config is the person's configuration file, whether it exists or not.
	Config string
	// Saved is config.d/regmint.toml.
	Saved config.SavedFile
	// ExecEnv is the environment of the programs that are run, NAME=value.
	ExecEnv []string
	// Home is the home directory of the user; "" = none.
	Home  string
	Log   *slog.Logger
	Clock func() (wall time.Time, boot time.Duration)
}

// Core answers gets, stores, erases and lists. It is safe for concurrent use.
type Core struct {
	o      CoreOptions
	salt   [32]byte
	ctx    context.Context  // of background work
	now    func() time.Time // the wall clock
	mint   *minter.Minter
	state  atomic.Pointer[snapshot]
	recent recentRing
	count  counters
	watch  *watcher // nil in direct mode

	mu       sync.Mutex
	sources  map[sourceKey]*source
	opened   uint64                  // counts sources
	handed   map[handedKey]time.Time // digests of secrets handed out, for 24 h
	handMax  int                     // of handed before old ones are looked for
	failures map[failKey]failure
	asked    map[providers.Host]time.Time // hosts asked for under wildcards
	erased   map[providers.Host]time.Time
	revoked  *revocations
	machine  string                  // a name for this one
	jobDir   func(job string) string // where a job is; nil: there are none
	limits   limits
	settled  map[string]time.Time // interrupted rotations asked about
	reloadMu sync.Mutex

	failpoint func(step string) // of tests; nil
}

// snapshot is one loaded configuration. It never changes.
type snapshot struct {
	cfg      *config.Config
	sel      *providers.Selector
	store    store.Store
	storeErr error
	loadErr  error // of the last reload; the rest is the last good one
	at       time.Time
}

// NewCore loads the configuration. A configuration that does not load is an
// error here; later reloads keep the last good one.
func NewCore(ctx context.Context, o CoreOptions) (*Core, error) {
	wall := time.Now // the boot clock costs a system call
	if o.Clock == nil {
		o.Clock = minter.SystemClock
	} else {
		clock := o.Clock
		wall = func() time.Time { w, _ := clock(); return w }
	}
	c := &Core{
		now:      wall,
		o:        o,
		ctx:      ctx,
		sources:  map[sourceKey]*source{},
		handed:   map[handedKey]time.Time{},
		failures: map[failKey]failure{},
		asked:    map[providers.Host]time.Time{},
		erased:   map[providers.Host]time.Time{},
		settled:  map[string]time.Time{},
	}
	_, _ = rand.Read(c.salt[:])
	c.limits.known = map[minter.ID]knownLimit{}
	c.revoked = newRevocations(c)
	c.machine, _ = os.Hostname()
	c.mint = minter.New(ctx, minter.Config{Now: o.Clock, Log: o.Log})
	s, err := c.load(true)
	if err != nil {
		return nil, err
	}
	c.state.Store(s)
	return c, nil
}

func (c *Core) load(lenient bool) (*snapshot, error) {
	cfg, err := c.o.Load(lenient)
	if err != nil {
		return nil, err
	}
	cfg.Accounts = slices.Clone(cfg.Accounts)
	for i, a := range cfg.Accounts {
		cfg.Accounts[i] = withRealms(cfg, a)
	}
	cfg.Spares = slices.Clone(cfg.Spares)
	for i, sp := range cfg.Spares {
		cfg.Spares[i].Account = withRealms(cfg, sp.Account)
	}
	sel, err := providers.NewSelector(cfg.Accounts)
	if err != nil {
		return nil, err
	}
	s := &snapshot{cfg: cfg, sel: sel, at: c.now()}
	if old := c.state.Load(); old != nil && old.store != nil && sameStore(old.cfg, cfg) {
		s.store = old.store // keeps an unlocked store unlocked
		return s, nil
	}
	s.store, s.storeErr = c.o.Store(cfg)
	return s, nil
}

// withRealms adds what was accepted at a login: a realm accepted for a host
// counts for every account that answers there.
func withRealms(cfg *config.Config, a providers.Account) providers.Account {
	for _, name := range slices.Sorted(maps.Keys(cfg.Realms)) {
		h, err := providers.ParseHost(name)
		if err != nil || !slices.ContainsFunc(a.Hosts, func(p providers.Pattern) bool { return p.MatchHost(h) }) {
			continue
		}
		for _, realm := range cfg.Realms[name] {
			if !slices.Contains(a.RealmHosts, realm) {
				a.RealmHosts = append(slices.Clip(a.RealmHosts), realm)
			}
		}
	}
	return a
}

func sameStore(a, b *config.Config) bool {
	return a.Agent.Store == b.Agent.Store && a.Agent.StoreKey.String() == b.Agent.StoreKey.String()
}

// Reload reads the configuration again and drops what belonged to accounts
// that changed. A configuration that does not load is kept out; status says so.
func (c *Core) Reload() error {
	c.reloadMu.Lock()
	defer c.reloadMu.Unlock()
	s, err := c.load(true)
	if err != nil {
		old := *c.state.Load()
		old.loadErr = err
		c.state.Store(&old)
		c.o.Log.Error("configuration not reloaded; the last good one stays in force", "err", err.Error())
		return err
	}
	old := c.state.Swap(s)
	for _, w := range s.cfg.Warnings {
		c.o.Log.Warn("configuration", "warning", w)
	}
	c.dropChanged(s.cfg)
	if old.cfg.Network != s.cfg.Network { // every source was opened with the old way out
		c.closeSources()
	}
	c.clearFailures()
	c.rewatch()
	return nil
}

// secrets opens the store or says why it cannot.
func (s *snapshot) secrets() (store.Store, error) {
	if s.store == nil {
		err := s.storeErr
		if err == nil {
			err = store.ErrUnavailable
		}
		return nil, err
	}
	return s.store, nil
}

// storeError turns a store failure into one for people.
func storeError(h providers.Host, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New("no saved secret"), Hint: "run: regmint login " + h.String()}
	case errors.Is(err, store.ErrLocked):
		return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New("the secret store is locked"), Hint: "run: regmint unlock"}
	case errors.Is(err, store.ErrUnavailable):
		return &providers.Error{Kind: providers.Unavailable, Host: h, Err: err, Hint: "run: regmint status"}
	}
	return &providers.Error{Kind: providers.Unavailable, Host: h, Err: err}
}
