// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/helper"
	"github.com/regmint/regmint/providers"
)

var getFormats = []string{"docker", "json", "env", "bare", credentialProcess}

// credentialProcess is the answer that AWS's tools want of a program named as
// credential_process in ~/.aws/config.
const credentialProcess = "credential-process"

func newGetCmd(a *app) *cobra.Command {
	var format string
	var native bool
	c := &cobra.Command{
		Use:   "get TARGET",
		Short: "print a credential: HOST[/REPOSITORY][=pull|push|delete]",
		Long: `Print a credential for TARGET, as the docker credential helper would answer.
Without =ACCESS it is the account's credential as it is.

With --native it is one for the product's own API, for clean-ups: --format env
then prints the variables that the product's own tools read, as export lines.
--format credential-process is what AWS's tools ask a credential_process for, so
that they come again before it expires.`,
		Example: `  regmint get ghcr.io
  regmint get ghcr.io/acme/app=pull --format json
  eval "$(regmint get registry.example.com --format env)"
  eval "$(regmint get 123456789012.dkr.ecr.eu-west-1.amazonaws.com --native --format env)"
  credential_process = regmint get 123456789012.dkr.ecr.eu-west-1.amazonaws.com --format credential-process`,
		Args: cobra.ExactArgs(1),
		RunE: command(func(ctx context.Context, args []string) error {
			if !slices.Contains(getFormats, format) {
				return usage("", "--format %s: use %s", format, strings.Join(getFormats, ", "))
			}
			return a.get(ctx, args[0], format, native || format == credentialProcess)
		}),
	}
	c.Flags().StringVar(&format, "format", "docker", "docker, json, env, bare (the secret alone) or credential-process (AWS; implies --native)")
	c.Flags().BoolVar(&native, "native", false, "for the registry's own API instead of the registry protocol")
	return c
}

func (a *app) get(ctx context.Context, target, format string, native bool) error {
	t, err := providers.ParseTarget(target)
	if err != nil {
		return err
	}
	resp, err := a.answer(ctx, a.getRequest(target, native))
	if err != nil {
		return err
	}
	a.sawVersion(resp.Version)
	if resp.Outcome == api.NotFound && resp.Behind != "" && !native {
		login, err := helper.FormerGet(ctx, resp.Behind, t.Host.DockerKey())
		if err != nil && !errors.Is(err, helper.ErrNotFound) {
			return err
		}
		if err == nil {
			resp = &api.GetResponse{Outcome: api.OK, Username: login.Username, Secret: login.Secret, Account: resp.Behind}
		}
	}
	if resp.Outcome != api.OK {
		if resp.Outcome == api.NotFound && resp.Message == "" {
			resp.Message = t.Host.String() + ": no account for this host; run: regmint login " + t.Host.String()
		}
		return outcomeError(resp.Outcome, resp.Kind, inFull(resp.Message, t.Host))
	}
	return a.printCredential(t, format, resp)
}

// inFull writes out the host that a message had no room for: a terminal has two
// lines for it.
func inFull(message string, h providers.Host) string {
	if head, ok := strings.CutSuffix(message, " HOST"); ok {
		return head + " " + h.String()
	}
	return message
}

// getRequest asks as the helper does, under our own name.
func (a *app) getRequest(key string, native bool) *api.GetRequest {
	return &api.GetRequest{
		Key: key, Account: a.env.Account(), Env: api.CallerEnv(nil), PID: os.Getpid(), Client: "regmint",
		Config: a.lookup("REGMINT_CONFIG"), Native: native, Version: api.BuildVersion,
	}
}

