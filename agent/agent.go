// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/configdir"
)

const (
	drainLimit = 2 * time.Second
	sweepEvery = 30 * time.Second
	// youngJob protects a directory between its making and its lock.
	youngJob = 3 * time.Second
)

// Options is what an Agent needs beside its Core.
type Options struct {
	Core  CoreOptions
	Paths api.Paths
	// Executable is the agent's own file, watched for replacement.
	Executable string
	PID        int
	Log        *slog.Logger
	// Rotate replaces the long-lived secret of an account in a process that
	// outlives the agent; nil: nothing is rotated on schedule.
	Rotate func(ctx context.Context, account string) error
	// Ready is called once when the main socket answers.
	Ready func()
}

// Agent is the per-user daemon.
type Agent struct {
	o       Options
	core    *Core
	jobs    *leases
	server  *http.Server
	started time.Time
	patrol  *patrol
	exe     os.FileInfo

	ctx     context.Context // ends when the agent stops: its jobs go to the next one
	cancel  context.CancelCauseFunc
	endCore context.CancelFunc // ends what answers; after ctx

	sweeping chore
	rotating chore
	activity atomic.Int64 // Unix nanoseconds of the last request
	mainMu   sync.Mutex
	main     net.Listener
	mainInfo os.FileInfo
	handed   chan struct{}
	giveUp   sync.Once
}

// New loads the configuration. Nothing is served yet.
func New(o Options) (*Agent, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	coreCtx, endCore := context.WithCancel(context.Background())
	core, err := NewCore(coreCtx, o.Core)
	if err != nil {
		cancel(err)
		endCore()
		return nil, err
	}
	core.jobDir = o.Paths.JobDir
	a := &Agent{o: o, core: core, jobs: newLeases(), ctx: ctx, cancel: cancel, endCore: endCore, handed: make(chan struct{})}
	a.patrol = newPatrol(maxConns(), a.jobs.count)
	a.started = core.now()
	a.exe, _ = os.Stat(o.Executable)
	a.server = a.newServer()
	return a, nil
}

// The collector's pace. ballast is never touched, so it takes no memory, but it
// counts: without it a small heap would be collected every few hundred gets, at
// a quarter of their speed. The lower percentage keeps a large cache small.
const (
	ballast   = 12 << 20
	gcPercent = 40
)

// Run serves until ctx ends, stop is asked for, or there is nothing to do.
func (a *Agent) Run(ctx context.Context) error {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	defer runtime.KeepAlive(make([]byte, ballast))
	defer a.endCore()
	defer a.cancel(nil)
	l, err := api.Listen(a.o.Paths.MainSocket())
	if err != nil {
		return err
	}
	a.main = l
	a.mainInfo, _ = os.Lstat(a.o.Paths.MainSocket())
	if err := a.core.startWatching(a.core.ctx); err != nil {
		a.o.Log.Warn("files are not watched; run regmint agent restart after a change", "err", err.Error())
	}
	a.touch()
	go a.patrol.walk(a.ctx) // ends with the agent
	go a.serve(&peerListener{
		Listener: l, patrol: a.patrol, allowRoot: func() bool { return a.core.state.Load().cfg.Agent.AllowRoot },
		log: a.o.Log, refused: func() { a.core.count.refusedPeers.Add(1) },
	}) // ends with l
	a.sweep()
	a.doChores()
	if a.o.Ready != nil {
		a.o.Ready()
	}
	a.o.Log.Info("agent started", "version", api.BuildVersion, "socket", a.o.Paths.MainSocket())
	a.wait(ctx)
	a.drain()
	return nil
}

func (a *Agent) serve(l net.Listener) {
	if err := a.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		a.o.Log.Debug("listener ended", "err", err.Error())
	}
}

// wait returns when the agent has no reason to go on.
func (a *Agent) wait(ctx context.Context) {
	tick := time.NewTicker(sweepEvery / 2)
	defer tick.Stop()
	handed := a.handed
	given := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.ctx.Done():
			return
		case <-handed:
			handed, given = nil, true
		case <-a.jobs.idle:
		case <-tick.C:
			a.sweep()
			a.core.forgetIdle()
			a.doChores()
			if !given && a.socketLost() {
				a.handover("its socket was replaced")
			}
			if a.idle() {
				a.o.Log.Info("idle; good night")
				return
			}
		}
		if given && a.jobs.count() == 0 {
			return
		}
	}
}

