// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
)

// login stores a login over a job's socket, as docker login does.
func (s *served) login(socket, host, secret string) api.Reply {
	s.t.Helper()
	c, err := api.Dial(s.t.Context(), socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	var rep api.Reply
	if err := c.Call(s.t.Context(), "POST", "/v1/store", api.Login{ServerURL: host, Username: "u", Secret: secret}, &rep); err != nil {
		s.t.Fatal(err)
	}
	return rep
}

func TestTheWrapperHearsOfTwoLoginsInTheOrderTheyWereMade(t *testing.T) {
	s := serve(t)
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	socket := s.paths.JobSocket(w.dir.ID)
	var wg sync.WaitGroup
	const n = 40
	for i := range n {
		wg.Go(func() { s.login(socket, "reg.example", fmt.Sprint("secret-", i)) })
	}
	last := ""
	for range n {
		e, err := w.lease.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last = e.Login.Secret
	}
	wg.Wait()
	if r := s.get(socket, "reg.example"); r.Secret != last {
		t.Errorf("the agent has %s, the wrapper %s", r.Secret, last)
	}
}

func TestALoginIsNotAcknowledgedBeforeItIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		j := r.job(api.JobRequest{}, nil)
		j.line = newLine()
		acks := make(chan string, 1)
		go func() {
			acks <- r.Store(t.Context(), j, api.Login{ServerURL: "reg.example", Username: "u", Secret: "s"}).Outcome
		}()
		synctest.Wait()
		e := <-j.line.events
		synctest.Wait()
		if len(acks) > 0 {
			t.Error("acknowledged, although an agent that is killed now loses it")
		}
		e.sent <- true
		if o := <-acks; o != api.OK {
			t.Error(o)
		}
		go func() {
			acks <- r.Erase(t.Context(), j, api.Login{ServerURL: "reg.example"}).Outcome
		}()
		synctest.Wait()
		close(j.line.over)
		if o := <-acks; o != api.Failed {
			t.Errorf("without a wrapper: %s", o)
		}
	})
}

func TestAForcedStopEndsJobsAndTellsTheirWrappers(t *testing.T) {
	for range 30 {
		s := serve(t)
		j, err := s.newJob(api.JobRequest{ID: s.create().ID, Kind: "run"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		j.line, j.end = newLine(), func() {}
		s.agent.jobs.add(j)
		ours, theirs := net.Pipe()
		s.agent.holdLease(ours, j, &api.JobResponse{Outcome: api.OK}) // its first write waits for a reader
		s.agent.jobs.closeAll("the agent was stopped")
		s.agent.stop("stop was asked for")
		b, err := io.ReadAll(theirs)
		if err != nil || !strings.Contains(string(b), `"close":"the agent was stopped"`) {
			t.Fatalf("the wrapper heard %q %v: it gives the job to the next agent", b, err)
		}
	}
}

// A script that says `regmint run …; regmint agent stop` is not told that a job
// is open.
func TestAJobWhoseCommandHasJustEndedDoesNotKeepTheAgent(t *testing.T) {
	s := serve(t)
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	other := s.open(s.paths.MainSocket(), api.JobRequest{})
	stop := func() (r api.Reply) {
		if err := s.client().Call(t.Context(), "POST", "/v1/agent/stop", api.HostRequest{}, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	ends := func(w *wrapped) { // as a wrapper does: its lock, its directory, its lease
		_ = w.dir.Close()
		if err := configdir.Remove(w.dir.Root); err != nil {
			t.Error(err)
		}
		time.AfterFunc(50*time.Millisecond, func() { _ = w.lease.Close() })
	}
	ends(w)
	if r := stop(); r.Outcome != api.Failed || !strings.HasPrefix(r.Message, "1 job is open") {
		t.Errorf("one of two runs: %+v", r)
	}
	ends(other)
	if r := stop(); r.Outcome != api.OK {
		t.Errorf("none runs: %+v", r)
	}
	s.wait(s.done)
}

func TestRequestsUnderWayAreAnsweredWhenTheAgentEnds(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	s.p.gate = make(chan struct{})
	answer := make(chan *api.GetResponse, 1)
	c := s.client()
	go func() {
		r, err := c.Get(context.Background(), &api.GetRequest{Key: "reg.example"})
		if err != nil {
			r = &api.GetResponse{Message: err.Error()}
		}
		answer <- r
	}()
	eventually(t, "a mint is under way", func() bool { return s.Core.mint.Stats().Flights == 1 })
	s.stop()
	eventually(t, "the jobs are told", func() bool { return s.agent.ctx.Err() != nil })
	time.Sleep(20 * time.Millisecond) // a wrong order of ends shows here
	close(s.p.gate)
	if r := <-answer; r.Outcome != api.OK {
		t.Errorf("%+v", r)
	}
}

func TestAJobIsNotOpenedInsideOneThatHasEnded(t *testing.T) {
	s := serve(t)
	outer := s.open(s.paths.MainSocket(), api.JobRequest{})
	j := s.agent.jobs.all()[0]
	j.mu.Lock()
	j.closed = "it is over" // as between its end and its directory's
	j.mu.Unlock()
	inner := s.create()
	_, resp, err := api.OpenJob(t.Context(), s.paths.JobSocket(outer.dir.ID), &api.JobRequest{ID: inner.ID, Kind: "run", Env: []string{"CLOUD_PROFILE"}})
	if err != nil || resp.Outcome != api.Failed || resp.Message != "it is over" {
		t.Errorf("%+v %v", resp, err)
	}
	if s.agent.jobs.has(inner.ID) {
		t.Error("it is open all the same")
	}
}
