// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// programs stands for the programs of a machine and keeps what was run.
type programs struct {
	ran    []providers.Command
	answer func(c providers.Command) ([]byte, error)
}

func (p *programs) run(ctx context.Context, c providers.Command) ([]byte, error) {
	p.ran = append(p.ran, c)
	if err := ctx.Err(); err != nil {
		return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s did not answer in time: %w", c.Path, err)}
	}
	return p.answer(c)
}

var buildkiteJob = map[string]string{"env:" + oidc.BuildkiteToken: canary + "agent", "env:" + oidc.BuildkiteJob: "0184-job"}

// agentProgram answers as buildkite-agent does: for its default audience where
// none is asked for, and not at all without a job.
func agentProgram(c providers.Command) ([]byte, error) {
	if !slices.Contains(c.Env, "BUILDKITE_AGENT_ACCESS_TOKEN="+canary+"agent") || !slices.Contains(c.Env, "BUILDKITE_JOB_ID=0184-job") ||
		!slices.Contains(c.Env, "BUILDKITE_AGENT_OIDC_REQUEST_TOKEN_SKIP_TOKEN_REDACTION=true") || len(c.Env) != 3 {
		return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("buildkite-agent failed: exit status 1: fatal: failed to create Job API client")}
	}
	if c.Path != "buildkite-agent" || len(c.Args) < 2 || c.Args[0] != "oidc" || c.Args[1] != "request-token" {
		return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("buildkite-agent failed: exit status 1: No help topic")}
	}
	audience := "https://buildkite.com/acme"
	for _, a := range c.Args[2:] {
		v, ok := strings.CutPrefix(a, "--audience=")
		if !ok {
			return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("buildkite-agent failed: exit status 1: flag provided but not defined")}
		}
		audience = v
	}
	return []byte(jwt(fmt.Sprintf("%q", audience), time.Now().Add(5*time.Minute)) + "\n"), nil
}

func TestBuildkiteTokenIsAskedForAnewWithItsAudience(t *testing.T) {
	t.Parallel()
	for _, audience := range []string{"sts.amazonaws.com", "", "--job=other"} {
		c, log := config(t, "buildkite", audience, buildkiteJob, nil)
		p := &programs{answer: agentProgram}
		c.Deps.Run = p.run
		for range 2 {
			s, err := oidc.Token(t.Context(), c)
			if err != nil || strings.ContainsAny(s.Reveal(), "\r\n ") {
				t.Fatalf("%s: %v", audience, err)
			}
		}
		if len(p.ran) != 2 {
			t.Errorf("%s: run %d times", audience, len(p.ran))
		}
		for _, r := range p.ran {
			if strings.Contains(strings.Join(r.Args, " "), canary) {
				t.Errorf("a secret in the arguments: %q", r.Args)
			}
			if r.Limit <= 0 || r.Limit >= 10*time.Second {
				t.Errorf("a get ends within 10 s, and the program within %s", r.Limit)
			}
		}
		if l := httpxtest.Leaks(fmt.Sprint(log), canary); len(l) > 0 {
			t.Errorf("secret in %v", log)
		}
	}
	// An ambient identity brings the values itself.
	c, _ := config(t, "buildkite", "a", nil, nil)
	c.Deps.Env = map[string]string{oidc.BuildkiteToken: canary + "agent", oidc.BuildkiteJob: "0184-job"}
	c.Deps.Run = (&programs{answer: agentProgram}).run
	if _, err := oidc.Token(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// The fault matrix of a program, as the agent's Run words it.
func TestEveryFaultOfBuildkitesProgramIsNamed(t *testing.T) {
	t.Parallel()
	fails := func(k providers.Kind, err error) func(providers.Command) ([]byte, error) {
		return func(providers.Command) ([]byte, error) { return nil, &providers.Error{Kind: k, Err: err} }
	}
	prints := func(s string) func(providers.Command) ([]byte, error) {
		return func(providers.Command) ([]byte, error) { return []byte(s), nil }
	}
	for name, tc := range map[string]struct {
		answer func(providers.Command) ([]byte, error)
		kind   providers.Kind
		want   string
	}{
		"missing": {
			fails(providers.Misconfigured, fmt.Errorf("buildkite-agent: no such program: %w", fs.ErrNotExist)), providers.Misconfigured,
			"buildkite-agent is not in the PATH of regmint's agent; put it there, and start the agent anew: regmint agent restart",
		},
		"not executable": {fails(providers.Misconfigured, errors.New("buildkite-agent: not executable")), providers.Misconfigured, "not executable"},
		"refused": {
			fails(providers.Unavailable, errors.New("buildkite-agent failed: exit status 1: POST …/oidc/tokens: 401 Unauthorized")), providers.Unavailable,
			"identity token of buildkite: buildkite-agent failed: exit status 1: POST …/oidc/tokens: 401 Unauthorized; the job that asked may be over",
		},
		"hangs":         {fails(providers.Unavailable, errors.New("buildkite-agent did not end within 8s")), providers.Unavailable, "did not end within 8s"},
		"huge":          {fails(providers.Misconfigured, errors.New("buildkite-agent wrote more than 1 MiB")), providers.Misconfigured, "wrote more than 1 MiB"},
		"prints no":     {prints(""), providers.Unavailable, "buildkite-agent printed no token"},
		"prints blanks": {prints(" \n\n"), providers.Unavailable, "printed no token"},
		"prints lines":  {prints(canary + "\nX-Header: y\n"), providers.Unavailable, "printed no token"},
		"for others":    {prints(jwt(`"b"`, time.Now().Add(time.Hour))), providers.Misconfigured, "is not for a but for b; buildkite-agent did not ask for it"},
		"expired":       {prints(jwt(`"a"`, time.Now().Add(-time.Hour))), providers.LoginRequired, "identity token of buildkite expired at 2"},
		"no kind":       {func(providers.Command) ([]byte, error) { return nil, errors.New("odd") }, providers.Unavailable, "identity token of buildkite: odd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, log := config(t, "buildkite", "a", buildkiteJob, nil)
			c.Deps.Run = (&programs{answer: tc.answer}).run
			s, err := oidc.Token(t.Context(), c)
			if !s.IsZero() || providers.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "reg.example: ") {
				t.Errorf("%s: %v", providers.KindOf(err), err)
			}
			if err != nil {
				short(t, err)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v %v", err, log)
			}
		})
	}
	t.Run("the caller left", func(t *testing.T) {
		t.Parallel()
		c, _ := config(t, "buildkite", "a", nil, nil)
		c.Deps.Env = map[string]string{oidc.BuildkiteToken: canary, oidc.BuildkiteJob: "j"}
		p := &programs{answer: agentProgram}
		c.Deps.Run = p.run
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := oidc.Token(ctx, c); providers.KindOf(err) != providers.Unavailable || strings.Contains(err.Error(), "may be over") {
			t.Errorf("%v", err)
		}
	})
}

