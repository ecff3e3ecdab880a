// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

func newUninstallCmd(a *app) *cobra.Command {
	var purge bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "put docker's configuration back as it was",
		Args:  cobra.NoArgs,
		RunE:  command(func(ctx context.Context, _ []string) error { return a.uninstall(ctx, purge) }),
	}
	c.Flags().BoolVar(&purge, "purge", false, "remove saved logins, their keychain items and regmint's state too")
	return c
}

func (a *app) uninstall(ctx context.Context, purge bool) error {
	if _, inJob, _ := a.findJob(); inJob {
		return errInsideJob()
	}
	f, err := a.files()
	if err != nil {
		return err
	}
	report, err := configdir.Uninstall(f.journal())
	if err != nil {
		return err
	}
	a.sayUninstalled(report)
	if err := a.forgetBehind(ctx, f, report); err != nil {
		return err
	}
	if err := a.removeUnit(); err != nil {
		return err
	}
	if purge {
		return a.purge(ctx, f)
	}
	a.tellAgent(ctx, "")
	return nil
}

func (a *app) sayUninstalled(r configdir.UninstallReport) {
	keys := map[string][]string{}
	var order []string
	for _, c := range r.Restored {
		if len(c.Key) == 0 && c.After == nil {
			a.say("%s: removed", c.File)
			continue
		}
		if keys[c.File] == nil {
			order = append(order, c.File)
		}
		keys[c.File] = append(keys[c.File], strings.Join(c.Key, "."))
	}
	for _, file := range order {
		a.say("%s: put back %s", file, summary(keys[file]))
	}
	for _, c := range r.Left {
		if len(c.Key) == 0 {
			a.say("%s was changed by somebody else since; it was left alone", c.File)
			continue
		}
		a.say("%s: %s was changed by somebody else since; it was left alone", c.File, strings.Join(c.Key, "."))
	}
	for _, n := range r.Notes {
		a.say("%s", n)
	}
	if len(r.Restored)+len(r.Left)+len(r.Notes) == 0 {
		a.say("docker's configuration has nothing of regmint's install to put back")
	}
}

// forgetBehind forgets the helpers that answer by themselves again.
func (a *app) forgetBehind(ctx context.Context, f files, r configdir.UninstallReport) error {
	if len(r.Left) > 0 {
		return nil // docker still asks us for something: go on passing it on
	}
	if _, err := os.Stat(f.config.Saved); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return a.savedFile(f).Update(ctx, func(s *config.Saved) error {
		clear(s.Behind)
		return nil
	})
}

// purge removes what login has saved, and the places where it was.
func (a *app) purge(ctx context.Context, f files) error {
	l, err := a.local(ctx)
	if err != nil {
		return err
	}
	logins := 0
	for _, acc := range l.everyAccount() {
		if acc.Layer == providers.LayerSaved {
			logins++
		}
	}
	secrets, err := l.deleteAll(ctx)
	if err != nil && !errors.Is(err, store.ErrLocked) { // a locked file goes as a whole
		return err
	}
	if _, err := a.agentStop(ctx, false); err != nil {
		a.say("the running agent was not stopped: %s", err)
	}
	if err := removeFile(f.config.Saved); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(f.config.Saved)) // config.d, where nothing else is in it
	left, err := removeState(f.state)
	if err != nil {
		return err
	}
	a.say("removed %s and %s", count(logins, "saved login", "saved logins"), count(secrets, "secret", "secrets"))
	if len(left) > 0 {
		a.say("%s was kept: it also holds %s", f.state, summary(left))
	}
	return nil
}

// deleteAll removes every secret of the store.
func (l *local) deleteAll(ctx context.Context) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	names, err := l.store.Names(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		if err := l.store.Delete(ctx, n); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// stateNames are the entries of the state directory that are ours: a directory
// that somebody named by REGMINT_STATE_DIR may hold other things.
var stateNames = []string{
	"install.json", "install.json.lock", "config.lock", "agent.log", "revoke", "rotate", "locks",
	"store", "auto.lock", "keyring.json", "keyring.lock",
}

// removeState removes our entries, and the directory where nothing else is in
// it; left names what is.
func removeState(dir string) (left []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !slices.Contains(stateNames, e.Name()) && !strings.HasPrefix(e.Name(), "store.") {
			left = append(left, e.Name())
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	if len(left) == 0 {
		err = os.Remove(dir)
	}
	return left, err
}
