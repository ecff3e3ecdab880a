// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// What one job or one account is refused says nothing about the others: classic
// docker build and gitlab-runner take their logins from list.
func TestARefusalHidesNobodyElsesLogin(t *testing.T) {
	bot := account("bot", "reg.example")
	bot.Password = providers.SecretRef{Scheme: "env", Value: "BOT"}
	main := account("main", "reg.example")
	main.Default = true
	r := newRig(t, main, bot)
	listed := func(why string) {
		t.Helper()
		if _, ok := r.List(nil, api.ListRequest{}).Entries["reg.example"]; !ok {
			t.Errorf("list lost the host after %s", why)
		}
	}
	j := r.job(api.JobRequest{Targets: []string{"reg.example/team/app=pull"}}, nil)
	r.want(j, "reg.example/team/app=delete", api.Failed, "may not do")
	listed("a job asked for too much")
	r.want(nil, "reg.example", api.OK, "main-1")
	if resp := r.ask(nil, api.GetRequest{Key: "reg.example", Account: "nobody"}); resp.Outcome != api.Failed {
		t.Fatalf("%+v", resp)
	}
	listed("a name that no account has")
	if resp := r.ask(nil, api.GetRequest{Key: "reg.example", Native: true}); resp.Outcome != api.Failed {
		t.Fatalf("%+v", resp)
	}
	listed("a native token that there is not")
	if resp := r.ask(nil, api.GetRequest{Key: "reg.example", Account: "bot", Env: []string{"BOT"}}); resp.Outcome != api.Failed {
		t.Fatalf("%+v", resp)
	}
	listed("another account failed")
	for _, a := range r.Status(nil).Accounts {
		if failed := a.Message != ""; failed != (a.Name == "bot") {
			t.Errorf("%s: state %s, message %q", a.Name, a.State, a.Message)
		}
	}
}

func TestLoginsOfHostsThatReadAlikeAreKeptApart(t *testing.T) {
	hosts := []string{"reg:5", "reg-5", "Taken.example", "soft", "[::]"}
	r := newRig(t, account("taken.example", "other.example"))
	for _, h := range hosts {
		if reply := r.Store(t.Context(), nil, api.Login{ServerURL: h, Username: "ann", Secret: "pw-" + h}); reply.Outcome != api.OK {
			t.Fatalf("%s: %+v", h, reply)
		}
	}
	for _, h := range hosts {
		r.want(nil, h, api.OK, "pw-"+h)
	}
}

func TestAFailureWithoutAHintOfItsOwnStillSaysWhatToDo(t *testing.T) {
	for kind, want := range map[providers.Kind]string{
		providers.Unavailable:   "reg.example: connection refused; try again, or see: regmint status reg.example",
		providers.LoginRequired: "reg.example: connection refused; run: regmint login reg.example",
		providers.Denied:        "reg.example: connection refused",
	} {
		r := newRig(t, account("a", "reg.example"))
		r.p.err = &providers.Error{Kind: kind, Err: errors.New("connection refused")}
		if resp := r.want(nil, "reg.example", api.Failed, ""); resp.Message != want {
			t.Errorf("%s: %q, want %q", kind, resp.Message, want)
		}
		r.p.err = &providers.Error{Kind: kind, Err: errors.New("connection refused"), Hint: "wait"}
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		r.Refresh(nil, api.HostRequest{})
		if resp := r.want(nil, "reg.example", api.Failed, ""); !strings.HasSuffix(resp.Message, "; wait") {
			t.Errorf("%s: %q", kind, resp.Message)
		}
	}
}

// fixedProvider cannot narrow.
type fixedProvider struct{ *testProvider }

func (fixedProvider) FixedRights() bool { return true }

func TestAJobIsToldWhatCannotBeNarrowed(t *testing.T) {
	for narrow, want := range map[providers.Narrow]string{
		providers.NarrowPrefer: "pull team/app", providers.NarrowRequire: "nothing: ",
	} {
		a := account("a", "reg.example")
		a.Narrow = narrow
		r := newRig(t, a)
		r.o.Providers = []providers.Provider{fixedProvider{r.p}}
		id := r.jobResponse(r.job(api.JobRequest{Targets: []string{"reg.example/team/app=pull"}}, nil)).Identities[0]
		if !strings.HasPrefix(id.Access, want) || id.Wider != (narrow == providers.NarrowPrefer) {
			t.Errorf("narrow %s: %+v", narrow, id)
		}
		if id := r.jobResponse(r.job(api.JobRequest{}, nil)).Identities[0]; id.Wider {
			t.Errorf("a job without targets: %+v", id)
		}
	}
}

func TestALongHostLeavesRoomForTheReason(t *testing.T) {
	h, err := providers.ParseHost("111111111111.dkr.ecr.eu-west-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	got := message(h, &providers.Error{Kind: providers.Unavailable, Host: h, Err: errors.New("ecr:GetAuthorizationToken: ServerException: no answer from the service")})
	if got != h.String()+": ecr:GetAuthorizationToken: ServerException: no answer from the service; try again, or see: regmint status" {
		t.Error(got)
	}
}

func TestWhereNobodyIsTheNextStepIsNamed(t *testing.T) {
	h, err := providers.ParseHost("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	got := message(h, &providers.Error{Kind: providers.NoAccount, Err: errors.New("no AWS identity here: no variables, no profile in ~/.aws, no role of this machine")})
	if !strings.HasSuffix(got, "; run: regmint login HOST") || len([]rune(got)) > maxLine || strings.Contains(got, "…") {
		t.Errorf("%d characters: %s", len([]rune(got)), got)
	}
}

// on_failure = "anonymous" is for laptops where a login has ended: in a job that
// is an error. What passes by itself lets clients go on in both.
func TestAJobWhoseLoginHasEndedDoesNotGoOnWithoutIt(t *testing.T) {
	for kind, want := range map[providers.Kind]string{providers.LoginRequired: api.Failed, providers.Unavailable: api.NotFound} {
		for _, policy := range []bool{false, true} {
			r := newRig(t, account("a", "reg.example"))
			if policy {
				r.cfg.Policy.OnFailure = providers.OnFailureAnonymous
			} else {
				r.cfg.Accounts[0].OnFailure = providers.OnFailureAnonymous
			}
			if err := r.Reload(); err != nil {
				t.Fatal(err)
			}
			r.p.err = &providers.Error{Kind: kind, Err: errors.New("no")}
			j := r.job(api.JobRequest{}, nil)
			r.want(nil, "reg.example", api.NotFound, "")
			r.want(j, "reg.example", want, "")
			if resp := r.ask(j, api.GetRequest{Key: "reg.example", Soft: true}); resp.Outcome != api.NotFound {
				t.Errorf("%s: a soft link got %+v", kind, resp)
			}
		}
	}
}
