// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func TestSpanHasTheTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                              "0 ms",
		1400 * time.Microsecond:        "1 ms",
		40 * time.Second:               "40 s",
		90 * time.Second:               "1 min 30 s",
		41*time.Minute + 7*time.Second: "41 min",
		2*time.Hour + 10*time.Minute:   "2 h 10 min",
		time.Hour:                      "1 h",
		24 * time.Hour:                 "1 d",
		50*time.Hour + 5*time.Minute:   "2 d 2 h",
		30 * 24 * time.Hour:            "30 d",
		-90 * time.Second:              "1 min 30 s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestBarShowsWhatIsLeftAndNeverLeavesItsFrame(t *testing.T) {
	for _, c := range []struct {
		left, life time.Duration
		want       string
	}{
		{time.Hour, time.Hour, "██████████"},
		{30 * time.Minute, time.Hour, "█████░░░░░"},
		{time.Second, time.Hour, "░░░░░░░░░░"},
		{2 * time.Hour, time.Hour, "██████████"},
		{-time.Hour, time.Hour, "░░░░░░░░░░"},
		{time.Hour, 0, ""},
	} {
		if got := bar(c.left, c.life); got != c.want {
			t.Errorf("bar(%s, %s) = %s, want %s", c.left, c.life, got, c.want)
		}
	}
}

// hostile is what a registry or a file could hand us to write on a terminal.
const hostile = "a\x1b[31mb\rc\u202ed"

func TestTableShowsControlCharactersInsteadOfSendingThem(t *testing.T) {
	tab := &table{header: []string{"A", "B"}}
	tab.add(text(hostile), text("x"))
	got := tab.render(true)
	if strings.ContainsAny(strings.ReplaceAll(strings.ReplaceAll(got, "\x1b[2m", ""), "\x1b[0m", ""), "\x1b\r\u202e") {
		t.Errorf("control characters in %q", got)
	}
	if !strings.Contains(got, `a\x1b[31mb`) {
		t.Errorf("the text is not shown: %q", got)
	}
}

// someStatus is a status with one of everything.
func someStatus(now time.Time) api.Status {
	at := func(d time.Duration) *time.Time { v := now.Add(d); return &v }
	return api.Status{
		Schema: 1, Version: "v1.2.3", PID: 4242, Started: now.Add(-3 * time.Hour), Socket: "/run/regmint/agent.sock",
		Store: "memory", Warnings: []string{"config.toml:3:1: unknown key"},
		Accounts: []api.AccountStatus{
			{Name: "gh", Hosts: []string{"ghcr.io"}, Username: "ann", State: "ok", Default: true},
			{Name: "aws", Hosts: []string{"*.dkr.ecr.eu-west-1.amazonaws.com"}, State: "ok"},
			{Name: "lab", Hosts: []string{"reg.example.com:5000", "reg2.example.com"}, Username: "ci", State: "login_required", Message: "reg.example.com:5000: no saved secret; run: regmint login reg.example.com:5000"},
		},
		Tokens: []api.TokenStatus{
			{Host: "ghcr.io", Account: "gh", Username: "ann", IssuedAt: now.Add(-time.Hour)},
			{Host: "1.dkr.ecr.eu-west-1.amazonaws.com", Account: "aws", Username: "AWS", IssuedAt: now.Add(-6 * time.Hour), ExpiresAt: at(6 * time.Hour), RefreshAt: at(time.Hour)},
			{Host: "1.dkr.ecr.eu-west-1.amazonaws.com", Account: "aws", Username: "AWS", Job: "7f3aabcdefghijklmnopqrstuv", Grants: "team/app=pull", Wider: true, IssuedAt: now.Add(-11 * time.Hour), ExpiresAt: at(time.Hour), RefreshAt: at(-time.Second), LastError: "1.dkr.ecr: no network"},
		},
		Jobs: []api.JobStatus{{ID: "7f3aabcdefghijklmnopqrstuv", Kind: "run", Label: "docker", PID: 99, Opened: now.Add(-2 * time.Minute), Targets: []string{"ghcr.io/a=push"}, Only: true, Gets: 7}},
	}
}

