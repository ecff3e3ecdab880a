// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// handedLife is how long a secret we gave out is recognised when a client
// stores it back (docker login does).
const handedLife = 24 * time.Hour

// minHanded is how many of them are kept without looking for old ones.
const minHanded = 4096

// handedKey recognises a secret that an account gave out for a host, without
// keeping it.
type handedKey struct {
	failKey // who gave it out
	sum     uint64
}

var handedSeed = maphash.MakeSeed()

func handed(by failKey, s providers.Secret) handedKey {
	return handedKey{failKey: by, sum: maphash.String(handedSeed, s.Reveal())}
}

func (c *Core) handOut(by failKey, cred providers.Credential) {
	k, now := handed(by, cred.Secret), c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.handed) >= max(c.handMax, minHanded) {
		maps.DeleteFunc(c.handed, func(_ handedKey, at time.Time) bool { return now.Sub(at) > handedLife })
		c.handMax = 2 * len(c.handed) // looking through all of them is not for every get
	}
	c.handed[k] = now
}

// wasHandedOut says that the account which answers the caller now has given out
// this very secret. After a logout, or as somebody else meanwhile, the same
// secret is a login like any other.
func (c *Core) wasHandedOut(s *snapshot, j *job, k providers.Key, l api.Login, secret providers.Secret) bool {
	if k.Item != "" {
		return false
	}
	a, err := c.account(s, j, k, c.choice(j, k.Host, l.Account), l.Env)
	if err != nil || a.Username != l.Username && (ownedByJob(a.Layer) || a.Layer == providers.LayerSaved) {
		return false
	}
	by := []failKey{c.giver(j, k.Host, a, l)}
	if sp, ok := c.spare(s, k.Host); ok && !ownedByJob(a.Layer) {
		by = append(by, c.giver(j, k.Host, sp.Account, l)) // it stood in for a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(by, func(by failKey) bool {
		at, ok := c.handed[handed(by, secret)]
		return ok && c.now().Sub(at) <= handedLife
	})
}

// giver is who a would be for the caller that stores l.
func (c *Core) giver(j *job, h providers.Host, a providers.Account, l api.Login) failKey {
	q := asked{host: h, account: a}
	p := c.provider(a.Provider)
	if a.Layer != providers.LayerAmbient || p == nil {
		return c.failKey(q, j, nil, nil)
	}
	return c.failKey(q, j, c.envNames(a, p), c.envOf(j, l.Env))
}

// forgetHanded forgets what accounts gave out whose login changed.
func (c *Core) forgetHanded(match func(k handedKey) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.handed, func(k handedKey, _ time.Time) bool { return match(k) })
}
