// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// base is some wall clock.
var base = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestJudge(t *testing.T) {
	const h, m, s, ns = time.Hour, time.Minute, time.Second, time.Nanosecond
	for _, c := range []struct {
		life, left time.Duration
		early      bool
		jitter     float64
		want       verdict
	}{
		// 12 h: floor 15 min, fresh above 7.2 h
		{12 * h, 12 * h, false, 0, fresh},
		{12 * h, 432*m + ns, false, 0, fresh},
		{12 * h, 432 * m, false, 0, stale},
		{12 * h, 432 * m, false, 0.5, fresh},
		{12 * h, 396*m + ns, false, 0.5, fresh},
		{12 * h, 396 * m, false, 0.5, stale},
		{12 * h, 360*m + ns, false, 1, fresh},
		{12 * h, 360 * m, false, 1, stale},
		{12 * h, 15 * m, false, 0, stale},
		{12 * h, 15*m - ns, false, 0, short},
		{12 * h, ns, false, 0, short},
		{12 * h, 0, false, 0, gone},
		{12 * h, -h, false, 0, gone},
		// 1 h: floor 15 min, fresh above 36 min
		{h, 36*m + ns, false, 0, fresh},
		{h, 36 * m, false, 0, stale},
		{h, 15 * m, false, 0, stale},
		{h, 15*m - ns, false, 0, short},
		// 30 min: floor 12 min = 0.4 L
		{30 * m, 18*m + ns, false, 0, fresh},
		{30 * m, 12 * m, false, 0, stale},
		{30 * m, 12*m - ns, false, 0, short},
		// 5 min, the usual bearer: floor 2 min
		{5 * m, 3*m + ns, false, 0, fresh},
		{5 * m, 3 * m, false, 0, stale},
		{5 * m, 2*m - ns, false, 0, short},
		// 5 min, early: floor 4.5 min, never stale
		{5 * m, 270 * s, true, 0, fresh},
		{5 * m, 270*s - ns, true, 0, short},
		{5 * m, 170 * s, true, 0, short},
		// 10 min, early: floor 5 min
		{10 * m, 6*m + ns, true, 0, fresh},
		{10 * m, 5 * m, true, 0, stale},
		{10 * m, 5*m - ns, true, 0, short},
		// 11 min: too long to be early
		{11 * m, 5*m - ns, true, 0, stale},
		// 2 s
		{2 * s, 1201 * time.Millisecond, false, 0, fresh},
		{2 * s, 1000 * time.Millisecond, false, 0, stale},
		{2 * s, 799 * time.Millisecond, false, 0, short},
		{2 * s, 0, false, 0, gone},
	} {
		t.Run(fmt.Sprintf("life %s left %s early %t jitter %g", c.life, c.left, c.early, c.jitter), func(t *testing.T) {
			cred := providers.Credential{IssuedAt: base, ExpiresAt: base.Add(c.life)}
			tm, ok := newTerm(cred, instant{base, h}, c.early, c.jitter)
			if !ok {
				t.Fatal("not alive on landing")
			}
			used := c.life - c.left
			for name, now := range map[string]instant{
				"both clocks": {base.Add(used), h + used},
				"wall ahead":  {base.Add(used), h},
				"wall behind": {base.Add(-1000 * h), h + used},
			} {
				if left := tm.left(now); left != c.left {
					t.Fatalf("%s: left %s", name, left)
				}
				if got := tm.judge(tm.left(now)); got != c.want {
					t.Errorf("%s: %s, want %s", name, got, c.want)
				}
			}
		})
	}
}

