// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

var errNobody = &providers.Error{Kind: providers.NoAccount, Err: errors.New("no cloud identity here"), Hint: "set CLOUD_PROFILE"}

const cloudHost = "x.cloud.example"

func profile(p string) []string {
	if p == "" {
		return []string{"CLOUD_PROFILE"}
	}
	return []string{"CLOUD_PROFILE=" + p}
}

func (r *rig) as(p string) *api.GetResponse {
	return r.ask(nil, api.GetRequest{Key: cloudHost, Env: profile(p)})
}

func TestRecognisedHostWithoutAnIdentityBelongsToWhoeverAnsweredBefore(t *testing.T) {
	for name, fail := range map[string]func(p *testProvider){
		"mint": func(p *testProvider) { p.err = errNobody },
		"open": func(p *testProvider) { p.openErr = errNobody },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			fail(r.amb)
			resp := r.as("")
			if resp.Outcome != api.NotFound || resp.Behind != "" || resp.Message != cloudHost+": no cloud identity here; set CLOUD_PROFILE" {
				t.Errorf("nobody: %+v", resp)
			}
			r.cfg.Docker.Behind = map[string]string{"*": "/bin/docker-credential-desktop"}
			if err := r.Reload(); err != nil {
				t.Fatal(err)
			}
			if resp = r.as(""); resp.Outcome != api.NotFound || resp.Behind != "/bin/docker-credential-desktop" {
				t.Errorf("a former helper: %+v", resp)
			}
			if resp = r.ask(nil, api.GetRequest{Key: cloudHost, Env: profile(""), Native: true}); resp.Outcome == api.OK || resp.Behind != "" {
				t.Errorf("a former helper was asked for the product's API: %+v", resp)
			}
			j := r.job(api.JobRequest{
				Env: profile(""), Targets: []string{cloudHost + "/app=pull"},
				Logins: []api.Login{{ServerURL: cloudHost, Username: "u", Secret: "carried", Carried: true}},
			}, nil)
			resp = r.want(j, cloudHost, api.OK, "carried")
			if resp.Username != "u" {
				t.Errorf("a carried login: %+v", resp)
			}
			if g := r.p.last.Grants; len(g) != 1 || g[0].Repository != "app" || g[0].Access != providers.Pull {
				t.Errorf("the carried login was asked for %v", g)
			}
		})
	}
}

func TestIdentityThatFailsIsNoAbsentOne(t *testing.T) {
	r := newRig(t)
	r.cfg.Docker.Behind = map[string]string{"*": "/bin/docker-credential-desktop"}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []providers.Kind{providers.LoginRequired, providers.Denied, providers.Misconfigured, providers.Unavailable} {
		r.amb.err = &providers.Error{Kind: kind, Err: errors.New("it is there and fails")}
		resp := r.as(string(kind))
		if resp.Outcome != api.Failed || resp.Kind != string(kind) || resp.Behind != "" {
			t.Errorf("%s: %+v", kind, resp)
		}
	}
}

func TestOneTerminalsIdentityIsNotTheOthers(t *testing.T) {
	r := newRig(t)
	dev, prod := r.as("dev"), r.as("prod")
	if dev.Outcome != api.OK || prod.Outcome != api.OK || dev.Secret == prod.Secret {
		t.Fatalf("%+v, %+v", dev, prod)
	}
	r.amb.err = errNobody
	if resp := r.as(""); resp.Outcome != api.NotFound {
		t.Errorf("a terminal without: %+v", resp)
	}
	if resp := r.as("dev"); resp.Secret != dev.Secret {
		t.Errorf("the first terminal again: %+v", resp)
	}
	for p, want := range map[string]bool{"dev": true, "prod": true, "other": false, "": false} {
		_, got := r.List(nil, api.ListRequest{Env: profile(p)}).Entries[cloudHost]
		if got != want {
			t.Errorf("list with profile %q names the host: %t", p, got)
		}
	}
	j := r.job(api.JobRequest{Env: profile("dev")}, nil)
	if _, ok := r.List(j, api.ListRequest{Env: profile("")}).Entries[cloudHost]; !ok {
		t.Error("a job's own environment counts in its list")
	}
}

