// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

// Users that no machine has.
const (
	ann   = 61001
	bob   = 61002
	other = 61003
)

// needRoot skips where processes of other users cannot be made.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes processes of other users: sudo go test ./test/faults")
	}
}

// own gives the world to a user, who runs its commands from now on.
func (w *world) own(uid int) {
	w.t.Helper()
	err := filepath.WalkDir(w.home, func(path string, d os.DirEntry, err error) error {
		if err == nil && !strings.HasPrefix(path, w.path("bin")) {
			err = os.Lchown(path, uid, uid)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.uid = uid
}

// as is the world seen by another user, who uses the same directories.
func (w *world) as(uid int) *world {
	v := *w
	v.uid = uid
	return &v
}

// expose lets everybody reach the agent's socket: only the agent itself is
// left to refuse.
func (w *world) expose() {
	w.t.Helper()
	for path, mode := range map[string]os.FileMode{w.home: 0o711, w.path("r"): 0o755, w.path("r", "agent.sock"): 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			w.t.Fatal(err)
		}
	}
}

// secretWorld has an agent of uid with a credential in memory.
func secretWorld(t *testing.T, uid int, settings string) (*world, *fakeregistry.Server) {
	t.Helper()
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.write(".config/regmint/config.toml", "[agent]\nstore = \"file\"\n"+settings+w.minted(reg, "ci"))
	w.own(uid)
	w.agent()
	w.get(reg.Host(), "ci-bot")
	return w, reg
}

// refused wants a command that fails and says nothing it should not.
func (w *world) refused(reg *fakeregistry.Server, c command) {
	w.t.Helper()
	r := w.run(c)
	if r.code == 0 {
		w.t.Errorf("%s as %d: worked: %s", c, w.uid, r.out)
	}
	for _, s := range append(reg.Secrets(), "ci-bot", "ci-secret") {
		if strings.Contains(r.out+r.err, s) {
			w.t.Errorf("%s as %d: learned %s: %s%s", c, w.uid, s, r.out, r.err)
		}
	}
}

func (w *world) metric(name string) int {
	w.t.Helper()
	for line := range strings.Lines(w.http("GET", "/v1/metrics")) {
		if v, ok := strings.CutPrefix(line, "regmint_"+name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				w.t.Fatal(err)
			}
			return n
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

func TestOtherUsersAreRefusedWhateverTheModeOfTheSocket(t *testing.T) {
	needRoot(t)
	for _, owner := range []int{0, ann} {
		t.Run(fmt.Sprint("agent of ", owner), func(t *testing.T) {
			w, reg := secretWorld(t, owner, "")
			w.expose()
			before := w.metric("peers_refused_total")
			b := w.as(bob)
			for range size(10, 1000) {
				b.refused(reg, cmd("docker-credential-regmint", "get").in(reg.Host()))
			}
			b.refused(reg, cmd("docker-credential-regmint", "list"))
			b.refused(reg, cmd("docker-credential-regmint", "store").in(storeLogin("x.example", "u", "p")))
			b.refused(reg, cmd("docker-credential-regmint", "erase").in(reg.Host()))
			b.refused(reg, cmd("regmint", "get", reg.Host()))
			b.refused(reg, cmd("regmint", "status"))
			b.refused(reg, cmd("regmint", "run", "--", "true"))
			if n := w.metric("peers_refused_total") - before; n < size(10, 1000)+5 {
				t.Errorf("%d connections were refused", n)
			}
			if log := w.read(".local/state/regmint/agent.log"); !strings.Contains(log, fmt.Sprint("uid=", bob)) {
				t.Error("the log does not name who was refused")
			}
			w.get(reg.Host(), "ci-bot")
			if r := w.as(0).run(cmd("docker-credential-regmint", "get").in(reg.Host())); r.code != 0 {
				t.Errorf("root: exit %d: %s", r.code, r.err)
			}
		})
	}
}

func TestRootIsRefusedWhereTheConfigurationSaysSo(t *testing.T) {
	needRoot(t)
	w, reg := secretWorld(t, ann, "allow_root = false\n")
	w.as(0).refused(reg, cmd("docker-credential-regmint", "get").in(reg.Host()))
	w.get(reg.Host(), "ci-bot")
}

// The file of a job's socket is the permission: who was given it may use it,
// and nobody else comes near.
func TestAJobsSocketServesWhoCanOpenIt(t *testing.T) {
	needRoot(t)
	w, reg := secretWorld(t, ann, "")
	s := w.start(script(`: >ready; until [ -e stop ]; do sleep 0.01; done`))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	dir := w.openJob()
	if err := os.Chmod(w.home, 0o711); err != nil {
		t.Fatal(err)
	}
	b := w.as(bob)
	get := cmd("docker-credential-regmint", "get").in(reg.Host()).with("REGMINT_SOCKET=" + dir + "/s")
	b.refused(reg, get)
	for path, mode := range map[string]os.FileMode{w.home: 0o711, w.path("r"): 0o711, w.path("r", "j"): 0o711, dir: 0o711, dir + "/s": 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.run(get); r.code != 0 || !strings.Contains(r.out, "ci-bot") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	b.refused(reg, cmd("regmint", "agent", "stop", "--force").with("REGMINT_SOCKET="+dir+"/s"))
	for path, mode := range map[string]os.FileMode{w.path("r"): 0o700, w.path("r", "j"): 0o700, dir: 0o700, dir + "/s": 0o600} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	w.write("stop", "")
	s.ends(0)
}

// Who has put a server of his own where the agent's socket should be learns
// nothing, and is not believed.
func TestAnImpostorIsNotAsked(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.odd = true // there is no agent to stop
	if err := os.MkdirAll(w.path("r"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{w.home: 0o711, w.path("r"): 0o777 | os.ModeSticky} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	s := w.as(bob).start(cmd("client", "-listen", w.path("r", "agent.sock")))
	w.eventually("the impostor listens", func() bool { return s.output() != "" })
	for _, c := range []command{
		cmd("docker-credential-regmint", "get").in("reg.example"),
		cmd("docker-credential-regmint", "store").in(storeLogin("reg.example", "u", "told-to-nobody")),
		cmd("docker-credential-regmint", "list"), cmd("regmint", "get", "reg.example"), cmd("regmint", "status"),
		cmd("regmint", "run", "--", "true"), cmd("regmint", "agent", "start"),
	} {
		r := w.run(c.with("CI_JOB_TOKEN=told-to-nobody"))
		if r.code == 0 || strings.Contains(r.out, "impostor") || !strings.Contains(r.err, "not safe to use") {
			t.Errorf("%s: exit %d: %s%s", c, r.code, r.out, r.err)
		}
	}
	s.signal(syscall.SIGKILL)
	s.ends(137)
	if got := s.output(); got != "listening\n" {
		t.Errorf("the impostor heard %s", got)
	}
}
