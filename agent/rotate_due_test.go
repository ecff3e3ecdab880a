// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func TestAScheduleRotatesWhenItIsDueAndNotBefore(t *testing.T) {
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(14 * 24 * time.Hour)
	c := r.process()
	runs := 0
	run := func(ctx context.Context, name string) error {
		runs++
		a, err := c.AccountNamed(name)
		if err == nil {
			_, err = r.process().Rotate(ctx, a, nil)
		}
		return err
	}
	tick := func(d time.Duration, want int) {
		t.Helper()
		r.later(d)
		c.rotateDue(t.Context(), run)
		if runs != want {
			t.Fatalf("%d rotations, want %d; status %+v", runs, want, c.Status(nil).Rotations)
		}
	}
	tick(0, 0) // the schedule begins
	tick(13*24*time.Hour, 0)
	tick(24*time.Hour, 1)
	tick(24*time.Hour, 1)
	if st := c.Status(nil).Rotations; len(st) != 1 || st[0].State != "ok" || st[0].LastAt == nil || st[0].DueAt == nil {
		t.Fatalf("status %+v", st)
	}
	r.product.lose = func() (bool, bool) { return true, false } // never arrives
	tick(14*24*time.Hour, 2)
	if st := c.Status(nil).Rotations; st[0].State != "interrupted" || st[0].Message == "" {
		t.Fatalf("status %+v", st)
	}
	r.product.lose = nil
	tick(30*time.Minute, 2)
	tick(time.Hour, 3)
	if st := c.Status(nil).Rotations; st[0].State != "ok" || r.secret().Reveal() != "t2" || r.product.reuses > 0 {
		t.Fatalf("status %+v, secret %s", st, r.secret().Reveal())
	}
}

func TestARotationThatCannotBeginIsTriedLessAndLess(t *testing.T) {
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(time.Hour)
	c := r.process()
	runs := 0
	for range 7 * 24 * 4 {
		c.rotateDue(t.Context(), func(context.Context, string) error { runs++; return errors.New("no program") })
		r.later(15 * time.Minute)
	}
	if st := c.Status(nil).Rotations; runs < 8 || runs > 14 || st[0].State != "failed" {
		t.Fatalf("%d attempts in a week; %+v", runs, st)
	}
}

func TestASecretIsReplacedBeforeItEnds(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rec := record{Since: at, At: at, ExpiresAt: at.Add(7 * 24 * time.Hour)}
	if due := rec.due(30 * 24 * time.Hour); !due.Equal(at.Add(6 * 24 * time.Hour)) {
		t.Fatal(due)
	}
}

func TestAShortLifeIsReplacedInItsLastQuarterAndNeverTwiceWithinAnHour(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		rec   record
		every time.Duration
		want  time.Duration // after at
	}{
		"a life of 12 h":             {record{Since: at, At: at, ExpiresAt: at.Add(12 * time.Hour)}, 336 * time.Hour, 9 * time.Hour},
		"a life of 2 d":              {record{Since: at, At: at, ExpiresAt: at.Add(48 * time.Hour)}, 336 * time.Hour, 36 * time.Hour},
		"over before it was seen":    {record{Since: at, ExpiresAt: at.Add(-time.Hour)}, 336 * time.Hour, 0},
		"the product's clock behind": {record{Since: at, At: at, ExpiresAt: at.Add(-100 * time.Hour)}, 336 * time.Hour, time.Hour},
		"a schedule of seconds":      {record{Since: at, At: at}, time.Second, time.Hour},
		"no known end":               {record{Since: at, At: at}, 336 * time.Hour, 336 * time.Hour},
	} {
		if due := c.rec.due(c.every); !due.Equal(at.Add(c.want)) {
			t.Errorf("%s: due after %v, want %v", name, due.Sub(at), c.want)
		}
	}
}

// scheduleRig is an account on a schedule, and what its agent does in a while.
func scheduleRig(t *testing.T) (*rotRig, *Core, func(d time.Duration)) {
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(14 * 24 * time.Hour)
	c := r.process()
	return r, c, func(d time.Duration) {
		for step := 6 * time.Hour; d > 0; d -= step {
			r.later(min(d, step))
			c.rotateDue(t.Context(), func(ctx context.Context, _ string) error {
				_, err := r.process().Rotate(ctx, r.account, nil)
				return err
			})
		}
	}
}

func TestASecretWhoseEndIsNearIsReplacedBeforeTheSchedule(t *testing.T) {
	t.Parallel()
	r, c, pass := scheduleRig(t)
	r.product.ends = r.now.Add(5 * 24 * time.Hour)
	pass(3 * 24 * time.Hour)
	if st := c.Status(nil).Rotations; r.product.serial != 0 || st[0].ExpiresAt == nil || !st[0].ExpiresAt.Equal(r.product.ends) {
		t.Fatalf("%d rotations, status %+v", r.product.serial, st)
	}
	pass(24 * time.Hour)
	if r.product.serial != 1 {
		t.Fatalf("%d rotations of a token that ends tomorrow", r.product.serial)
	}
}

