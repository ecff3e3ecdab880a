// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"sync"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// rename gives the rig's one account another user, as a login does.
func (r *rig) rename(user string) {
	r.t.Helper()
	a := account("a", "reg.example")
	a.Username = user
	r.cfg.Accounts = []providers.Account{a}
	if err := r.Reload(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) user(j *job, key string) string {
	r.t.Helper()
	resp := r.ask(j, api.GetRequest{Key: key})
	if resp.Outcome != api.OK {
		r.t.Errorf("%+v", resp)
	}
	return resp.Username
}

func TestAnAccountThatChangesWhileItIsOpenedIsOpenedAnew(t *testing.T) {
	r := newRig(t)
	r.rename("old")
	r.p.onOpen = func(a providers.Account) {
		if a.Username == "old" {
			r.rename("new")
		}
	}
	for i := range 2 {
		if u := r.user(nil, "reg.example"); u != "new" {
			t.Errorf("get %d went as %s", i, u)
		}
	}
}

func TestAnAccountThatChangesDuringAMintIsMintedAnew(t *testing.T) {
	r := newRig(t)
	r.rename("old")
	gate := make(chan struct{})
	r.p.gate = gate
	users := make(chan string, 2)
	go func() { users <- r.user(nil, "reg.example") }()
	eventually(t, "a mint is under way", func() bool { return r.mint.Stats().Flights == 1 })
	r.rename("new")
	go func() { users <- r.user(nil, "reg.example") }()
	eventually(t, "the new one too", func() bool { return r.mint.Stats().Flights == 2 })
	close(gate)
	for range 2 {
		if u := <-users; u != "new" {
			t.Errorf("went as %s", u)
		}
	}
	for _, v := range r.mint.Views() {
		if v.Credential.Username == "old" {
			t.Error("what the old account minted is still cached")
		}
	}
}

// A get that chose its account before a change, and mints after it, must not
// leave its credential to those who come later.
func TestNobodyIsServedWhatAnOlderConfigurationMinted(t *testing.T) {
	r := newRig(t)
	r.rename("u0")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.user(nil, "reg.example")
				}
			}
		})
	}
	for i := range 300 {
		want := fmt.Sprint("u", i)
		r.rename(want)
		if u := r.user(nil, "reg.example"); u != want {
			t.Errorf("after the change to %s a get went as %s", want, u)
		}
	}
	close(stop)
	wg.Wait()
}

func TestALoginInsideAJobCountsAtOnce(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	j := r.job(api.JobRequest{}, nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.user(j, "reg.example")
				}
			}
		})
	}
	for i := range 300 {
		want := fmt.Sprint("u", i)
		r.store(j, want, "secret-of-"+want)
		resp := r.ask(j, api.GetRequest{Key: "reg.example"})
		if resp.Username != want || resp.Secret != "secret-of-"+want {
			t.Errorf("after the login of %s a get went as %s with %s", want, resp.Username, resp.Secret)
		}
	}
	close(stop)
	wg.Wait()
}

func TestAJobInsideAnotherUsesTheSecretsOfWhoseAccountItIs(t *testing.T) {
	const accounts = `
[[account]]
name = "own"
provider = "generic"
hosts = ["reg.example"]
username = "%s"
password = "env:TOKEN"
`
	r := newRig(t)
	request := func(user, secret string) api.JobRequest {
		return api.JobRequest{ConfigName: "/" + user, ConfigText: fmt.Sprintf(accounts, user), Resolved: map[string]string{"env:TOKEN": secret}}
	}
	outer := r.job(request("outer", "outer-secret"), nil)
	inner := r.job(api.JobRequest{}, outer)
	r.want(inner, "reg.example", api.OK, "outer-secret") // asked first inside
	r.want(outer, "reg.example", api.OK, "outer-secret")

	other := r.job(request("inner", "inner-secret"), outer)
	r.want(other, "reg.example", api.OK, "inner-secret")
	r.want(outer, "reg.example", api.OK, "outer-secret")
}

func TestALoginOfAnInnerJobNeverServesTheOuterOne(t *testing.T) {
	r := newRig(t)
	outer := r.job(api.JobRequest{}, nil)
	inner := r.job(api.JobRequest{}, outer)
	r.store(outer, "u", "outer-secret")
	r.want(inner, "reg.example", api.OK, "outer-secret") // opened for the inner one
	r.store(inner, "u", "inner-secret")
	r.Refresh(nil, api.HostRequest{}) // the next get of each mints
	r.want(outer, "reg.example", api.OK, "outer-secret")
	r.want(inner, "reg.example", api.OK, "inner-secret")
	r.erase(inner)
	r.want(inner, "reg.example", api.OK, "outer-secret")
}

func TestAnAccountChosenForAJobHoldsForItsWildcardsToo(t *testing.T) {
	a, b := account("a", "*.reg.example"), account("b", "*.reg.example")
	a.Default = true
	r := newRig(t, a, b)
	j := r.job(api.JobRequest{Accounts: []string{"b"}}, nil)
	r.want(j, "one.reg.example", api.OK, "b-")
	r.want(r.job(api.JobRequest{}, j), "two.reg.example", api.OK, "b-")
	r.want(nil, "one.reg.example", api.OK, "a-")

	// When it goes away the job has nothing rather than somebody else.
	r.cfg.Accounts = []providers.Account{a}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.want(j, "three.reg.example", api.Failed, `account "b"`)
}
