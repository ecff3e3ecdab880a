// SPDX-License-Identifier: Apache-2.0

//go:build unix

package jobs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestExitCodesAreTheChilds(t *testing.T) { // H81
	w := newWorld(t, time.Hour)
	w.write("plain", "no program")
	w.write("dir/x", "")
	for _, c := range []struct {
		args []string
		want int
		say  string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "exit 3"}, 3, ""},
		{[]string{"sh", "-c", "exit 255"}, 255, ""},
		{[]string{"sh", "-c", "kill -9 $$"}, 128 + 9, ""},
		{[]string{"sh", "-c", "kill -15 $$"}, 128 + 15, ""},
		{[]string{"no-such-command"}, 127, "command not found"},
		{[]string{"./no-such-file"}, 127, "no such file"},
		{[]string{"./plain"}, 126, "permission denied"},
		{[]string{"./dir"}, 126, "is a directory"},
	} {
		code, _, say := w.run("", "regmint", append([]string{"run", "-q", "--"}, c.args...)...)
		if code != c.want || !strings.Contains(say, c.say) || c.say == "" && say != "" {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, code, say, c.want, c.say)
		}
	}
	for _, args := range [][]string{{"--no-such-flag", "--", "true"}, {"-r", "reg.example=fly", "--", "true"}, {"--account", "nobody", "--", "true"}, {"--only", "--", "true"}} {
		if code, _, say := w.run("", "regmint", append([]string{"run"}, args...)...); code == 0 || !strings.HasPrefix(say, "regmint: ") {
			t.Errorf("%v: exit %d, %q", args, code, say)
		}
	}
	if left := w.jobs(); len(left) > 0 {
		t.Fatalf("left over: %v", left)
	}
}

func TestStdinPassesThrough(t *testing.T) {
	w := newWorld(t, time.Hour)
	code, out, _ := w.run("one\ntwo\n", "regmint", "run", "-q", "--", "cat")
	if code != 0 || out != "one\ntwo\n" {
		t.Fatalf("exit %d, %q", code, out)
	}
}

