// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// rounds is how often each of two parallel jobs pushes and pulls.
const rounds = 2

// TestTwoJobsOfOneUserDoNotMix: two identities at one host, at once, by every
// client; the registry tells who came.
func TestTwoJobsOfOneUserDoNotMix(t *testing.T) {
	w := newWorld(t)
	o := fakeregistry.Options{Issue: issuing(mintedLife, "a", "b")}
	for i := range o.Issue.Clients {
		// Each may do nothing in the other's repositories: a push with the wrong
		// login fails. Skopeo and its kin do look there, for layers to mount.
		o.Issue.Clients[i].Grants = []fakeregistry.Grant{{Repository: o.Issue.Clients[i].ID + "/*", Actions: []string{"pull", "push"}}}
	}
	s := startFake(t, o)
	w.configure(exchange(t, s, "a", true), exchange(t, s, "b", false))
	w.dockerEngine()
	jobs := map[string]*job{}
	for _, id := range []string{"a", "b"} {
		jobs[id] = w.openJob(t, "-q", "--account", id)
	}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			c.ready(t, w)
			corners := map[string]*world{"a": w.corner("a"), "b": w.corner("b")}
			var wg sync.WaitGroup
			errs := make(chan error, 2)
			for id, j := range jobs {
				wg.Go(func() {
					for i := range rounds {
						ref := fmt.Sprintf("%s/%s/%s-%d:1", s.Host(), id, c.name, i)
						for _, list := range [][]command{c.push(corners[id], ref), c.pull(corners[id], ref)} {
							if r := do(j, list); r.code != 0 {
								errs <- fmt.Errorf("job %s: %s: exit %d\n%s", id, last(list), r.code, r.out)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			close(errs)
			for err := range errs {
				t.Error(err)
			}
		})
	}
	stats, seen := s.Stats(), 0
	for use := range stats.Uses {
		seen++
		if want := use.Repository[:1] + "-user"; use.Identity != want {
			t.Errorf("%s: %s by %s, want %s", use.Repository, use.Action, use.Identity, want)
		}
	}
	if seen == 0 {
		t.Error("the registry saw nobody")
	}
}

// corner is the world with its files for one job, so that parallel commands do
// not write over each other's.
func (w *world) corner(id string) *world {
	c := *w
	c.home = w.path("corner-" + id)
	if c.read("image.tar") == "" {
		for _, f := range []string{"image.tar", "demo-1.0.0.tgz"} {
			c.write(f, w.read(f))
		}
		c.write("tmp/.keep", "")
	}
	return &c
}

// TestLoginsInsideTwoJobsAreTheirOwn is what werf ci-env does: docker login as
// gitlab-ci-token, in two jobs of one user at once, against an account of the
// configuration; also from a copy of the docker configuration.
func TestLoginsInsideTwoJobsAreTheirOwn(t *testing.T) {
	need(t, "docker", "dockerd", "crane", "skopeo")
	w := newWorld(t)
	const user = "gitlab-ci-token"
	o := fakeregistry.Options{Issue: issuing(mintedLife, "bot")}
	for _, id := range []string{"a", "b"} {
		// One name, two passwords: what a password may do tells which one came.
		o.Users = append(o.Users, fakeregistry.User{Name: user, Password: "job-token-" + id, Grants: []fakeregistry.Grant{{Repository: id + "/*", Actions: []string{"pull", "push"}}}})
	}
	s := startFake(t, o)
	w.configure(exchange(t, s, "bot", true))
	w.dockerEngine()
	for _, c := range clients[:4] {
		c.ready(t, w)
	}
	jobs := map[string]*job{"a": w.openJob(t, "-q"), "b": w.openJob(t, "-q")}
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	corners := map[string]*world{"a": w.corner("a"), "b": w.corner("b")}
	for id, j := range jobs {
		wg.Go(func() {
			copied := w.path("copy-" + id)
			steps := []command{
				cmd("docker", "login", "-u", user, "--password-stdin", s.Host()+"/"+id+"/app").in("job-token-" + id),
				cmd("sh", "-c", "cp -r \"$DOCKER_CONFIG\" "+copied),
			}
			for _, c := range clients[:4] {
				steps = append(steps, c.push(corners[id], s.Host()+"/"+id+"/"+c.name+":1")...)
			}
			// As werf goes on: with the copy, and with nothing of the job's environment.
			push := last(clients[0].push(corners[id], s.Host()+"/"+id+"/copied:1"))
			steps = append(steps,
				cmd("docker", "login", "-u", user, "--password-stdin", s.Host()).in("job-token-"+id).with("DOCKER_CONFIG="+copied, "WERF_DOCKER_CONFIG="+copied),
				push.with("DOCKER_CONFIG="+copied),
				command{args: append([]string{"env", "-u", "REGMINT_SOCKET", "DOCKER_CONFIG=" + copied}, push.args...)})
			for _, step := range steps {
				if r := j.run(step); r.code != 0 {
					errs <- fmt.Errorf("job %s: %s: exit %d\n%s", id, step, r.code, r.out)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for id, j := range jobs {
		// docker logout takes the job's login away; the account answers again.
		must(t, j, cmd("docker", "logout", s.Host()))
		must(t, j, last(clients[0].push(w, s.Host()+"/"+id+"/after-logout:1")))
	}
	stats := s.Stats()
	for use := range stats.Uses {
		want := user
		if strings.HasSuffix(use.Repository, "/after-logout") {
			want = "bot-user"
		}
		if use.Identity != want {
			t.Errorf("%s: %s by %s, want %s", use.Repository, use.Action, use.Identity, want)
		}
	}
	if out := must(t, w, cmd("regmint", "get", s.Host(), "--format", "env")); strings.Contains(out, "job-token") {
		t.Error("a login inside a job was kept outside of it")
	}
}

// TestDockerLoginWithoutAUserKeepsTheRealSource: docker asks us, and stores
// what it got.
func TestDockerLoginWithoutAUserKeepsTheRealSource(t *testing.T) {
	need(t, "docker", "dockerd")
	w := newWorld(t)
	const life = 3 * time.Second
	r := startMintedFor(t, life)
	w.configure(r.account)
	w.dockerEngine()
	must(t, w, cmd("regmint", "install"))
	for name, s := range map[string]shell{"installed": w, "job": w.openJob(t, "-q")} {
		before := accounts(must(t, w, cmd("regmint", "status", r.host, "--format", "json")))
		if !strings.Contains(before, `"bot"`) {
			t.Fatalf("status names no account: %s", before)
		}
		out := must(t, s, cmd("docker", "login", r.host))
		if !strings.Contains(out, "Login Succeeded") {
			t.Errorf("%s: docker login says: %s", name, out)
		}
		if before != accounts(must(t, w, cmd("regmint", "status", r.host, "--format", "json"))) {
			t.Errorf("%s: docker login changed the accounts", name)
		}
		// Past the life of what was stored back, the answer is a new one.
		time.Sleep(life)
		must(t, s, cmd("docker", "login", r.host))
	}
	if n := len(r.server.Stats().AuthFailures); n > 0 {
		t.Errorf("the registry refused %d logins", n)
	}
}

// accounts is the part of status that a login would change.
func accounts(status string) string {
	_, rest, _ := strings.Cut(status, `"accounts"`)
	list, _, _ := strings.Cut(rest, `"jobs"`)
	return strings.Join(slices.DeleteFunc(strings.Split(list, "\n"), func(l string) bool { return strings.Contains(l, `"state"`) }), "\n")
}

// TestAPullLongerThanAPassword: the password that a pull began with ends while
// it runs.
func TestAPullLongerThanAPassword(t *testing.T) {
	const life = 4 * time.Second
	w := newWorld(t)
	s := startFake(t, fakeregistry.Options{Mode: fakeregistry.Token, Issue: issuing(life, "bot"), Users: []fakeregistry.User{{Name: "seed", Password: "seed"}}})
	w.configure(exchange(t, s, "bot", true))
	w.dockerEngine()
	r := &registry{host: s.Host(), server: s}
	var wg sync.WaitGroup
	for _, c := range clients {
		if c.name == "helm" || c.name == "oras" || c.name == "buildx" {
			continue // they pull no image layers here
		}
		if c.needs[0] != "" && find(c.needs[0]) == "" || c.engine && os.Geteuid() != 0 {
			need(t, c.needs...)
		}
		ref := r.seed(t, "slow/"+c.name, "seed", "seed")
		s.Inject(fakeregistry.Fault{Path: "/v2/slow/" + c.name + "/blobs", Identity: "bot-user", Times: 1, Delay: life + time.Second})
		j := w.openJob(t, "-q")
		wg.Go(func() {
			if res := do(j, c.pull(w, ref)); res.code != 0 {
				t.Errorf("%s: exit %d\n%s", c.name, res.code, res.out)
			}
			// The job has the next password already.
			if res := do(j, c.pull(w, ref)); res.code != 0 {
				t.Errorf("%s, second pull: exit %d\n%s", c.name, res.code, res.out)
			}
		})
	}
	wg.Wait()
	if n := s.Stats().Issued["bot-user"]; n < 2 {
		t.Errorf("%d passwords were issued, want a second one for the second pull", n)
	}
}

// TestSkopeoCopiesWithTwoIdentities: one command, two accounts.
func TestSkopeoCopiesWithTwoIdentities(t *testing.T) {
	need(t, "skopeo", "crane")
	pull := []fakeregistry.Grant{{Repository: "from/*", Actions: []string{"pull"}}}
	push := []fakeregistry.Grant{{Repository: "to/*", Actions: []string{"pull", "push"}}}
	issue := func() fakeregistry.Options {
		o := fakeregistry.Options{Users: []fakeregistry.User{{Name: "seed", Password: "seed"}}, Issue: issuing(mintedLife, "a", "b")}
		o.Issue.Clients[0].Grants, o.Issue.Clients[1].Grants = pull, push
		return o
	}
	for _, c := range []struct {
		name string
		two  bool
	}{{"two registries", true}, {"two names of one registry", false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			from := startFake(t, issue())
			to, toHost := from, strings.Replace(from.Host(), "127.0.0.1", "localhost", 1)
			if c.two {
				to = startFake(t, issue())
				toHost = to.Host()
			}
			a, b := exchange(t, from, "a", true), strings.Replace(exchange(t, to, "b", true), `["`+to.Host()+`"]`, `["`+toHost+`"]`, 1)
			w.configure(a, b)
			src := (&registry{host: from.Host()}).seed(t, "from/app", "seed", "seed")
			must(t, w, cmd("regmint", "install", "--containers"))
			for way, s := range map[string]shell{"installed": w, "job": w.openJob(t, "-q")} {
				must(t, s, cmd("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+src, "docker://"+toHost+"/to/"+way+":1"))
				must(t, s, cmd("crane", "copy", "--insecure", src, toHost+"/to/crane-"+way+":1"))
				for _, repo := range []string{"to/" + way, "to/crane-" + way} {
					if who := to.Stats().Who(repo, "push"); !slices.Equal(who, []string{"b-user"}) {
						t.Errorf("%s was pushed by %q", repo, who)
					}
				}
			}
			if who := from.Stats().Who("from/app", "pull"); !slices.Contains(who, "a-user") || slices.Contains(who, "b-user") {
				t.Errorf("from/app was pulled by %q", who)
			}
		})
	}
}

// TestAJobOutlivesItsAgent: the agent dies, and the next command of the job
// finds the next one, the job's own login too.
func TestAJobOutlivesItsAgent(t *testing.T) {
	need(t, "crane", "docker")
	w := newWorld(t)
	r, minted := startToken(t), startMinted(t)
	w.configure(minted.account)
	w.dockerEngine()
	clients[0].ready(t, w)
	j := w.openJob(t, "-q")
	must(t, j, dockerLogin(r.host, r.user, true).in(r.password))
	for i, how := range []string{"KILL", "TERM"} {
		var st struct{ PID int }
		out := must(t, w, cmd("regmint", "status", "--format", "json"))
		if err := json.Unmarshal([]byte(out), &st); err != nil || st.PID == 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		must(t, w, cmd("sh", "-c", fmt.Sprintf("kill -%s %d", how, st.PID)))
		for _, host := range []string{r.host, minted.host} {
			must(t, j, last(clients[0].push(w, fmt.Sprintf("%s/resumed/app-%d:1", host, i))))
		}
	}
	mustFail(t, w, cmd("regmint", "get", r.host)) // still the job's alone
}
