// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

const notFound = "credentials not found in native keychain\n"

// softWorld knows a registry that works and one that does not.
func softWorld(t *testing.T, broken string) (w *world, good, bad *fakeregistry.Server) {
	t.Helper()
	w = newWorld(t)
	good = issuer(t, fakeregistry.Options{}, "ci")
	bad = issuer(t, fakeregistry.Options{}, "ill")
	bad.Inject(fakeregistry.Fault{Path: "/issue", Status: 503})
	w.configure(w.minted(good, "ci"), w.minted(bad, "ill", broken))
	for _, name := range []string{"soft", "ill", "ill-soft"} {
		if err := os.Symlink("docker-credential-regmint", w.path("bin", "docker-credential-regmint-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	return w, good, bad
}

func TestAFailureIsLoudUnlessSomebodyAskedForSilence(t *testing.T) {
	w, good, bad := softWorld(t, "")
	for helper, soft := range map[string]bool{"": false, "-ill": false, "-soft": true, "-ill-soft": true} {
		r := w.run(cmd("docker-credential-regmint"+helper, "get").in(bad.Host()))
		switch {
		case soft && (r.code != 1 || r.out != notFound || r.err != ""):
			t.Errorf("%q: exit %d: %q %q", helper, r.code, r.out, r.err)
		case !soft && (r.code != 1 || r.out != r.err || !strings.HasPrefix(r.out, bad.Host()+": ") || !strings.Contains(r.out, "503")):
			t.Errorf("%q: exit %d: %q %q", helper, r.code, r.out, r.err)
		}
	}
	if r := w.run(cmd("docker-credential-regmint-soft", "get").in(good.Host())); r.code != 0 || !strings.Contains(r.out, "ci-bot") {
		t.Errorf("exit %d: %s", r.code, r.out)
	}
	// The reason is not lost.
	if out := w.must(cmd("regmint", "status", "--recent")); !strings.Contains(out, "503") {
		t.Errorf("recent:\n%s", out)
	}
	if n := w.metric("gets_softened_total"); n < 2 {
		t.Errorf("%d answers were softened", n)
	}
	// Without an agent at all the soft name is soft too.
	w.must(cmd("regmint", "agent", "stop"))
	for _, c := range []command{
		cmd("docker-credential-regmint-soft", "get").in(bad.Host()).with("REGMINT_AGENT=off"),
		cmd("docker-credential-regmint-soft", "get").in(bad.Host()).with("REGMINT_SOCKET=/nowhere/s"),
		cmd("docker-credential-regmint-soft", "get").in(bad.Host()).with("REGMINT_RUNTIME_DIR=relative"),
	} {
		if r := w.run(c); r.code != 1 || r.out != notFound || r.err != "" {
			t.Errorf("%v: exit %d: %q %q", c.env, r.code, r.out, r.err)
		}
	}
}

func TestOnFailureAnonymous(t *testing.T) {
	w, _, bad := softWorld(t, `on_failure = "anonymous"`)
	if r := w.run(cmd("docker-credential-regmint", "get").in(bad.Host())); r.code != 1 || r.out != notFound || r.err != "" {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
	if r := w.run(script(`printf %s "$1" | docker-credential-regmint get`, bad.Host())); r.code != 1 || r.out != notFound {
		t.Errorf("in a job: exit %d: %q %q", r.code, r.out, r.err)
	}
	w.eventually("the log says so", func() bool {
		return strings.Contains(w.read(".local/state/regmint/agent.log"), "answered not found for a failure")
	})
	if out := w.must(cmd("regmint", "status")); !strings.Contains(out, "503") {
		t.Errorf("status:\n%s", out)
	}
}

// gitlab-runner asks a credsStore for its list, and then for each of the list;
// one failure, and it goes on without any login.
func TestALoopOverTheListNeverFails(t *testing.T) {
	w, good, bad := softWorld(t, "")
	w.must(cmd("docker-credential-regmint", "store").in(storeLogin("https://index.docker.io/v1/", "hub", "hub-pass")))
	w.must(cmd("docker-credential-regmint", "store").in(storeLogin("saved.example", "ann", "pass")))
	for round := range 4 {
		list := w.list()
		for _, host := range []string{good.Host(), "https://index.docker.io/v1/", "saved.example"} {
			if list[host] == "" {
				t.Errorf("round %d: %s is not in %v", round, host, list)
			}
		}
		for _, host := range slices.Sorted(maps.Keys(list)) {
			r := w.run(cmd("docker-credential-regmint-soft", "get").in(host))
			if r.err != "" || r.code != 0 && r.out != notFound {
				t.Errorf("round %d: %s: exit %d: %q %q", round, host, r.code, r.out, r.err)
			}
			if r.code != 0 && host != bad.Host() {
				t.Errorf("round %d: no login for %s", round, host)
			}
		}
	}
	// What has failed is left out, until the agent reads its configuration anew,
	// as it does after a login.
	w.eventually("what fails is not in the list", func() bool {
		w.run(cmd("docker-credential-regmint", "get").in(bad.Host()))
		_, there := w.list()[bad.Host()]
		return !there
	})
}

// list is what the helper lists.
func (w *world) list() map[string]string {
	w.t.Helper()
	var list map[string]string
	if err := json.Unmarshal([]byte(w.must(cmd("docker-credential-regmint", "list"))), &list); err != nil {
		w.t.Fatal(err)
	}
	return list
}
