// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// letGo is how long the end of a lease may come after that of its wrapper.
const letGo = time.Second

// running counts the jobs whose command runs. A command that has just ended is
// none, although the agent may not have read the end of its lease yet: whose
// lock is free, the lease is waited for.
func (a *Agent) running(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, letGo)
	defer cancel()
	n := 0
	for _, j := range a.jobs.all() {
		if held, err := configdir.LockHeld(a.o.Paths.JobDir(j.id)); held || err != nil {
			n++
			continue
		}
		select {
		case <-j.line.over:
		case <-ctx.Done():
			n++
		}
	}
	return n
}

func jobsOpen(n int) string {
	if n == 1 {
		return "1 job is open; use --force to end it"
	}
	return fmt.Sprintf("%d jobs are open; use --force to end them", n)
}

// handleJobOpen opens or resumes a job. The connection is the lease: when it
// ends the job is closed and its directory removed.
func (a *Agent) handleJobOpen(w http.ResponseWriter, r *http.Request) {
	var req api.JobRequest
	if !read(w, r, maxJobBody, &req) {
		return
	}
	a.touch()
	j, resp := a.openJob(req, infoOf(r).job)
	if j == nil {
		reply(w, http.StatusOK, resp)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.closeJob(j, "lease not possible")
		reply(w, http.StatusInternalServerError, failedText(providers.Unavailable, "lease not possible"))
		return
	}
	_ = conn.SetDeadline(time.Time{})
	a.holdLease(conn, j, resp)
}

// openJob checks the request, listens on the job's socket and registers it.
func (a *Agent) openJob(req api.JobRequest, parent *job) (*job, *api.JobResponse) {
	refuse := func(err error) (*job, *api.JobResponse) {
		return nil, &api.JobResponse{Outcome: api.Failed, Kind: string(providers.KindOf(err)), Message: message(providers.Host{}, err), Version: api.BuildVersion}
	}
	if req.Kind != "run" || !configdir.ValidID(req.ID) {
		return refuse(&providers.Error{Kind: providers.Misconfigured, Err: errors.New("bad job request")})
	}
	root := a.o.Paths.JobDir(req.ID)
	if held, err := configdir.LockHeld(root); err != nil || !held {
		return refuse(&providers.Error{Kind: providers.Misconfigured, Err: errors.New("job directory " + root + " is not there or not locked for the agent"), Hint: "compare REGMINT_RUNTIME_DIR of the caller and the agent"})
	}
	j, err := a.core.newJob(req, parent)
	if err != nil {
		return refuse(err)
	}
	if miss := j.env.missing(a.core.jobEnvNames(j)); len(miss) > 0 {
		return nil, &api.JobResponse{Outcome: api.NeedEnv, NeedEnv: miss}
	}
	j.line = newLine()
	if !a.jobs.add(j) {
		return refuse(&providers.Error{Kind: providers.Denied, Err: errors.New("job " + req.ID + " is already open")})
	}
	if why := parent.closedReason(); why != "" { // it ended before it could see this one
		a.jobs.remove(j)
		return refuse(&providers.Error{Kind: providers.Denied, Err: errors.New(why)})
	}
	l, err := api.Listen(a.o.Paths.JobSocket(req.ID))
	if err != nil {
		a.jobs.remove(j)
		return refuse(&providers.Error{Kind: providers.Unavailable, Err: err})
	}
	ctx, end := context.WithCancel(a.ctx)
	j.end = end
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go a.serve(&peerListener{Listener: l, job: j, patrol: a.patrol, log: a.o.Log, refused: func() {}}) // ends with l
	a.core.count.jobsOpened.Add(1)
	return j, a.core.jobResponse(j)
}

// holdLease sends the answer, then events, until the wrapper is gone or the
// agent ends the job.
func (a *Agent) holdLease(conn net.Conn, j *job, resp *api.JobResponse) {
	a.jobs.wg.Go(func() { // ends with the connection or the agent
		defer conn.Close()
		defer close(j.line.over)
		gone := make(chan struct{})
		go func() { // ends with the connection
			_, _ = io.Copy(io.Discard, conn)
			close(gone)
		}()
		err := a.write(conn, resp)
		for err == nil {
			select {
			case <-gone:
				a.closeJob(j, "its command ended")
				return
			case <-j.ended:
				a.endLease(conn, j)
				return
			case e := <-j.line.events:
				err = a.write(conn, e.JobEvent)
				e.sent <- err == nil
			case <-a.ctx.Done():
				select {
				case <-j.ended: // by who also ended the agent: the wrapper must not resume it
					a.endLease(conn, j)
					return
				default:
				}
				// The wrapper lives: it starts or dials the next agent and
				// resumes the job there, so its directory stays.
				j.end()
				a.jobs.remove(j)
				return
			}
		}
		a.closeJob(j, "its wrapper does not answer")
	})
}

// endLease tells the wrapper why its job is over, and closes it.
func (a *Agent) endLease(conn net.Conn, j *job) {
	why := j.closedReason()
	_ = a.write(conn, api.JobEvent{Close: why})
	a.closeJob(j, why)
}

func (a *Agent) write(conn net.Conn, v any) error {
	_ = conn.SetWriteDeadline(time.Now().Add(bodyDeadline))
	return api.WriteMessage(conn, v)
}

// closeJob ends a job: its socket, what it held, what was minted from its own
// logins, and its directory.
func (a *Agent) closeJob(j *job, why string) {
	j.close(why)
	if j.end != nil {
		j.end()
	}
	j.mu.Lock()
	held := j.held
	j.held = map[minter.ID]func(){}
	j.mu.Unlock()
	for _, release := range held {
		release()
	}
	a.core.revoke(j)
	own := "/" + j.id + "/"
	a.core.dropSources(func(account string) bool { return strings.Contains(account, own) })
	for _, child := range a.jobs.all() {
		if child.parent == j {
			child.close("the job around it ended")
		}
	}
	if err := configdir.Remove(a.o.Paths.JobDir(j.id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		a.o.Log.Error("job directory not removed", "job", j.id, "err", err.Error())
	}
	a.jobs.remove(j)
	a.touch()
}

// revoke takes back what was made for this job alone. What is in flight now is
// taken back when it is there.
func (c *Core) revoke(j *job) {
	c.mint.Drop(func(m minter.ID) bool { return m.Job == j.id })
	c.revoked.close(c.background(), j.id)
}