// answer asks the agent; where none can run, outside jobs, this process answers
// itself.
func (a *app) answer(ctx context.Context, req *api.GetRequest) (*api.GetResponse, error) {
	ask, done, err := a.asker(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return askWithEnv(ctx, req, ask)
}

type askFunc func(ctx context.Context, req *api.GetRequest) (*api.GetResponse, error)

func (a *app) asker(ctx context.Context) (ask askFunc, done func(), err error) {
	c, err := a.connect(ctx)
	if err == nil {
		l := &link{a: a, c: c}
		return l.get, func() { _ = l.c.Close() }, nil
	}
	if !a.mayAnswerHere(err) {
		return nil, nil, err
	}
	here, err := a.newLocal(ctx, true, false)
	if err != nil {
		return nil, nil, err
	}
	ask = func(ctx context.Context, req *api.GetRequest) (*api.GetResponse, error) {
		return here.Get(ctx, nil, req), nil
	}
	return ask, func() {}, nil
}

// link asks one agent, and the next one where that is killed meanwhile.
type link struct {
	a     *app
	c     *api.Client
	again bool
}

func (l *link) get(ctx context.Context, req *api.GetRequest) (*api.GetResponse, error) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	resp, err := l.c.Get(limited, req)
	cancel()
	if _, answered := errors.AsType[*api.StatusError](err); answered || err == nil || ctx.Err() != nil {
		return resp, err
	}
	if l.again {
		return nil, agentError(err)
	}
	l.again = true
	c, err := l.a.connect(ctx)
	if err != nil {
		return nil, err
	}
	_ = l.c.Close()
	l.c = c
	return l.get(ctx, req)
}

// mayAnswerHere: outside jobs, where no agent can run and none is required.
func (a *app) mayAnswerHere(err error) bool {
	if _, inJob, _ := a.findJob(); inJob || !errors.Is(err, api.ErrNoAgent) {
		return false
	}
	mode, err := a.env.AgentMode()
	return err == nil && mode != "require"
}

// askWithEnv asks again with the variables the answer calls for.
func askWithEnv(ctx context.Context, req *api.GetRequest, ask askFunc) (*api.GetResponse, error) {
	for range 3 {
		resp, err := ask(ctx, req)
		if err != nil || resp.Outcome != api.NeedEnv {
			return resp, err
		}
		req.Env = api.CallerEnv(resp.NeedEnv)
	}
	return nil, errors.New("the agent keeps asking for variables; run: regmint agent restart")
}

// getJSON is the output of get --format json.
type getJSON struct {
	Schema    int     `json:"schema"`
	Host      string  `json:"host"`
	Username  string  `json:"username"`
	Secret    string  `json:"secret"`
	Account   string  `json:"account,omitempty"`
	IssuedAt  *string `json:"issued_at,omitempty"`
	ExpiresAt *string `json:"expires_at,omitempty"`
	Wider     bool    `json:"wider,omitempty"`
	// Env is how the product's own tools take a native credential.
	Env map[string]string `json:"env,omitempty"`
}

func (a *app) printCredential(t providers.Target, format string, r *api.GetResponse) error {
	own, err := variables(r.NativeEnv)
	if err != nil {
		return err
	}
	switch format {
	case credentialProcess:
		return a.printCredentialProcess(t.Host, own, r)
	case "json":
		return a.printJSON(getJSON{
			Schema: 1, Host: t.Host.String(), Username: r.Username, Secret: r.Secret, Account: r.Account,
			IssuedAt: stamp(r.IssuedAt), ExpiresAt: stamp(r.ExpiresAt), Wider: r.Wider, Env: maps.Collect(own.all),
		})
	case "env":
		if len(own) > 0 {
			return a.print("%s", own.exports())
		}
		return a.print("REGISTRY_HOST=%s\nREGISTRY_USERNAME=%s\nREGISTRY_PASSWORD=%s\n",
			shellQuote(t.Host.String()), shellQuote(r.Username), shellQuote(r.Secret))
	case "bare":
		return a.print("%s\n", r.Secret)
	}
	login := api.Login{ServerURL: t.Host.DockerKey(), Username: r.Username, Secret: r.Secret}
	return a.print("%s\n", strings.TrimRight(string(api.AppendDockerCredential(nil, login)), "\n"))
}

// stamp is RFC 3339 UTC; nil where the time is not known.
func stamp(unix int64) *string {
	if unix == 0 {
		return nil
	}
	s := time.Unix(unix, 0).UTC().Format(time.RFC3339)
	return &s
}

// shellQuote makes one word of s for every POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lifeText is how long a credential lives, for a sentence.
func lifeText(r *api.GetResponse, now time.Time) string {
	if r.ExpiresAt == 0 {
		return "no known expiry"
	}
	return fmt.Sprintf("valid for %s", span(time.Unix(r.ExpiresAt, 0).Sub(now)))
}
