// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// nativeProvider is a product with an API of its own, whose sessions cannot be
// narrowed unless narrows is set.
type nativeProvider struct {
	*testProvider
	narrows bool
}

func (p nativeProvider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	src, err := p.testProvider.Open(a, d)
	if err != nil {
		return nil, err
	}
	return nativeSource{src.(*testSource), p.narrows}, nil
}

type nativeSource struct {
	*testSource
	narrows bool
}

func (s nativeSource) MintNative(_ context.Context, r providers.Request) (providers.Native, error) {
	return providers.Native{Credential: providers.Credential{
		Username: "key", Secret: providers.NewSecret("session"), Wider: len(r.Grants) > 0 && !s.narrows,
	}}, nil
}

func TestJobThatMayOnlyPullGetsNoSessionOfTheWholeProduct(t *testing.T) {
	for _, c := range []struct {
		name, target, key string
		narrows, want     bool
	}{
		{name: "a job that pulls", target: cloudHost + "=pull", key: cloudHost},
		{name: "and asks for more", target: cloudHost + "=pull", key: cloudHost + "=delete"},
		{name: "a job that pushes one repository", target: cloudHost + "/app=push", key: cloudHost + "/app"},
		{name: "no job, but a pull", key: cloudHost + "/app=pull"},
		{name: "narrowed to what it may", target: cloudHost + "=pull", key: cloudHost, narrows: true, want: true},
		{name: "a clean-up", target: cloudHost + "/app=delete", key: cloudHost + "/app", want: true},
		{name: "the job of a clean-up", key: cloudHost + "/app=delete", want: true},
		{name: "a job without targets", key: cloudHost, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.o.Providers = []providers.Provider{nativeProvider{r.amb, c.narrows}, r.p}
			req := api.JobRequest{Env: profile("dev")}
			if c.target != "" {
				req.Targets = []string{c.target}
			}
			resp := r.ask(r.job(req, nil), api.GetRequest{Key: c.key, Native: true})
			if (resp.Outcome == api.OK) != c.want || !c.want && (resp.Secret != "" || resp.Kind != string(providers.Denied)) {
				t.Errorf("%+v", resp)
			}
			if !c.want && !strings.HasPrefix(resp.Message, cloudHost+": ") {
				t.Errorf("it says %q", resp.Message)
			}
		})
	}
}