// start starts a wrapper and waits until its child says it is there.
func (w *world) start(args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := w.command("regmint", append([]string{"run", "-q"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	w.eventually("the child runs", func() bool { _, err := os.Stat(filepath.Join(w.home, "up")); return err == nil })
	return cmd
}

func TestTermReachesTheChildAndNothingIsLeft(t *testing.T) {
	w := newWorld(t, time.Hour)
	cmd := w.start("--", "sh", "-c", "trap 'echo got > term; exit 9' TERM; : > up; while :; do sleep 0.05; done")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 || w.read("term") != "got\n" {
		t.Fatalf("exit %d", code)
	}
	if left := w.jobs(); len(left) > 0 {
		t.Fatalf("left over: %v", left)
	}
}

func TestChildThatIgnoresTermIsKilled(t *testing.T) { // H79
	t.Parallel()
	w := newWorld(t, time.Hour)
	cmd := w.start("--", "sh", "-c", "trap '' TERM; : > up; while :; do sleep 0.05; done")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+9 {
		t.Fatalf("exit %d", code)
	}
	if left := w.jobs(); len(left) > 0 {
		t.Fatalf("left over: %v", left)
	}
}

func TestKilledWrapperLeavesNothing(t *testing.T) {
	w := newWorld(t, time.Hour)
	cmd := w.start("--", "sh", "-c", ": > up; exec sleep 50")
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	w.eventually("job directory removed", func() bool { return len(w.jobs()) == 0 })
}

func TestKilledWrapperAndAgentAreSweptByTheNext(t *testing.T) {
	w := newWorld(t, time.Hour)
	cmd := w.start("--", "sh", "-c", ": > up; exec sleep 50")
	if code, _, say := w.run("", "sh", "-c", "kill -9 "+w.agentPID()); code != 0 {
		t.Fatal(say)
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	old := time.Now().Add(-time.Minute)
	for _, id := range w.jobs() {
		if err := os.Chtimes(filepath.Join(w.home, "r", "j", id), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, say := w.run("", "regmint", "status"); code != 0 {
		t.Fatal(say)
	}
	// The wrapper may have started the next agent before it was killed: then
	// the directory goes with that agent's next sweep, 15 s later.
	for range 2 {
		if len(w.jobs()) > 0 {
			time.Sleep(10 * time.Second)
		}
	}
	w.eventually("job directory removed", func() bool { return len(w.jobs()) == 0 })
}

func TestJobsOfTwoIdentitiesDoNotMix(t *testing.T) {
	w := newWorld(t, time.Hour)
	before := w.read(".docker/config.json")
	const jobs = 120
	slots := make(chan struct{}, 32)
	var wg sync.WaitGroup
	bad := make(chan string, jobs)
	for i := range jobs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			who := []string{"one", "two"}[i%2]
			// docker's own verbs write into the job's files and into no other's.
			script := fmt.Sprintf(`set -e; echo %[1]s | docker-credential-regmint get | grep -q '"Username":"bot-%[2]s"'
				echo '{"ServerURL":"own.example","Username":"job%[3]d","Secret":"s%[3]d"}' | docker-credential-regmint store
				echo own.example | docker-credential-regmint get | grep -q '"Secret":"s%[3]d"'
				echo '{}' > "$DOCKER_CONFIG/config.json"`, w.reg.Host(), who, i)
			cmd := w.command("regmint", "run", "-q", "--account", who, "--", "sh", "-c", script)
			if i%10 == 9 {
				cmd.Args[len(cmd.Args)-1] += "; kill -9 $PPID; sleep 0.2"
			}
			out, err := cmd.CombinedOutput()
			if killed := i%10 == 9; (err != nil) != killed || !killed && len(out) > 0 {
				bad <- fmt.Sprintf("job %d: %v %s", i, err, out)
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	if now := w.read(".docker/config.json"); now != before {
		t.Errorf("the person's config.json changed: %q", now)
	}
	w.eventually("nothing left", func() bool { return len(w.jobs()) == 0 })
	for _, who := range []string{"bot-one", "bot-two"} {
		if n := w.reg.Stats().Issued[who]; n != 1 {
			t.Errorf("%s: %d passwords issued, want 1", who, n)
		}
	}
}

func TestStaticPasswordsAreRenewedAndPutBack(t *testing.T) {
	w := newWorld(t, 4*time.Second)
	script := fmt.Sprintf(`cp "$DOCKER_CONFIG/config.json" first; : > up
		for i in $(seq 200); do cmp -s first "$DOCKER_CONFIG/config.json" || break; sleep 0.05; done; cp "$DOCKER_CONFIG/config.json" second
		echo '{"auths":{"mine.example":{"auth":"bWU6bWU="}}}' > "$DOCKER_CONFIG/config.json"
		for i in $(seq 200); do grep -q %[1]s "$DOCKER_CONFIG/config.json" && break; sleep 0.05; done; cp "$DOCKER_CONFIG/config.json" third`, w.reg.Host())
	if code, out, say := w.run("", "regmint", "run", "-q", "--static", "-r", w.reg.Host(), "--only", "--", "sh", "-c", script); code != 0 {
		t.Fatalf("exit %d %s %s", code, out, say)
	}
	first, second, third := w.read("first"), w.read("second"), w.read("third")
	for name, text := range map[string]string{"first": first, "second": second, "third": third} {
		if !strings.Contains(text, w.reg.Host()) || strings.Contains(text, `"credsStore"`) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if first == second {
		t.Error("the password was not renewed in the file")
	}
	if !strings.Contains(third, "mine.example") {
		t.Errorf("what the other tool wrote is gone: %s", third)
	}
}

func TestCarriedLoginsWorkInsideAndOnlyLeavesThemOut(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.write(".docker/config.json", `{"auths":{"plain.example":{"auth":"YW5uOnBsYWlu"}}}`)
	ask := func(host string, flags ...string) string {
		cmd := w.command("regmint", append(append([]string{"run", "-q"}, flags...), "--", "sh", "-c", "echo "+host+" | docker-credential-regmint get")...)
		cmd.Env = append(cmd.Env, `DOCKER_AUTH_CONFIG={"auths":{"variable.example":{"auth":"YW5uOnZhcmlhYmxl"}}}`)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	for host, secret := range map[string]string{"plain.example": "plain", "variable.example": "variable"} {
		if out := ask(host); !strings.Contains(out, `"Secret":"`+secret+`"`) {
			t.Errorf("%s: %s", host, out)
		}
		if out := ask(host, "-r", w.reg.Host(), "--only"); !strings.Contains(out, "credentials not found in native keychain") {
			t.Errorf("%s with --only: %s", host, out)
		}
	}
}
