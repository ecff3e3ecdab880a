// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// herd is a person who logs in with a code and gets tokens that end.
type herd struct {
	*world
	host, image string
	codes       func() []string
	approve     func(code string) bool
	life        func(time.Duration) // of access tokens made from now on
	renewed     func() int          // tokens renewed, each of which ends a pair
	reused      func() int          // tokens renewed a second time, which ends the login
	made        func() int          // secrets made with a renewed token
	end         func() []string     // ends what clients had until now, which may be found out late
}

// herdLife is what the tokens of a login live. They work on all the same, so
// that a slow machine is not refused.
const (
	herdLife  = time.Second
	herdGrace = time.Hour
)

var herds = map[string]func(t *testing.T) *herd{
	"Docker Hub": func(t *testing.T) *herd {
		r := newHub(t, dockerhub.Options{DeviceInterval: time.Second, Grace: herdGrace})
		return &herd{
			world: r.world, host: "docker.io", image: hubApp, codes: r.hub.Codes,
			approve: func(code string) bool { return r.hub.Approve(code, r.bot) == nil },
			life:    func(d time.Duration) { r.hub.Set(func(o *dockerhub.Options) { o.AccessLife = d }) },
			renewed: func() int { return r.hub.Counts().Refreshes },
			reused:  func() int { return r.hub.Counts().ReusedRefresh },
			made:    func() int { return r.hub.Counts().Generated },
			end: func() (dead []string) {
				for _, g := range r.bot.Generated() {
					g.Revoke()
					dead = append(dead, g.Secret)
				}
				return dead
			},
		}
	},
	"GitHub": func(t *testing.T) *herd {
		r := newGitHub(t, github.Options{DeviceInterval: time.Second, Grace: herdGrace})
		tool := r.gh.App("tool")
		tool.Install("acme", github.Write)
		r.configure(githubAccount(fmt.Sprintf("client_id = %q", tool.ClientID), `password = "keyring:pair"`))
		return &herd{
			world: r.world, host: ghcr, image: ghcrApp + ":1", codes: r.gh.Codes,
			approve: func(code string) bool { return r.gh.Approve(code, r.jane) },
			life:    func(d time.Duration) { r.gh.Set(func(o *github.Options) { o.AccessLife = d }) },
			renewed: func() int { return r.gh.Counts().Refreshes },
			reused:  func() int { return r.gh.Counts().ReusedRefresh },
		}
	},
	"GitLab": func(t *testing.T) *herd {
		r := newGitLab(t, gitlab.Options{DeviceInterval: time.Second, Grace: herdGrace})
		r.configure(r.account(fmt.Sprintf("client_id = %q", r.gl.Application("tool", registryScopes...).ClientID), `password = "keyring:pair"`))
		return &herd{
			world: r.world, host: r.gl.Registry(), image: r.image(), codes: r.gl.Codes,
			approve: func(code string) bool { return r.gl.Approve(code, r.jane) == nil },
			life:    func(d time.Duration) { r.gl.Set(func(o *gitlab.Options) { o.AccessLife = d }) },
			renewed: func() int { return r.gl.Counts().Refreshes },
			reused:  func() int { c := r.gl.Counts(); return c.ReusedRefresh + c.FamiliesKilled },
		}
	},
}

// TestFiftyProcessesRenewALoginOnce: what a login left has ended when fifty
// clients ask at once, through the agent and without one. One of them renews,
// and all get what it got.
func TestFiftyProcessesRenewALoginOnce(t *testing.T) {
	t.Parallel()
	var one sync.Mutex // herd at a time
	for product, start := range herds {
		for _, mode := range []string{"off", "auto"} {
			t.Run(product+", agent "+mode, func(t *testing.T) {
				t.Parallel()
				h := start(t)
				h.life(herdLife)
				h.logIn()
				h.must("regmint", "agent", "stop", "--force")
				h.life(time.Hour)
				time.Sleep(herdLife)
				one.Lock()
				defer one.Unlock()
				h.renewOnce(mode)
				h.must("regmint", "agent", "stop", "--force")
				h.pushPull(h.image)
			})
		}
	}
}

// renewOnce has all ask, and looks at what the product counted.
func (h *herd) renewOnce(mode string) {
	h.t.Helper()
	var dead []string
	renewed, reused, made := h.renewed(), h.reused(), 0
	if h.made != nil {
		made, dead = h.made(), h.end()
	}
	for end := time.Now().Add(patience); ; {
		h.askFiftyTimes(mode, dead)
		// Docker Hub is asked whether a secret lives. On a machine so slow that no
		// answer came in time, that counts as yes.
		if dead == nil || h.renewed() > renewed || time.Now().After(end) {
			break
		}
		h.must("regmint", "agent", "stop", "--force")
	}
	if n := h.renewed() - renewed; n != 1 {
		h.t.Errorf("renewed %d times", n)
	}
	if n := h.reused() - reused; n != 0 {
		h.t.Errorf("%d renewals with what was used up", n)
	}
	if h.made != nil && h.made()-made != 1 {
		h.t.Errorf("%d secrets were made with it", h.made()-made)
	}
}

// askFiftyTimes has fifty processes ask at once. All get the same, but for what
// is dead and not found out yet.
func (h *herd) askFiftyTimes(mode string, dead []string) {
	h.t.Helper()
	got := make([]answer, 50)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for end := time.Now().Add(patience); time.Now().Before(end); {
				got[i] = h.get(h.host, "REGMINT_AGENT="+mode)
				if !strings.Contains(got[i].failure, "no answer within") { // this machine is slow
					return
				}
			}
		})
	}
	wg.Wait()
	living := ""
	for i, a := range got {
		switch {
		case a.Secret == "" || a.Username == "":
			h.t.Fatalf("process %d: %q", i, a.failure)
		case slices.Contains(dead, a.Secret) || a.Secret == living:
		case living == "":
			living = a.Secret
		default:
			h.t.Fatalf("process %d got another secret", i)
		}
	}
}

// logIn logs in on a terminal and enters the code that it shows.
func (h *herd) logIn() {
	h.t.Helper()
	done := entersCode(h.t, h.codes, h.approve)
	x := h.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", h.host)
	<-done
	if x.code != 0 || !strings.Contains(x.out, "logged in to "+h.host) {
		h.t.Fatalf("%s", x)
	}
}
