// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
)

// settle is how long a burst of writes is left to end.
const settle = 100 * time.Millisecond

// watcher tells changes of the configuration and of the files sources read.
// Directories are watched, since files are replaced by rename.
type watcher struct {
	fs *fsnotify.Watcher

	mu     sync.Mutex
	dirs   map[string]bool
	config map[string]bool
	inputs map[string]bool
}

func (c *Core) startWatching(ctx context.Context) error {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	c.watch = &watcher{fs: fs, dirs: map[string]bool{}, config: map[string]bool{}, inputs: map[string]bool{}}
	c.rewatch()
	go c.watchLoop(ctx) // ends with ctx
	return nil
}

// rewatch follows the files of the loaded configuration.
func (c *Core) rewatch() {
	w := c.watch
	if w == nil {
		return
	}
	files := c.state.Load().cfg.Watches
	w.mu.Lock()
	clear(w.config)
	for _, f := range files {
		w.config[f] = true
	}
	w.mu.Unlock()
	for _, f := range files {
		w.follow(f)
	}
}

// add follows the files a source reads.
func (w *watcher) add(files []string) {
	for _, f := range files {
		w.mu.Lock()
		w.inputs[f] = true
		w.mu.Unlock()
		w.follow(f)
	}
}

// follow watches the directory of f, or the nearest one that exists.
func (w *watcher) follow(f string) {
	for dir := filepath.Dir(f); ; dir = filepath.Dir(dir) {
		w.mu.Lock()
		known := w.dirs[dir]
		w.mu.Unlock()
		if known {
			return
		}
		if w.fs.Add(dir) == nil {
			w.mu.Lock()
			w.dirs[dir] = true
			w.mu.Unlock()
			return
		}
		if dir == filepath.Dir(dir) {
			return
		}
	}
}

func (c *Core) watchLoop(ctx context.Context) {
	w := c.watch
	defer w.fs.Close()
	var reload, all bool
	inputs := map[string]bool{}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.fs.Errors:
			c.o.Log.Warn("files may have changed unseen", "err", err)
			reload, all = true, true // an overflow: anything may have changed
			timer.Reset(settle)
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			cfg, in := w.concerns(e.Name)
			if e.Op == fsnotify.Chmod {
				in = false // a file refused for its mode is read again; a secret that was read stays as it is
			}
			reload = reload || cfg
			if in {
				inputs[e.Name] = true
			}
			if cfg || in {
				timer.Reset(settle)
			}
		case <-timer.C:
			if reload {
				_ = c.Reload() // logged there
			}
			if all || len(inputs) > 0 {
				c.inputsChanged(func(file string) bool { return all || changedBy(inputs, file) })
			}
			reload, all = false, false
			clear(inputs)
		}
	}
}

// concerns says whether name is a watched file or a directory on the way to one.
func (w *watcher) concerns(name string) (cfg, in bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	under := func(set map[string]bool) bool {
		if set[name] {
			return true
		}
		for f := range set {
			if len(f) > len(name) && f[:len(name)] == name && f[len(name)] == filepath.Separator {
				delete(w.dirs, filepath.Dir(f)) // look again for the nearer directory
				go w.follow(f)                  // short; takes the lock itself
				return true
			}
		}
		return false
	}
	return under(w.config), under(w.inputs)
}

// changedBy reports that file is one of names, or below one of them.
func changedBy(names map[string]bool, file string) bool {
	for f := file; ; f = filepath.Dir(f) {
		if names[f] {
			return true
		}
		if f == filepath.Dir(f) {
			return false
		}
	}
}

// inputsChanged drops what the sources that read a changed file have said. What
// a source writes while it mints (the session that it renewed, the cache of a
// program that it ran) is no news: what was minted lives on, else each mint
// would call for the next. A secret's own file is written by nobody but people.
func (c *Core) inputsChanged(changed func(file string) bool) {
	own, living := map[string]bool{}, map[uint64]bool{}
	readers := map[sourceKey]*source{}
	for _, v := range c.mint.Views() {
		living[v.ID.Opened] = living[v.ID.Opened] || v.Credential.Username != ""
	}
	c.mu.Lock()
	for k, src := range c.sources {
		for _, f := range src.watches {
			if changed(f) {
				readers[k] = src
				own[f] = own[f] || src.work.wrote(f) && !slices.Contains(config.SecretFiles(src.account), f)
			}
		}
	}
	ids, sources, open := map[string]bool{}, map[uint64]bool{}, map[string]bool{}
	for k := range c.sources {
		open[k.account] = true
	}
	for k, src := range readers {
		ids[k.account] = true
		if !living[src.opened] || slices.ContainsFunc(src.watches, func(f string) bool { return changed(f) && !own[f] }) {
			sources[src.opened] = true
			delete(c.sources, k)
		}
	}
	// What could not even be opened has told nobody what it reads.
	maps.DeleteFunc(c.failures, func(k failKey, _ failure) bool { return ids[k.account] || !open[k.account] })
	c.mu.Unlock()
	c.mint.Drop(func(id minter.ID) bool { return sources[id.Opened] })
	c.mint.ForgetFailures(func(id minter.ID) bool { return ids[id.Account] })
}
