// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// trouble is a way for a login to fail. run makes it in a world that is
// installed, and names the registry to push to.
type trouble struct {
	name string
	// ours: regmint knows what is wrong, so its line must reach the person.
	ours  bool
	setUp func(t *testing.T, w *world) *registry
}

var troubles = []trouble{
	{name: "no account", setUp: func(t *testing.T, _ *world) *registry { return startToken(t) }},
	{name: "expired login", ours: true, setUp: func(t *testing.T, w *world) *registry {
		r := startToken(t)
		must(t, w, cmd("regmint", "login", r.host, "-u", r.user, "--password-stdin").in(r.password+"\n"))
		r.server.Revoke(r.user)
		must(t, w, cmd("docker-credential-regmint", "get").in(r.host)) // the agent asks the registry behind it
		for range 100 {
			if w.run(cmd("docker-credential-regmint", "get").in(r.host)).code != 0 {
				return r
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal("the agent does not notice that the registry refuses the password")
		return nil
	}},
	{name: "wrong secret", ours: true, setUp: func(t *testing.T, w *world) *registry {
		r := startMinted(t)
		w.configure(strings.Replace(r.account, `client_id = "bot"`, `client_id = "nobody"`, 1))
		return r
	}},
	{name: "minting service down", ours: true, setUp: func(t *testing.T, w *world) *registry {
		r, down := startMinted(t), startMinted(t)
		_ = down.server.Close()
		w.configure(strings.ReplaceAll(r.account, r.server.IssueURL(), down.server.IssueURL()))
		return r
	}},
	{name: "agent cannot run", ours: true, setUp: func(t *testing.T, w *world) *registry {
		r := startMinted(t)
		w.configure(r.account)
		w.write("unsafe/x", "")
		if err := os.Chmod(w.path("unsafe"), 0o777); err != nil {
			t.Fatal(err)
		}
		w.env["REGMINT_RUNTIME_DIR"] = w.path("unsafe")
		return r
	}},
}

// nextStep is how our line tells what to do.
var nextStep = regexp.MustCompile(`; (run: |renew |try again|make it )`)

// TestFailuresReachThePerson: what each client shows of what regmint says.
func TestFailuresReachThePerson(t *testing.T) {
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			w := newWorld(t)
			w.configure()
			w.dockerEngine()
			must(t, w, cmd("regmint", "install", "--containers"))
			runtime := w.env["REGMINT_RUNTIME_DIR"]
			r := tr.setUp(t, w)
			t.Cleanup(func() { w.env["REGMINT_RUNTIME_DIR"] = runtime }) // for the end of the world
			if tr.name != "agent cannot run" {
				must(t, w, cmd("regmint", "agent", "start"))
			}
			for _, c := range clients {
				t.Run(c.name, func(t *testing.T) {
					c.ready(t, w)
					ref := r.host + "/errors/" + c.name + ":1"
					res := do(w, c.push(w, ref))
					if res.code == 0 {
						t.Fatalf("it worked\n%s", res.out)
					}
					line := lineOf(res.out, r.host)
					report.failed(c.name, tr.name, line, res.out, r.host)
					switch {
					case tr.ours && line == "":
						t.Errorf("regmint's line does not reach the person:\n%s", res.out)
					case tr.ours && !nextStep.MatchString(line):
						t.Errorf("regmint's line does not say what to do: %s", line)
					case !tr.ours && line != "":
						t.Errorf("regmint says what it cannot know: %s", line)
					}
				})
			}
		})
	}
}

// lineOf is regmint's own line in what a client shows: the host, a colon, a
// reason.
func lineOf(out, host string) string {
	for line := range strings.Lines(out) {
		if text, ok := strings.CutPrefix(line, host+": "); ok {
			return host + ": " + strings.TrimSpace(text)
		}
		if _, text, ok := strings.Cut(line, "out: `"+host+": "); ok {
			text, _, _ = strings.Cut(text, "`")
			return host + ": " + text
		}
	}
	return ""
}
