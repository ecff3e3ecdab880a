// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// openPatiently opens the job, with the next agent where one is killed or
// replaced meanwhile.
func (j *runJob) openPatiently(ctx context.Context) (resp *api.JobResponse, err error) {
	for range openTries {
		if resp, err = j.open(ctx); !api.IsLost(err) || ctx.Err() != nil {
			break
		}
	}
	return resp, err
}

const openTries = 5

// open opens or resumes the job with the agent.
func (j *runJob) open(ctx context.Context) (*api.JobResponse, error) {
	socket := j.socket
	if socket == "" {
		c, err := j.a.connect(ctx) // starts the agent where there is none
		if err != nil {
			return nil, err
		}
		_ = c.Close()
		socket = j.paths.MainSocket()
	}
	j.mu.Lock()
	req := j.req
	req.Logins = slices.Concat(req.Logins, slices.Collect(maps.Values(j.logins)))
	j.mu.Unlock()
	for range 3 {
		lease, resp, err := api.OpenJob(ctx, socket, &req)
		if err != nil {
			return nil, err
		}
		switch resp.Outcome {
		case api.OK:
			j.mu.Lock()
			j.lease, j.req.Env = lease, req.Env
			j.mu.Unlock()
			return resp, nil
		case api.NeedEnv:
			req.Env = api.CallerEnv(append(envNames(req.Env), resp.NeedEnv...))
		default:
			return nil, &providers.Error{Kind: providers.Kind(resp.Kind), Err: errors.New(resp.Message)}
		}
	}
	return nil, errors.New("the agent keeps asking for variables; run: regmint agent restart")
}

// keep reads the lease to its end: it remembers logins for the next agent and
// resumes the job there when this one is gone.
func (j *runJob) keep(ctx context.Context) {
	for {
		j.mu.Lock()
		lease := j.lease
		j.mu.Unlock()
		e, err := lease.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return // remove ends the lease, after the directory
		case err == nil:
			j.event(e)
		default:
			_ = lease.Close()
			if j.endedBy() != "" || !j.resume(ctx, err) {
				return
			}
		}
	}
}

func (j *runJob) event(e api.JobEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case e.Login != nil:
		j.logins[loginKey(e.Login.ServerURL)] = *e.Login
	case e.Erase != "":
		key := loginKey(e.Erase)
		delete(j.logins, key)
		j.req.Logins = slices.DeleteFunc(j.req.Logins, func(l api.Login) bool { return loginKey(l.ServerURL) == key })
	case e.Close != "":
		j.ended = e.Close
	}
}

// loginKey is one name for the spellings of a server URL, as the agent has it:
// the last login to a host is the one the next agent gets.
func loginKey(serverURL string) string {
	k, err := providers.ParseKey(serverURL)
	if err != nil {
		return serverURL
	}
	return k.Host.String() + "/" + k.Item
}

// envNames are the variables that a request names.
func envNames(env []string) []string {
	out := make([]string, 0, len(env))
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !api.CompletesEnv(kv) {
			out = append(out, name)
		}
	}
	return out
}

func (j *runJob) endedBy() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended
}

// resumePauses are the waits between tries to give the job to the next agent.
var resumePauses = []time.Duration{0, 20, 50, 100, 200, 400, 800, 1000, 2000, 4000}

func (j *runJob) resume(ctx context.Context, cause error) bool {
	j.mu.Lock()
	j.req.Resume = true
	j.mu.Unlock()
	var err error
	for i := 0; ; i++ {
		pause := resumePauses[min(i, len(resumePauses)-1)] * time.Millisecond
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		if _, err = j.open(ctx); err == nil {
			return true
		}
		if i == len(resumePauses) {
			j.a.say("the agent is gone (%s) and does not come back: %s", cause, err)
		}
	}
}
