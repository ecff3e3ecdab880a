// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/configdir"
)

// runJob is one job as its wrapper sees it.
type runJob struct {
	a      *app
	o      runOptions
	paths  api.Paths
	socket string // the agent's main socket, or that of the job around this one
	dir    *configdir.Job
	req    api.JobRequest

	mu     sync.Mutex
	lease  *api.Lease
	logins map[string]api.Login // stored in the job: given to the next agent
	mirror []configdir.Mirror   // of --config and of the configuration
	ended  string               // why the agent closed the job
}

// run is the whole life of a job. The code is the child's where err is nil.
func (a *app) run(ctx context.Context, o runOptions) (int, error) {
	sig := catchSignals()
	defer sig.stop()
	opening, release := sig.guard(ctx)
	code, err := a.runJob(ctx, opening, release, sig, o)
	if by, ok := errors.AsType[signalled](context.Cause(opening)); ok {
		return signalCode(by.signal), nil
	}
	return code, err
}

// runJob opens the job in the context opening, which release sets free from
// signals: from then on they are the child's.
func (a *app) runJob(ctx, opening context.Context, release func(), sig *signals, o runOptions) (int, error) {
	release = sync.OnceFunc(release)
	defer release()
	caller := a.caller()
	settings, err := a.runSettings(o, caller)
	if err != nil {
		return exitRunFailed, err
	}
	paths, err := a.paths()
	if err != nil {
		return exitRunFailed, err
	}
	if err := paths.Ensure(); err != nil {
		return exitRunFailed, err
	}
	j := &runJob{a: a, o: o, paths: paths, logins: map[string]api.Login{}}
	if j.dir, err = configdir.CreateNew(paths.JobsDir()); err != nil {
		return exitRunFailed, err
	}
	if settings.Dir != "" {
		if _, err := os.Lstat(settings.Dir); errors.Is(err, os.ErrNotExist) {
			defer func() { _ = os.Remove(settings.Dir) }() // made for this job; only where nothing else came into it
		}
	}
	defer j.remove()
	if err := j.prepare(opening, caller); err != nil {
		return exitRunFailed, err
	}
	resp, err := j.openPatiently(opening)
	if err != nil {
		return exitRunFailed, err
	}
	settings.Hosts = append(settings.Hosts, resp.Hosts...)
	addMirrors(&settings, j.mirror...)
	settings.Socket = paths.JobSocket(j.dir.ID)
	if o.static {
		if settings.Static, err = j.staticLogins(opening, resp); err != nil {
			return exitRunFailed, err
		}
	}
	report, err := j.dir.Write(settings)
	if err != nil {
		return exitRunFailed, err
	}
	j.introduce(resp, report)
	leaseCtx, stop := context.WithCancel(ctx)
	defer stop()
	var tasks sync.WaitGroup
	tasks.Go(func() { j.keep(leaseCtx) })
	if o.static {
		tasks.Go(func() { j.renew(leaseCtx, report, settings.Static) })
	}
	set, unset := j.dir.Env(settings, report)
	code := exitRunFailed
	if release(); opening.Err() == nil {
		code, err = j.child(ctx, sig, a.childEnv(set, append(unset, j.stripped()...)))
	}
	stop()
	tasks.Wait()
	if err == nil && code != 0 && resp.Narrowed {
		a.hint(narrowedHint(o))
	}
	if why := j.endedBy(); why != "" {
		a.say("job %s was closed: %s", short(j.dir.ID), why)
	}
	return code, err
}

