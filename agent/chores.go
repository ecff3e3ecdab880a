// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/regmint/regmint/configdir"
)

// chore is work in the background that waits for nobody; it is under way once.
type chore struct{ busy atomic.Bool }

// doChores begins what is to be done: what jobs left is taken back, interrupted
// rotations are settled, those that are due are begun. Neither of the two waits
// for the other: each may wait for a product that does not answer. Of two agents
// after an upgrade the new one does it.
func (a *Agent) doChores() {
	select {
	case <-a.handed:
		return
	default:
	}
	a.sweeping.begin(a, func() { a.core.revoked.sweep(a.core.ctx, a.jobLives) })
	a.rotating.begin(a, func() {
		a.core.settleAll(a.core.ctx)
		if a.o.Rotate != nil {
			a.core.rotateDue(a.ctx, a.o.Rotate)
		}
	})
}

func (c *chore) begin(a *Agent, do func()) {
	if !c.busy.CompareAndSwap(false, true) {
		return
	}
	go func() { // ends with its questions, each bounded, or with the agent
		defer c.busy.Store(false)
		defer func() {
			if p := recover(); p != nil {
				a.o.Log.Error("a provider failed", "panic", oneLine(fmt.Sprint(p)))
			}
		}()
		do()
	}()
}

// jobLives: open here, or held by its wrapper, who takes it to an agent.
func (a *Agent) jobLives(id string) bool {
	if a.jobs.has(id) {
		return true
	}
	if !configdir.ValidID(id) {
		return false
	}
	held, err := configdir.LockHeld(a.o.Paths.JobDir(id))
	return held || err != nil && !errors.Is(err, os.ErrNotExist)
}
