// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// next says how long to wait before another try, and whether there is one.
func (c *Client) next(ctx context.Context, r Request, fail *providers.Error, try int, waited time.Duration) (time.Duration, bool) {
	if try >= maxTries || !r.replayable() || ctx.Err() != nil || !passing(fail.Err) {
		return 0, false
	}
	wait := rand.N(500*time.Millisecond<<(try-1)) + 1
	if after := fail.RetryAfter; after > 0 {
		wait = after + rand.N(min(after/10, time.Second)+1)
	}
	if waited+wait > maxWait {
		return 0, false
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return 0, false
	}
	return wait, true
}

// passing reports failures that another try may not meet again.
func passing(err error) bool {
	if e, ok := errors.AsType[*StatusError](err); ok {
		switch e.Status {
		case 429, 500, 502, 503, 504:
			return true
		}
		return false
	}
	e, ok := errors.AsType[*TransportError](err)
	return ok && e.passing
}

// retryAfter reads Retry-After: whole seconds or a date, measured against the
// server's own clock where it tells it. 0 where it is absent, past or garbage.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(24*time.Hour/time.Second) {
			return 24 * time.Hour
		}
		return time.Duration(n) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		now = d
	}
	return min(max(t.Sub(now), 0), 24*time.Hour)
}
