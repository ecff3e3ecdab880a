// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

// script answers the n-th request with the n-th step, then with the last.
type script struct {
	steps []func() (*http.Response, error)
	at    []time.Duration
	start time.Time
}

func (s *script) send(r *http.Request) (*http.Response, error) {
	s.at = append(s.at, time.Since(s.start))
	i := min(len(s.at), len(s.steps)) - 1
	res, err := s.steps[i]()
	if res != nil {
		res.Request = r
	}
	return res, err
}

func answer(code int, kv ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	}
}

func fails(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

func scripted(t *testing.T, steps ...func() (*http.Response, error)) (*Client, *script) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{steps: steps, start: time.Now()}
	c.send = s.send
	return c, s
}

func TestRetriesAreAtMostThreeTriesWithinEightSeconds(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c, s := scripted(t, answer(503))
			_, err := c.Do(t.Context(), Request{URL: "https://reg.example/"})
			if len(s.at) != 3 || s.at[2] > maxWait || s.at[1] == 0 || s.at[2] == s.at[1] {
				t.Errorf("tries at %v", s.at)
			}
			if providers.KindOf(err) != providers.Unavailable {
				t.Error(err)
			}
		})
	}
}

func TestJitterSpreadsTheFirstRetry(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			c, s := scripted(t, fails(errReset), answer(200))
			if _, err := c.Do(t.Context(), Request{URL: "https://reg.example/"}); err != nil {
				t.Fatal(err)
			}
			waits[s.at[1]] = true
		})
	}
	if len(waits) < 10 {
		t.Errorf("20 runs waited only %d different times", len(waits))
	}
}

func TestOnlyReplayableRequestsAreSentAgain(t *testing.T) {
	for _, tc := range []struct {
		r    Request
		step func() (*http.Response, error)
		want int
	}{
		{Request{Method: "POST"}, answer(503), 1},
		{Request{Method: "POST"}, fails(errReset), 1},
		{Request{Method: "POST", Replay: true}, answer(503), 3},
		{Request{Method: "HEAD"}, fails(errRefused), 3},
		{Request{}, answer(400), 1},
		{Request{}, answer(401), 1},
		{Request{}, answer(403), 1},
		{Request{}, answer(404), 1},
		{Request{}, answer(408), 1},
		{Request{}, answer(501), 1},
		{Request{}, answer(429), 3},
		{Request{}, answer(500), 3},
		{Request{}, answer(504), 3},
		{Request{}, fails(&AddrError{Reason: "is private"}), 1},
		{Request{}, fails(errTooLarge), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, s := scripted(t, tc.step)
			tc.r.URL = "https://reg.example/"
			if _, err := c.Do(t.Context(), tc.r); err == nil || len(s.at) != tc.want {
				t.Errorf("%+v: %d tries, want %d (%v)", tc.r, len(s.at), tc.want, err)
			}
		})
	}
}

// H55, T1: never before Retry-After, never beyond the deadline.
func TestRetryAfterIsHonouredOrReturned(t *testing.T) {
	for name, tc := range map[string]struct {
		header   string
		deadline time.Duration
		tries    int
		after    time.Duration
	}{
		"3 seconds fit":             {"3", 0, 3, 3 * time.Second},
		"7 seconds fit once":        {"7", 0, 2, 7 * time.Second},
		"10 seconds do not fit":     {"10", 0, 1, 10 * time.Second},
		"3 seconds, 2 left":         {"3", 2 * time.Second, 1, 3 * time.Second},
		"absurd is capped":          {"99999999999999999999", 0, 1, time.Minute},
		"zero is back-off":          {"0", 0, 3, 0},
		"negative is back-off":      {"-1", 0, 3, 0},
		"garbage is back-off":       {"soon", 0, 3, 0},
		"a date in the past":        {"Wed, 02 Jan 1985 15:04:05 GMT", 0, 3, 0},
		"a date 20 seconds from us": {"Sat, 01 Jan 2000 00:00:20 GMT", 0, 1, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(t, answer(429, "Retry-After", tc.header))
				ctx := t.Context()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				_, err := c.Do(ctx, Request{URL: "https://reg.example/"})
				e, ok := errors.AsType[*providers.Error](err)
				if !ok || e.RetryAfter != tc.after || len(s.at) != tc.tries {
					t.Fatalf("%d tries, RetryAfter %v: %v", len(s.at), e.RetryAfter, err)
				}
				for i := 1; i < len(s.at); i++ {
					if d := s.at[i] - s.at[i-1]; d < tc.after {
						t.Errorf("try %d only %v after the one before", i+1, d)
					}
				}
				if end := time.Since(s.start); end != s.at[len(s.at)-1] {
					t.Errorf("answered at %v, the last try was at %v: waited for nothing", end, s.at[len(s.at)-1])
				}
				if tc.after > 0 && !strings.Contains(err.Error(), "not before ") {
					t.Errorf("no time in %v", err)
				}
			})
		})
	}
}

// Retry-After dates are measured by the clock of the server that wrote them.
func TestRetryAfterDateIsReadByTheServersClock(t *testing.T) {
	h := http.Header{"Retry-After": {"Sat, 01 Jan 2000 03:00:05 GMT"}, "Date": {"Sat, 01 Jan 2000 03:00:00 GMT"}}
	if d := retryAfter(h, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); d != 5*time.Second {
		t.Errorf("got %v", d)
	}
}

func TestHangingServerEndsATryAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, nil)
		c.send = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		start := time.Now()
		_, err := c.Do(t.Context(), Request{What: "token exchange", URL: "https://reg.example/"})
		if time.Since(start) != tryTimeout || err == nil || !strings.Contains(err.Error(), "timed out after 10s") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestCallerThatLeavesEndsTheCallAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, answer(503, "Retry-After", "5"))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		start := time.Now()
		_, err := c.Do(ctx, Request{URL: "https://reg.example/"})
		if err == nil || time.Since(start) != time.Second || len(s.at) != 1 {
			t.Errorf("after %v, %d tries: %v", time.Since(start), len(s.at), err)
		}
	})
}
