// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// staticPause bounds how long a rotation may go unnoticed.
const staticPause = 2 * time.Second

// staticLogins asks for the credentials --static writes. A host that was named
// must answer; another one is left out with a word.
func (j *runJob) staticLogins(ctx context.Context, resp *api.JobResponse) (map[string]configdir.StaticLogin, error) {
	named := map[string]bool{}
	for _, s := range j.o.targets {
		if t, err := providers.ParseTarget(s); err == nil {
			named[t.Host.String()] = true
		}
	}
	out := map[string]configdir.StaticLogin{}
	for _, h := range resp.Hosts {
		l, err := j.ask(ctx, h)
		switch {
		case err == nil:
			out[h] = l
		case named[h] && !strings.HasPrefix(err.Error(), h+":"):
			return nil, fmt.Errorf("%s: %w", h, err)
		case named[h]:
			return nil, err
		default:
			j.a.say("%s is left out: %s", h, err)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("--static found no credential to write; name a host with -r, or log in first")
	}
	return out, nil
}

// ask gets one credential through the job's own socket, so that its grants
// hold.
func (j *runJob) ask(ctx context.Context, host string) (configdir.StaticLogin, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := j.client(ctx)
	if err != nil {
		return configdir.StaticLogin{}, err
	}
	defer c.Close()
	r, err := c.Get(ctx, &api.GetRequest{Key: host, Client: "regmint", Version: api.BuildVersion})
	switch {
	case err != nil:
		return configdir.StaticLogin{}, err
	case r.Outcome == api.OK:
		return configdir.StaticLogin{Username: r.Username, Secret: configdir.Secret(r.Secret)}, nil
	case r.Outcome == api.NotFound:
		return configdir.StaticLogin{}, errors.New("no account for this host")
	}
	return configdir.StaticLogin{}, errors.New(r.Message)
}

// renew keeps our entries in the job's files as the agent has them: after a
// rotation, and after another tool has written the file. A credential that
// cannot be renewed stays until it ends.
func (j *runJob) renew(ctx context.Context, report configdir.Report, have map[string]configdir.StaticLogin) {
	files := []struct {
		path       string
		containers bool
	}{{filepath.Join(report.DockerConfig, "config.json"), false}, {report.AuthFile, true}}
	events, stop := watchDirs(report.DockerConfig, filepath.Dir(report.AuthFile))
	defer stop()
	hosts := make([]string, 0, len(have))
	for h := range have {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	tick := time.NewTicker(staticPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if !settle(ctx, events) {
				continue
			}
		case <-tick.C:
			for _, h := range hosts {
				if l, err := j.ask(ctx, h); err == nil {
					have[h] = l
				}
			}
		}
		want := make(map[string]*configdir.StaticLogin, len(have))
		for h, l := range have {
			want[h] = &l
		}
		for _, f := range files {
			if beingWritten(f.path) {
				continue // the ticker looks again
			}
			// Who writes meanwhile is seen by the watcher.
			if _, err := configdir.RewriteStaticFile(f.path, want, f.containers); err != nil && !errors.Is(err, configdir.ErrBusy) && ctx.Err() == nil {
				j.a.say("%s not renewed: %s", f.path, err)
			}
		}
	}
}

// staticSettle is how long a file is left alone after a change: tools that
// write in place are done by then.
const staticSettle = 100 * time.Millisecond

// settle waits until nothing has changed for a moment, at most staticPause;
// false: ctx ended.
func settle(ctx context.Context, events <-chan fsnotify.Event) bool {
	limit := time.After(staticPause)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-limit:
			return true
		case <-events:
		case <-time.After(staticSettle):
			return true
		}
	}
}

// beingWritten reports a file that a tool may be in the middle of writing: it
// changed a moment ago.
func beingWritten(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return age >= 0 && age < staticSettle
}

// watchDirs tells changes below dirs; without a watcher the ticker does.
func watchDirs(dirs ...string) (events <-chan fsnotify.Event, stop func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, func() {}
	}
	for _, d := range dirs {
		_ = w.Add(d) // a directory that cannot be watched is polled
	}
	return w.Events, func() { _ = w.Close() }
}
