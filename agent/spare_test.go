// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// cloudRig has a cloud whose credentials are all of user robot.
func cloudRig(t *testing.T, accounts ...providers.Account) *rig {
	t.Helper()
	r := newRig(t, accounts...)
	r.amb.minted, r.p.life = true, 0
	return r
}

// fetch is what `aws ecr get-login-password | docker login` does.
func (r *rig) fetch(j *job, profileName, secret string) *api.Reply {
	r.t.Helper()
	return r.Store(r.t.Context(), j, api.Login{ServerURL: cloudHost, Username: "robot", Secret: secret, Env: profile(profileName)})
}

func TestFetchedTokenIsNotKeptWhereWeMintOurselves(t *testing.T) {
	r := cloudRig(t)
	minted := r.as("dev")
	if rep := r.fetch(nil, "dev", "fetched"); rep.Outcome != api.OK || !strings.Contains(rep.Message, "mints for this host itself") {
		t.Errorf("%+v", rep)
	}
	if resp := r.as("dev"); resp.Secret != minted.Secret || len(r.state.Load().cfg.Spares) != 0 {
		t.Errorf("%+v after %+v", resp, minted)
	}
	j := r.job(api.JobRequest{Env: profile("dev")}, nil)
	if rep := r.fetch(j, "", "fetched"); rep.Outcome != api.OK || !strings.Contains(rep.Message, "mints for this host itself") {
		t.Errorf("in a job of that identity: %+v", rep)
	}
	// Another terminal has no identity of its own: its token is all it has.
	r.amb.err = errNobody
	if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.OK || rep.Message != "kept until it expires" {
		t.Errorf("another terminal: %+v", rep)
	}
	if resp := r.as(""); resp.Secret != "fetched" {
		t.Errorf("another terminal is told of a success and gets %+v", resp)
	}
}

func TestFetchedTokenServesWhileWeCannotMintAndNeverExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		r.amb.err = errNobody
		if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		resp := r.as("")
		if resp.Secret != "fetched" || resp.Username != "robot" || resp.ExpiresAt != time.Now().Add(12*time.Hour).Unix() {
			t.Errorf("%+v", resp)
		}
		if _, ok := r.List(nil, api.ListRequest{}).Entries[cloudHost]; !ok {
			t.Error("list does not name it")
		}
		st := r.Status(nil)
		if n := len(st.Accounts); n != 2 || st.Accounts[1].Until == nil || st.Accounts[1].Layer != "saved" {
			t.Errorf("status: %+v", st.Accounts)
		}
		for _, kind := range []providers.Kind{providers.LoginRequired, providers.Unavailable, providers.Misconfigured} {
			r.amb.err = &providers.Error{Kind: kind, Err: errors.New("x")}
			if resp := r.as(string(kind)); resp.Secret != "fetched" {
				t.Errorf("%s: %+v", kind, resp)
			}
		}
		r.amb.err = &providers.Error{Kind: providers.Denied, Err: errors.New("not you")}
		if resp := r.as("denied"); resp.Outcome != api.Failed {
			t.Errorf("denied: %+v", resp)
		}
		r.amb.err = nil
		if resp := r.as("dev"); resp.Secret == "fetched" || resp.Outcome != api.OK {
			t.Errorf("once we can mint: %+v", resp)
		}
		r.amb.err = errNobody
		time.Sleep(12*time.Hour + time.Second)
		if resp := r.as(""); resp.Outcome != api.NotFound {
			t.Errorf("after its end: %+v", resp)
		}
		if _, ok := r.List(nil, api.ListRequest{}).Entries[cloudHost]; ok {
			t.Error("list names an expired token")
		}
		if rep := r.fetch(nil, "", "fetched again"); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		if resp := r.as(""); resp.Secret != "fetched again" {
			t.Errorf("%+v", resp)
		}
	})
}

