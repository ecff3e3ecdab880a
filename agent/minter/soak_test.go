// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

// soak is 30 simulated days of many tokens under faults, outages, suspends and
// clock jumps. Every token is held by jobs that come and go.
type soak struct {
	t      *testing.T
	seed   uint64
	clock  *clocks
	m      *Minter
	end    time.Duration // truth
	down   [10]atomic.Bool
	served atomic.Int64
	failed atomic.Int64

	mu          sync.Mutex
	ideal, made float64 // mints of lives above 10 min
}

func Test30DaysOf500Tokens(t *testing.T) { // T8
	tokens := 500
	if raceDetector {
		tokens = 50
	}
	synctest.Test(t, func(t *testing.T) {
		s := &soak{t: t, seed: *seedFlag, clock: newClocks()}
		defer func() {
			if t.Failed() {
				t.Logf("repeat with -seed %d", s.seed)
			}
		}()
		ctx, stop := context.WithCancel(t.Context())
		rng := rand.New(rand.NewPCG(s.seed, 0))
		s.m = New(ctx, Config{Now: s.clock.now, Rand: rng.Float64})
		s.end = s.clock.truth() + 30*day
		var wg sync.WaitGroup
		wg.Go(s.weather)
		ups := make([]*upstream, tokens)
		for i := range tokens {
			wg.Go(func() { ups[i] = s.token(i) })
		}
		wg.Wait()
		s.m.mu.Lock()
		wakes := s.m.wakes
		s.m.mu.Unlock()
		stop()
		synctest.Wait()
		s.judge(ups, wakes)
	})
}

func (s *soak) judge(ups []*upstream, wakes int) {
	tries, mints := 0, 0
	for _, u := range ups {
		tries += u.attempts()
		mints += u.mints
	}
	st := s.m.Stats()
	s.t.Logf("%d gets served, %d failed, %d attempts, %d mints, %d wake-ups; lives above 10 min: %.0f mints, %.3f of ideal",
		s.served.Load(), s.failed.Load(), tries, mints, wakes, s.made, s.made/s.ideal)
	if s.made > 1.2*s.ideal {
		s.t.Errorf("%.0f mints, at most 1.2 x %.0f wanted", s.made, s.ideal)
	}
	if wakes > tries+tries/5 {
		s.t.Errorf("%d wake-ups for %d attempts", wakes, tries)
	}
	if s.served.Load() < int64(mints) || s.failed.Load() == 0 || st.Entries != 0 || st.Flights != 0 {
		s.t.Errorf("%d served, %d failed, %+v", s.served.Load(), s.failed.Load(), st)
	}
}

// weather makes outages of 1 min to 11 h, suspends and clock jumps.
func (s *soak) weather() {
	rng := rand.New(rand.NewPCG(s.seed, 1))
	for s.clock.truth() < s.end {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(3*time.Hour)))
		switch rng.IntN(4) {
		case 0, 1:
			i := rng.IntN(len(s.down))
			if !s.down[i].Swap(true) {
				d := time.Minute + time.Duration(math.Pow(rng.Float64(), 4)*float64(11*time.Hour-time.Minute))
				time.AfterFunc(d, func() { s.down[i].Store(false) })
			}
		case 2:
			s.clock.suspend(time.Duration(math.Pow(rng.Float64(), 4) * float64(9*time.Hour)))
		case 3:
			jumps := []time.Duration{time.Hour, -time.Hour, 10 * time.Minute, -10 * time.Minute, 400 * day, -400 * day, -56 * 365 * day, 174 * 365 * day}
			s.clock.jump(jumps[rng.IntN(len(jumps))])
			time.AfterFunc(time.Duration(rng.ExpFloat64()*float64(time.Hour)), func() { s.clock.jump(-s.clock.offset()) })
		}
	}
}

// token is one key through the 30 days: jobs of 5 to 60 lives hold it.
func (s *soak) token(i int) *upstream {
	rng := rand.New(rand.NewPCG(s.seed, uint64(i)+100))
	life := time.Duration(float64(time.Minute) * math.Pow(720, rng.Float64())).Round(time.Second) // 60 s to 12 h
	u := newUpstream(s.clock, life)
	u.latency = time.Duration(rng.IntN(900)) * time.Millisecond
	var mu sync.Mutex // attempts of one key follow each other, but on goroutines of their own
	luck := rand.New(rand.NewPCG(s.seed, uint64(i)+10_000))
	u.fail = func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if s.down[i%len(s.down)].Load() {
			return errors.New("connection refused")
		}
		if luck.IntN(100) == 0 {
			return []error{retryAfter(20 * time.Second), kindErr(providers.Denied), kindErr(providers.LoginRequired), kindErr(providers.Unavailable)}[luck.IntN(4)]
		}
		return nil
	}
	r := Request{ID: ID{Account: fmt.Sprint(i), Host: providers.DockerHub}, Source: u}
	for s.clock.truth() < s.end {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(s.end) / 15))
		before, start := u.made(), s.clock.truth()
		job := time.Duration((5 + 55*rng.Float64()) * float64(life))
		release := s.m.Hold(r)
		for s.clock.truth() < min(start+job, s.end+day) {
			s.get(u, r)
			time.Sleep(time.Duration(rng.ExpFloat64() * 0.4 * float64(life)))
		}
		release()
		if life > 10*time.Minute {
			s.mu.Lock()
			s.ideal += float64(s.clock.truth()-start) / (0.45 * float64(life))
			s.made += float64(u.made() - before)
			s.mu.Unlock()
		}
	}
	time.Sleep(12*time.Hour + 2*time.Minute)
	return u
}

// get checks one answer against the truth.
func (s *soak) get(u *upstream, r Request) {
	had := u.living()
	c, err := s.m.Get(s.t.Context(), r)
	if err == nil {
		s.served.Add(1)
		if u.expired(c) {
			s.t.Errorf("%s life %s: served %s after its end", r.ID.Account, u.life, c.Secret.Reveal())
		}
		return
	}
	s.failed.Add(1)
	// Refused although the last token lives by the truth and by our clock.
	if had && u.living() {
		s.t.Errorf("%s life %s: refused with %v although the last token lives", r.ID.Account, u.life, err)
	}
}

func (u *upstream) made() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mints
}

// living reports that the last token lives by the truth, and that the wall
// clock, wrong as it may be, agrees with what the provider said of it.
func (u *upstream) living() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	wall, boot := u.clock.now()
	return u.current != "" && u.ends[u.current] > boot && u.said.After(wall)
}
