// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"

	"github.com/regmint/regmint/agent/api"
)

// store keeps a login that must be accepted.
func (r *rig) store(j *job, user, secret string) {
	r.t.Helper()
	if rep := r.Store(r.t.Context(), j, api.Login{ServerURL: "reg.example", Username: user, Secret: secret}); rep.Outcome != api.OK {
		r.t.Fatalf("store as %s: %+v", user, rep)
	}
}

func (r *rig) erase(j *job) {
	r.t.Helper()
	if rep := r.Erase(r.t.Context(), j, api.Login{ServerURL: "reg.example"}); rep.Outcome != api.OK {
		r.t.Fatalf("erase: %+v", rep)
	}
}

func TestTheSameLoginAfterALogoutIsKept(t *testing.T) {
	r := newRig(t)
	for _, j := range []*job{nil, r.job(api.JobRequest{}, nil)} {
		for range 2 {
			r.store(j, "ann", "s3cret")
			r.want(j, "reg.example", api.OK, "s3cret")
			r.erase(j)
			r.want(j, "reg.example", api.NotFound, "")
		}
	}
}

func TestTheFirstLoginComesBackAfterASecondOne(t *testing.T) {
	r := newRig(t)
	for _, j := range []*job{nil, r.job(api.JobRequest{}, nil)} {
		for _, user := range []string{"ann", "bob", "ann"} {
			r.store(j, user, "s3cret-of-"+user)
			if got := r.want(j, "reg.example", api.OK, "s3cret-of-"+user); got.Username != user {
				t.Fatalf("the answer is for %s, want %s", got.Username, user)
			}
		}
	}
}

func TestAnotherUserWithTheSameSecretIsAnotherLogin(t *testing.T) {
	r := newRig(t)
	for _, j := range []*job{nil, r.job(api.JobRequest{}, nil)} {
		for _, user := range []string{"ann", "bob"} {
			r.store(j, user, "s3cret")
			if got := r.want(j, "reg.example", api.OK, "s3cret"); got.Username != user {
				t.Fatalf("the answer is for %s, want %s", got.Username, user)
			}
		}
	}
}

func TestALoginThatASecondAccountGaveOutIsKeptForTheJob(t *testing.T) {
	a, b := account("a", "reg.example"), account("b", "reg.example")
	a.Default = true
	r := newRig(t, a, b)
	outside := r.want(nil, "reg.example", api.OK, "a-")
	j := r.job(api.JobRequest{Accounts: []string{"b"}}, nil)
	r.want(j, "reg.example", api.OK, "b-")
	r.store(j, "robot", outside.Secret)
	r.want(j, "reg.example", api.OK, outside.Secret)
}

func TestANestedJobKeepsTheAccountOfTheJobAroundIt(t *testing.T) {
	a, b := account("a", "reg.example"), account("b", "reg.example")
	a.Default = true
	r := newRig(t, a, b)
	outer := r.job(api.JobRequest{Accounts: []string{"b"}}, nil)
	inner := r.job(api.JobRequest{}, outer)
	r.want(inner, "reg.example", api.OK, "b-")
	r.store(outer, "ci", "s3cret")
	r.want(inner, "reg.example", api.OK, "s3cret")
}
