// SPDX-License-Identifier: Apache-2.0

//go:build unix

package helper

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// process runs a program with the environment of the test.
func (r *rig) process(path, verb, input string, edit ...func(*exec.Cmd)) result {
	r.t.Helper()
	r.settle()
	defer r.settle()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, verb)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	for _, f := range edit {
		f(cmd)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestDirectModeWhereNoAgentCanRun(t *testing.T) { // H12
	r := newRig(t)
	helper := r.install(program)
	link := filepath.Join(r.dir, "bin")
	if err := os.Mkdir(link, 0o700); err != nil {
		t.Fatal(err)
	}
	link = filepath.Join(link, program+"-prod")
	if err := os.Symlink(helper, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGMINT_AGENT", "off")
	wantFailure(t, r.process(link, "get", "ghcr.io"), "ghcr.io: REGMINT_AGENT is off", filepath.Join(r.dir, "regmint")+" is missing")

	r.program("regmint", formerCredential)
	got := r.process(link, "get", "ghcr.io\n")
	if got.code != 0 || got.err != "" || !strings.Contains(got.out, `"Username":"f"`) {
		t.Errorf("%+v", got)
	}
	p := r.played()
	if len(p) != 1 || !slices.Equal(p[0].Args, []string{"direct", "get"}) || p[0].Input != "ghcr.io" || !slices.Contains(p[0].Env, "REGMINT_ACCOUNT=prod") {
		t.Errorf("%+v", p)
	}
	r.do("regmint", "1\n--\n"+notFoundLine+"\n--\n")
	wantNotFound(t, r.process(helper, "get", "ghcr.io"))
	r.do("regmint", "4\n--\n\n--\nghcr.io: log in again; run: regmint login ghcr.io\n")
	wantFailure(t, r.process(helper, "get", "ghcr.io"), "ghcr.io: log in again")
	r.do("regmint", "0\n--\n\n--\n")
	const login = `{"ServerURL":"h","Username":"u","Secret":"s"}`
	wantSilent(t, r.process(helper, "store", login))
	wantSilent(t, r.process(helper, "erase", "h"))
	r.do("regmint", "0\n--\n{\"a\":\"b\"}\n--\n")
	if got := r.process(helper, "list", "unused"); got != (result{0, "{\"a\":\"b\"}", ""}) {
		t.Errorf("%+v", got)
	}
	if p := r.played(); p[len(p)-3].Input != login || p[len(p)-1].Input != "" {
		t.Errorf("%+v", p)
	}
}

func TestDirectModeWhereTheAgentDoesNotStart(t *testing.T) { // H12
	r := newRig(t)
	helper := r.install(program)
	r.program("regmint", formerCredential) // as `agent run` it ends at once
	got := r.process(helper, "get", "ghcr.io")
	if got.code != 0 || got.err != "" || !strings.Contains(got.out, `"Username":"f"`) {
		t.Errorf("%+v", got)
	}
	if p := r.played(); len(p) != 2 || p[0].Args[0] != "agent" || p[1].Args[0] != "direct" {
		t.Errorf("%+v", p)
	}
	t.Setenv("REGMINT_AGENT", "require")
	wantFailure(t, r.process(helper, "get", "ghcr.io"), "ghcr.io: no agent is running")
	t.Setenv("REGMINT_AGENT", "maybe")
	wantFailure(t, r.process(helper, "get", "ghcr.io"), "ghcr.io: REGMINT_AGENT is maybe; use auto, require or off")
	t.Setenv("REGMINT_AGENT", "")
	if err := os.Chmod(r.Runtime, 0o777); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, r.process(helper, "get", "ghcr.io"), "ghcr.io: "+r.Runtime, "0777")
	_ = os.Chmod(r.Runtime, 0o700)
}

func TestDirectModeWhereNothingCanBeWritten(t *testing.T) { // H12
	r := newRig(t)
	helper := r.install(program)
	r.program("regmint", formerCredential)
	t.Setenv("REGMINT_RUNTIME_DIR", "/proc/regmint") // no user may make it
	got := r.process(helper, "get", "ghcr.io")
	if got.code != 0 || got.err != "" || !strings.Contains(got.out, `"Username":"f"`) {
		t.Errorf("%+v", got)
	}
	t.Setenv("REGMINT_RUNTIME_DIR", "/"+strings.Repeat("d", 200))
	wantFailure(t, r.process(helper, "get", "ghcr.io"), "ghcr.io: the socket path has 212 bytes, this system allows 10")
}

func TestAClosedStdoutIsAnErrorNotASignal(t *testing.T) { // H23
	r := newRig(t).agent()
	helper := r.install(program)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	defer write.Close()
	got := r.process(helper, "get", "ghcr.io", func(c *exec.Cmd) { c.Stdout = write })
	if got.code != 1 || strings.Contains(got.err, "s3cret") || strings.Contains(got.err, "panic") {
		t.Errorf("%+v", got)
	}
	if got := r.process(helper, "get", "ghcr.io", func(c *exec.Cmd) { c.Stdout = nil }); got.code != 0 {
		t.Errorf("/dev/null: %+v", got)
	}
}

func TestAnAnswerLargerThanAPipeArrivesWhole(t *testing.T) { // H23
	r := newRig(t).agent()
	secret := strings.Repeat("x", 200<<10)
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.OK, Username: "u", Secret: secret}
	}
	if got := r.process(r.install(program), "get", "ghcr.io"); got.code != 0 || !strings.Contains(got.out, secret) {
		t.Errorf("%d bytes, exit %d", len(got.out), got.code)
	}
}

