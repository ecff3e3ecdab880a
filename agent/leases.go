// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/regmint/regmint/agent/api"
)

// leases is the registry of open jobs.
type leases struct {
	mu   sync.Mutex
	open map[string]*job
	// idle is closed and made anew each time the last job ends.
	idle chan struct{}
	wg   sync.WaitGroup
}

func newLeases() *leases {
	return &leases{open: map[string]*job{}, idle: make(chan struct{}, 1)}
}

func (l *leases) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func (l *leases) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[id] != nil
}

func (l *leases) add(j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[j.id] != nil {
		return false
	}
	l.open[j.id] = j
	return true
}

func (l *leases) remove(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, j.id)
	if len(l.open) == 0 {
		select {
		case l.idle <- struct{}{}:
		default:
		}
	}
}

func (l *leases) all() []*job {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*job, 0, len(l.open))
	for _, j := range l.open {
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b *job) int { return a.opened.Compare(b.opened) })
	return out
}

// closeAll ends every job; the wrappers are told why.
func (l *leases) closeAll(why string) {
	for _, j := range l.all() {
		j.close(why)
	}
}

// close ends the job: nothing is answered in it any more, and its lease tells
// the wrapper.
func (j *job) close(why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed == "" {
		j.closed = why
		close(j.ended)
	}
}

// line leads to the wrapper of a job.
type line struct {
	order  sync.Mutex // of changes in the job and of their events
	events chan event
	over   chan struct{} // closed with the lease
}

type event struct {
	api.JobEvent
	sent chan<- bool
}

func newLine() *line { return &line{events: make(chan event), over: make(chan struct{})} }

// tell has the wrapper keep what changed in its job. It reports that the event
// is on its way: from then on the agent may be killed.
func (j *job) tell(ctx context.Context, e api.JobEvent) bool {
	if j.line == nil {
		return true
	}
	sent := make(chan bool, 1)
	select {
	case j.line.events <- event{e, sent}:
		return <-sent // the lease answers in any case
	case <-j.line.over:
	case <-ctx.Done():
	}
	return false
}

// inOrder runs a change of the job's logins together with its event, so that
// the wrapper hears of two changes in the order they were made.
func (j *job) inOrder(change func() error) error {
	if j.line != nil {
		j.line.order.Lock()
		defer j.line.order.Unlock()
	}
	return change()
}
