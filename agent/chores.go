// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/regmint/regmint/configdir"
)

// doChores does in the background what waits for nobody: what jobs left is
// taken back, interrupted rotations are settled, those that are due are begun.
// Of two agents after an upgrade the new one does it.
func (a *Agent) doChores() {
	select {
	case <-a.handed:
		return
	default:
	}
	if !a.chores.CompareAndSwap(false, true) {
		return
	}
	go func() { // ends with its questions, each bounded, or with the agent
		defer a.chores.Store(false)
		defer func() {
			if p := recover(); p != nil {
				a.o.Log.Error("a provider failed", "panic", oneLine(fmt.Sprint(p)))
			}
		}()
		a.core.revoked.sweep(a.core.ctx, a.jobLives)
		a.core.settleAll(a.core.ctx)
		if a.o.Rotate != nil {
			a.core.rotateDue(a.ctx, a.o.Rotate)
		}
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
