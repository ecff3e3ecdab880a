// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"container/heap"
	"time"

	"github.com/regmint/regmint/providers"
)

const (
	// launchGap keeps renewals in the background apart, so that many keys due
	// at once (after a suspend, an outage, a common start) ask their registry
	// at most 20 times a second.
	launchGap = 50 * time.Millisecond
	// maxBackoff bounds the jitter between failed renewals.
	maxBackoff = 5 * time.Minute
	maxLasting = 30 * time.Minute // the same, where a person must act
	// lateBy is how late the timer may be before a caller does its work: Go's
	// timers stand still while the machine is suspended.
	lateBy = time.Second
)

// schedule plans the next piece of work of e: a renewal if e is held or was
// asked for since it landed, else its end. It forgets entries that hold
// nothing. Caller holds m.mu, as for everything in this file.
func (m *Minter) schedule(e *entry, now instant) {
	due, ok := e.next(now)
	if ok {
		m.enqueue(e, due)
	} else {
		m.dequeue(e)
		if e.flight == nil && !e.has && e.held == 0 {
			m.forget(e)
		}
	}
	m.arm(now)
}

// next returns the boot time at which e needs work, false for none.
func (e *entry) next(now instant) (time.Duration, bool) {
	switch {
	case e.flight != nil:
		return 0, false
	case !e.has:
		return e.until, e.until > now.boot && e.held == 0
	case e.term.forever():
		return 0, false
	}
	if e.held == 0 && !e.asked {
		return e.term.end, true
	}
	mark := e.term.line
	if e.same {
		mark = e.term.last
	}
	due := max(e.term.end-mark, e.tried+spacing(e.term.life), e.retry, e.until)
	if e.held == 0 {
		return min(due, e.term.end), true
	}
	// What is held is renewed beyond its end too, unless only a person can
	// change the answer: then the next caller asks.
	if due >= e.term.end && e.lasting() {
		return 0, false
	}
	return due, true
}

// lasting reports that the last attempt failed in a way that trying alone does
// not mend.
func (e *entry) lasting() bool {
	return e.err != nil && providers.KindOf(e.err) != providers.Unavailable
}

// backoff is the time to the next attempt in the background: the spacing and
// full jitter over a window that doubles.
func (m *Minter) backoff(e *entry, now instant) time.Duration {
	base, limit := spacing(e.term.life), maxBackoff
	if e.lasting() {
		limit = maxLasting
	}
	if e.has && e.term.left(now) > 0 {
		limit = min(limit, e.term.life/10)
	}
	window := min(base<<min(e.fails-1, 10), max(limit, base))
	return base + time.Duration(m.rand()*float64(window))
}

// run does the work that is due: it drops what nobody wants and launches
// renewals as far as their number and pace allow.
func (m *Minter) run(now instant) {
	for len(m.queue) > 0 && m.queue[0].due <= now.boot {
		e := m.queue[0]
		// The boot clock alone decides here: the wall clock may be set right
		// again, and then the credential is served to its end.
		if !e.has || e.held == 0 && now.boot >= e.term.end {
			m.expire(e, now)
			continue
		}
		if m.full() || now.boot < m.launched+launchGap {
			break
		}
		m.launched = now.boot
		m.start(e, true)
	}
	m.arm(now)
}

// full reports that no renewal may be launched before a flight lands.
func (m *Minter) full() bool {
	return m.stopped || m.running >= m.maxFlights || m.background >= m.maxBackground
}

// arm sets the timer for the first piece of work.
func (m *Minter) arm(now instant) {
	due := never
	if len(m.queue) > 0 {
		due = max(m.queue[0].due, m.launched+launchGap)
		if m.full() && m.queue[0].due <= now.boot {
			due = never // the next landing runs it
		}
	}
	if m.stopped || due == m.armed {
		return
	}
	m.armed = due
	if due == never {
		m.timer.Stop()
		return
	}
	m.timer.Reset(max(0, due-now.boot))
}

// late reports that the timer should have fired a while ago.
func (m *Minter) late(now instant) bool { return now.boot-lateBy > m.armed }

// wake is the timer's function.
func (m *Minter) wake() {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.wakes++
	m.armed = never
	m.run(now)
}

// stop ends background work; flights that wait for their turn fail.
func (m *Minter) stop() {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	m.timer.Stop()
	for _, f := range m.waiting {
		m.land(f, answer{err: errStopped(f.req.ID.Host)}, now)
	}
	m.waiting = nil
}

// expire drops the credential of e, which nobody holds, and the rest of e as
// soon as no failure stands for an answer.
func (m *Minter) expire(e *entry, now instant) {
	m.dequeue(e)
	if now.boot >= e.until {
		m.forget(e)
		return
	}
	e.has, e.cred, e.term = false, providers.Credential{}, term{}
	m.enqueue(e, e.until)
}

// forget removes e from the cache.
func (m *Minter) forget(e *entry) {
	if m.entries[e.req.ID] == e {
		delete(m.entries, e.req.ID)
	}
}

func (m *Minter) enqueue(e *entry, due time.Duration) {
	e.due = due
	if e.place > 0 {
		heap.Fix(&m.queue, e.place-1)
		return
	}
	heap.Push(&m.queue, e)
}

func (m *Minter) dequeue(e *entry) {
	if e.place > 0 {
		heap.Remove(&m.queue, e.place-1)
	}
}

// queue is a heap of entries by due time.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i+1, j+1
}

// Push is heap.Interface's.
func (q *queue) Push(x any) {
	e := x.(*entry)
	*q = append(*q, e)
	e.place = len(*q)
}

// Pop is heap.Interface's.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.place = 0
	return e
}