func TestAClockThatWasWrongDoesNotStopASchedule(t *testing.T) {
	t.Parallel()
	r, c, pass := scheduleRig(t)
	right := r.now
	r.now = time2040
	pass(6 * time.Hour)
	r.product.down = true
	pass(15 * 24 * time.Hour) // fails, in 2040
	r.product.down = false
	r.now = right
	pass(24 * time.Hour)
	if st := c.Status(nil).Rotations; st[0].DueAt == nil || st[0].DueAt.Sub(right) > 16*24*time.Hour {
		t.Fatalf("status %+v", st)
	}
	pass(16 * 24 * time.Hour)
	if r.product.serial != 1 {
		t.Fatalf("%d rotations", r.product.serial)
	}
}

func TestADamagedRecordBeginsTheScheduleAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range garbage {
		r, c, pass := scheduleRig(t)
		if err := os.MkdirAll(c.rotateDir(), 0o700); err != nil {
			t.Fatal(err)
		}
		damage(t, c.recordPath(r.account.Password))
		pass(time.Hour)
		if name == "directory" { // nothing can be written down: nothing is done, and status says so
			pass(30 * 24 * time.Hour)
			if st := c.Status(nil).Rotations; r.product.serial != 0 || st[0].State != "failed" || st[0].Message == "" {
				t.Errorf("%s: %d rotations, %+v", name, r.product.serial, st)
			}
			continue
		}
		pass(13 * 24 * time.Hour)
		if r.product.serial != 0 {
			t.Errorf("%s: rotated at once", name)
		}
		pass(2 * 24 * time.Hour)
		if st := c.Status(nil).Rotations; r.product.serial != 1 || st[0].State != "ok" {
			t.Errorf("%s: %d rotations, %+v", name, r.product.serial, st)
		}
	}
}

func TestALoginBeginsTheScheduleAnewAndEndsItsFailures(t *testing.T) {
	t.Parallel()
	r, c, pass := scheduleRig(t)
	pass(6 * time.Hour)
	if _, err := r.product.rotate("t0"); err != nil { // elsewhere
		t.Fatal(err)
	}
	pass(15 * 24 * time.Hour)
	if st := c.Status(nil).Rotations; st[0].State != "failed" || st[0].Failures == 0 {
		t.Fatalf("status %+v", st)
	}
	r.product.alive["mine"] = true
	if reply := c.Store(t.Context(), nil, api.Login{ServerURL: "reg.example", Username: "ci", Secret: "mine"}); reply.Outcome != api.OK {
		t.Fatalf("store: %+v", reply)
	}
	pass(13 * 24 * time.Hour)
	if st := c.Status(nil).Rotations; r.secret().Reveal() != "mine" || st[0].State != "ok" {
		t.Fatalf("secret %s, status %+v", r.secret().Reveal(), st)
	}
	pass(2 * 24 * time.Hour)
	if r.secret().Reveal() == "mine" || r.product.reuses > 0 {
		t.Fatalf("secret %s, %d reuses", r.secret().Reveal(), r.product.reuses)
	}
}

// Days of outage: few attempts, the old secret is never used for more than a
// question, and the first day without trouble ends it.
func TestAnOutageOfDaysIsShownAndEndsByItself(t *testing.T) {
	t.Parallel()
	r, c, pass := scheduleRig(t)
	pass(6 * time.Hour)
	r.product.down = true
	pass(20 * 24 * time.Hour)
	st := c.Status(nil).Rotations[0]
	if st.State != "failed" || st.Failures < 5 || st.Failures > 12 || st.Message == "" || r.product.asks != 0 {
		t.Fatalf("%d asks, status %+v", r.product.asks, st)
	}
	if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "t0" {
		t.Fatalf("get: %+v", resp)
	}
	r.product.down = false
	pass(2 * 24 * time.Hour)
	if st := c.Status(nil).Rotations[0]; st.State != "ok" || r.secret().Reveal() != "t1" || r.product.reuses > 0 {
		t.Fatalf("secret %s, status %+v", r.secret().Reveal(), st)
	}
}

func TestManyThatAreDueAtOnceAreReplacedOneAfterAnother(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(time.Hour)
	for i := range 200 {
		a := r.account
		a.Name, a.Password.Value = fmt.Sprint("ci", i), fmt.Sprint("secret", i)
		r.more = append(r.more, a)
	}
	c := r.process()
	now, most, runs := 0, 0, 0
	run := func(context.Context, string) error {
		now++
		most, runs = max(most, now), runs+1
		defer func() { now-- }()
		return errors.New("no")
	}
	c.rotateDue(t.Context(), run)
	r.later(2 * time.Hour)
	c.rotateDue(t.Context(), run)
	c.rotateDue(t.Context(), run)
	if runs != 201 || most != 1 {
		t.Fatalf("%d runs, %d at once", runs, most)
	}
}
