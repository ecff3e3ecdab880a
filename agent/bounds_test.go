// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func TestIdentitiesOfCallersThatHaveGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, account("plain", "plain.example"))
		get := func(j *job, i int) {
			t.Helper()
			q := api.GetRequest{Key: "reg.cloud.example", Env: []string{fmt.Sprint("CLOUD_PROFILE=p", i)}}
			if resp := r.ask(j, q); resp.Outcome != api.OK {
				t.Fatalf("%+v", resp)
			}
		}
		r.want(nil, "plain.example", api.OK, "")
		for i := range 100 {
			get(nil, i)
		}
		j := r.job(api.JobRequest{Env: []string{"CLOUD_PROFILE=p1"}}, nil)
		get(j, 1)
		time.Sleep(50 * time.Minute)
		get(nil, 2)
		r.forgetIdle()
		if n := len(r.sources); n != 101 {
			t.Fatalf("%d sources before their time is over", n)
		}
		time.Sleep(20 * time.Minute)
		r.forgetIdle()
		if n := len(r.sources); n != 3 { // the plain account, the job's, and p2
			t.Errorf("%d sources are kept", n)
		}
		if n := len(r.mint.Views()); n != 3 {
			t.Errorf("%d credentials are kept", n)
		}
	})
}

func TestHostsWithoutNumberLeaveLittleBehind(t *testing.T) {
	r := newRig(t, account("plain", "plain.example"))
	j := r.job(api.JobRequest{Env: profile("")}, nil)
	r.want(nil, "plain.example", api.OK, "")
	r.amb.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("x")}
	r.as("dev")
	for _, err := range []error{errNobody, r.amb.err} {
		r.amb.err = err
		for i := range 2*maxNobody + maxFailures {
			r.ask(j, api.GetRequest{Key: fmt.Sprint("h", i, ".cloud.example")})
		}
		if !errors.Is(err, errNobody) { // an identity that is there is kept for its hour
			continue
		}
		if n := len(r.sources); n > maxNobody+1 {
			t.Errorf("%d sources are open", n)
		}
		if _, ok := r.failedAmbient(nil, parseEnv(profile("dev")))[hostOf(account("", cloudHost))]; !ok {
			t.Error("what others know is forgotten for it")
		}
	}
	if n := len(r.failures); n > maxFailures {
		t.Errorf("%d failures are remembered", n)
	}
	r.want(nil, "plain.example", api.OK, "plain-1")
}

func TestSecretsHandedOutAreForgottenAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		out := func(n int) {
			for i := range n {
				r.handOut(failKey{}, providers.Credential{Secret: providers.NewSecret(fmt.Sprint(time.Now(), i))})
			}
		}
		out(3 * minHanded)
		if n := len(r.handed); n != 3*minHanded {
			t.Fatalf("%d of %d are known", n, 3*minHanded)
		}
		time.Sleep(handedLife + time.Minute)
		out(3 * minHanded)
		if n := len(r.handed); n > 3*minHanded {
			t.Errorf("%d are kept", n)
		}
	})
}

func TestAPeerThatDoesNotReadKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &peerConn{Conn: ours, patrol: newPatrol(0, nil)}
		c.patrol.add(c)
		done := make(chan error, 1)
		go func() {
			_, err := c.Write([]byte("an answer"))
			done <- err
		}()
		synctest.Wait()
		c.enforce(time.Now().Add(writeLimit))
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("ended before its time: %v", err)
		default:
		}
		c.enforce(time.Now().Add(writeLimit + time.Millisecond))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAJobSeesItsOwnCredentialsAlone(t *testing.T) {
	r := newRig(t, account("a", "reg.example"), account("b", "other.example"))
	one := r.job(api.JobRequest{Targets: []string{"reg.example"}, Only: true, Env: []string{"CLOUD_PROFILE=one"}}, nil)
	two := r.job(api.JobRequest{Env: []string{"CLOUD_PROFILE=two"}}, nil)
	two.id = "ybcdefghijklmnopqrstuvwxyz"
	r.store(two, "two", "secret")
	for _, key := range []string{"reg.example", "other.example", "reg.cloud.example"} {
		r.want(two, key, api.OK, "")
	}
	hosts := func(st api.Status) (out []string) {
		for _, tok := range st.Tokens {
			out = append(out, tok.Host+" "+tok.Account+" "+tok.Job)
		}
		return out
	}
	if got := hosts(r.Status(one)); len(got) != 0 {
		t.Errorf("a job that has asked for nothing sees %q", got)
	}
	for _, a := range r.Status(one).Accounts {
		if !slices.Equal(a.Hosts, []string{"reg.example"}) {
			t.Errorf("a job of one host sees account %s of %v", a.Name, a.Hosts)
		}
	}
	r.want(one, "reg.example", api.OK, "a-")
	if got := hosts(r.Status(one)); !slices.Equal(got, []string{"reg.example a "}) {
		t.Errorf("it sees %q", got)
	}
	if got := hosts(r.Status(two)); len(got) != 3 {
		t.Errorf("the other sees %q", got)
	}

	// What it refreshes is its own world too.
	r.Refresh(one, api.HostRequest{})
	if got := hosts(r.Status(two)); len(got) != 2 {
		t.Errorf("after a refresh in the first the other sees %q", got)
	}
}
