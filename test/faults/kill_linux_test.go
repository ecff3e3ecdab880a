// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// load is what goes on while the agent is killed.
type load struct {
	*world
	stop          atomic.Bool
	wg            sync.WaitGroup
	gets, refused atomic.Int64
	mu            sync.Mutex
	saved         []string // hosts whose login was acknowledged
}

// until repeats f until the load is stopped.
func (l *load) until(f func(i int)) {
	l.wg.Go(func() {
		for i := 0; !l.stop.Load(); i++ {
			f(i)
		}
	})
}

// get asks the helper for host and wants user.
func (w *world) get(host, user string) result {
	w.t.Helper()
	r := w.run(cmd("docker-credential-regmint", "get").in(host))
	if r.code != 0 || !strings.Contains(r.out, `"Username":"`+user+`"`) {
		w.t.Errorf("get %s: exit %d after %s: %s", host, r.code, r.took, r.out)
	}
	return r
}

// storeLogin is docker login without docker.
func storeLogin(host, user, secret string) string {
	return fmt.Sprintf(`{"ServerURL":%q,"Username":%q,"Secret":%q}`, host, user, secret)
}

// Who starts an agent may meet one that was just killed.
func TestAnAgentIsStartedWhereOneIsDying(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.must(cmd("regmint", "agent", "start"))
		for _, pid := range w.agents() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	w.must(cmd("regmint", "agent", "start"))
	w.eventually("one runs", func() bool { return len(w.agents()) == 1 })
}

// TestAgentKilledAtRandomIsReplacedAndLosesNothing kills the agent with SIGKILL
// at random points, while eight clients ask, logins are saved, and a job that
// has a login of its own pushes.
func TestAgentKilledAtRandomIsReplacedAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	mint := issuer(t, fakeregistry.Options{}, "ci")
	private := startRegistry(t, fakeregistry.Options{Users: []fakeregistry.User{{Name: "jobuser", Password: "job-pass"}}})
	w.configure(w.minted(mint, "ci"))
	w.agent()

	l := &load{world: w}
	for range 8 {
		l.until(func(int) { l.get(mint.Host(), "ci-bot"); l.gets.Add(1) })
	}
	l.until(func(i int) {
		host := fmt.Sprintf("h%d.example", i)
		if r := l.run(cmd("docker-credential-regmint", "store").in(storeLogin(host, "u", "secret-of-"+host))); r.code != 0 {
			// Six agents in a row died under it: it says so, and promised nothing.
			if !strings.Contains(r.out, "the agent closed the connection") {
				t.Errorf("store %s: %s", host, r.out)
			}
			l.refused.Add(1)
			return
		}
		l.mu.Lock()
		l.saved = append(l.saved, host)
		l.mu.Unlock()
	})
	l.until(func(int) {
		// The kernel's list is no snapshot: a dying agent and the next one can
		// both be in one reading. Two agents would stay there.
		first := listeners(t, w.paths().MainSocket())
		time.Sleep(5 * time.Millisecond)
		if len(first) < 2 {
			return
		}
		for end := time.Now().Add(patience); time.Now().Before(end); {
			now := listeners(t, w.paths().MainSocket())
			if len(now) < 2 || !slices.Equal(first, now) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%d agents listen at one socket", len(first))
	})
	job := make(chan result, 1)
	l.wg.Go(func() {
		job <- l.run(cmd("regmint", "run", "-q", "--", "sh", "-c",
			`printf %s "$1" | docker-credential-regmint store || exit 98
			until [ -e stop ]; do client "$2" job/app >>pushed || exit 99; done`,
			"sh", storeLogin(private.Host(), "jobuser", "job-pass"), private.Host()))
	})
	w.openJob()

	var took []time.Duration
	kills := size(25, 200)
	for range kills {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		for _, pid := range w.agents() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		took = append(took, w.get(mint.Host(), "ci-bot").took)
	}
	w.write("stop", "")
	r := <-job
	l.stop.Store(true)
	l.wg.Wait()
	if r.code != 0 {
		t.Errorf("the job: exit %d\n%s%s", r.code, r.out, r.err)
	}
	w.clean()
	for _, host := range l.saved {
		if r := w.get(host, "u"); !strings.Contains(r.out, "secret-of-"+host) {
			t.Errorf("%s: an acknowledged login is lost: %s", host, r.out)
		}
	}
	slices.Sort(took)
	if refused, saved := int(l.refused.Load()), len(l.saved); refused > saved/5 {
		t.Errorf("%d of %d logins were refused", refused, refused+saved)
	}
	t.Logf("%d kills: the next get took %s in the middle, %s at most; %d gets, %d saved and %d refused logins meanwhile, %d pushes of the job",
		kills, took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), l.gets.Load(), len(l.saved), l.refused.Load(),
		strings.Count(w.read("pushed"), "jobuser"))
	// Writes that were killed leave their temporary files; the next one sweeps
	// those that no living process can be writing.
	temporary := w.path(".local", "state", "regmint", ".*")
	left, _ := filepath.Glob(temporary)
	for _, f := range left {
		old := time.Now().Add(-2 * time.Minute)
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if r := w.run(cmd("docker-credential-regmint", "store").in(storeLogin("last.example", "u", "last"))); r.code != 0 {
		t.Errorf("store: %s", r.out)
	}
	if left, _ = filepath.Glob(temporary); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
