// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

// needUserns skips where the kernel makes no user namespaces for us.
func needUserns(t *testing.T) {
	t.Helper()
	needRoot(t)
	if out, err := exec.Command("unshare", "-U", "true").CombinedOutput(); err != nil {
		t.Skipf("no user namespaces here (%s); allow them with: sysctl -w user.max_user_namespaces=1000", strings.TrimSpace(string(out)))
	}
}

// The overflow uid stands for every user that a namespace does not know.
func TestAnAgentInAUserNamespaceRefusesUsersItDoesNotKnow(t *testing.T) {
	needUserns(t)
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.own(ann)
	s := w.start(cmd("unshare", "-U", "--map-root-user", w.path("bin", "regmint"), "agent", "run"))
	w.eventually("the agent answers", func() bool { return len(listeners(t, w.paths().MainSocket())) == 1 })
	if err := os.Chmod(w.home, 0o711); err != nil {
		t.Fatal(err)
	}
	w.get(reg.Host(), "ci-bot") // its own user, seen as root inside
	for _, uid := range []int{0, bob} {
		if uid == bob {
			w.expose()
		}
		w.as(uid).refused(reg, cmd("docker-credential-regmint", "get").in(reg.Host()))
	}
	if !strings.Contains(s.errors(), "uid=65534") {
		t.Errorf("the log does not name the overflow uid: %s", s.errors())
	}
}

// Nobody knows who a process with the overflow uid is: no agent is started for
// it, and none is shared.
func TestAnUnmappedUserStartsNoAgent(t *testing.T) {
	needUserns(t)
	w := newWorld(t)
	w.own(ann)
	r := w.run(cmd("unshare", "-U", w.path("bin", "regmint"), "agent", "start"))
	if r.code != 5 || !strings.Contains(r.err, "65534") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if n := len(w.agents()); n != 0 {
		t.Errorf("%d agents run", n)
	}
}

func TestUnderSudoTheCallersAgentIsAskedToo(t *testing.T) {
	needRoot(t)
	// The caller has no passwd entry, so its agent is below /tmp.
	alone(t)
	dir := fmt.Sprint("/tmp/regmint-", other)
	if _, err := os.Lstat(dir); err == nil {
		t.Fatalf("%s is in the way", dir)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.own(other)
	delete(w.env, "REGMINT_RUNTIME_DIR")
	w.env["HOME"] = w.home
	caller := *w
	caller.env = map[string]string{"PATH": w.env["PATH"], "XDG_CONFIG_HOME": w.path(".config")}
	if err := os.Chmod(w.home, 0o711); err != nil {
		t.Fatal(err)
	}
	r := caller.run(cmd("docker-credential-regmint", "get").in(reg.Host()))
	if r.code != 0 {
		t.Fatalf("the caller: exit %d: %s", r.code, r.err)
	}
	t.Cleanup(func() { caller.run(cmd("regmint", "agent", "stop")) })
	if _, err := os.Stat(dir + "/agent.sock"); err != nil {
		t.Fatal(err)
	}

	root := newWorld(t)
	delete(root.env, "REGMINT_RUNTIME_DIR")
	root.env["XDG_RUNTIME_DIR"] = root.home
	get := cmd("docker-credential-regmint", "get").in(reg.Host())
	if r := root.run(get); r.code != 1 || !strings.HasPrefix(r.out, "credentials not found") {
		t.Errorf("root without sudo: exit %d: %s%s", r.code, r.out, r.err)
	}
	sudo := get.with("SUDO_UID="+fmt.Sprint(other), "CI_JOB_TOKEN=roots-own")
	if r := root.run(sudo); r.code != 0 || !strings.Contains(r.out, "ci-bot") {
		t.Errorf("under sudo: exit %d: %s%s", r.code, r.out, r.err)
	}
	if r := root.run(get.with("SUDO_UID=" + fmt.Sprint(bob))); r.code != 1 || !strings.HasPrefix(r.out, "credentials not found") {
		t.Errorf("under another's sudo: exit %d: %s%s", r.code, r.out, r.err)
	}
}
