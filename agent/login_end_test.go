// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// endingProvider is a product that ends logins.
type endingProvider struct {
	*testProvider
	end   func(ctx context.Context, q providers.EndRequest) providers.Ended
	ended []string // the secrets it was shown
}

func (p *endingProvider) EndLogin(ctx context.Context, q providers.EndRequest) providers.Ended {
	p.ended = append(p.ended, q.Secret.Reveal())
	return p.end(ctx, q)
}

func endingRig(t *testing.T) (*rig, *endingProvider) {
	t.Helper()
	r := keepingRig(t)
	p := &endingProvider{testProvider: r.amb}
	p.end = func(context.Context, providers.EndRequest) providers.Ended {
		return providers.Ended{What: "the session", Left: "its token: delete it at https://cloud.example/tokens"}
	}
	r.o.Providers = []providers.Provider{p, r.p}
	r.amb.err = nil
	if rep := r.login(nil, cloudHost, "ann", "pass"); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	return r, p
}

func (r *rig) eraseAs(j *job, host string) *api.Reply {
	r.t.Helper()
	return r.Erase(r.t.Context(), j, api.Login{ServerURL: host})
}

func TestEraseEndsALoginOnceAndSaysWhatLivesOn(t *testing.T) {
	r, p := endingRig(t)
	rep := r.eraseAs(nil, cloudHost)
	want := "removed " + cloudHost + "; ended the session; still alive: its token: delete it at https://cloud.example/tokens"
	if rep.Outcome != api.OK || rep.Message != want || len(p.ended) != 1 || p.ended[0] != "pass" {
		t.Errorf("%+v, ended %q", rep, p.ended)
	}
	for _, again := range []string{cloudHost, "http://" + cloudHost, "https://" + cloudHost} { // docker logout
		if rep := r.eraseAs(nil, again); rep.Outcome != api.OK {
			t.Errorf("%+v", rep)
		}
	}
	if len(p.ended) != 1 || len(r.saved()) != 0 || len(r.mem.(mapStore)) != 0 {
		t.Errorf("ended %q, saved %v %v", p.ended, r.saved(), r.mem)
	}
}

func TestAJobsEraseEndsNothingThatIsNotItsOwn(t *testing.T) {
	r, p := endingRig(t)
	j := r.job(api.JobRequest{Env: profile("")}, nil)
	if rep := r.login(j, cloudHost, "bob", "of-the-job"); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	for range 4 {
		if rep := r.eraseAs(j, cloudHost); rep.Outcome != api.OK {
			t.Errorf("%+v", rep)
		}
	}
	if len(p.ended) != 0 || len(r.saved()) != 1 {
		t.Errorf("ended %q, saved %v", p.ended, r.saved())
	}
}

// A product that hangs holds the removal up for nobody, and the client for 8 s.
func TestLoginIsRemovedBeforeItsProductIsAskedToEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := endingRig(t)
		p.end = func(ctx context.Context, _ providers.EndRequest) providers.Ended {
			if len(r.saved()) != 0 || len(r.mem.(mapStore)) != 0 {
				t.Error("asked before it was removed here")
			}
			<-ctx.Done()
			return providers.Ended{Left: "the session, which did not answer"}
		}
		start := time.Now()
		rep := r.eraseAs(nil, cloudHost)
		if rep.Outcome != api.OK || !strings.HasSuffix(rep.Message, "still alive: the session, which did not answer") || time.Since(start) != eraseLimit {
			t.Errorf("%+v after %v", rep, time.Since(start))
		}
	})
}

func TestProductThatPanicsHoldsNoLogoutUp(t *testing.T) {
	r, p := endingRig(t)
	p.end = func(context.Context, providers.EndRequest) providers.Ended { panic("inside") }
	if rep := r.eraseAs(nil, cloudHost); rep.Outcome != api.OK || !strings.Contains(rep.Message, "still alive: what was made with it") || len(r.saved()) != 0 {
		t.Errorf("%+v", rep)
	}
}

// unreadable is a store that can remove what it cannot read.
type unreadable struct{ mapStore }

func (unreadable) Get(context.Context, string) (providers.Secret, error) {
	return providers.Secret{}, errors.New("the keychain does not answer")
}

func TestLoginWhoseSecretCannotBeReadIsRemovedAndThatIsSaid(t *testing.T) {
	r, p := endingRig(t)
	mem := r.mem.(mapStore)
	r.state.Load().store = unreadable{mem}
	gone, err := r.Remove(t.Context(), r.saved()[cloudHost])
	text := r.EndLogin(t.Context(), gone, EndLimit)
	if err != nil || len(r.saved()) != 0 || len(mem) != 0 || len(p.ended) != 0 || !strings.Contains(text, "could not be read") {
		t.Errorf("%v, %q, ended %q, saved %v", err, text, p.ended, r.saved())
	}
}

// A refresh that was under way puts its own in the place of what was removed.
func TestSecretThatComesBackAfterALogoutIsEndedToo(t *testing.T) {
	r, p := endingRig(t)
	mem := r.mem.(mapStore)
	p.end = func(_ context.Context, q providers.EndRequest) providers.Ended {
		if q.Secret.Equal(providers.NewSecret("pass")) {
			mem[cloudHost] = providers.NewSecret("refreshed")
		}
		return providers.Ended{What: "the session"}
	}
	if rep := r.eraseAs(nil, cloudHost); rep.Outcome != api.OK || len(p.ended) != 2 || p.ended[1] != "refreshed" || len(mem) != 0 {
		t.Errorf("%+v, ended %q, kept %v", rep, p.ended, mem)
	}
}
