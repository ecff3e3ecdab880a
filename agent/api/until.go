// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"sync"
	"time"
)

// until is a context that ends at a point in time. Its timer starts when
// somebody asks for Done; a connection that is dialled with it watches the
// clock itself and needs none.
type until struct {
	end  time.Time
	once sync.Once
	done chan struct{}
}

// Until is a context for a process that asks one thing and ends: it cannot be
// cancelled, and a Client that is dialled with it does without the runtime's
// poller and its threads, a tenth of such a process's life. Such a Client
// heeds deadlines, not cancellation, and is closed by the goroutine that uses
// it.
func Until(end time.Time) context.Context { return &until{end: end} }

// Deadline implements context.Context.
func (u *until) Deadline() (time.Time, bool) { return u.end, true }

// Done implements context.Context.
func (u *until) Done() <-chan struct{} {
	u.once.Do(func() {
		u.done = make(chan struct{})
		time.AfterFunc(time.Until(u.end), func() { close(u.done) })
	})
	return u.done
}

// Err implements context.Context.
func (u *until) Err() error {
	if time.Now().Before(u.end) {
		return nil
	}
	<-u.Done() // at once: Err and Done agree
	return context.DeadlineExceeded
}

// Value implements context.Context.
func (u *until) Value(any) any { return nil }
