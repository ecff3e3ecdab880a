// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// served is an Agent on real sockets.
type served struct {
	*rig
	agent *Agent
	paths api.Paths
	stop  context.CancelFunc
	done  chan error
}

// short makes a directory whose socket paths fit.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func serve(t *testing.T, accounts ...providers.Account) *served {
	t.Helper()
	s := &served{rig: newRig(t, accounts...)}
	dir := short(t)
	s.paths = api.Paths{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}
	if err := s.paths.Ensure(); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

// start runs an agent; a second call is the next agent after the first ended.
func (s *served) start() {
	s.t.Helper()
	s.cfg.Agent.AllowRoot = true
	a, err := New(Options{Core: s.Core.o, Paths: s.paths, Executable: "/proc/self/exe", PID: os.Getpid(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.agent, s.Core = a, a.core
	ready := make(chan struct{})
	a.o.Ready = func() { close(ready) }
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.done = stop, make(chan error, 1)
	done := s.done
	go func() { done <- a.Run(ctx) }() // ends with stop
	select {
	case <-ready:
	case err := <-done:
		s.t.Fatalf("agent did not start: %v", err)
	case <-time.After(time.Minute):
		s.t.Fatal("agent did not start")
	}
	s.t.Cleanup(func() { stop(); s.wait(done) })
}

func (s *served) wait(done chan error) {
	select {
	case <-done:
		done <- nil
	case <-time.After(time.Minute):
		s.t.Error("agent did not end")
	}
}

func (s *served) client() *api.Client {
	s.t.Helper()
	c, err := api.Dial(s.t.Context(), s.paths.MainSocket())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *served) get(socket, key string) *api.GetResponse {
	s.t.Helper()
	c, err := api.Dial(s.t.Context(), socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Get(s.t.Context(), &api.GetRequest{Key: key})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// wrapped is a job as a wrapper holds it.
type wrapped struct {
	dir   *configdir.Job
	lease *api.Lease
	req   api.JobRequest
}

// create makes the directory of a job and locks it.
func (s *served) create() *configdir.Job {
	s.t.Helper()
	dir, err := configdir.CreateNew(s.paths.JobsDir())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = dir.Close() })
	return dir
}

func (s *served) open(socket string, req api.JobRequest) *wrapped {
	s.t.Helper()
	dir := s.create()
	req.ID, req.Kind = dir.ID, "run"
	w := &wrapped{dir: dir, req: req}
	s.resume(w, socket)
	return w
}

func (s *served) resume(w *wrapped, socket string) {
	s.t.Helper()
	for range 2 {
		lease, resp, err := api.OpenJob(s.t.Context(), socket, &w.req)
		if err != nil {
			s.t.Fatal(err)
		}
		if resp.Outcome == api.NeedEnv {
			w.req.Env = append(w.req.Env, resp.NeedEnv...)
			continue
		}
		if resp.Outcome != api.OK {
			s.t.Fatalf("job refused: %+v", resp)
		}
		w.lease = lease
		return
	}
	s.t.Fatal("the agent asks for variables without end")
}

// eventually polls a condition that another goroutine makes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func gone(path string) func() bool {
	return func() bool { _, err := os.Lstat(path); return errors.Is(err, os.ErrNotExist) }
}

func TestJobEndsWithItsConnection(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	sock := s.paths.JobSocket(w.dir.ID)
	if r := s.get(sock, "reg.example"); r.Outcome != api.OK {
		t.Fatalf("%+v", r)
	}
	_ = w.lease.Close()
	eventually(t, "job directory removed", gone(w.dir.Root))
	eventually(t, "job forgotten", func() bool { return s.agent.jobs.count() == 0 })
	if _, err := api.Dial(t.Context(), sock); err == nil {
		t.Fatal("the job's socket still answers")
	}
}

func TestJobLoginsSurviveTheAgent(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	sock := s.paths.JobSocket(w.dir.ID)
	c, err := api.Dial(t.Context(), sock)
	if err != nil {
		t.Fatal(err)
	}
	var rep api.Reply
	if err := c.Call(t.Context(), "POST", "/v1/store", api.Login{ServerURL: "reg.example", Username: "ci", Secret: "job-secret"}, &rep); err != nil || rep.Outcome != api.OK {
		t.Fatalf("%+v %v", rep, err)
	}
	_ = c.Close()
	e, err := w.lease.Next(t.Context())
	if err != nil || e.Login == nil || e.Login.Secret != "job-secret" {
		t.Fatalf("the wrapper was not told of the login: %+v %v", e, err)
	}
	done := s.done
	s.stop()
	s.wait(done)
	if _, err := w.lease.Next(t.Context()); err == nil {
		t.Fatal("the lease outlived the agent")
	}
	if _, err := os.Stat(w.dir.Root); err != nil {
		t.Fatalf("the agent took the directory of a living job along: %v", err)
	}
	s.start()
	w.req.Resume, w.req.Logins = true, []api.Login{*e.Login}
	s.resume(w, s.paths.MainSocket())
	if r := s.get(sock, "reg.example"); r.Secret != "job-secret" {
		t.Fatalf("after resuming: %+v", r)
	}
}

func TestAgentStartingRemovesWhatNobodyHolds(t *testing.T) {
	s := serve(t)
	held := s.open(s.paths.MainSocket(), api.JobRequest{})
	left := s.open(s.paths.MainSocket(), api.JobRequest{})
	done := s.done
	s.stop()
	s.wait(done)
	_ = left.dir.Close() // its wrapper was killed together with the agent
	old := time.Now().Add(-time.Minute)
	for _, w := range []*wrapped{held, left} {
		if err := os.Chtimes(w.dir.Root, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	if _, err := os.Stat(left.dir.Root); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("left over: %v", err)
	}
	if _, err := os.Stat(held.dir.Root); err != nil {
		t.Fatalf("a job whose wrapper lives was removed: %v", err)
	}
}

func TestOldAgentServesItsJobsAfterHandover(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	old, oldDone := s.agent, s.done
	var rep api.Reply
	if err := s.client().Call(t.Context(), "POST", "/v1/agent/handover", struct{}{}, &rep); err != nil {
		t.Fatal(err)
	}
	eventually(t, "main socket free", gone(s.paths.MainSocket()))
	s.start()
	if s.agent == old {
		t.Fatal("no new agent")
	}
	if r := s.get(s.paths.JobSocket(w.dir.ID), "reg.example"); r.Outcome != api.OK {
		t.Fatalf("the job lost its agent: %+v", r)
	}
	if _, err := os.Stat(w.dir.Root); err != nil {
		t.Fatalf("the new agent removed a job of the old one: %v", err)
	}
	_ = w.lease.Close()
	s.wait(oldDone) // ends when its last job does
	if r := s.get(s.paths.MainSocket(), "reg.example"); r.Outcome != api.OK {
		t.Fatalf("%+v", r)
	}
}

func TestJobIsRefusedWithoutItsLockedDirectory(t *testing.T) {
	s := serve(t)
	for _, id := range []string{"", "../../etc", "abcdefghijklmnopqrstuvwxyz", configdir.NewID()} {
		_, resp, err := api.OpenJob(t.Context(), s.paths.MainSocket(), &api.JobRequest{ID: id, Kind: "run"})
		if err == nil && resp.Outcome != api.Failed {
			t.Errorf("job %q was opened", id)
		}
	}
}

func TestNestedJobEndsWithTheOuterOne(t *testing.T) { // H80
	s := serve(t, account("a", "a.example"), account("b", "b.example"))
	outer := s.open(s.paths.MainSocket(), api.JobRequest{Targets: []string{"a.example"}, Only: true})
	inner := s.open(s.paths.JobSocket(outer.dir.ID), api.JobRequest{})
	sock := s.paths.JobSocket(inner.dir.ID)
	if r := s.get(sock, "b.example"); r.Outcome != api.NotFound {
		t.Fatalf("the inner job knows more: %+v", r)
	}
	if r := s.get(sock, "a.example"); r.Outcome != api.OK {
		t.Fatalf("%+v", r)
	}
	_ = outer.lease.Close()
	e, err := inner.lease.Next(t.Context())
	if err != nil || e.Close == "" {
		t.Fatalf("%+v %v", e, err)
	}
	eventually(t, "inner directory removed", gone(inner.dir.Root))
}

func TestMainOrdersAreRefusedInsideAJob(t *testing.T) {
	s := serve(t)
	w := s.open(s.paths.MainSocket(), api.JobRequest{})
	c, err := api.Dial(t.Context(), s.paths.JobSocket(w.dir.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, p := range []string{"reload", "lock", "unlock", "agent/stop", "agent/handover"} {
		if err := c.Call(t.Context(), "POST", "/v1/"+p, struct{}{}, &api.Reply{}); err == nil {
			t.Errorf("a job may %s", p)
		}
	}
}

func TestHostileClientsDoNotDelayAnHonestOne(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	dial := func() net.Conn {
		c, err := net.Dial("unix", s.paths.MainSocket())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for i := range 300 {
		c := dial()
		switch i % 6 {
		case 0: // sends nothing
		case 1:
			_, _ = io.WriteString(c, "POST /v1/get HTT")
		case 2:
			_, _ = io.WriteString(c, "\x16\x03\x01garbage\r\n\r\n")
		case 3:
			_, _ = io.WriteString(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 4294967295\r\n\r\n{")
		case 4:
			_, _ = io.WriteString(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 20\r\n\r\n{\"key\":")
			_ = c.(*net.UnixConn).CloseWrite()
		case 5: // asks and never reads
			for range 50 {
				_, _ = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: regmint\r\n\r\n")
			}
		}
	}
	for range 50 {
		if r := s.get(s.paths.MainSocket(), "reg.example"); r.Outcome != api.OK {
			t.Fatalf("%+v", r)
		}
	}
}

func TestMalformedRequestsAreClosedWithoutEcho(t *testing.T) { // H82-H85
	s := serve(t)
	for name, in := range map[string]string{
		"garbage":     "\x00\x01CNRYecho\r\n\r\n",
		"tls":         "\x16\x03\x01\x02\x00\x01CNRYecho\r\n\r\n",
		"browser":     "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}",
		"other host":  "GET /v1/status HTTP/1.1\r\nHost: CNRYecho.example\r\n\r\n",
		"not json":    "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 8\r\n\r\nCNRYecho",
		"two objects": "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 4\r\n\r\n{}{}",
		"deep":        "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("[", 30000),
	} {
		c, err := net.Dial("unix", s.paths.MainSocket())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, in)
		data, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("%s: connection not closed: %v", name, err)
		}
		if strings.Contains(string(data), "CNRY") || strings.Contains(string(data), "200 OK") {
			t.Errorf("%s: answered %q", name, data)
		}
		_ = c.Close()
	}
}

func TestTenThousandGetsOfFortyIdentitiesAreFortyMints(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const hosts, gets, workers = 20, 10000, 64
	var wg sync.WaitGroup
	bad := make(chan string, workers)
	for w := range workers {
		wg.Go(func() {
			c, err := api.Dial(t.Context(), s.paths.MainSocket())
			if err != nil {
				bad <- err.Error()
				return
			}
			defer c.Close()
			for i := w; i < gets; i += workers {
				who := fmt.Sprint("p", i%2)
				r, err := c.Get(t.Context(), &api.GetRequest{Key: fmt.Sprintf("r%d.cloud.example", (i/2)%hosts), Env: []string{"CLOUD_PROFILE=" + who}})
				if err != nil || !strings.HasSuffix(r.Secret, "-"+who) {
					bad <- fmt.Sprintf("%+v %v", r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	if s.amb.mints != 2*hosts {
		t.Fatalf("%d mints, want %d", s.amb.mints, 2*hosts)
	}
}

func TestStatusAndRecentHoldNoSecret(t *testing.T) {
	s := serve(t, account("CNRYname", "reg.example"))
	got := s.get(s.paths.MainSocket(), "reg.example")
	for _, path := range []string{"/v1/status", "/v1/recent", "/v1/metrics"} {
		c, err := net.Dial("unix", s.paths.MainSocket())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: regmint\r\nConnection: close\r\n\r\n")
		data, _ := io.ReadAll(bufio.NewReader(c))
		_ = c.Close()
		if !strings.Contains(string(data), "200 OK") || strings.Contains(string(data), got.Secret) {
			t.Errorf("%s: %s", path, data)
		}
	}
	var recent []api.Recent
	if err := s.client().Call(t.Context(), "GET", "/v1/recent", nil, &recent); err != nil || len(recent) != 1 {
		t.Fatalf("%v %v", recent, err)
	}
	if b, _ := json.Marshal(recent[0]); !strings.Contains(string(b), `"account":"CNRYname"`) {
		t.Fatalf("%s", b)
	}
}

func TestAgentEndsWhenItsSocketIsReplaced(t *testing.T) { // H90
	s := serve(t)
	if err := os.Remove(s.paths.MainSocket()); err != nil {
		t.Fatal(err)
	}
	if !s.agent.socketLost() {
		t.Fatal("a removed socket is not noticed")
	}
	s.agent.handover("its socket was replaced")
	s.wait(s.done)
}

func TestReplacedBinaryIsSaid(t *testing.T) { // H94
	s := serve(t, account("a", "reg.example"))
	exe := filepath.Join(t.TempDir(), "regmint")
	write := func(text string) {
		if err := os.WriteFile(exe, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	s.agent.o.Executable = exe
	s.agent.exe, _ = os.Stat(exe)
	if w := s.agent.binaryChanged(); w != "" {
		t.Fatal(w)
	}
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	if r := s.get(s.paths.MainSocket(), "reg.example"); r.Outcome != api.OK {
		t.Fatalf("an agent whose binary was deleted: %+v", r)
	}
	write("new and longer")
	var st api.Status
	if err := s.client().Call(t.Context(), "GET", "/v1/status", nil, &st); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(st.Warnings, " "), "agent restart") {
		t.Fatalf("status does not say that the binary changed: %q", st.Warnings)
	}
}
