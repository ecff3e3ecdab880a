// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"testing"
	"time"

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