func TestStatusPage(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	got := statusView{st: someStatus(now), now: now, bars: true}.render()
	want := strings.TrimPrefix(`
HOST                                               ACCOUNT       WHO                      STATE           LIFE LEFT        NEXT REFRESH
ghcr.io                                            gh (default)  ann                      ok              no known expiry  -
1.dkr.ecr.eu-west-1.amazonaws.com                  aws           AWS                      ok              █████░░░░░ 6 h   in 1 h
1.dkr.ecr.eu-west-1.amazonaws.com (team/app=pull)  aws           AWS in job 7f3a (wider)  ok              █░░░░░░░░░ 1 h   when asked (the last one failed)
reg.example.com:5000, reg2.example.com             lab           ci                       login required  -                -

JOB   KIND  LABEL   PID  OPEN FOR  GETS  TARGETS
7f3a  run   docker  99   2 min     7     ghcr.io/a=push (only)

reg.example.com:5000: no saved secret; run: regmint login reg.example.com:5000
1.dkr.ecr: no network
warning: config.toml:3:1: unknown key
store: memory
agent: v1.2.3, pid 4242, up 3 h, /run/regmint/agent.sock
`, "\n")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestStatusPageHasNoBarsAndColoursWithoutATerminal(t *testing.T) {
	now := time.Now()
	v := statusView{st: someStatus(now), now: now}
	if got := v.render(); strings.ContainsAny(got, "█░\x1b") {
		t.Errorf("bars or colours in:\n%s", got)
	}
	v.colour, v.bars = true, true
	if got := v.render(); !strings.Contains(got, "\x1b[") || !strings.Contains(got, "█") {
		t.Errorf("no bars or no colours in:\n%s", got)
	}
}

func TestStatusOfOneHostShowsThatHostAlone(t *testing.T) {
	now := time.Now()
	st := onlyHost(someStatus(now), "1.dkr.ecr.eu-west-1.amazonaws.com")
	if len(st.Accounts) != 1 || st.Accounts[0].Name != "aws" || len(st.Tokens) != 2 {
		t.Errorf("accounts %v, tokens %v", st.Accounts, st.Tokens)
	}
	got := statusView{st: st, host: "1.dkr.ecr.eu-west-1.amazonaws.com", now: now}.render()
	if strings.Contains(got, "ghcr.io") || strings.Contains(got, "JOB") {
		t.Errorf("other hosts or jobs in:\n%s", got)
	}
}

func TestStatusWithoutAccountsSaysWhatToDo(t *testing.T) {
	got := statusView{st: api.Status{Store: "memory"}, now: time.Now()}.render()
	if !strings.Contains(got, "log in with: regmint login HOST") {
		t.Errorf("got:\n%s", got)
	}
}

func TestRecentTable(t *testing.T) {
	at := time.Date(2026, 5, 4, 10, 2, 11, 0, time.UTC)
	got := recentTable([]api.Recent{
		{Time: at, Client: "docker", PID: 4121, Key: "ghcr.io", Account: "work", As: "ann", Outcome: api.OK, Left: 41 * time.Minute, Life: time.Hour, Took: 1400 * time.Microsecond},
		{Time: at, Client: hostile, Job: "7f3aabcdefghijklmnopqrstuv", Key: "x.example.com", Outcome: api.NotFound, Took: 90 * time.Microsecond},
		{Time: at, Client: "crane", PID: 7, Key: "y.example.com", Outcome: api.Failed, Message: "y.example.com: no saved secret", Took: 2 * time.Second},
	}, time.UTC).render(false)
	want := strings.TrimPrefix(`
TIME      CLIENT                              ASKED FOR      ANSWER                          LIFE LEFT  TOOK
10:02:11  docker(4121)                        ghcr.io        work as ann                     41 min     1.4 ms
10:02:11  a\x1b[31mb\x0dc\u202ed in job 7f3a  x.example.com  not found                       -          0.1 ms
10:02:11  crane(7)                            y.example.com  y.example.com: no saved secret  -          2.0 s
`, "\n")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestHostThatAMessageHadNoRoomForIsWrittenOut(t *testing.T) {
	h, err := providers.ParseHost("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		h.String() + ": nobody; run: regmint login HOST": h.String() + ": nobody; run: regmint login " + h.String(),
		"ghcr.io: run: regmint login ghcr.io":            "ghcr.io: run: regmint login ghcr.io",
	} {
		if got := inFull(in, h); got != want {
			t.Errorf("%q", got)
		}
	}
}
