// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

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
	var reload, inputs bool
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.fs.Errors:
			c.o.Log.Warn("files may have changed unseen", "err", err)
			reload, inputs = true, true // an overflow: anything may have changed
			timer.Reset(settle)
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			cfg, in := w.concerns(e.Name)
			if e.Op == fsnotify.Chmod {
				in = false // a file refused for its mode is read again; a secret that was read stays as it is
			}
			reload, inputs = reload || cfg, inputs || in
			if cfg || in {
				timer.Reset(settle)
			}
		case <-timer.C:
			if reload {
				_ = c.Reload() // logged there
			}
			if inputs {
				c.inputsChanged()
			}
			reload, inputs = false, false
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

// inputsChanged drops what the sources that read files have said.
func (c *Core) inputsChanged() {
	ids := map[string]bool{}
	c.mu.Lock()
	for k, src := range c.sources {
		if len(src.watches) > 0 {
			ids[k.account] = true
			delete(c.sources, k)
		}
	}
	c.mu.Unlock()
	c.mint.Drop(func(id minter.ID) bool { return ids[id.Account] })
	c.mint.ForgetFailures(func(id minter.ID) bool { return ids[id.Account] })
	c.clearFailures()
}