// Reading the configuration again, which every login and every touch of a file
// brings about, drops what changed and nothing else.
func TestFetchedTokenOutlivesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		for _, why := range []error{errNobody, &providers.Error{Kind: providers.LoginRequired, Err: errors.New("x")}} {
			r.amb.err = why
			if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.OK {
				t.Fatalf("%+v", rep)
			}
			if resp := r.as(""); resp.Secret != "fetched" {
				t.Fatalf("%+v", resp)
			}
			if err := r.Reload(); err != nil {
				t.Fatal(err)
			}
			if st := r.Status(nil); len(st.Tokens) != 1 || st.Tokens[0].Username != "robot" {
				t.Errorf("%v: after a reload: %+v", why, st.Tokens)
			}
		}
	})
}

func TestFetchedTokenStandsInForAConfiguredAccount(t *testing.T) {
	a := account("prod", cloudHost)
	a.Provider = "cloud"
	r := cloudRig(t, a)
	r.amb.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("the session is over")}
	r.want(nil, cloudHost, api.Failed, "the session is over")
	if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	r.want(nil, cloudHost, api.OK, "fetched")
	if resp := r.ask(nil, api.GetRequest{Key: cloudHost, Account: "prod"}); resp.Outcome != api.Failed {
		t.Errorf("who names the account gets it or nothing: %+v", resp)
	}
	r.amb.err = nil
	if err := r.Reload(); err != nil { // the remembered failure
		t.Fatal(err)
	}
	r.want(nil, cloudHost, api.OK, "prod-")
	// Any other user would be thrown away: that is said.
	rep := r.Store(t.Context(), nil, api.Login{ServerURL: cloudHost, Username: "ann", Secret: "s"})
	if rep.Outcome != api.Failed || !strings.Contains(rep.Message, "prod") {
		t.Errorf("%+v", rep)
	}
}

func TestFetchedTokenMayDoNoMoreThanTheAccountItStandsInFor(t *testing.T) {
	a := account("prod", cloudHost)
	a.Provider, a.Grants = "cloud", []providers.Grant{{Access: providers.Pull}}
	r := cloudRig(t, a)
	r.p.wider = true // as it was fetched
	r.amb.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("the session is over")}
	r.fetch(nil, "", "fetched")
	if resp := r.want(nil, cloudHost, api.OK, "fetched"); !resp.Wider || len(r.p.last.Grants) != 1 || r.p.last.Grants[0].Access != providers.Pull {
		t.Errorf("asked for %v: %+v", r.p.last.Grants, resp)
	}
	if resp := r.ask(nil, api.GetRequest{Key: cloudHost + "/app=delete"}); resp.Outcome != api.Failed {
		t.Errorf("more than the account may do: %+v", resp)
	}
	r.cfg.Accounts[0].Narrow = providers.NarrowRequire
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.want(nil, cloudHost, api.Failed, "the session is over")
}

func TestFetchedTokenThatComesBackLivesNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		r.amb.err = errNobody
		r.fetch(nil, "", "fetched")
		until := time.Now().Add(12 * time.Hour).Unix()
		again := func(what string) {
			t.Helper()
			time.Sleep(time.Hour)
			if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.OK {
				t.Fatalf("%s: %+v", what, rep)
			}
			if resp := r.as(""); resp.Secret != "fetched" || resp.ExpiresAt != until {
				t.Errorf("%s: %+v, want its end at %d", what, resp, until)
			}
		}
		r.as("")
		again("docker login stores what it was given")
		clear(r.handed)
		again("after a restart of the agent")
		j := r.job(api.JobRequest{Env: profile("")}, nil)
		if resp := r.ask(j, api.GetRequest{Key: cloudHost}); resp.Secret != "fetched" {
			t.Fatalf("%+v", resp)
		}
		if rep := r.fetch(j, "", "fetched"); rep.Outcome != api.OK || len(j.logins) != 0 {
			t.Errorf("in a job: %+v, %d logins", rep, len(j.logins))
		}
		clear(r.handed)
		time.Sleep(12 * time.Hour)
		if rep := r.fetch(nil, "", "fetched"); rep.Outcome != api.Failed {
			t.Errorf("after its end: %+v", rep)
		}
	})
}

