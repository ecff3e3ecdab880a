// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// upgraded is the next version's regmint in this world.
func (w *world) upgraded() string {
	for _, p := range []string{"regmint", "docker-credential-regmint"} {
		w.link(filepath.Join(built, "next", p), "next", p)
	}
	return w.path("next", "regmint")
}

func TestAnUpgradeLetsRunningJobsEndWell(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{Issue: fakeregistry.IssueOptions{Life: 6 * time.Second}}, "ci")
	w.configure(w.minted(reg, "ci"))
	old := w.agent()
	next := w.upgraded()
	reg.Inject(fakeregistry.Fault{Path: "/v2/team/slow", Delay: 100 * time.Millisecond}) // a slow pull
	s := w.start(script(`client -n 40 -every 50ms "$1" team/slow >pulled`, reg.Host()))
	w.eventually("it pulls", func() bool { return strings.Contains(w.read("pulled"), "ci-bot") })

	r := w.run(cmd(next, "agent", "restart"))
	if r.code != 0 || !strings.Contains(r.err, "1 job goes on with the old agent") || !strings.Contains(r.err, nextVersion) {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	if st := w.status(); st.Version != nextVersion || st.PID == old || len(st.Jobs) != 0 {
		t.Errorf("now %s runs, pid %d (was %d), %d jobs", st.Version, st.PID, old, len(st.Jobs))
	}
	if !alive(old) {
		t.Error("the old agent has left its job")
	}
	s.ends(0)
	if n := strings.Count(w.read("pulled"), "ci-bot"); n != 40 {
		t.Errorf("%d of 40 pulls", n)
	}
	w.eventually("the old agent ends with its job", func() bool { return !alive(old) })
	w.clean()
	if w.status().Version != nextVersion {
		t.Error("the new agent has gone")
	}
}

func TestAnUpgradeWhileACredentialIsMintedFailsNobody(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.agent()
	next := w.upgraded()
	reg.Inject(fakeregistry.Fault{Path: "/issue", Delay: time.Second})
	var asking []*started
	for range 8 {
		asking = append(asking, w.start(cmd("docker-credential-regmint", "get").in(reg.Host())))
	}
	w.eventually("a password is being made", func() bool { return reg.Stats().Count("/issue", "*") > 0 })
	w.must(cmd(next, "agent", "restart"))
	for _, s := range asking {
		s.ends(0)
		if !strings.Contains(s.output(), "ci-bot") {
			t.Error(s.output())
		}
	}
}

func TestAJobOfAnOldAgentThatIsKilledGoesOnWithTheNewOne(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	old := w.agent()
	next := w.upgraded()
	s := w.start(script(answers+`store own.example u; client "$1" team/app; await 1; client "$1" team/app; get own.example`, reg.Host()))
	w.await("1", func() {
		w.must(cmd(next, "agent", "restart"))
		_ = syscall.Kill(old, syscall.SIGKILL)
	})
	s.ends(0)
	if want := "ci-bot\nci-bot\n" + `{"ServerURL":"own.example","Username":"u","Secret":"u-secret"}` + "\n\n"; s.output() != want {
		t.Errorf("got %q, want %q", s.output(), want)
	}
	w.clean()
}
