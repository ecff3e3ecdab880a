// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// robots is a product that makes a robot per job.
type robots struct {
	mu     sync.Mutex
	serial int
	living map[string]string // robot: job
	down   bool
	lose   bool // makes one, and the answer is lost
	deny   bool
	// patience is how many more are taken back before it is down; 0: no end.
	patience int
	gate     chan struct{} // a mint waits after it has made one
	made     chan struct{}
	seen     func()
	sweeps   int
}

func (p *robots) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.living)
}

func (p *robots) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

type robotProvider struct {
	testProvider
	robots  *robots
	nameles bool // its robots are not found by name
	sealed  bool // but end by themselves
}

func (p *robotProvider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s := &robotSource{testSource{p: &p.testProvider, a: a, d: d}, p.robots}
	switch {
	case p.sealed:
		return &sealerSource{s}, nil
	case p.nameles:
		return s, nil
	}
	return &sweeperSource{s}, nil
}

type robotSource struct {
	testSource
	robots *robots
}

func (s *robotSource) Mint(_ context.Context, r providers.Request) (providers.Credential, error) {
	p := s.robots
	p.mu.Lock()
	if p.seen != nil {
		p.seen()
	}
	if p.deny {
		p.mu.Unlock()
		return providers.Credential{}, &providers.Error{Kind: providers.Denied, Err: errors.New("403")}
	}
	p.serial++
	name := fmt.Sprintf("robot-%d", p.serial)
	p.living[name] = r.Job
	lose, gate := p.lose, p.gate
	p.mu.Unlock()
	if gate != nil {
		close(p.made)
		<-gate
	}
	if lose {
		return providers.Credential{}, errNet
	}
	now := s.d.Now()
	return providers.Credential{Username: name, Secret: providers.NewSecret("s-" + name), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}, nil
}

func (s *robotSource) Revoke(_ context.Context, _ providers.Request, c providers.Credential) error {
	s.robots.mu.Lock()
	defer s.robots.mu.Unlock()
	if s.robots.down {
		return errNet
	}
	if _, lives := s.robots.living[c.Username]; !lives && s.robots.patience > 0 {
		return errNet // a wasted attempt
	}
	delete(s.robots.living, c.Username)
	if s.robots.patience > 0 {
		s.robots.patience--
		s.robots.down = s.robots.patience == 0
	}
	return nil
}

type sweeperSource struct{ *robotSource }

func (s *sweeperSource) Sweep(_ context.Context, r providers.Request) error {
	s.robots.mu.Lock()
	defer s.robots.mu.Unlock()
	s.robots.sweeps++
	if s.robots.down {
		return errNet
	}
	for name, job := range s.robots.living {
		if job == r.Job {
			delete(s.robots.living, name)
		}
	}
	return nil
}

type robotRig struct {
	t        *testing.T
	robots   *robots
	state    string
	mu       sync.Mutex
	at       time.Time
	nameless bool
	sealed   bool
}

