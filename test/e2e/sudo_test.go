// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// systemUser makes a user of the machine whose home is the world's, and who
// may run docker as root; the test takes both away again.
func (w *world) systemUser() *syscall.Credential {
	t := w.t
	t.Helper()
	need(t, "sudo", "useradd", "userdel")
	if os.Geteuid() != 0 {
		t.Skip("a user can be made by root alone: run make e2e as root")
	}
	name := "rm" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command(find("useradd"), "--system", "--no-create-home", "--home-dir", w.home, "--shell", "/bin/sh", name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(find("userdel"), name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v\n%s", err, out)
		}
	})
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	rule := fmt.Sprintf("Defaults:%[1]s secure_path=%[2]q\n%[1]s ALL=(root) NOPASSWD:SETENV: %[3]s\n", name, w.env["PATH"], find("docker"))
	path := filepath.Join("/etc/sudoers.d", name)
	if err := os.WriteFile(path, []byte(rule), 0o440); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	err = filepath.WalkDir(w.home, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(uid), int(gid)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// as runs a command as another user.
func (w *world) as(who *syscall.Credential, c command) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	var out bytes.Buffer
	p := w.process(ctx, c)
	p.SysProcAttr.Credential = who
	p.Stdout, p.Stderr = &out, &out
	err := p.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%s: %v", c, err)
	}
	return result{out: out.String(), code: p.ProcessState.ExitCode()}
}

// TestSudoDockerFindsTheUsersAgent: docker runs as root with root's
// configuration, and the login is that of the user who called sudo.
func TestSudoDockerFindsTheUsersAgent(t *testing.T) {
	need(t, "docker", "dockerd", "sudo")
	w := newWorld(t)
	w.dockerEngine()
	r := startToken(t)
	ref := r.seed(t, "private/app", r.user, r.password)
	w.configure()
	w.write("root/.docker/config.json", `{"credsStore":"regmint"}`)
	delete(w.env, "REGMINT_RUNTIME_DIR") // sudo keeps none of these
	delete(w.env, "XDG_RUNTIME_DIR")
	rootHome := w.path("root")
	who := w.systemUser()
	if err := os.Chown(rootHome, 0, 0); err != nil {
		t.Fatal(err)
	}
	sudo := func(args ...string) result {
		return w.as(who, command{args: append([]string{"sudo", "-n", "HOME=" + rootHome, "DOCKER_HOST=" + w.env["DOCKER_HOST"], find("docker")}, args...)})
	}
	t.Cleanup(func() { // root's own agent, which was asked first
		stop := cmd("regmint", "agent", "stop", "--force").with("HOME=" + rootHome)
		if r := w.run(stop); r.code != 0 {
			t.Errorf("root's agent: %s", r.out)
		}
		if r := w.as(who, cmd("regmint", "agent", "stop", "--force")); r.code != 0 {
			t.Errorf("the user's agent: %s", r.out)
		}
	})
	if got := sudo("pull", ref); got.code == 0 {
		t.Fatalf("docker pulled a private image without a login\n%s", got.out)
	}
	if got := w.as(who, cmd("regmint", "login", r.host, "-u", r.user, "--password-stdin", "--no-wire").in(r.password+"\n")); got.code != 0 {
		t.Fatalf("regmint login: exit %d\n%s", got.code, got.out)
	}
	if got := w.as(who, cmd("regmint", "agent", "start")); got.code != 0 {
		t.Fatalf("regmint agent start: exit %d\n%s", got.code, got.out)
	}
	if got := sudo("pull", ref); got.code != 0 {
		t.Fatalf("sudo docker pull: exit %d\n%s", got.code, got.out)
	}
	if got := w.as(who, cmd("regmint", "status", "--recent")); !strings.Contains(got.out, "docker") || !strings.Contains(got.out, r.host) {
		t.Errorf("the user's agent does not say who asked:\n%s", got.out)
	}
	// allow_root = false is the user's word.
	w.write(".config/regmint/config.toml", "[agent]\nstore = \"file\"\nallow_root = false\n")
	if err := os.Chown(w.path(".config/regmint/config.toml"), int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	if got := w.as(who, cmd("regmint", "agent", "restart", "--force")); got.code != 0 {
		t.Fatalf("regmint agent restart: exit %d\n%s", got.code, got.out)
	}
	if got := sudo("pull", ref); got.code == 0 {
		t.Errorf("root got the user's login although allow_root is false\n%s", got.out)
	}
}