func TestFetchedTokenAnswersInTimeWhereTheAccountHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		r.amb.err = errNobody
		r.fetch(nil, "", "fetched")
		r.amb.gate = make(chan struct{})
		defer close(r.amb.gate)
		start := time.Now()
		if resp := r.as(""); resp.Secret != "fetched" || time.Since(start) > getLimit {
			t.Errorf("after %s: %+v", time.Since(start), resp)
		}
	})
}

func TestFetchedTokenOfAJobIsNeverServedExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		r.amb.err = errNobody
		j := r.job(api.JobRequest{Env: profile("")}, nil)
		if rep := r.fetch(j, "", "fetched"); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		brings := r.job(api.JobRequest{
			Env: profile(""), Logins: []api.Login{{ServerURL: cloudHost, Username: "robot", Secret: "brought", Carried: true}},
		}, nil)
		inner := r.job(api.JobRequest{Env: profile("")}, j)
		for _, in := range []*job{j, inner, brings} {
			if resp := r.want(in, cloudHost, api.OK, ""); resp.ExpiresAt != time.Now().Add(12*time.Hour).Unix() {
				t.Errorf("%+v", resp)
			}
		}
		time.Sleep(12*time.Hour + time.Second)
		for in, want := range map[*job]string{j: "log in again in this job", inner: "log in again in this job", brings: "before the job"} {
			resp := r.want(in, cloudHost, api.Failed, want)
			if resp.Kind != string(providers.LoginRequired) || resp.Secret != "" {
				t.Errorf("%+v", resp)
			}
			if _, ok := r.List(in, api.ListRequest{}).Entries[cloudHost]; ok {
				t.Error("list names it")
			}
		}
		r.amb.err = nil // somebody is there again
		r.want(brings, cloudHost, api.OK, "cloud:")
		if rep := r.fetch(j, "", "fetched again"); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		r.want(j, cloudHost, api.OK, "fetched again")
	})
}

func TestPlainLoginOfAJobHasNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cloudRig(t)
		j := r.job(api.JobRequest{Env: profile("")}, nil)
		r.Store(t.Context(), j, api.Login{ServerURL: cloudHost, Username: "ann", Secret: "s"})
		time.Sleep(48 * time.Hour)
		if resp := r.want(j, cloudHost, api.OK, "s"); resp.ExpiresAt != 0 {
			t.Errorf("%+v", resp)
		}
	})
}

func TestFetchedTokenIsForgottenByALogout(t *testing.T) {
	r := cloudRig(t)
	r.amb.err = errNobody
	r.fetch(nil, "", "fetched")
	if rep := r.Erase(t.Context(), nil, api.Login{ServerURL: cloudHost}); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	if resp := r.as(""); resp.Outcome != api.NotFound {
		t.Errorf("%+v", resp)
	}
	if n := len(r.mem.(mapStore)); n != 0 {
		t.Errorf("%d secrets are left", n)
	}
}

func TestFetchedTokenThatHasExpiredIsNoSuccess(t *testing.T) {
	r := cloudRig(t)
	if rep := r.fetch(nil, "", "too old"); rep.Outcome != api.Failed || !strings.Contains(rep.Message, "has expired already") {
		t.Errorf("%+v", rep)
	}
}

func TestPlainLoginOnARecognisedHostIsALoginLikeAnyOther(t *testing.T) {
	r := cloudRig(t)
	r.as("dev")
	rep := r.Store(t.Context(), nil, api.Login{ServerURL: cloudHost, Username: "_json_key", Secret: "key", Env: profile("dev")})
	if rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	if resp := r.as("dev"); resp.Secret != "key" || resp.Username != "_json_key" || resp.ExpiresAt != 0 && resp.ExpiresAt < time.Now().Unix() {
		t.Errorf("%+v", resp)
	}
}
