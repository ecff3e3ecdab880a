// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// background is the context of work that no caller waits for.
func (c *Core) background() context.Context { return c.ctx }

// Refresh drops what is cached for a host, or for all; the next get mints.
func (c *Core) Refresh(j *job, req api.HostRequest) *api.Reply {
	if req.Host == "" && j != nil {
		n := 0 // of its own world: other jobs keep theirs
		for _, h := range c.hosts(c.state.Load(), j) {
			if j.allows(h) {
				n += c.changed(h)
			}
		}
		return dropped(n)
	}
	if req.Host == "" {
		c.clearFailures()
		n := c.dropSources(func(string) bool { return true })
		c.mint.ForgetFailures(func(minter.ID) bool { return true })
		return dropped(n)
	}
	k, err := providers.ParseKey(req.Host)
	if err != nil {
		return failed(k.Host, &providers.Error{Kind: providers.Misconfigured, Err: err})
	}
	if !j.allows(k.Host) {
		return &api.Reply{Outcome: api.NotFound}
	}
	return dropped(c.changed(k.Host))
}

func dropped(n int) *api.Reply {
	return &api.Reply{Outcome: api.OK, Message: fmt.Sprintf("dropped %d", n), Version: api.BuildVersion}
}

// unlockedByHand: a passphrase keeps the store open, and ending would lock it.
func (c *Core) unlockedByHand() bool {
	st, err := c.state.Load().secrets()
	if err != nil {
		return false
	}
	p, ok := st.(interface{ HasPassphrase() bool })
	return ok && p.HasPassphrase()
}
