// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// recentMax answers are kept in memory for `regmint status --recent`.
const recentMax = 200

type recentRing struct {
	mu   sync.Mutex
	list [recentMax]api.Recent
	n    int
}

func (r *recentRing) add(e api.Recent) {
	r.mu.Lock()
	r.list[r.n%recentMax] = e
	r.n++
	r.mu.Unlock()
}

// all lists the answers, oldest first.
func (r *recentRing) all() []api.Recent {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]api.Recent, 0, min(r.n, recentMax))
	for i := max(0, r.n-recentMax); i < r.n; i++ {
		out = append(out, r.list[i%recentMax])
	}
	return out
}

// counters feed the metrics.
type counters struct {
	gets, notFound, failed   atomic.Uint64
	stores, erases, lists    atomic.Uint64
	softened, rejected       atomic.Uint64
	jobsOpened, refusedPeers atomic.Uint64
}

// note records one answered get.
func (c *Core) note(start time.Time, j *job, req *api.GetRequest, resp *api.GetResponse, h providers.Host) {
	c.count.gets.Add(1)
	switch resp.Outcome {
	case api.NotFound:
		c.count.notFound.Add(1)
	case api.Failed:
		c.count.failed.Add(1)
	}
	now := c.now()
	e := api.Recent{
		Time: start.UTC(), Client: oneLine(req.Client), PID: req.PID, Key: req.Key, Account: resp.Account,
		As: resp.Username, Outcome: resp.Outcome, Message: resp.Message, Took: now.Sub(start),
	}
	if h.IsZero() {
		e.Key = cut(oneLine(req.Key), 80) // not understood: shown harmless
	}
	if j != nil {
		e.Job = j.id
	}
	if resp.ExpiresAt != 0 {
		exp := time.Unix(resp.ExpiresAt, 0)
		e.Left, e.Life = exp.Sub(now), exp.Sub(time.Unix(resp.IssuedAt, 0))
	}
	c.recent.add(e)
}
