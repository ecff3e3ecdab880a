// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// claimer is a product whose hosts are known by a caller's variables alone.
type claimer struct{ *testProvider }

func (claimer) Claims(env map[string]string) []providers.Host {
	h, err := providers.ParseHost(env["CI_HOST"])
	if err != nil || env["CI_TOKEN"] == "" {
		return nil
	}
	return []providers.Host{h}
}

const ownHost = "reg.corp.example"

func claimingRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	ci := &testProvider{name: "ci", env: []string{"CI_HOST", "CI_TOKEN"}, hosts: "none.example"}
	r.o.Providers = []providers.Provider{r.amb, claimer{ci}, r.p}
	return r
}

func ciEnv(host string) []string { return []string{"CI_HOST=" + host, "CI_TOKEN=t"} }

func TestHostIsRecognisedForTheCallerWhoseVariablesNameItAlone(t *testing.T) {
	r := claimingRig(t)
	if resp := r.ask(nil, api.GetRequest{Key: ownHost, Env: ciEnv(ownHost + ":443")}); resp.Outcome != api.OK || resp.Account != "ci:"+ownHost {
		t.Fatalf("the caller whose host it is: %+v", resp)
	}
	for what, env := range map[string][]string{
		"another caller":   {"CI_HOST", "CI_TOKEN"},
		"no identity":      {"CI_HOST=" + ownHost, "CI_TOKEN"},
		"another instance": ciEnv("other.corp.example"),
		"another port":     ciEnv(ownHost + ":5050"),
	} {
		if resp := r.ask(nil, api.GetRequest{Key: ownHost, Env: env}); resp.Outcome != api.NotFound {
			t.Errorf("%s: %+v", what, resp)
		}
	}
	st := r.Status(nil)
	if len(st.Accounts) != 1 || st.Accounts[0].Provider != "ci" || !slices.Equal(st.Accounts[0].Hosts, []string{ownHost}) {
		t.Errorf("status: %+v", st.Accounts)
	}
}

func TestCallerThatDidNotSayItsVariablesIsAskedForThem(t *testing.T) {
	r := claimingRig(t)
	resp := r.ask(nil, api.GetRequest{Key: ownHost})
	if resp.Outcome != api.NeedEnv || !slices.Equal(resp.NeedEnv, []string{"CI_HOST", "CI_TOKEN"}) {
		t.Errorf("%+v", resp)
	}
	r.cfg.Accounts = []providers.Account{account("mine", ownHost)}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if resp = r.ask(nil, api.GetRequest{Key: ownHost, Env: ciEnv(ownHost)}); resp.Account != "mine" {
		t.Errorf("a configured account comes first: %+v", resp)
	}
}

func TestJobKnowsTheHostsOfItsVariablesByName(t *testing.T) {
	r := claimingRig(t)
	j := r.job(api.JobRequest{Env: ciEnv(ownHost)}, nil)
	resp := r.jobResponse(j)
	if !slices.Contains(resp.Hosts, ownHost) || len(resp.Identities) != 1 || resp.Identities[0].Account != "ci:"+ownHost {
		t.Errorf("%+v", resp)
	}
	r.want(j, ownHost, api.OK, "")
	other := r.job(api.JobRequest{Env: []string{"CI_HOST", "CI_TOKEN"}}, nil)
	if slices.Contains(r.jobResponse(other).Hosts, ownHost) && len(r.jobResponse(other).Identities) != 0 {
		t.Error("another job knows it too")
	}
	r.want(other, ownHost, api.NotFound, "")
	only := r.job(api.JobRequest{Env: ciEnv(ownHost), Targets: []string{"x.example"}, Only: true}, nil)
	if slices.Contains(r.jobResponse(only).Hosts, ownHost) {
		t.Error("a job for other hosts alone names it")
	}
}

// `docker login -u gitlab-ci-token` on a host whose name tells nothing: what one
// job leaves is not served to the next, nor for ever.
func TestTokenOfAnEndedJobIsNoLoginOfTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := claimingRig(t)
		cl, _ := r.o.Providers[1].(claimer)
		cl.minted = true
		login := func(user, host string, env []string) {
			t.Helper()
			rep := r.Store(t.Context(), nil, api.Login{ServerURL: host, Username: user, Secret: "of the first job", Env: env})
			if rep.Outcome != api.OK {
				t.Fatalf("%+v", rep)
			}
		}
		none := []string{"CI_HOST", "CI_TOKEN"}
		login("robot", ownHost, ciEnv(ownHost))
		if resp := r.ask(nil, api.GetRequest{Key: ownHost, Env: []string{"CI_HOST=" + ownHost, "CI_TOKEN=second"}}); resp.Outcome != api.OK || resp.Secret == "of the first job" {
			t.Errorf("the next job: %+v", resp)
		}
		if resp := r.ask(nil, api.GetRequest{Key: ownHost, Env: none}); resp.Secret != "of the first job" {
			t.Errorf("who has nothing else: %+v", resp)
		}
		time.Sleep(13 * time.Hour)
		if resp := r.ask(nil, api.GetRequest{Key: ownHost, Env: none}); resp.Outcome == api.OK {
			t.Errorf("half a day later: %+v", resp)
		}
		login("jane", "other.corp.example", none)
		time.Sleep(13 * time.Hour)
		if resp := r.ask(nil, api.GetRequest{Key: "other.corp.example", Env: none}); resp.Secret != "of the first job" {
			t.Errorf("a person's login: %+v", resp)
		}
	})
}
