// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// The image that Docker keeps for reading limits: a HEAD of its manifest counts
// as no pull (docker-hub/usage/pulls).
const (
	previewImage    = "ratelimitpreview/test"
	previewManifest = "https://registry-1.docker.io/v2/" + previewImage + "/manifests/latest"
)

// RateLimit implements providers.Limiter. Docker Hub says what is left and how
// long its window is; only where it sends a reset is one told.
func (s *source) RateLimit(ctx context.Context, r providers.Request, c providers.Credential) (providers.RateLimit, error) {
	if r.Host != providers.DockerHub {
		return providers.RateLimit{}, s.fail(r.Host, providers.Misconfigured, "", errors.New("the pull limit of Docker Hub is that of docker.io"))
	}
	reg, err := registryauth.Probe(ctx, s.registry(r.Host))
	if err != nil {
		return providers.RateLimit{}, err
	}
	bearer, err := reg.Exchange(ctx, c, []string{"repository:" + previewImage + ":pull"}, providers.LoginRequired)
	if err != nil {
		return providers.RateLimit{}, s.explain(err, c)
	}
	res, err := s.http.Do(ctx, httpx.Request{
		Host: r.Host, What: "pull limit", Method: http.MethodHead, URL: previewManifest, SameOrigin: true,
		Header: http.Header{"Authorization": {"Bearer " + bearer.Value.Reveal()}, "Accept": {"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json"}},
	})
	if err != nil && (res == nil || res.Status != http.StatusTooManyRequests) {
		return providers.RateLimit{}, err
	}
	return limitOf(res.Header, c.Username, s.deps.Now()), nil
}

// limitOf reads "ratelimit-limit: 100;w=21600" and its companions; none of them
// is no limit.
func limitOf(h http.Header, user string, now time.Time) providers.RateLimit {
	limit, window, ok := count(h.Get("Ratelimit-Limit"))
	if !ok {
		return providers.RateLimit{Unlimited: true, Who: httpx.Printable(user, 100)}
	}
	left, w, ok := count(h.Get("Ratelimit-Remaining"))
	if !ok {
		left = 0
	}
	out := providers.RateLimit{Limit: limit, Remaining: min(left, limit), Window: max(window, w), Who: user}
	if out.Who == "" {
		out.Who = h.Get("Docker-Ratelimit-Source")
	}
	out.Who = httpx.Printable(out.Who, 100)
	for _, k := range []string{"Ratelimit-Reset", "X-Ratelimit-Reset"} {
		if n, _, ok := count(h.Get(k)); ok {
			out.ResetsAt = moment(int64(n), now)
			break
		}
	}
	return out
}

// count reads "100;w=21600".
func count(s string) (n int, window time.Duration, ok bool) {
	head, rest, _ := strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(head))
	if err != nil || n < 0 {
		return 0, 0, false
	}
	for p := range strings.SplitSeq(rest, ";") {
		if v, found := strings.CutPrefix(strings.TrimSpace(p), "w="); found {
			if sec, err := strconv.Atoi(v); err == nil && sec > 0 && sec < 366*24*3600 {
				window = time.Duration(sec) * time.Second
			}
		}
	}
	return n, window, true
}

// moment reads a time that some headers give as seconds from now and others as
// seconds since 1970.
func moment(n int64, now time.Time) time.Time {
	const epoch = 1_000_000_000 // 2001; nobody waits for thirty years
	if n >= epoch {
		return time.Unix(n, 0)
	}
	return now.Add(time.Duration(n) * time.Second)
}