func TestListWithholdsHostsWhoseGetFailsFromFormerHelpersToo(t *testing.T) {
	r := newRig(t, account("prod", "reg.example"))
	file := filepath.Join(t.TempDir(), "config.json")
	text := `{"auths":{"reg.example":{"auth":"dTpw"},"` + cloudHost + `":{"auth":"dTpw"},"other.example":{"auth":"dTpw"}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg.Docker.Behind = map[string]string{"*": configdir.AuthsPrefix + file}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	named := func(j *job, p string) []string {
		return slices.Sorted(maps.Keys(r.List(j, api.ListRequest{Env: profile(p)}).Entries))
	}
	r.amb.err = errNobody
	r.as("")
	if got := named(nil, ""); !slices.Equal(got, []string{"other.example", "reg.example", cloudHost}) {
		t.Errorf("nobody is there, so the former login answers: %q", got)
	}
	r.amb.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("the session is over")}
	r.p.err = r.amb.err
	r.as("dev")
	r.want(nil, "reg.example", api.Failed, "")
	if got := named(nil, "dev"); !slices.Equal(got, []string{"other.example"}) {
		t.Errorf("get fails for two of them: %q", got)
	}
	if got := r.List(nil, api.ListRequest{Env: profile("dev")}).Withheld; !slices.Contains(got, cloudHost) || !slices.Contains(got, "reg.example") || slices.Contains(got, "other.example") {
		t.Errorf("helpers are told of %q", got)
	}
	if got := named(nil, ""); !slices.Equal(got, []string{"other.example", cloudHost}) {
		t.Errorf("another terminal is not concerned: %q", got)
	}
	j := r.job(api.JobRequest{Env: profile("dev"), Logins: []api.Login{{ServerURL: cloudHost, Username: "u", Secret: "carried", Carried: true}}}, nil)
	if got := named(j, ""); !slices.Equal(got, []string{"other.example"}) {
		t.Errorf("a carried login stands in for nobody that fails: %q", got)
	}
}

func TestStatusSaysWhoAnswersForARecognisedHostOrWhyNobody(t *testing.T) {
	r := newRig(t)
	if st := r.Status(nil); len(st.Accounts) != 0 {
		t.Errorf("before anybody asked: %+v", st.Accounts)
	}
	r.amb.err = errNobody
	r.as("")
	st := r.Status(nil)
	if len(st.Accounts) != 1 || st.Accounts[0].State != string(providers.NoAccount) || st.Accounts[0].Layer != "ambient" ||
		!strings.Contains(st.Accounts[0].Message, "no cloud identity here") || !slices.Equal(st.Accounts[0].Hosts, []string{cloudHost}) {
		t.Errorf("nobody: %+v", st.Accounts)
	}
	r.amb.err, r.amb.origin = nil, "profile dev"
	r.as("dev")
	st = r.Status(nil)
	if len(st.Accounts) != 1 || st.Accounts[0].State != "ok" || len(st.Tokens) != 1 || st.Tokens[0].Origin != "profile dev" || st.Tokens[0].Account != st.Accounts[0].Name {
		t.Errorf("somebody: %+v %+v", st.Accounts, st.Tokens)
	}
	j := r.job(api.JobRequest{Env: profile("prod")}, nil)
	if st := r.Status(j); len(st.Accounts) != 0 || len(st.Tokens) != 0 {
		t.Errorf("a job sees another terminal's: %+v", st)
	}
}

func TestTargetNarrowsARecognisedAccount(t *testing.T) {
	r := newRig(t)
	j := r.job(api.JobRequest{Env: profile("dev"), Targets: []string{cloudHost + "/team/app=pull"}}, nil)
	r.want(j, cloudHost, api.OK, "")
	want := []providers.Grant{{Repository: "team/app", Access: providers.Pull}}
	if got := r.amb.last.Grants; !slices.Equal(got, want) {
		t.Errorf("the provider was asked for %v, want %v", got, want)
	}
	r.ask(nil, api.GetRequest{Key: cloudHost + "/x=push", Env: profile("dev")})
	if got := r.amb.last.Grants; len(got) != 1 || got[0].Repository != "x" || got[0].Access != providers.Push {
		t.Errorf("get with a target: %v", got)
	}
}

func TestJobSaysWhoItIsAtARecognisedHost(t *testing.T) {
	r := newRig(t)
	open := func() api.JobIdentity {
		t.Helper()
		j := r.job(api.JobRequest{Env: profile("dev"), Targets: []string{cloudHost + "=pull"}}, nil)
		resp := r.jobResponse(j)
		if len(resp.Identities) != 1 || !resp.Narrowed {
			t.Fatalf("%+v", resp)
		}
		return resp.Identities[0]
	}
	if id := open(); id.As != "whoever cloud finds here" || id.Access != "pull only" || id.Wider {
		t.Errorf("not asked yet: %+v", id)
	}
	r.amb.origin = "role/ci"
	r.as("dev")
	r.amb.fixed = true
	if id := open(); id.As != "role/ci" || !id.Wider {
		t.Errorf("known, and not to be narrowed: %+v", id)
	}
	r.cfg.Policy.Narrow = providers.NarrowRequire
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if id := open(); id.Wider || !strings.Contains(id.Access, "cannot be narrowed") {
		t.Errorf("narrow = require: %+v", id)
	}
}

func TestAnotherProxyOpensRecognisedAccountsAnew(t *testing.T) {
	r := newRig(t)
	one := r.as("dev")
	r.cfg.Network.HTTPSProxy = "http://proxy.example:3128"
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if two := r.as("dev"); two.Outcome != api.OK || two.Secret == one.Secret {
		t.Errorf("%+v after %+v", two, one)
	}
	if got := r.opened("cloud:" + cloudHost).Network.HTTPSProxy; got == "" {
		t.Error("the source was opened without the proxy")
	}
}