// drain closes the sockets and lets requests under way end. Jobs stay on disk:
// their wrappers resume them at once, with the next agent.
func (a *Agent) drain() {
	a.closeMain()
	a.o.Log.Info("agent ends", "jobs", a.jobs.count())
	a.cancel(errors.New("agent ends"))
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	_ = a.server.Shutdown(ctx)
	a.endCore()
	done := make(chan struct{})
	go func() { a.jobs.wg.Wait(); close(done) }() // ends with the leases, bounded below
	select {
	case <-done:
	case <-ctx.Done():
	}
	_ = a.server.Close()
}

func (a *Agent) stop(why string) { a.cancel(errors.New(why)) }

// handover gives up the main socket; open jobs are served to their end.
func (a *Agent) handover(why string) {
	a.giveUp.Do(func() {
		a.o.Log.Info("main socket given up", "why", why, "jobs", a.jobs.count())
		a.closeMain()
		close(a.handed)
	})
}

func (a *Agent) closeMain() {
	a.mainMu.Lock()
	defer a.mainMu.Unlock()
	if a.main == nil {
		return
	}
	if u, ok := a.main.(interface{ SetUnlinkOnClose(bool) }); ok && a.socketLost() {
		u.SetUnlinkOnClose(false) // what lies there now is another agent's
	}
	_ = a.main.Close()
	a.main = nil
}

// socketLost reports that our socket file is gone or is not ours any more.
func (a *Agent) socketLost() bool {
	now, err := os.Lstat(a.o.Paths.MainSocket())
	if a.mainInfo == nil {
		return false
	}
	return err != nil || !os.SameFile(now, a.mainInfo)
}

func (a *Agent) touch() { a.activity.Store(a.core.now().UnixNano()) }

// idle: no jobs, and no request for idle_exit.
func (a *Agent) idle() bool {
	limit := time.Duration(a.core.state.Load().cfg.Agent.IdleExit)
	if limit <= 0 || a.jobs.count() > 0 || a.sweeping.busy.Load() || a.rotating.busy.Load() || a.core.revoked.waits() {
		return false
	}
	if a.o.Rotate != nil && len(a.core.scheduled()) > 0 {
		return false // nobody else looks at the time
	}
	if l, ok := a.core.locker(); ok && !l.Locked() && a.core.unlockedByHand() {
		return false // an idle exit would lock it
	}
	return a.core.now().Sub(time.Unix(0, a.activity.Load())) > limit
}

// DropAll forgets every cached credential (SIGUSR1).
func (a *Agent) DropAll() {
	n := a.core.mint.Drop(func(minter.ID) bool { return true })
	a.core.clearFailures()
	a.o.Log.Info("dropped all cached credentials", "count", n)
}

// Reload reads the configuration again (SIGHUP).
func (a *Agent) Reload() { _ = a.core.Reload() }

func (a *Agent) binaryChanged() string {
	now, err := os.Stat(a.o.Executable)
	if a.exe == nil || (err == nil && os.SameFile(now, a.exe) && now.ModTime().Equal(a.exe.ModTime())) {
		return ""
	}
	return "the regmint binary has changed since the agent started; run: regmint agent restart"
}

// sweep removes job directories that nobody serves and nobody holds, and
// tombstones past their day.
func (a *Agent) sweep() {
	r, err := configdir.Sweep(a.o.Paths.JobsDir(), a.core.now(), func(st configdir.JobState) bool {
		info, err := os.Lstat(st.Root)
		return a.jobs.has(st.ID) || (err == nil && time.Since(info.ModTime()) < youngJob)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.o.Log.Warn("job directories not swept", "err", err.Error())
	}
	for _, err := range r.Problems {
		a.o.Log.Warn("left-over job directory not removed", "err", err.Error())
	}
	for _, id := range r.Removed {
		a.o.Log.Info("left-over job directory removed", "job", id)
	}
}

func (c *Core) locker() (store.Locker, bool) {
	st, err := c.state.Load().secrets()
	if err != nil {
		return nil, false
	}
	l, ok := st.(store.Locker)
	return l, ok
}
