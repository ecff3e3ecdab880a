// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// keepingRig has a product, cloud, that keeps logins: not those of <token>, and
// it refuses the secret "never".
func keepingRig(t *testing.T, accounts ...providers.Account) *rig {
	t.Helper()
	r := newRig(t, accounts...)
	r.amb.keeps = func(user string, secret providers.Secret) (bool, error) {
		if secret.Equal(providers.NewSecret("never")) {
			return false, &providers.Error{Kind: providers.Misconfigured, Err: errors.New("no secret like this works"), Hint: "make another"}
		}
		return user != "<token>", nil
	}
	r.amb.life = 0
	return r
}

func (r *rig) login(j *job, host, user, secret string) *api.Reply {
	r.t.Helper()
	return r.Store(r.t.Context(), j, api.Login{ServerURL: host, Username: user, Secret: secret, Env: profile("")})
}

// saved are the saved accounts by name.
func (r *rig) saved() map[string]providers.Account {
	out := map[string]providers.Account{}
	for _, a := range r.state.Load().cfg.Accounts {
		if a.Layer == providers.LayerSaved {
			out[a.Name] = a
		}
	}
	return out
}

// cloudAccount is a configured account of the product.
func cloudAccount(name string, hosts ...string) providers.Account {
	a := account(name, hosts...)
	a.Provider, a.Endpoint = "cloud", "https://api.example"
	return a
}

func TestSavedLoginIsOfTheProductThatKnowsItsHost(t *testing.T) {
	two := account("path", "shared.example/team")
	r := keepingRig(t, cloudAccount("other", "registry.corp.example/acme", "shared.example/acme", "*.wild.example"), two)
	for name, want := range map[string]string{
		cloudHost: "cloud", "registry.corp.example": "cloud", "shared.example": "cloud", "reg.example": "generic",
		"one.wild.example": "generic", // it may be anything
	} {
		a := r.NewLogin(host(t, name), providers.Account{})
		if a.Provider != want {
			t.Errorf("%s: a new login is of %s, want %s", name, a.Provider, want)
		}
		if named := name != cloudHost && want == "cloud"; named != (a.Endpoint == "https://api.example") {
			t.Errorf("%s: endpoint %q", name, a.Endpoint)
		}
	}
	for _, name := range []string{cloudHost, "reg.example"} {
		if rep := r.login(nil, name, "ann", "pass"); rep.Outcome != api.OK {
			t.Fatalf("%s: %+v", name, rep)
		}
	}
	if a := r.saved()[AccountName(host(t, cloudHost))]; a.Provider != "cloud" || a.Username != "ann" || a.Password.IsZero() {
		t.Errorf("%+v", a)
	}
	if a := r.saved()["reg.example"]; a.Provider != "generic" {
		t.Errorf("%+v", a)
	}
}

func TestLoginThatTheProductDoesNotKeepIsGeneric(t *testing.T) {
	r := keepingRig(t)
	if rep := r.login(nil, cloudHost, "<token>", "identity"); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	if a := r.saved()[AccountName(host(t, cloudHost))]; a.Provider != "generic" {
		t.Errorf("%+v", a)
	}
}

// What somebody chose to have generic, and what was saved before products kept
// logins, stays so.
func TestGenericLoginStaysGenericWhenItIsRenewed(t *testing.T) {
	r := keepingRig(t)
	_, err := r.SaveLogin(t.Context(), SavedLogin{
		Host: host(t, cloudHost), Username: "ann", Secret: providers.NewSecret("one"), Account: providers.Account{Provider: "generic", Default: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if rep := r.login(nil, cloudHost, "ann", "two"); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	a := r.saved()[AccountName(host(t, cloudHost))]
	if a.Provider != "generic" || !a.Default || len(r.saved()) != 1 {
		t.Errorf("%+v", r.saved())
	}
	// The product's reasons are not those of a login that is none of its own.
	if rep := r.login(nil, cloudHost, "ann", "never"); rep.Outcome != api.OK {
		t.Errorf("%+v", rep)
	}
}

func TestLoginThatCannotWorkIsRefusedWithTheReasonAndNotSaved(t *testing.T) {
	r := keepingRig(t)
	r.amb.err = errNobody
	j := r.job(api.JobRequest{Env: profile("")}, nil)
	for what, in := range map[string]*job{"outside of a job": nil, "in a job": j} {
		rep := r.login(in, cloudHost, "ann", "never")
		if rep.Outcome != api.Failed || rep.Kind != string(providers.Misconfigured) || rep.Message != cloudHost+": no secret like this works; make another" {
			t.Errorf("%s: %+v", what, rep)
		}
	}
	if len(r.saved()) != 0 || len(r.mem.(mapStore)) != 0 {
		t.Errorf("saved: %+v %v", r.saved(), r.mem)
	}
	if resp := r.ask(j, api.GetRequest{Key: cloudHost}); resp.Outcome != api.NotFound {
		t.Errorf("%+v", resp)
	}
}

func TestTwoProductsThatNameOneHostKeepNoLoginOfIt(t *testing.T) {
	other := cloudAccount("two", "shared.example/two")
	other.Provider = "second"
	r := keepingRig(t, cloudAccount("one", "shared.example/one"), other)
	second := &testProvider{name: "second", keeps: r.amb.keeps}
	r.o.Providers = append([]providers.Provider{second}, r.o.Providers...)
	if a := r.NewLogin(host(t, "shared.example"), providers.Account{}); a.Provider != "generic" {
		t.Errorf("%+v", a)
	}
}

// A saved secret is handed out unseen; what its verification learns is shown,
// and it is verified on though it has an end.
func TestWhatIsLearnedOfASavedSecretIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keepingRig(t)
		end := time.Now().Add(30 * 24 * time.Hour).UTC()
		r.amb.learned = providers.Learned{User: "ann", ExpiresAt: end}
		if rep := r.login(nil, cloudHost, "ann", "pass"); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		if resp := r.ask(nil, api.GetRequest{Key: cloudHost}); resp.Secret != "pass-" || resp.ExpiresAt != 0 {
			t.Fatalf("%+v", resp)
		}
		synctest.Wait()
		if st := r.Status(nil); len(st.Tokens) != 1 || st.Tokens[0].ExpiresAt == nil || !st.Tokens[0].ExpiresAt.Equal(end) {
			t.Errorf("%+v", st.Tokens)
		}
		if resp := r.ask(nil, api.GetRequest{Key: cloudHost}); resp.Secret != "pass-" || resp.ExpiresAt != end.Unix() {
			t.Errorf("%+v", resp)
		}
		r.amb.mu.Lock()
		r.amb.refuse = true
		r.amb.mu.Unlock()
		time.Sleep(2 * verifyEvery)
		r.ask(nil, api.GetRequest{Key: cloudHost})
		synctest.Wait()
		if resp := r.ask(nil, api.GetRequest{Key: cloudHost}); resp.Kind != string(providers.LoginRequired) {
			t.Errorf("a refused secret is handed out: %+v", resp)
		}
		if slices.ContainsFunc(r.Status(nil).Tokens, func(s api.TokenStatus) bool { return s.Host == cloudHost }) {
			t.Error("a refused secret is shown as a token")
		}
	})
}
