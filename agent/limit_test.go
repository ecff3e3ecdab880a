// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestASilentConnectionGivesItsPlaceToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := 1
		p := newPatrol(4, func() int { return jobs })
		connect := func(s http.ConnState) *peerConn {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { _ = theirs.Close() })
			c := &peerConn{Conn: ours, patrol: p}
			p.add(c)
			c.state.Store(int64(s))
			time.Sleep(time.Millisecond)
			return c
		}
		open := func(c *peerConn) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			_, ok := p.conns[c]
			return ok
		}
		idle := connect(http.StateIdle)
		silent := connect(http.StateNew)
		work := connect(http.StateActive)
		// Three and a job's socket: everything is taken.
		connect(http.StateActive)
		if open(silent) || !open(idle) || !open(work) {
			t.Error("not the silent one has gone")
		}
		if _, err := silent.Conn.Write([]byte("x")); err == nil {
			t.Error("it was not closed")
		}
		connect(http.StateActive)
		if open(idle) || !open(work) {
			t.Error("not the idle one has gone")
		}
		// Now all are at work: the next one waits.
		late := make(chan *peerConn, 1)
		go func() { late <- connect(http.StateActive) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(late) > 0 {
			t.Fatal("there was no place for it")
		}
		_ = work.Close()
		if c := <-late; !open(c) {
			t.Error("it was not taken in")
		}
	})
}
