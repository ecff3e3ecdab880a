// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"fmt"
	"net/http"
	"time"
)

// preview is the repository by which limits are read.
const preview = "ratelimitpreview/test"

// preview answers for the image by which limits are read.
func (h *Hub) preview(w http.ResponseWriter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, v := range h.limits.header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	w.WriteHeader(max(h.limits.status, http.StatusOK))
}

type limits struct {
	status int         // of the preview's answer; 0 = 200
	header http.Header // in place of the usual ones
	pulls  int         // 0 = unlimited
	window time.Duration
	used   map[string]int
	api    int // requests that are left; -1 or less: over
	apiOn  bool
	until  time.Time
}

// LimitPulls allows each user, and all anonymous ones together, n pulls in a
// window of 6 h; 0 = no limit, and no headers.
func (h *Hub) LimitPulls(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limits.pulls, h.limits.window, h.limits.used = n, 6*time.Hour, map[string]int{}
}

// AnswerLimits makes the image by which limits are read answer in this way,
// whatever the limits are.
func (h *Hub) AnswerLimits(status int, header http.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limits.status, h.limits.header = status, header
}

// sourceAddress is who anonymous pulls are counted for.
const sourceAddress = "192.0.2.1"

// limit writes the headers of pull limits, and answers where the limit is
// reached. HEAD does not count.
func (h *Hub) limit(w http.ResponseWriter, r *http.Request, who string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limits.pulls == 0 {
		return true
	}
	source := who
	if source == "" {
		source = sourceAddress
	} else if u := h.users[who]; u != nil {
		source = u.UUID
	}
	over := h.limits.used[source] >= h.limits.pulls
	if r.Method == http.MethodGet && !over {
		h.limits.used[source]++
	}
	window := int(h.limits.window / time.Second)
	w.Header().Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", h.limits.pulls, window))
	w.Header().Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", h.limits.pulls-h.limits.used[source], window))
	w.Header().Set("Docker-Ratelimit-Source", source)
	if over && r.Method == http.MethodGet {
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limits")
		return false
	}
	return true
}

// LimitAPI allows n more requests to the API until a time.
func (h *Hub) LimitAPI(n int, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limits.api, h.limits.until, h.limits.apiOn = n, until, true
}

// limitAPI counts a request: X-Retry-After is a time, not a duration.
func (h *Hub) limitAPI(w http.ResponseWriter) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	left, until := 180, h.Cloud.Now().Add(time.Minute)
	if h.limits.apiOn {
		if h.Cloud.Now().After(h.limits.until) {
			h.limits.apiOn = false
		} else {
			h.limits.api--
			left, until = h.limits.api, h.limits.until
		}
	}
	w.Header().Set("X-RateLimit-Limit", "180")
	w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(max(left, 0)))
	w.Header().Set("X-RateLimit-Reset", fmt.Sprint(until.Unix()))
	if left < 0 {
		w.Header().Set("X-Retry-After", fmt.Sprint(until.Unix()))
		detail(w, http.StatusTooManyRequests, "Rate limit exceeded")
		return false
	}
	return true
}