func TestAReaderThatDoesNotReadIsGivenUpOn(t *testing.T) { // H23
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	c := &call{out: write, err: write, end: time.Now().Add(-50 * time.Millisecond)}
	if code := c.print(strings.Repeat("x", 1<<20)); code != 1 {
		t.Errorf("exit %d", code)
	}
}

func TestStdinFromAPipeThatStaysOpen(t *testing.T) { // H6, for a pipe
	r := newRig(t).agent()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	_, _ = write.WriteString("ghcr.io")
	got := r.process(r.install(program), "get", "", func(c *exec.Cmd) { c.Stdin = read })
	wantFailure(t, got, "no input within 5s")
	if got := r.process(r.install(program), "list", "", func(c *exec.Cmd) { c.Stdin = read }); got.code != 0 {
		t.Errorf("list waits for stdin: %+v", got)
	}
}

// built is the product's binary: static, as it is shipped.
func built(t *testing.T) string {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command: https://go.dev/doc/install")
	}
	path := filepath.Join(t.TempDir(), program)
	cmd := exec.CommandContext(t.Context(), goTool, "build", "-o", path, "../cmd/docker-credential-regmint")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestTheHelperRunsInAnEmptyChroot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: sudo -E go test ./helper")
	}
	binary := built(t)
	r := newRig(t).agent()
	root, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	data, err := os.ReadFile(binary)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(root, program), data, 0o755), os.Chmod(root, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	const uid = 12345 // nameless: there is no passwd
	inside := func(env ...string) func(*exec.Cmd) {
		return func(c *exec.Cmd) {
			c.Env = append([]string{"PATH=/"}, env...)
			c.Dir = "/"
			c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		}
	}
	path := "/" + program
	if got := r.process(path, "version", "", inside()); got.code != 0 || got.err != "" {
		t.Errorf("version: %+v", got)
	}
	wantFailure(t, r.process(path, "get", "ghcr.io", inside()), "ghcr.io: no agent is running")

	job := filepath.Join(root, "job")
	if err := errors.Join(os.MkdirAll(filepath.Join(job, "docker"), 0o700), os.WriteFile(filepath.Join(job, "job.json"), []byte(`{"job":"abc"}`), 0o600),
		os.WriteFile(filepath.Join(job, "docker", "regmint-job.json"), []byte(`{"schema":1,"job":"abc","socket":"/elsewhere/s"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	r.serve(filepath.Join(job, "s"))
	for _, p := range []string{job, filepath.Join(job, "docker"), filepath.Join(job, "job.json"), filepath.Join(job, "docker", "regmint-job.json"), filepath.Join(job, "s")} {
		if err := os.Chown(p, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range []string{"DOCKER_CONFIG=/job/docker", "REGMINT_SOCKET=/job/s"} {
		if got := r.process(path, "get", "ghcr.io", inside(env)); got.code != 0 || got.err != "" || !strings.Contains(got.out, "s3cret") {
			t.Errorf("%s: %+v", env, got)
		}
	}
}