func TestTermOfOddAnswers(t *testing.T) {
	const h, m = time.Hour, time.Minute
	for name, c := range map[string]struct {
		issued, expires   time.Time
		ok                bool
		life, left, first time.Duration // first: of judge's line without jitter
	}{
		"no expiry":                         {ok: true, left: maxLife},
		"no time of issue":                  {expires: base.Add(h), ok: true, life: h, left: h, first: 36 * m},
		"expired":                           {issued: base.Add(-h), expires: base, ok: false},
		"expired long ago":                  {expires: time.Unix(0, 0), ok: false},
		"issuer's clock ahead":              {issued: base.Add(3 * h), expires: base.Add(4 * h), ok: true, life: h, left: h, first: 36 * m},
		"issuer's clock far ahead, H54":     {issued: base.Add(5000 * h), expires: base.Add(5001 * h), ok: true, life: h, left: h, first: 36 * m},
		"issued after its end":              {issued: base.Add(2 * h), expires: base.Add(h), ok: true, life: h, left: h, first: 36 * m},
		"somewhat used":                     {issued: base.Add(-10 * m), expires: base.Add(50 * m), ok: true, life: h, left: 50 * m, first: 36 * m},
		"mostly used: its life begins here": {issued: base.Add(-50 * m), expires: base.Add(10 * m), ok: true, life: 10 * m, left: 10 * m, first: 6 * m},
		"issued in 1970, H50":               {issued: time.Unix(0, 0), expires: base.Add(h), ok: true, life: h, left: h, first: 36 * m},
		"expires in year 9999":              {issued: base, expires: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ok: true, life: maxLife, left: maxLife, first: maxLife / 10 * 6},
	} {
		t.Run(name, func(t *testing.T) {
			now := instant{base, 5 * h}
			tm, ok := newTerm(providers.Credential{IssuedAt: c.issued, ExpiresAt: c.expires}, now, false, 0)
			if ok != c.ok {
				t.Fatalf("alive %t, want %t", ok, c.ok)
			}
			if !ok {
				return
			}
			if tm.life != c.life || tm.left(now) != c.left || tm.line != c.first {
				t.Errorf("life %s left %s line %s, want %s %s %s", tm.life, tm.left(now), tm.line, c.life, c.left, c.first)
			}
			if v := tm.judge(tm.left(now)); v != fresh {
				t.Errorf("lands %s, want fresh", v)
			}
		})
	}
}

func TestLastCallComesFromTheWholeLife(t *testing.T) {
	// A metadata server gives the same token until 5 min are left: a token seen
	// with 10 of its 60 min left is asked for again then, not at 1 min.
	tm, _ := newTerm(providers.Credential{IssuedAt: base.Add(-50 * time.Minute), ExpiresAt: base.Add(10 * time.Minute)}, instant{base, 0}, false, 0)
	if tm.last != 5*time.Minute {
		t.Errorf("last call at %s left, want 5m", tm.last)
	}
}

func TestSpacing(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, 2 * time.Second: 200 * time.Millisecond, time.Minute: 6 * time.Second,
		5 * time.Minute: 30 * time.Second, 12 * time.Hour: 30 * time.Second,
	} {
		if got := spacing(life); got != want {
			t.Errorf("life %s: %s, want %s", life, got, want)
		}
	}
}

func FuzzTermNeverOutlivesItsExpiry(f *testing.F) {
	f.Add(int64(0), int64(3600), int64(60), int64(60), 0.5, true)
	f.Add(int64(-1), int64(1), int64(math.MaxInt32), int64(-5), 1.0, false)
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), 0.0, false)
	f.Fuzz(func(t *testing.T, issued, expires, wall, boot int64, jitter float64, early bool) {
		const lim = 1 << 37 // seconds: 4,000 years
		cut := func(v int64) int64 { return v % lim }
		jitter = math.Abs(math.Mod(jitter, 1))
		if math.IsNaN(jitter) {
			jitter = 0
		}
		c := providers.Credential{ExpiresAt: base.Add(0).Add(time.Second * time.Duration(cut(expires)%(1<<33)))}
		if issued != 0 {
			c.IssuedAt = time.Unix(cut(issued), 0)
		}
		land := instant{base, time.Hour}
		tm, ok := newTerm(c, land, early, jitter)
		if ok != (c.ExpiresAt.Sub(base) > 0) {
			t.Fatalf("alive %t with %s left", ok, c.ExpiresAt.Sub(base))
		}
		if !ok {
			return
		}
		if tm.life <= 0 || tm.floor < 0 || tm.line < 0 || tm.line > tm.life || tm.floor > tm.life || tm.end <= land.boot {
			t.Fatalf("%+v", tm)
		}
		now := instant{base.Add(time.Duration(wall % (1 << 60))), land.boot + time.Duration(uint64(boot)%(1<<60))}
		dead := !c.ExpiresAt.After(now.wall) || now.boot-land.boot >= c.ExpiresAt.Sub(base)
		if v := tm.judge(tm.left(now)); dead && v != gone {
			t.Fatalf("%s after the end, left %s", v, tm.left(now))
		}
	})
}
