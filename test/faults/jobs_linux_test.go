// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// theirs is a person's docker configuration as it may look.
const theirs = `{
	"auths": {
		"https://index.docker.io/v1/": {"auth": "aHViOmh1Yi1wYXNz"}
	},
	"HttpHeaders": {"X-Meta": "1"},
	"detachKeys": "ctrl-e,e",  "unknown": [1, {"deep": null}]
}`

// ending is how a command of a job ends.
type ending struct {
	text string // shell, after its push
	code int
}

var endings = []ending{
	{"exit 0", 0},
	{"exit 3", 3},
	{"exit 255", 255},
	{"exec /nowhere/at/all", 127},
	{"exec /", 126},
	{"kill -KILL $$", 137},
	{"kill -SEGV $$", 139},
	{"kill -USR1 $$", 138},
}

// TestAThousandJobsAtOnceDoNotMeet runs jobs of two identities, 64 at a time.
// One in ten wrappers is killed with SIGKILL, one in ten with SIGTERM.
func TestAThousandJobsAtOnceDoNotMeet(t *testing.T) {
	w := newWorld(t)
	teams := []string{"red", "blue"}
	reg := issuer(t, fakeregistry.Options{}, teams...)
	w.configure(w.minted(reg, "red", "default = true"), w.minted(reg, "blue"))
	w.write(".docker/config.json", theirs)
	before := sha256.Sum256([]byte(theirs))
	w.agent()

	slots := make(chan struct{}, 64)
	var wg sync.WaitGroup
	n := size(150, 1000)
	begin := time.Now()
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			team := teams[i%2]
			args := []string{"regmint", "run", "-q", "--account", team, "--", "sh", "-c"}
			push := fmt.Sprintf("client %s %s/app%d || exit 99; ", reg.Host(), team, i)
			switch i / 2 % 10 {
			case 0:
				s := w.start(cmd(append(args, push+"exec sleep 60")...))
				time.Sleep(rand.N(200 * time.Millisecond))
				s.signal(syscall.SIGKILL)
				s.ends(137)
				_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
			case 1:
				s := w.start(cmd(append(args, push+"exec sleep 60")...))
				time.Sleep(rand.N(200 * time.Millisecond))
				s.signal(syscall.SIGTERM)
				s.ends(143)
				_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) // a client of the shell's
			default:
				e := endings[i/2%len(endings)]
				if r := w.run(cmd(append(args, push+e.text)...)); r.code != e.code {
					t.Errorf("job %d (%s): exit %d\n%s%s", i, e.text, r.code, r.out, r.err)
				}
				if who := reg.Stats().Who(fmt.Sprintf("%s/app%d", team, i), "push"); !slices.Equal(who, []string{team + "-bot"}) {
					t.Errorf("job %d of %s pushed as %v", i, team, who)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	crossed := 0
	for u := range reg.Stats().Uses {
		if u.Identity != u.Repository[:len(u.Identity)-len("-bot")]+"-bot" {
			crossed++
		}
	}
	t.Logf("%d jobs, 64 at a time: %s, %d pushes under another name, %d passwords made", n, took.Round(time.Millisecond), crossed, reg.Stats().Count("/issue", "*"))
	if crossed > 0 || len(reg.Stats().AuthFailures) > 0 || len(reg.Stats().Denied) > 0 {
		t.Errorf("%d pushes crossed, %v refused, %v denied", crossed, reg.Stats().AuthFailures, reg.Stats().Denied)
	}
	if sha256.Sum256([]byte(w.read(".docker/config.json"))) != before {
		t.Errorf("the person's configuration is another one:\n%s", w.read(".docker/config.json"))
	}
	// Wrappers that were killed before they had reached the agent leave their
	// directory to its next look, which spares what is young.
	long := time.Now().Add(-time.Minute)
	for _, id := range w.jobs() {
		_ = os.Chtimes(w.paths().JobDir(id), long, long)
	}
	w.must(cmd("regmint", "agent", "restart"))
	w.clean()
	entries, err := os.ReadDir(w.paths().Runtime)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"agent.sock", "agent.sock.lock", "start.lock", "j"}, e.Name()) {
			t.Errorf("%s is left in the runtime directory", e.Name())
		}
	}
}

func TestExitCodesOfCommandsThatCannotRun(t *testing.T) {
	w := newWorld(t)
	w.agent()
	w.write("text", "no program")
	w.write("script", "exit 4\n")
	if err := os.Chmod(w.path("script"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		path string
		code int
	}{
		{[]string{"no-such-command"}, "", 127},
		{[]string{"/no/such/command"}, "", 127},
		{[]string{""}, "", 127},
		{[]string{"./text"}, "", 126},
		{[]string{"./script"}, "", 126}, // no interpreter is named
		{[]string{"text"}, w.home, 126},
		{[]string{"true"}, ":/usr/bin:/bin", 0},
		{[]string{"sub/../text"}, "", 127},
		{[]string{"hostname-of-nobody"}, "", 127},
	} {
		command := cmd(append([]string{"regmint", "run", "-q", "--"}, c.args...)...)
		if c.path != "" {
			command = command.with("PATH=" + c.path)
		}
		r := w.run(command)
		if r.code != c.code || r.out != "" || (c.code != 0) != (r.err != "") {
			t.Errorf("%q on %q: exit %d, want %d: %s%s", c.args, c.path, r.code, c.code, r.out, r.err)
		}
		if n := len(w.jobs()); n != 0 {
			t.Errorf("%q: %d job directories are left", c.args, n)
		}
	}
}

// Programs of the working directory are found where PATH says so, as a shell
// finds them, and there alone.
func TestCommandsOfTheWorkingDirectory(t *testing.T) {
	w := newWorld(t)
	w.agent()
	w.write("here", "#!/bin/sh\necho here\n")
	if err := os.Chmod(w.path("here"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]int{"/usr/bin:/bin": 127, ".:/usr/bin:/bin": 0, "/usr/bin::/bin": 0, "/usr/bin:/bin:": 0} {
		r := w.run(cmd(w.path("bin", "regmint"), "run", "-q", "--", "here").with("PATH=" + path))
		if r.code != code || (code == 0) != (r.out == "here\n") {
			t.Errorf("PATH=%s: exit %d, want %d: %s%s", path, r.code, code, r.out, r.err)
		}
	}
}
