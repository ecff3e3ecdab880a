// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is an answer that replaces the real one. The first fault that fits a
// request is taken.
type Fault struct {
	// Path is a prefix of the counted path ("/token", "/v2/team/app"), Identity
	// the name the client gives; "" = any.
	Path, Identity string
	// Times is how many requests it takes; 0 = until removed.
	Times int

	// Delay passes before anything is answered. With nothing else set the real
	// answer follows.
	Delay time.Duration
	// Until is closed by the test when the answer may go on; nil = at once.
	Until <-chan struct{}
	// Hang answers nothing until the client leaves or the server is closed.
	Hang bool
	// Drop closes the connection, with Lost after the work was done: the server
	// has committed and the client does not know.
	Drop, Lost bool
	// Status, Header and Body are the answer. Body alone means status 200.
	Status int
	Header http.Header
	Body   string
	// Trickle passes between two bytes of Body.
	Trickle time.Duration
}

// Throttle is the fault of a rate limit: 429 with Retry-After, as registries
// send it.
func Throttle(path, retryAfter string) Fault {
	return Fault{
		Path: path, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {retryAfter}},
		Body: errorBody("TOOMANYREQUESTS", "too many requests", nil),
	}
}

// Garbage is a page of a proxy where an API answer should be.
func Garbage(path string) Fault {
	return Fault{
		Path: path, Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}},
		Body: "<!doctype html><title>Sign in</title><p>Your session has ended.",
	}
}

type faults struct {
	mu   sync.Mutex
	list []*Fault
}

// Inject adds a fault; the returned function removes it.
func (s *Server) Inject(f Fault) (remove func()) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	p := &f
	s.faults.list = append(s.faults.list, p)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.drop(p)
	}
}

func (fs *faults) drop(p *Fault) {
	for i, f := range fs.list {
		if f == p {
			fs.list = append(fs.list[:i:i], fs.list[i+1:]...)
			return
		}
	}
}

// take returns a copy of the fault for a call, nil for none.
func (fs *faults) take(c *call) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.list {
		if !strings.HasPrefix(c.path, f.Path) || f.Identity != "" && f.Identity != c.identity {
			continue
		}
		out := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				fs.drop(f)
			}
		}
		return &out
	}
	return nil
}

// serve answers with the fault; next is the real answer.
func (f *Fault) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, next func()) {
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-ctx.Done():
			return
		case <-r.Context().Done():
			return
		}
	}
	if !wait(ctx, r, f.Delay) {
		return
	}
	switch {
	case f.Hang:
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case f.Lost:
		rec := w.(*recorder)
		rec.ResponseWriter = discard{http.Header{}}
		next()
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status == 0 && f.Body == "":
		next()
		return
	}
	for k, v := range f.Header {
		w.Header()[k] = v
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	if f.Trickle == 0 {
		_, _ = w.Write([]byte(f.Body))
		return
	}
	for i := range len(f.Body) {
		_, _ = w.Write([]byte{f.Body[i]})
		_ = http.NewResponseController(w).Flush()
		if !wait(ctx, r, f.Trickle) {
			return
		}
	}
}

// wait reports false when the client or the server went away first.
func wait(ctx context.Context, r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-r.Context().Done():
	}
	return false
}

// discard is where a lost answer goes.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
