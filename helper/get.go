// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"context"
	"errors"
	"io/fs"

	"github.com/regmint/regmint/agent/api"
)

// get answers `get`: one credential for the key on stdin.
func (c *call) get(ctx context.Context) int {
	input, err := readInput(c.in)
	if err != nil {
		return c.fail("", err.Error())
	}
	key := trimLine(string(input))
	if err := checkKey(key); err != nil {
		return c.fail("", err.Error())
	}
	host := hostOf(key)
	a, err := connect(ctx)
	if err != nil {
		return c.fail(host, errText(err))
	}
	if a.client == nil {
		return c.direct(ctx, a, host, key)
	}
	var resp *api.GetResponse
	err = a.patiently(ctx, func() (err error) {
		resp, err = c.ask(ctx, a, key)
		return err
	})
	defer a.client.Close()
	if err != nil {
		return c.fail(host, errText(err))
	}
	if resp.Outcome == api.NotFound {
		return c.elsewhere(ctx, a, host, key, resp.Behind)
	}
	return c.answer(host, key, resp)
}

// ask sends one get, and once more with what the agent found missing.
func (c *call) ask(ctx context.Context, a agent, key string) (*api.GetResponse, error) {
	env := api.CallerEnv
	if a.foreign {
		env = api.UnsetEnv
	}
	req := &api.GetRequest{
		Key: key, Account: c.pick(), Soft: c.soft, Env: env(nil), Version: api.BuildVersion,
	}
	req.PID, req.Client = api.CallerInfo()
	if !a.inJob {
		req.Config = api.ConfigEnv()
	}
	resp, err := a.client.Get(ctx, req)
	if err == nil && resp.Outcome == api.NeedEnv {
		req.Env = env(resp.NeedEnv)
		resp, err = a.client.Get(ctx, req)
	}
	return resp, err
}

// answer turns the agent's last word into the protocol's.
func (c *call) answer(host, key string, resp *api.GetResponse) int {
	switch resp.Outcome {
	case api.OK:
		return c.credential(host, key, resp.Username, resp.Secret, "the agent's answer")
	case api.NotFound:
		return c.notFound()
	case api.NeedEnv:
		return c.fail(host, "the agent asks for the same variables again; run: regmint agent restart")
	}
	if resp.Message == "" {
		resp.Message = "failed: " + resp.Kind
	}
	return c.fail(host, resp.Message)
}

// credential prints a credential for the key as it was asked. what names it
// where it cannot be used.
func (c *call) credential(host, key, username, secret, what string) int {
	if err := checkSecret(username, secret); err != nil {
		return c.fail(host, what+" is not usable: "+err.Error())
	}
	out := api.AppendDockerCredential(nil, api.Login{ServerURL: key, Username: username, Secret: secret})
	return c.print(string(out))
}

// elsewhere goes on after our agent's not found: under sudo with the agent of
// the user behind it, then with the former helper.
func (c *call) elsewhere(ctx context.Context, a agent, host, key, behind string) int {
	if !a.inJob {
		if resp := c.askSudoUser(ctx, key); resp != nil && resp.Outcome != api.NotFound {
			return c.answer(host, key, resp)
		}
	}
	if !mayRun(behind) {
		return c.notFound()
	}
	login, err := runGet(ctx, behind, key)
	switch {
	case errors.Is(err, errNotFound):
		return c.notFound()
	case a.inJob && errors.Is(err, fs.ErrNotExist):
		return c.notFound() // the job's directory is mounted where that helper is not
	case err != nil:
		return c.fail(host, err.Error())
	}
	return c.credential(host, key, login.Username, login.Secret, "the answer of helper "+behind)
}

// askSudoUser asks the running agent of the user who called sudo; nil where
// there is none. It is never started, no program it names is run, and it
// learns nothing of root's environment: root takes a password from a user, not
// a command, and gives none.
func (c *call) askSudoUser(ctx context.Context, key string) *api.GetResponse {
	a := connectSudoUser(ctx)
	if a.client == nil {
		return nil
	}
	defer a.client.Close()
	resp, err := c.ask(ctx, a, key)
	if err != nil {
		return nil
	}
	return resp
}

// agent is where a call's questions go. client is nil where no agent can run:
// why says so.
type agent struct {
	client  *api.Client
	inJob   bool
	foreign bool // another user's
	why     error
}

// connect finds the agent. A process that names a job gets that job's or
// nothing. An error is final; an agent that cannot run is none.
func connect(ctx context.Context) (agent, error) {
	ref, inJob, err := api.FindJob()
	if inJob {
		if err != nil {
			return agent{}, err
		}
		client, err := ref.Dial(ctx)
		return agent{client: client, inJob: true}, err
	}
	mode := api.AgentEnv()
	switch mode {
	case "", "auto", "require":
	case "off":
		return agent{why: errors.New("REGMINT_AGENT is off")}, nil
	default:
		return agent{}, errors.New("REGMINT_AGENT is " + mode + "; use auto, require or off")
	}
	paths, err := api.DefaultPaths()
	if err != nil {
		return agent{}, err
	}
	client, err := api.Connect(ctx, api.ConnectOptions{Paths: paths})
	if errors.Is(err, api.ErrNoAgent) && mode != "require" {
		return agent{why: err}, nil
	}
	return agent{client: client}, err
}

// retries bounds how often an agent that went away is asked anew.
const retries = 5

// patiently asks, and asks the next agent where this one is killed or replaced
// before it has answered: a build must not fail of it. Whatever is asked may
// be asked twice.
func (a *agent) patiently(ctx context.Context, ask func() error) error {
	for i := 0; ; i++ {
		err := ask()
		if !api.IsLost(err) || i == retries || ctx.Err() != nil {
			return err
		}
		next, again := connect(ctx)
		if again != nil || next.client == nil {
			return err
		}
		_ = a.client.Close()
		*a = next
	}
}

// connectSudoUser dials the agent of the user behind sudo.
func connectSudoUser(ctx context.Context) agent {
	paths, _, ok := api.SudoPaths()
	if !ok {
		return agent{}
	}
	client, err := api.Dial(ctx, paths.MainSocket())
	if err != nil {
		return agent{}
	}
	return agent{client: client, foreign: true}
}
