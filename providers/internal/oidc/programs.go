// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// programLimit leaves a get, which ends within 10 s, time for the rest.
const programLimit = 8 * time.Second

// buildkite asks Buildkite's own program for a token:
// buildkite-agent oidc request-token --audience=A prints it. The program takes
// the job and its token from the environment. Its redaction, which would need
// the job's socket, keeps tokens out of logs; this one goes into none.
// https://buildkite.com/docs/agent/v3/cli-oidc
func (c Config) buildkite(ctx context.Context) (providers.Secret, error) {
	token, err := c.read(ctx, c.Ref.Refs[0])
	if err != nil {
		return providers.Secret{}, err
	}
	job, err := c.read(ctx, c.Ref.Refs[1])
	if err != nil {
		return providers.Secret{}, err
	}
	args := []string{"oidc", "request-token"}
	if c.Audience != "" {
		args = append(args, "--audience="+c.Audience)
	}
	return c.run(ctx, providers.Command{
		Path: "buildkite-agent", Args: args,
		Env: []string{
			BuildkiteToken + "=" + token.Reveal(),
			BuildkiteJob + "=" + job.Reveal(),
			"BUILDKITE_AGENT_OIDC_REQUEST_TOKEN_SKIP_TOKEN_REDACTION=true",
		},
	})
}

// circleci gives the job's token, whose audience is the organization's id and
// whose life is an hour. Where that does not do, CircleCI's own program may make
// another: circleci run oidc get --claims '{"aud":"A"}' prints it. What that
// needs of the job's environment is not documented, so where it fails the error
// is the token's, with the way that always works.
// https://circleci.com/docs/oidc-tokens-with-custom-claims/
func (c Config) circleci(ctx context.Context) (providers.Secret, error) {
	given, err := c.read(ctx, c.Ref.Refs[0])
	if err != nil {
		return providers.Secret{}, err
	}
	unfit := c.check(given)
	if unfit == nil {
		return given, nil
	}
	audience := c.Audience
	if audience == "" {
		claims, _ := httpx.JWTClaims(given.Reveal())
		if all := audiences(claims["aud"]); len(all) > 0 {
			audience = all[0]
		}
	}
	claims, err := json.Marshal(map[string]string{"aud": audience})
	if err != nil || audience == "" {
		return providers.Secret{}, unfit
	}
	made, err := c.run(ctx, providers.Command{
		Path: "circleci", Args: []string{"run", "oidc", "get", "--claims", string(claims)}, Env: []string{"CIRCLECI=true"},
	})
	if err != nil {
		c.Deps.Log.Debug("circleci made no identity token", "error", err)
		return providers.Secret{}, unfit
	}
	return made, nil
}

// run runs a CI's own program, which prints a token.
func (c Config) run(ctx context.Context, cmd providers.Command) (providers.Secret, error) {
	cmd.Limit = programLimit
	out, err := c.Deps.Run(ctx, cmd)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return providers.Secret{}, c.fail(providers.Misconfigured, "put it there, and start the agent anew: regmint agent restart",
				fmt.Errorf("identity token of %s: %s is not in the PATH of regmint's agent", c.Ref, cmd.Path))
		}
		kind, hint := providers.Unavailable, ""
		if e, ok := errors.AsType[*providers.Error](err); ok {
			kind, hint, err = e.Kind, e.Hint, e.Err
		}
		if hint == "" && ctx.Err() == nil {
			hint = "the job that asked may be over"
		}
		return providers.Secret{}, c.fail(kind, hint, fmt.Errorf("identity token of %s: %w", c.Ref, err))
	}
	token := strings.TrimSpace(string(out))
	if token == "" || httpx.HasBreak(token) {
		return providers.Secret{}, c.fail(providers.Unavailable, "", fmt.Errorf("identity token of %s: %s printed no token", c.Ref, cmd.Path))
	}
	return providers.NewSecret(token), nil
}