// prepare gathers what the job's request carries from the caller.
func (j *runJob) prepare(ctx context.Context, caller configdir.Caller) error {
	o := j.o
	j.req = api.JobRequest{
		ID: j.dir.ID, Kind: "run", Targets: o.targets, Only: o.only, Accounts: o.accounts,
		Env: api.CallerEnv(nil), PID: os.Getpid(), Version: api.BuildVersion,
		Label: filepath.Base(o.command[0]),
	}
	ref, inJob, err := j.a.findJob()
	if err != nil {
		return agentError(err)
	}
	if inJob {
		j.socket = ref.Socket
	}
	if !o.only {
		if err := j.carry(caller); err != nil {
			return err
		}
	}
	if err := configdir.WriteJobFile(j.dir.Root, configdir.JobFile{
		ID: j.dir.ID, Kind: "run", Targets: o.targets, Only: o.only, Accounts: o.accounts,
		Label: j.req.Label, PID: os.Getpid(), DockerDir: o.dir, Opened: j.a.now(),
	}); err != nil {
		return err
	}
	if f, err := j.a.files(); err == nil {
		if cfg, err := j.a.loader(f)(true); err == nil { // what is wrong with it the agent says
			j.mirror = mirrorsOf(cfg)
		}
	}
	return j.ownConfig(ctx)
}

// carry takes the caller's plain logins and former helpers along.
func (j *runJob) carry(caller configdir.Caller) error {
	carried, err := configdir.ReadCarried(caller)
	if err != nil {
		return err
	}
	for _, w := range carried.Warnings {
		j.a.say("%s", w)
	}
	logins := carried.Logins
	if v := j.a.lookup("DOCKER_AUTH_CONFIG"); v != "" {
		more, err := configdir.ParseDockerAuthConfig(v)
		if err != nil {
			j.a.say("%s; left out of the job", err)
		}
		logins = append(logins, more...) // later ones win: docker asks the variable first
	}
	for _, l := range logins {
		j.req.Logins = append(j.req.Logins, api.Login{ServerURL: l.Host, Username: l.Username, Secret: string(l.Secret), Carried: true})
	}
	for host, helper := range carried.Behind {
		j.req.Behind = append(j.req.Behind, api.Behind{Host: host, Helper: helper})
	}
	return nil
}

// ownConfig reads --config (or REGMINT_CONFIG, where it is not the agent's own
// file) and resolves its references with the caller's rights.
func (j *runJob) ownConfig(ctx context.Context) error {
	file := j.o.config
	if file == "" {
		file = j.a.lookup("REGMINT_CONFIG")
		if file == "" || j.agentReads(ctx, file) {
			return nil
		}
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	text, err := readConfig(file)
	if err != nil {
		return err
	}
	cfg, err := config.LoadText(config.TextOptions{Name: file, Text: string(text), Providers: j.a.providers})
	if err != nil {
		return err
	}
	j.mirror = append(mirrorsOf(cfg), j.mirror...)
	j.req.ConfigName, j.req.ConfigText = file, string(text)
	j.req.Resolved = map[string]string{}
	r := config.Resolver{Env: j.a.env, ExecEnv: config.ExecEnv(j.a.environ())}
	for _, acc := range cfg.Accounts {
		for _, ref := range config.SecretRefs(acc) {
			if ref.Scheme == "keyring" {
				continue
			}
			s, err := r.Resolve(ctx, ref)
			if err != nil {
				return fmt.Errorf("account %s: %w", acc.Name, err)
			}
			j.req.Resolved[config.RefKey(ref)] = s.Reveal()
		}
	}
	return nil
}

// maxConfig bounds a configuration file (the agent's own limit too).
const maxConfig = 1 << 20

// readConfig reads a regular file of a sane size.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New(path + ": not a regular file")
	case info.Size() > maxConfig:
		return nil, errors.New(path + ": larger than 1 MiB")
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

// agentReads reports whether the agent's own configuration is file.
func (j *runJob) agentReads(ctx context.Context, file string) bool {
	c, err := j.a.connect(ctx)
	if err != nil {
		return false
	}
	defer c.Close()
	var st api.Status
	return c.Call(ctx, "GET", "/v1/status", nil, &st) == nil && st.Config == file
}

// remove leaves nothing behind. The directory goes before the lease, so that
// it is gone when the command returns, whoever else would remove it; its lock
// goes first, since Windows removes no open file.
func (j *runJob) remove() {
	_ = j.dir.Close()
	if err := configdir.Remove(j.dir.Root); err != nil && !errors.Is(err, os.ErrNotExist) {
		j.a.say("job directory not removed: %s", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lease != nil {
		_ = j.lease.Close()
	}
}