// CircleCI's token is for the organization and lives for an hour; its own
// program makes others.
func TestCircleCIsProgramIsAskedOnlyWhereTheJobsTokenDoesNotDo(t *testing.T) {
	t.Parallel()
	const org = "5f2c0e0a-org"
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	given := func(exp time.Time) map[string]string {
		return map[string]string{"env:" + oidc.CircleCIToken: jwt(`"`+org+`"`, exp)}
	}
	made := func(c providers.Command) ([]byte, error) {
		if c.Path != "circleci" || len(c.Args) != 5 || strings.Join(c.Args[:4], " ") != "run oidc get --claims" || !slices.Equal(c.Env, []string{"CIRCLECI=true"}) {
			return nil, errors.New("another command")
		}
		aud, ok := strings.CutPrefix(strings.TrimSuffix(c.Args[4], "}"), `{"aud":`)
		if !ok {
			return nil, errors.New("invalid claims")
		}
		return []byte(jwt(aud, later) + "\n"), nil
	}
	none := func(providers.Command) ([]byte, error) { return nil, fmt.Errorf("circleci: %w", fs.ErrNotExist) }
	for name, tc := range map[string]struct {
		secrets  map[string]string
		audience string
		answer   func(providers.Command) ([]byte, error)
		runs     int
		kind     providers.Kind
		want     string
	}{
		"for the organization":  {given(later), org, none, 0, "", ""},
		"for whom it may be":    {given(later), "", none, 0, "", ""},
		"for another":           {given(later), `a"b\c`, made, 1, "", ""},
		"expired, made again":   {given(before), "", made, 1, "", ""},
		"opaque and unreadable": {map[string]string{"env:" + oidc.CircleCIToken: "opaque"}, "a", none, 0, "", ""},
		"for another, no program": {
			given(later), "a", none, 1, providers.Misconfigured,
			"is not for a but for " + org + "; make one in the step by circleci run oidc get, use env:NAME",
		},
		"expired, no program": {given(before), org, none, 1, providers.LoginRequired, "; make a new one in the step by circleci run oidc get"},
		"the program's is for others": {
			given(later), "a", func(providers.Command) ([]byte, error) { return []byte(jwt(`"c"`, later)), nil }, 1, providers.Misconfigured, "is not for a but for c",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, log := config(t, "circleci", tc.audience, tc.secrets, nil)
			p := &programs{answer: tc.answer}
			c.Deps.Run = p.run
			s, err := oidc.Token(t.Context(), c)
			if len(p.ran) != tc.runs {
				t.Errorf("%d programs were run", len(p.ran))
			}
			if tc.kind == "" && (err != nil || s.IsZero()) {
				t.Errorf("got %v", err)
			}
			if tc.kind != "" && (providers.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: %v", providers.KindOf(err), err)
			}
			if err != nil {
				short(t, err)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v %v", err, log)
			}
		})
	}
}
