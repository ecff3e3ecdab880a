// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// files are the places where one run reads and writes.
type files struct {
	config config.Paths
	state  string
}

func (a *app) files() (files, error) {
	paths, err := a.env.Paths("")
	if err != nil {
		return files{}, misconfigured(err)
	}
	dirs, err := a.paths()
	if err != nil {
		return files{}, misconfigured(err)
	}
	return files{config: paths, state: dirs.State}, nil
}

func misconfigured(err error) error {
	return &providers.Error{Kind: providers.Misconfigured, Err: err}
}

// journal is where install notes what it changed.
func (f files) journal() string { return filepath.Join(f.state, "install.json") }

func (a *app) savedFile(f files) config.SavedFile {
	return config.SavedFile{Path: f.config.Saved, StateDir: f.state, Providers: a.providers}
}

// loadConfig reads the configuration strictly.
func (a *app) loadConfig() (*config.Config, files, error) {
	f, err := a.files()
	if err != nil {
		return nil, f, err
	}
	cfg, err := a.loader(f)(false)
	return cfg, f, err
}

// loader reads the files of f; lenient, as a daemon does, takes unknown keys
// for warnings.
func (a *app) loader(f files) func(lenient bool) (*config.Config, error) {
	return func(lenient bool) (*config.Config, error) {
		return config.Load(config.LoadOptions{Paths: f.config, Providers: a.providers, Lenient: lenient})
	}
}

// resolver reads the references that the program itself has to read.
func (a *app) resolver() config.Resolver {
	return config.Resolver{Env: a.env, ExecEnv: config.ExecEnv(a.environ())}
}

// storeOpener opens the store that a configuration names. interactive: a person
// waits and can answer the keychain.
func (a *app) storeOpener(f files, interactive bool, log *slog.Logger) func(*config.Config) (store.Store, error) {
	return func(cfg *config.Config) (store.Store, error) {
		o := store.Options{
			Kind: cfg.Agent.Store, StateDir: f.state, Env: a.environ(),
			Key: cfg.Agent.StoreKey, Resolve: a.resolver().Resolve,
			Interactive: interactive, ScryptWork: a.scryptWork, Log: log,
		}
		if exe, err := a.executable(); err == nil {
			o.Child = []string{exe, "agent", "keyring"}
		}
		return store.Open(o)
	}
}

// coreOptions wires an agent's core.
func (a *app) coreOptions(f files, open func(*config.Config) (store.Store, error), log *slog.Logger) agent.CoreOptions {
	return agent.CoreOptions{
		Providers: a.providers,
		Load:      a.loader(f),
		Store:     open,
		Config:    f.config.User,
		Saved:     a.savedFile(f),
		ExecEnv:   config.ExecEnv(a.environ()),
		Home:      a.env.Home(),
		Log:       log,
	}
}

// local is an agent's core in this process with what it was made of.
type local struct {
	*agent.Core
	files files
	cfg   *config.Config
	sel   *providers.Selector
	store store.Store // nil where err is set
	err   error       // why there is no store
}

// local makes a core for a command that changes something: the configuration is
// read strictly, and a person at the terminal can answer the keychain.
func (a *app) local(ctx context.Context) (*local, error) {
	return a.newLocal(ctx, false, a.interactive())
}

// newLocal makes a core of the configuration. A lenient one answers clients in
// the agent's place.
func (a *app) newLocal(ctx context.Context, lenient, interactive bool) (*local, error) {
	f, err := a.files()
	if err != nil {
		return nil, err
	}
	cfg, err := a.loader(f)(lenient)
	if err != nil {
		return nil, err
	}
	sel, err := providers.NewSelector(cfg.Accounts)
	if err != nil {
		return nil, err
	}
	log := a.quietLog()
	l := &local{files: f, cfg: cfg, sel: sel}
	l.store, l.err = a.storeOpener(f, interactive, log)(cfg)
	same := func(*config.Config) (store.Store, error) { return l.store, l.err }
	l.Core, err = agent.NewCore(ctx, a.coreOptions(f, same, log))
	return l, err
}

// unlock asks for the passphrase of saved logins where they have one.
func (l *local) unlock(ctx context.Context, a *app, asking bool) error {
	locker, ok := l.store.(store.Locker)
	if !ok || l.err != nil || !locker.Locked() {
		return l.err
	}
	if !asking {
		return &providers.Error{Kind: providers.LoginRequired, Err: errors.New("saved logins are locked with a passphrase"), Hint: "run it on a terminal, where it can ask"}
	}
	pass, err := a.askSecret(ctx, "Passphrase of saved logins: ")
	if err != nil {
		return err
	}
	return locker.Unlock(ctx, providers.NewSecret(pass))
}

// quietLog is the log of commands: nothing, unless REGMINT_LOG asks for it.
func (a *app) quietLog() *slog.Logger {
	level, err := a.env.LogLevel()
	if err != nil || a.lookup("REGMINT_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}
