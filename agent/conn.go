// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// overdueEvery is how often read deadlines are looked at: how late one may be.
const overdueEvery = 500 * time.Millisecond

// writeLimit is how long a peer may take to read an answer.
const writeLimit = 5 * time.Second

// peerConn is an accepted connection. net/http moves the read deadline several
// times a request; as real timers those moves cost more than the rest of a warm
// get, so they are kept here and enforced by a patrol.
type peerConn struct {
	net.Conn
	job    *job
	peer   api.Peer
	patrol *patrol
	since  time.Time
	state  atomic.Int64 // http.ConnState

	mu     sync.Mutex
	due    time.Time // zero: none
	forced bool      // the connection's own deadline is set
	read   time.Time // by when the peer has to have read what is written now; zero: nothing is
}

// SetReadDeadline keeps t for the patrol. A time that has passed takes effect
// at once: net/http ends its own reads that way.
func (c *peerConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.IsZero() && !t.After(time.Now()) {
		c.due, c.forced = time.Time{}, true
		return c.Conn.SetReadDeadline(t)
	}
	c.due = t
	if c.forced {
		c.forced = false
		return c.Conn.SetReadDeadline(time.Time{})
	}
	return nil
}

// Write implements net.Conn. A peer that does not read keeps nobody waiting.
func (c *peerConn) Write(b []byte) (int, error) {
	c.reading(time.Now().Add(writeLimit))
	defer c.reading(time.Time{})
	return c.Conn.Write(b)
}

func (c *peerConn) reading(t time.Time) {
	c.mu.Lock()
	c.read = t
	c.mu.Unlock()
}

// SetDeadline implements net.Conn.
func (c *peerConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (c *peerConn) Close() error {
	c.patrol.remove(c)
	return c.Conn.Close()
}

// enforce ends reads and writes whose time is over.
func (c *peerConn) enforce(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.due.IsZero() && now.After(c.due) {
		c.due, c.forced = time.Time{}, true
		_ = c.Conn.SetReadDeadline(now)
	}
	if !c.read.IsZero() && now.After(c.read) {
		_ = c.Conn.SetWriteDeadline(now)
	}
}

// silentAge is how long a connection may say nothing while others wait for its
// place. Our clients write as soon as they are connected.
const silentAge = 20 * time.Millisecond

// patrol enforces the read deadlines of open connections, and their number.
type patrol struct {
	max    int        // connections and what others says; 0 = any number
	others func() int // descriptors that jobs take beside their connections

	mu    sync.Mutex
	conns map[*peerConn]struct{}
	freed *sync.Cond
}

func newPatrol(max int, others func() int) *patrol {
	p := &patrol{max: max, others: others, conns: map[*peerConn]struct{}{}}
	p.freed = sync.NewCond(&p.mu)
	return p
}

// add waits for a place. Where all are taken, one goes of who have said nothing
// or have nothing more to say, the oldest first; the rest of the callers wait
// in the socket's backlog.
func (p *patrol) add(c *peerConn) {
	c.since = time.Now()
	taken := 0
	if p.others != nil {
		taken = p.others()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.max > 0 && len(p.conns) > 0 && len(p.conns)+taken >= p.max {
		if idle := p.idlest(time.Now()); idle != nil {
			delete(p.conns, idle)
			_ = idle.Conn.Close() // who serves it sees that
			continue
		}
		again := time.AfterFunc(silentAge, p.freed.Broadcast)
		p.freed.Wait()
		again.Stop()
	}
	p.conns[c] = struct{}{}
}

// idlest is the connection that is missed least, nil where all are at work.
func (p *patrol) idlest(now time.Time) *peerConn {
	var found *peerConn
	rank := func(c *peerConn) int {
		switch http.ConnState(c.state.Load()) {
		case http.StateNew: // no whole request so far
			return 2
		case http.StateIdle:
			return 1
		}
		return 0
	}
	for c := range p.conns {
		r := rank(c)
		if r == 0 || now.Sub(c.since) < silentAge {
			continue
		}
		if found == nil || r > rank(found) || r == rank(found) && c.since.Before(found.since) {
			found = c
		}
	}
	return found
}

func (p *patrol) remove(c *peerConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.freed.Broadcast()
	p.mu.Unlock()
}

// walk ends with ctx.
func (p *patrol) walk(ctx context.Context) {
	tick := time.NewTicker(overdueEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.mu.Lock()
			conns := make([]*peerConn, 0, len(p.conns))
			for c := range p.conns {
				conns = append(conns, c)
			}
			p.mu.Unlock()
			for _, c := range conns {
				c.enforce(now)
			}
		}
	}
}

// lateTimer is a context whose time limit costs a timer only once somebody
// waits for it: a get answered from memory never does.
type lateTimer struct {
	context.Context
	end time.Time

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
}

func withLateTimer(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	l := &lateTimer{Context: parent, end: time.Now().Add(d)}
	return l, l.stop
}

func (l *lateTimer) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// Deadline implements context.Context.
func (l *lateTimer) Deadline() (time.Time, bool) {
	if end, ok := l.Context.Deadline(); ok && end.Before(l.end) {
		return end, true
	}
	return l.end, true
}

// Done implements context.Context; the timer starts here.
func (l *lateTimer) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		l.inner, l.cancel = context.WithDeadline(l.Context, l.end)
	}
	return l.inner.Done()
}

// Err implements context.Context.
func (l *lateTimer) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner != nil {
		return l.inner.Err()
	}
	return l.Context.Err()
}
