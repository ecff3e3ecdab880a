// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"time"

	"github.com/regmint/regmint/providers"
)

// tokenCache keeps the Entra tokens of one source, so that fifty registries of
// one identity ask for one. One caller asks at a time; who waited for a failure
// shares it.
type tokenCache struct {
	now    func() time.Time
	gate   chan struct{}
	tokens map[string]entraToken // by audience and cloud
	stamps map[string]string
	failed map[string]failure
}

type failure struct {
	at  time.Time
	err error
}

// minLeft is what a cached token must have left: enough for the exchange.
const minLeft = 5 * time.Minute

func (c *tokenCache) init(now func() time.Time) {
	c.now, c.gate = now, make(chan struct{}, 1)
	c.tokens, c.stamps, c.failed = map[string]entraToken{}, map[string]string{}, map[string]failure{}
}

// get answers from the cache or asks; fresh leaves the cache aside.
func (c *tokenCache) get(ctx context.Context, h providers.Host, key, stamp string, fresh bool, ask func() (entraToken, error)) (t entraToken, cached bool, err error) {
	came := c.now()
	select {
	case c.gate <- struct{}{}:
		defer func() { <-c.gate }()
	case <-ctx.Done():
		return t, false, &providers.Error{Kind: providers.Unavailable, Host: h, Err: errWaited}
	}
	t, ok := c.tokens[key]
	if ok && c.stamps[key] == stamp && t.expires.Sub(c.now()) > minLeft && (!fresh || t.asked.After(came)) {
		return t, true, nil
	}
	if f, ok := c.failed[key]; ok && f.at.After(came) {
		return entraToken{}, false, forHost(f.err, h)
	}
	t, err = ask()
	if err != nil {
		if ctx.Err() == nil { // a caller that ran out of time speaks for itself alone
			c.failed[key] = failure{c.now(), err}
		}
		return entraToken{}, false, err
	}
	delete(c.failed, key)
	c.tokens[key], c.stamps[key] = t, stamp
	return t, false, nil
}

// entraToken is a token of the account's identity, and whether it was cached.
func (s *source) entraToken(ctx context.Context, h providers.Host, audience string, fresh bool) (entraToken, bool, error) {
	id, err := s.identity(h)
	if err != nil {
		return entraToken{}, false, err
	}
	key := s.authority(h) + " " + audience
	return s.cache.get(ctx, h, key, id.stamp(), fresh, func() (entraToken, error) { return id.token(ctx, h, audience) })
}
