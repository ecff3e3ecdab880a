// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
)

func TestWhatIsLeftOfALimitIsSaidInTheReadersTime(t *testing.T) {
	t.Parallel()
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 21, hour, minute, 0, 0, time.UTC) }
	ptr := func(t time.Time) *time.Time { return &t }
	berlin := time.FixedZone("CET", 3600)
	now := at(13, 0)
	for want, c := range map[string]struct {
		limit api.RateLimitStatus
		now   time.Time
	}{
		"87 of 100 left, resets 14:00, as acme-bot":   {api.RateLimitStatus{Limit: 100, Remaining: 87, ResetsAt: ptr(at(14, 0)), Who: "acme-bot"}, now},
		"86 of 100 left, resets 15:00":                {api.RateLimitStatus{Limit: 100, Remaining: 86, ResetsAt: ptr(at(14, 0))}, now.In(berlin)},
		"85 of 100 left, resets Nov 22 02:30":         {api.RateLimitStatus{Limit: 100, Remaining: 85, ResetsAt: ptr(at(26, 30))}, now},
		"84 of 100 left, resets Nov 22 00:30":         {api.RateLimitStatus{Limit: 100, Remaining: 84, ResetsAt: ptr(at(23, 30))}, now.In(berlin)},
		"0 of 100 left at 12:58, reset since":         {api.RateLimitStatus{Limit: 100, At: at(12, 58), ResetsAt: ptr(at(12, 59))}, now},
		"99 of 100 left in 6 h, as 192.0.2.7":         {api.RateLimitStatus{Limit: 100, Remaining: 99, Window: 6 * 3600, Who: "192.0.2.7"}, now},
		"0 of 10 left":                                {api.RateLimitStatus{Limit: 10, Remaining: -3}, now},
		"5 left, resets 14:00":                        {api.RateLimitStatus{Remaining: 5, ResetsAt: ptr(at(14, 0))}, now},
		"no limit, as acme-bot":                       {api.RateLimitStatus{Unlimited: true, Who: "acme-bot"}, now},
		"83 of 200 left, resets Nov 28 13:00, as ann": {api.RateLimitStatus{Limit: 200, Remaining: 83, ResetsAt: ptr(now.AddDate(0, 0, 7)), Who: "ann"}, now},
	} {
		if got := limitText(c.limit, c.now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestACheckSaysThatARotationIsInTrouble(t *testing.T) {
	t.Parallel()
	c := checked{Target: "ghcr.io", OK: true, Verified: true, Username: "ci", Rotation: &api.RotationStatus{State: "failed", Failures: 7, Message: "ghcr.io: no answer"}}
	if got := c.line(time.Now()); got != "ghcr.io: ok, as ci; rotation failed 7 times: ghcr.io: no answer" {
		t.Error(got)
	}
}

func TestStatusShowsFewOfThousandsThatAreNotTakenBack(t *testing.T) {
	t.Parallel()
	v := statusView{now: time.Now()}
	for i := range 3000 {
		v.st.Revocations = append(v.st.Revocations, api.RevocationStatus{Host: "a.example", Job: fmt.Sprintf("%04d", i)})
	}
	v.st.Revocations = append(v.st.Revocations, api.RevocationStatus{Host: "b.example", Job: "abcd"})
	lines := v.chores()
	if len(lines) != maxRevocations+2 || !strings.Contains(lines[len(lines)-1].text, fmt.Sprint(3000-maxRevocations, " more")) {
		t.Errorf("%d lines, %+v", len(lines), lines[len(lines)-1])
	}
}

func TestAFileOfTargetsIsReadWholeOrRefused(t *testing.T) {
	t.Parallel()
	var file string
	write := func(text string) {
		file = filepath.Join(t.TempDir(), "targets.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &app{}
	many := strings.Repeat("reg.example/some/app=push\r\n", 100_000)
	write("\ufeff# all\n" + many)
	if got, err := a.targetsIn(file); err != nil || len(got) != 100_000 || got[0] != "reg.example/some/app=push" {
		t.Errorf("%d targets, %v", len(got), err)
	}
	for text, want := range map[string]string{
		many + many:                             "larger than 4 MiB",
		"reg.example\n\n# x\nreg.example/a b\n": "targets.txt:4: ",
		"reg.example/" + strings.Repeat("a", maxTarget) + "\n": "targets.txt:1: longer than",
		"# nothing\n": "names no target",
	} {
		write(text)
		if _, err := a.targetsIn(file); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage || len(err.Error()) > 300+len(file) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a.in = bytes.NewReader([]byte("reg.example # here\n"))
	if got, err := a.targetsIn("-"); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}
