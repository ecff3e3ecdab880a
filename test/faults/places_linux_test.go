// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/regmint/regmint/test/fakeregistry"
)

// mount mounts a file system of 64 KiB in the world.
func (w *world) mount(name string) {
	w.t.Helper()
	if err := os.MkdirAll(w.path(name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", w.path(name), "tmpfs", 0, "size=64k,mode=700"); err != nil {
		w.t.Skipf("no file system can be mounted here: %v; run the tests as root outside of a container", err)
	}
	w.t.Cleanup(func() {
		w.run(cmd("regmint", "agent", "stop")) // while its socket is there
		_ = unix.Unmount(w.path(name), unix.MNT_DETACH)
	})
}

// fill leaves no room below a directory, and takes it back.
func (w *world) fill(name string) (empty func()) {
	w.t.Helper()
	path := w.path(name, "filler")
	f, err := os.Create(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			w.t.Error(err)
		}
	}
}

func TestAFullDiskLosesNothingAndIsSaid(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.mount("full")
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	for k, v := range map[string]string{"REGMINT_RUNTIME_DIR": "full/r", "REGMINT_STATE_DIR": "full/state", "XDG_CONFIG_HOME": "full/config"} {
		w.env[k] = w.path(v)
	}
	w.write("full/config/regmint/config.toml", w.read(".config/regmint/config.toml"))
	store := func(secret string) result {
		return w.run(cmd("docker-credential-regmint", "store").in(storeLogin("kept.example", "u", secret)))
	}
	if r := store("first"); r.code != 0 {
		t.Fatal(r.out)
	}
	kept := func(secret string) {
		t.Helper()
		if r := w.get("kept.example", "u"); !strings.Contains(r.out, secret) {
			t.Errorf("the login is %s, want %s", r.out, secret)
		}
	}
	empty := w.fill("full")
	if r := store("second"); r.code != 1 || !strings.Contains(r.err, "no space left on device") || !strings.Contains(r.err, w.path("full")) {
		t.Errorf("store on a full disk: exit %d: %s", r.code, r.err)
	}
	kept("first")
	w.get(reg.Host(), "ci-bot") // what is minted needs no disk
	if r := w.run(cmd("regmint", "run", "--", "true")); r.code != 125 || !strings.Contains(r.err, "no space left on device") {
		t.Errorf("run on a full disk: exit %d: %s", r.code, r.err)
	}
	w.clean()
	w.killAgent()
	w.must(cmd("regmint", "agent", "start")) // on the full disk
	kept("first")
	w.get(reg.Host(), "ci-bot")
	empty()
	if r := store("third"); r.code != 0 {
		t.Errorf("store after it: %s", r.out)
	}
	kept("third")
	w.must(cmd("regmint", "run", "-q", "--", "true"))
	w.clean()
	for _, pattern := range []string{"full/state/.regmint-*", "full/config/regmint/config.d/.regmint-*", "full/r/j/.*gone*"} {
		if left, _ := filepath.Glob(w.path(pattern)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestAReadOnlyHomeIsEnoughForMintedPasswords(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	if err := os.MkdirAll(w.path("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.own(ann)
	delete(w.env, "REGMINT_RUNTIME_DIR")
	w.env["XDG_RUNTIME_DIR"] = w.path("run")
	if err := os.Chmod(w.home, 0o555); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w.get(reg.Host(), "ci-bot")
	}
	if out := w.must(cmd("regmint", "run", "-q", "--", "client", reg.Host(), "team/app")); out != "ci-bot\n" {
		t.Error(out)
	}
	if n := len(w.agents()); n != 1 {
		t.Errorf("%d agents", n)
	}
	if _, err := os.Stat(w.path("run", "regmint", "agent.sock")); err != nil {
		t.Error(err)
	}
}

// A user without a HOME and without a passwd entry, as in many containers.
func TestWithoutAHome(t *testing.T) {
	needRoot(t)
	const uid = 61004
	alone(t) // the directory's name is that of the user
	dir := fmt.Sprint("/tmp/regmint-", uid)
	if _, err := os.Lstat(dir); err == nil {
		t.Fatalf("%s is in the way", dir)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.own(uid)
	w.env = map[string]string{"PATH": w.env["PATH"], "REGMINT_CONFIG": w.path(".config/regmint/config.toml")}
	w.get(reg.Host(), "ci-bot")
	if out := w.must(cmd("regmint", "run", "-q", "--", "client", reg.Host(), "team/app")); out != "ci-bot\n" {
		t.Error(out)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v %v", dir, info, err)
	}
	// Somebody else was there first: it is said, and not used.
	w.must(cmd("regmint", "agent", "stop"))
	if err := os.Chown(dir, bob, bob); err != nil {
		t.Fatal(err)
	}
	r := w.run(cmd("docker-credential-regmint", "get").in(reg.Host()))
	if r.code != 1 || !strings.Contains(r.err, dir) {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
}

func TestOddRuntimeDirectories(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	delete(w.env, "REGMINT_RUNTIME_DIR")
	w.write("file", "")
	for name, mode := range map[string]os.FileMode{"fine with blanks ü": 0o700, "open": 0o777, "group": 0o770} {
		if err := os.MkdirAll(w.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(w.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(w.path("fine with blanks ü"), w.path("link")); err != nil {
		t.Fatal(err)
	}
	own := w.path(".regmint", "run") // where there is no /run/user of ours
	if info, err := os.Stat(fmt.Sprint("/run/user/", os.Getuid())); err == nil && info.IsDir() {
		t.Skip("this user has a /run/user: the test would use it")
	}
	for value, want := range map[string]string{
		"": own, "relative": own, "/": own, "/nowhere/at/all": own, w.path("file"): own, w.path("open"): own, w.path("group"): own,
		"@abstract": own, "~": own, w.path("fine with blanks ü") + "//": w.path("fine with blanks ü", "regmint"), w.path("link"): w.path("link", "regmint"),
	} {
		t.Run(value, func(t *testing.T) {
			w := w.in(t)
			w.env["XDG_RUNTIME_DIR"] = value
			w.get(reg.Host(), "ci-bot")
			if st := w.status(); st.Socket != filepath.Join(want, "agent.sock") {
				t.Errorf("the socket is %s, want it in %s", st.Socket, want)
			}
			if info, err := os.Stat(want); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v %v", want, info, err)
			}
			if out := w.must(cmd("regmint", "run", "-q", "--", "client", reg.Host(), "team/app")); out != "ci-bot\n" {
				t.Error(out)
			}
			w.must(cmd("regmint", "agent", "stop"))
		})
	}
	for _, name := range []string{"open", "group"} {
		if entries, _ := os.ReadDir(w.path(name)); len(entries) > 0 {
			t.Errorf("%s was used: %v", name, entries)
		}
	}
}

func TestAPathTooLongForASocketIsSaidWithBothLengths(t *testing.T) {
	w := newWorld(t)
	w.odd = true // no agent can start
	w.env["REGMINT_RUNTIME_DIR"] = w.path(strings.Repeat("d", 100))
	for _, c := range []command{
		cmd("docker-credential-regmint", "get").in("reg.example"), cmd("regmint", "get", "reg.example"),
		cmd("regmint", "run", "--", "true"), cmd("regmint", "agent", "start"), cmd("regmint", "agent", "run"),
	} {
		r := w.run(c)
		if r.code == 0 || !strings.Contains(r.err, "this system allows 107") || !strings.Contains(r.err, "REGMINT_RUNTIME_DIR") {
			t.Errorf("%s: exit %d: %s%s", c, r.code, r.out, r.err)
		}
	}
	// The main socket fits, that of a job does not.
	w.env["REGMINT_RUNTIME_DIR"] = w.path(strings.Repeat("d", 107-len(w.home)-len("//agent.sock")))
	if r := w.run(cmd("regmint", "run", "--", "true")); r.code != 125 || !strings.Contains(r.err, "this system allows 107") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if len(w.jobs()) > 0 {
		t.Error("a job directory is left")
	}
	w.must(cmd("regmint", "agent", "start"))
	w.must(cmd("regmint", "agent", "stop"))
}

// The helper alone, as in an image without an agent: it answers by itself.
func TestWithoutAnAgentTheHelperAnswersItself(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.odd = true // no agent may run
	w.env = map[string]string{"PATH": "/usr/bin:/bin", "REGMINT_AGENT": "off", "HOME": w.home}
	helper := w.path("bin", "docker-credential-regmint")
	for range 2 {
		if r := w.run(cmd(helper, "get").in(reg.Host())); r.code != 0 || !strings.Contains(r.out, "ci-bot") || r.err != "" {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
	}
	if r := w.run(cmd(helper, "get").in("nobody.example")); r.code != 1 || r.out != "credentials not found in native keychain\n" || r.err != "" {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
	if r := w.run(cmd(helper, "store").in(storeLogin("x.example", "u", "p"))); r.code != 0 {
		t.Error(r.err)
	}
	if r := w.run(cmd(helper, "get").in("x.example")); !strings.Contains(r.out, `"Secret":"p"`) {
		t.Error(r.out)
	}
	if r := w.run(cmd(w.path("bin", "regmint"), "run", "--", "true")); r.code != 125 || !strings.Contains(r.err, "REGMINT_AGENT=off") {
		t.Errorf("run: exit %d: %s", r.code, r.err)
	}
	if len(w.agents()) > 0 {
		t.Error("an agent runs")
	}
}