func newRobotRig(t *testing.T) *robotRig {
	return &robotRig{t: t, robots: &robots{living: map[string]string{}}, state: t.TempDir(), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (r *robotRig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *robotRig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

// agent is one that starts now.
func (r *robotRig) agent() *Core {
	r.t.Helper()
	a := account("harbor", "reg.example")
	a.Provider = "robots"
	ps := []providers.Provider{&robotProvider{testProvider{name: "robots"}, r.robots, r.nameless, r.sealed}}
	c, err := NewCore(r.t.Context(), CoreOptions{
		Providers: ps,
		Load:      func(bool) (*config.Config, error) { return &config.Config{Accounts: []providers.Account{a}}, nil },
		Store:     func(*config.Config) (store.Store, error) { return mapStore{}, nil },
		Saved:     config.SavedFile{Path: filepath.Join(r.state, "saved.toml"), StateDir: r.state, Providers: ps},
		Log:       slog.New(slog.DiscardHandler),
		Clock:     func() (time.Time, time.Duration) { return r.now(), r.now().Sub(time.Time{}) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *robotRig) journal() int {
	files, _ := filepath.Glob(filepath.Join(r.state, "revoke", "*.json"))
	return len(files)
}

func (r *robotRig) open(c *Core) *job {
	r.t.Helper()
	j, err := c.newJob(api.JobRequest{Kind: "run", ID: "abcdefghijklmnopqrstuvwxyz"}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

func getIn(t *testing.T, c *Core, j *job, outcome string) *api.GetResponse {
	t.Helper()
	resp := c.Get(t.Context(), j, &api.GetRequest{Key: "reg.example"})
	if resp.Outcome != outcome {
		t.Fatalf("get: %+v", resp)
	}
	return resp
}

func nobodyLives(string) bool { return false }

func TestWhatIsMadeForAJobIsWrittenDownBeforeAndTakenBackAfter(t *testing.T) {
	r := newRobotRig(t)
	c := r.agent()
	r.robots.seen = func() {
		if r.journal() != 1 {
			t.Error("made before it was written down")
		}
	}
	j := r.open(c)
	resp := getIn(t, c, j, api.OK)
	files, _ := filepath.Glob(filepath.Join(r.state, "revoke", "*"))
	text, err := os.ReadFile(files[0])
	if err != nil || strings.Contains(string(text), resp.Secret) || !strings.Contains(string(text), j.id) {
		t.Fatalf("%v %s", err, text)
	}
	c.revoked.sweep(t.Context(), func(id string) bool { return id == j.id })
	if r.robots.count() != 1 || len(c.Status(nil).Revocations) != 0 {
		t.Fatal("a live job's robot is gone")
	}
	j.close("test")
	c.revoke(j)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestRevocationsAreTriedAgainWithPatience(t *testing.T) {
	r := newRobotRig(t)
	c := r.agent()
	j := r.open(c)
	getIn(t, c, j, api.OK)
	r.robots.set(func() { r.robots.down = true })
	c.revoke(j)
	st := c.Status(nil).Revocations
	if len(st) != 1 || !strings.Contains(st[0].Message, "no network") || st[0].NextAt == nil || !c.revoked.waits() {
		t.Fatalf("status %+v", st)
	}
	r.robots.set(func() { r.robots.down = false })
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 1 {
		t.Fatal("tried before its time")
	}
	r.later(revokeAgain)
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 || c.revoked.waits() {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestTheNextAgentTakesBackWhatAKilledOneMade(t *testing.T) {
	r := newRobotRig(t)
	first := r.agent()
	getIn(t, first, r.open(first), api.OK)
	r.robots.set(func() { r.robots.lose = true })
	lost := r.open(first)
	lost.id = "zbcdefghijklmnopqrstuvwxyz"
	getIn(t, first, lost, api.Failed) // made, and the answer never came
	second := r.agent()
	second.revoked.sweep(t.Context(), func(id string) bool { return id == lost.id })
	if n := r.robots.count(); n != 1 {
		t.Fatalf("%d robots, want that of the job that lives", n)
	}
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestARobotThatArrivesAfterItsJobEndedIsTakenBack(t *testing.T) {
	r := newRobotRig(t)
	c := r.agent()
	j := r.open(c)
	r.robots.gate, r.robots.made = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		c.Get(ctx, j, &api.GetRequest{Key: "reg.example"})
		close(done)
	}()
	<-r.robots.made
	j.close("test")
	c.revoke(j)
	if r.journal() != 1 {
		t.Fatal("the entry of a mint under way is gone")
	}
	close(r.robots.gate)
	<-done
	cancel()
	for end := time.Now().Add(10 * time.Second); r.robots.count() > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c.revoked.sweep(t.Context(), nobodyLives)
	}
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestAMintThatWasRefusedLeavesNothingToTakeBack(t *testing.T) {
	r := newRobotRig(t)
	r.robots.deny = true
	c := r.agent()
	getIn(t, c, r.open(c), api.Failed)
	if r.journal() != 0 {
		t.Fatal("an entry is left")
	}
}

func TestNothingIsMadeThatCannotBeWrittenDown(t *testing.T) {
	r := newRobotRig(t)
	if err := os.WriteFile(filepath.Join(r.state, "revoke"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := r.agent()
	if resp := getIn(t, c, r.open(c), api.Failed); r.robots.serial != 0 || resp.Kind != string(providers.Misconfigured) {
		t.Fatalf("%d made; %+v", r.robots.serial, resp)
	}
}

func TestWhatHasNoNameIsShownUntilItEnds(t *testing.T) {
	r := newRobotRig(t)
	r.nameless = true
	first := r.agent()
	getIn(t, first, r.open(first), api.OK)
	second := r.agent()
	second.revoked.sweep(t.Context(), nobodyLives)
	if st := second.Status(nil).Revocations; len(st) != 1 || st[0].ExpiresAt == nil || second.revoked.waits() {
		t.Fatalf("status %+v, waits %v", st, second.revoked.waits())
	}
	r.later(2 * time.Hour)
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 0 {
		t.Fatal("an entry outlives what it is about")
	}
}
