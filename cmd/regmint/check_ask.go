// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

type checkFunc func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error)

// checker asks the agent; where none can run, outside jobs, this process asks
// the registry itself. known lists the registries there are.
func (a *app) checker(ctx context.Context) (ask checkFunc, known func(context.Context) ([]string, error), err error) {
	c, err := a.connect(ctx)
	if err == nil {
		_ = c.Close()
		ask = func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error) {
			var r api.CheckResponse
			err := a.askAgain(ctx, "POST", "/v1/check", req, &r)
			return &r, err
		}
		known = func(ctx context.Context) ([]string, error) {
			var st api.Status
			err := a.askAgain(ctx, "GET", "/v1/status", nil, &st)
			return exactHosts(st), err
		}
		return ask, known, nil
	}
	if !a.mayAnswerHere(err) {
		return nil, nil, err
	}
	here, err := a.newLocal(ctx, true, false)
	if err != nil {
		return nil, nil, err
	}
	ask = func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error) {
		return here.Check(ctx, nil, req), nil
	}
	known = func(context.Context) ([]string, error) { return exactHosts(here.Status(nil)), nil }
	return ask, known, nil
}

// exactHosts are the registries that accounts name in full, but for those where
// nobody is anybody.
func exactHosts(st api.Status) []string {
	var out []string
	for _, a := range st.Accounts {
		if a.Layer == layerAmbient && a.State == string(providers.NoAccount) {
			continue // public images are pulled there
		}
		for _, h := range a.Hosts {
			p, err := providers.ParsePattern(h)
			if err != nil {
				continue
			}
			if exact, ok := p.Exact(); ok && !slices.Contains(out, exact.String()) {
				out = append(out, exact.String())
			}
		}
	}
	slices.Sort(out)
	return out
}
