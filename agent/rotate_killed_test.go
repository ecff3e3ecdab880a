// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// Every step of a rotation, and of what finishes one, may be the last of its
// process. Whatever happens, a secret that lives stays reachable, unless it
// died on its way from the product, and no dead one is ever used again.
func TestAThousandRotationsKilledAtEveryStepLoseNoSecret(t *testing.T) {
	t.Parallel()
	const seeds, shards = 1000, 4
	var mu sync.Mutex
	lost, steps := 0, map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for shard := range int64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for seed := shard; seed < seeds; seed += shards {
					k := killedRun{rotRig: newRotRig(t), rnd: rand.New(rand.NewSource(seed)), seed: seed, steps: map[string]int{}}
					onTheWay := k.run()
					mu.Lock()
					if onTheWay {
						lost++
					}
					for s, n := range k.steps {
						steps[s] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	for _, s := range []string{"intent", "rehearsed", "served", "answered", "next", "replaced", "cleaned", "set before", "set after", "delete before", "delete after"} {
		if steps[s] == 0 {
			t.Errorf("no run was killed at %q", s)
		}
	}
	t.Logf("killed at %v; %d of %d on the way from the product", steps, lost, seeds)
}

// killedRun is the life of one secret among processes that are killed.
type killedRun struct {
	*rotRig
	rnd   *rand.Rand
	seed  int64
	kills int
	last  string
	steps map[string]int
}

// run reports a secret that was lost on its way from the product: nothing but a
// process that died ever had it.
func (k *killedRun) run() (onTheWay bool) {
	t, rnd := k.t, k.rnd
	k.kills = 1 + rnd.Intn(3)
	odds := 2 + rnd.Intn(8)
	k.kill = func(step string) {
		k.last = step
		if k.kills > 0 && rnd.Intn(odds) == 0 {
			k.kills--
			k.steps[step]++
			panic(killed{step})
		}
	}
	trouble := rnd.Intn(3) == 0
	k.product.lose = func() (bool, bool) { return trouble && rnd.Intn(3) == 0, trouble && rnd.Intn(3) == 0 }
	for try := 0; try < 12; try++ {
		served := k.product.serial
		dead, err := k.oneProcess()
		if k.product.serial > served && !k.product.living(k.secret()) && !k.product.living(k.store.mapStore[k.second()]) {
			onTheWay = true // killed between "served" and the first durable write, or the answer was lost
		}
		k.now = k.now.Add(2 * time.Minute)
		if !dead && (err == nil || providers.KindOf(err) == providers.LoginRequired) && k.kills == 0 {
			break
		}
	}
	k.kills, trouble = 0, false
	_, err := k.process().Rotate(t.Context(), k.account, nil)
	switch {
	case k.product.reuses > 0:
		t.Fatalf("seed %d: a dead secret was used again (last step %s)", k.seed, k.last)
	case onTheWay:
		if providers.KindOf(err) != providers.LoginRequired || !strings.Contains(err.Error(), "interrupted") {
			t.Fatalf("seed %d: lost on the way, and rotate says %v", k.seed, err)
		}
	case err != nil || !k.product.living(k.secret()) || len(k.left()) > 0:
		t.Fatalf("seed %d: %v; the secret %s lives: %v; left %v (last step %s)", k.seed, err, k.secret().Reveal(), k.product.living(k.secret()), k.left(), k.last)
	}
	return onTheWay
}

// oneProcess is one process that does one thing.
func (k *killedRun) oneProcess() (dead bool, err error) {
	c, t := k.process(), k.t
	err = errNet
	dead = live(func() {
		switch k.rnd.Intn(3) {
		case 0:
			c.settleAll(t.Context())
		case 1:
			_ = c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"})
		default:
			_, err = c.Rotate(t.Context(), k.account, nil)
		}
	})
	return dead, err
}
