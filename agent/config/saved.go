// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/regmint/regmint/providers"
)

// Saved is the content of config.d/regmint.toml.
type Saved struct {
	Accounts []providers.Account
	Behind   map[string]string    // host → former helper
	Realms   map[string][]string  // registry host → accepted realm hosts
	Expires  map[string]time.Time // account → when it ends: see Spare
}

// SavedFile is config.d/regmint.toml, written by regmint alone.
type SavedFile struct {
	Path      string // Paths.Saved
	StateDir  string // holds the lock
	Providers []providers.Provider
}

// lockWait is how long Update waits for another process; each holds the lock
// for one small write.
const lockWait = 10 * time.Second

// Read returns the content; a file that does not exist is empty. The error is
// Problems.
func (f SavedFile) Read() (*Saved, error) {
	l := newLoader(f.Providers, false)
	p := part{kind: "saved", path: f.Path, short: base(f.Path), layer: providers.LayerSaved}
	l.file(p, false)
	return l.saved()
}

func (f SavedFile) parse(data []byte) (*Saved, error) {
	l := newLoader(f.Providers, false)
	l.text(part{kind: "saved", path: f.Path, short: base(f.Path), layer: providers.LayerSaved}, data)
	return l.saved()
}

// saved is the file's own content, without what other layers add to it.
func (l *loader) saved() (*Saved, error) {
	l.nameAccounts()
	if err := l.judge(); err != nil {
		return nil, err
	}
	return &Saved{Accounts: l.cfg.Accounts, Behind: l.cfg.Docker.Behind, Realms: l.cfg.Realms, Expires: l.expires}, nil
}

// Update reads, changes and writes the file under a lock shared by every
// process of the user. Nothing is written where change fails, where nothing
// changed, or where the file on disk is malformed.
func (f SavedFile) Update(ctx context.Context, change func(*Saved) error) error {
	if f.Path == "" {
		return errors.New("there is no place for saved settings: no home directory and no REGMINT_CONFIG")
	}
	if err := makeDir(f.StateDir); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(f.StateDir, "config.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	s, err := f.Read()
	if err != nil {
		return fmt.Errorf("%w\nnothing was written; repair the file or move it away", err)
	}
	before, err := s.render()
	if err != nil {
		return err
	}
	if err := change(s); err != nil {
		return err
	}
	after, err := s.render()
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	// What was written must read back as what was meant.
	again, err := f.parse(after)
	if err != nil {
		return fmt.Errorf("these settings cannot be saved: %w", err)
	}
	if check, err := again.render(); err != nil || !bytes.Equal(check, after) {
		return errors.New("these settings cannot be saved: they would read back differently")
	}
	return f.write(after)
}

// lockFile waits in the kernel's queue, which is fair, until ctx ends.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	l := flock.New(path, flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	locked := make(chan error, 1)
	go func() { locked <- l.Lock() }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		handOver(path)
		return func() { _ = l.Close() }, nil
	case <-ctx.Done():
		go func() { // ends when the lock is free
			if <-locked == nil {
				_ = l.Close()
			}
		}()
		return nil, fmt.Errorf("another regmint is changing the saved settings: %w", ctx.Err())
	}
}

func (f SavedFile) write(data []byte) error {
	path := f.Path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("cannot make %s: %w", dir, err)
	}
	sweepTemp(dir)
	if err := writeAtomic(path, data); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// Put adds an account or replaces the one of the same name. An account without
// a name gets that of its provider and first host.
func (s *Saved) Put(a providers.Account) {
	if a.Name == "" {
		a.Name = defaultName(a)
	}
	if i := s.index(a.Name); i >= 0 {
		delete(s.Expires, s.Accounts[i].Name)
		s.Accounts[i] = a
		return
	}
	s.Accounts = append(s.Accounts, a)
}

// Remove removes the account of this name and reports whether there was one.
func (s *Saved) Remove(name string) bool {
	i := s.index(name)
	if i >= 0 {
		delete(s.Expires, s.Accounts[i].Name)
		s.Accounts = slices.Delete(s.Accounts, i, i+1)
	}
	return i >= 0
}

// PutSpare adds an account, or replaces that of its name, which ends by itself.
func (s *Saved) PutSpare(a Spare) {
	s.Put(a.Account)
	if s.Expires == nil {
		s.Expires = map[string]time.Time{}
	}
	s.Expires[a.Name] = a.Until.UTC().Truncate(time.Second)
}

func (s *Saved) index(name string) int {
	return slices.IndexFunc(s.Accounts, func(a providers.Account) bool { return strings.EqualFold(a.Name, name) })
}

// SetBehind keeps helper behind regmint for a host or "*"; "" takes the entry
// away.
func (s *Saved) SetBehind(host, helper string) error {
	host, helper, err := behindEntry(host, helper)
	if err != nil {
		return err
	}
	if s.Behind == nil {
		s.Behind = map[string]string{}
	}
	if helper == "" {
		delete(s.Behind, host)
	} else {
		s.Behind[host] = helper
	}
	return nil
}

// AcceptRealm records that realm may get the credential of registry.
func (s *Saved) AcceptRealm(registry, realm providers.Host) {
	if s.Realms == nil {
		s.Realms = map[string][]string{}
	}
	s.Realms[registry.String()] = appendNew(s.Realms[registry.String()], realm.String())
}

// ForgetRealms removes what was accepted for registry.
func (s *Saved) ForgetRealms(registry providers.Host) { delete(s.Realms, registry.String()) }
