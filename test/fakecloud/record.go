// SPDX-License-Identifier: Apache-2.0

package fakecloud

import (
	"io"
	"log"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// Request is one request that was answered. It holds no body and no header
// that may be a secret.
type Request struct {
	Time   time.Time
	Host   string // or the name given to Plain
	Method string
	Path   string
	Query  string
	Target string // X-Amz-Target
	Status int
}

// Requests are all requests so far, in the order they were answered.
func (c *Cloud) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Count counts the requests that f accepts.
func (c *Cloud) Count(f func(Request) bool) int {
	n := 0
	for _, r := range c.Requests() {
		if f(r) {
			n++
		}
	}
	return n
}

// Reached lists every host that a client reached or tried to reach through the
// proxy, sorted: what is not in it got no packet.
func (c *Cloud) Reached() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range c.requests {
		seen[r.Host] = true
	}
	for _, h := range c.refused {
		seen[strings.TrimSuffix(h, ":443")] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Fault is what happens to requests instead of an answer, or before it.
type Fault struct {
	Host  string        // pattern as for Handle, or the name given to Plain; "" = every one
	Path  string        // prefix; "" = every one
	Times int           // 0 = until ClearFaults
	Delay time.Duration // before anything else
	Hang  bool          // until the client leaves
	Cut   bool          // the connection ends without an answer

	Status int // 0 = answer as usual after Delay
	Header http.Header
	Body   string
}

// Inject adds a fault; the first that fits is played.
func (c *Cloud) Inject(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	c.faults = append(c.faults, &f)
}

// ClearFaults ends all faults.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

func (c *Cloud) fault(host, path string) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		if f.Times == 0 || f.Host != "" && f.Host != host && !matches(f.Host, host) || !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return f
	}
	return nil
}

// play reports whether the request was answered, or ended.
func (f *Fault) play(w http.ResponseWriter, r *http.Request, closing <-chan struct{}) bool {
	if f.Delay > 0 && wait(r.Context(), closing, f.Delay) != nil {
		return true
	}
	switch {
	case f.Hang:
		_ = wait(r.Context(), closing, time.Hour)
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Status == 0:
		return false
	}
	maps.Copy(w.Header(), f.Header)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
	return true
}
