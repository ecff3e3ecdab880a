// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"cmp"
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
	l, ok := limitOf(res.Header, c.Username, s.deps.Now())
	switch {
	case ok && (err == nil || !l.Unlimited):
		return l, nil
	case err != nil:
		return providers.RateLimit{}, err
	}
	return providers.RateLimit{}, s.fail(r.Host, providers.Unavailable, "", errors.New("what the registry says of its pull limit cannot be read"))
}

// limitOf reads "ratelimit-limit: 100;w=21600" and its companions; none of them
// is no limit. ok is false where they are there and make no sense.
func limitOf(h http.Header, user string, now time.Time) (l providers.RateLimit, ok bool) {
	l.Who = httpx.Printable(cmp.Or(user, h.Get("Docker-Ratelimit-Source")), 100)
	if len(h.Values("Ratelimit-Limit")) == 0 && len(h.Values("Ratelimit-Remaining")) == 0 {
		l.Unlimited = true
		return l, true
	}
	limit, window, ok := count(h.Get("Ratelimit-Limit"))
	left, w, known := count(h.Get("Ratelimit-Remaining"))
	l.Limit, l.Remaining, l.Window = limit, min(left, limit), max(window, w)
	for _, k := range []string{"Ratelimit-Reset", "X-Ratelimit-Reset"} {
		if n, _, ok := count(h.Get(k)); ok {
			l.ResetsAt, _ = moment(int64(n), now)
			break
		}
	}
	return l, ok && known
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

// maxReset bounds how far away a limit is believed to end.
const maxReset = 31 * 24 * time.Hour

// moment reads a time that some headers give as seconds from now and others as
// seconds since 1970; false where it is over, or too far away to be meant.
func moment(n int64, now time.Time) (time.Time, bool) {
	const epoch = 1_000_000_000 // 2001; nobody waits for thirty years
	at := time.Unix(n, 0)
	if n < epoch {
		at = now.Add(time.Duration(n) * time.Second)
	}
	if n <= 0 || !at.After(now) || at.Sub(now) > maxReset {
		return time.Time{}, false
	}
	return at, true
}
