// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestRotateSaysWhatItDoesAndDoesIt(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	out, code := w.run("", "rotate", "reg.example", "--dry-run")
	if code != 0 || !strings.Contains(out, "the old token, at once") || f.living() != "token-0000" {
		t.Fatalf("dry run: %d %s", code, out)
	}
	out, code = w.run("", "rotate", "reg.example")
	if code != 0 || !strings.Contains(out, "account ci has a new secret") || strings.Contains(out, "token-0") {
		t.Fatalf("rotate: %d %s", code, out)
	}
	w.works(f, "after it")
	if out, code := w.run("", "rotate", "other.example"); code != exitNoAccount || !strings.Contains(out, "regmint login other.example") {
		t.Fatalf("no account: %d %s", code, out)
	}
	if out, code := w.run("", "rotate"); code != exitUsage {
		t.Fatalf("no host: %d %s", code, out)
	}
}

func TestKilledRotationsAreFinishedAndNeverRepeated(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	nobody := func(int) {}
	kill := func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
	for i := range 12 {
		before, served := nobody, nobody
		cmd := w.command("rotate", "reg.example")
		answerLost := false
		started := make(chan int, 1)
		switch i % 4 {
		case 0: // before the product has done anything
			before = func(pid int) { kill(pid); time.Sleep(10 * time.Millisecond) }
			answerLost = true // the fake serves a request whose sender died
		case 1: // its answer never arrives
			served = func(pid int) { kill(pid); time.Sleep(10 * time.Millisecond) }
			answerLost = true
		case 2: // any time after
			served = func(pid int) {
				time.AfterFunc(time.Duration(rand.Intn(20000))*time.Microsecond, func() { kill(pid) })
			}
		case 3: // the command alone: the rotation goes on
			served = func(int) { kill(<-started); time.Sleep(10 * time.Millisecond) }
		}
		first, _ := f.counts()
		f.hooks(before, served)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started <- cmd.Process.Pid
		_ = cmd.Wait()
		f.hooks(nobody, nobody)
		f.answered(t) // only then an intent is old
		w.age()
		out, code := w.run("", "rotate", "reg.example")
		serial, reuses := f.counts()
		if reuses > 0 {
			t.Fatalf("run %d: a dead token was used again", i)
		}
		if code == exitLogin && (answerLost || i%4 == 2) && strings.Contains(out, "regmint login reg.example") {
			w.login(f) // as it says
		} else if code != 0 {
			t.Fatalf("run %d: %d %s", i, code, out)
		}
		if serial == first {
			t.Fatalf("run %d: no rotation was tried", i)
		}
		w.works(f, fmt.Sprintf("run %d", i))
		if left, _ := filepath.Glob(filepath.Join(w.home, "state", "rotate", "*[0-9a-f].json")); len(left) > 0 {
			t.Fatalf("run %d: %v is left", i, left)
		}
	}
}

// Ctrl-C ends the command, and not what it has begun.
func TestACommandThatIsInterruptedLeavesTheRotationToItself(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	f.hooks(func(int) { close(asked); <-goOn }, func(int) {})
	cmd := w.command("rotate", "reg.example")
	out := &strings.Builder{}
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(out.String(), "goes on by itself") {
		t.Errorf("%d %s", code, out)
	}
	close(goOn)
	f.hooks(func(int) {}, func(int) {})
	f.answered(t)
	w.quiet()()
	w.works(f, "after it")
	if n, reuses := f.counts(); n != 1 || reuses != 0 {
		t.Errorf("%d rotations, %d reuses", n, reuses)
	}
}

func TestManyCommandsAtOnceUseNoDeadToken(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if out, code := w.run("", "rotate", "reg.example"); code != 0 {
				t.Errorf("%d %s", code, out)
			}
		})
	}
	wg.Wait()
	if n, reuses := f.counts(); n < 1 || n > 8 || reuses != 0 {
		t.Errorf("%d rotations, %d reuses", n, reuses)
	}
	w.works(f, "after them")
}

// An agent that is killed while a rotation of its schedule is under way takes
// nothing with it.
func TestAKilledAgentTakesNoScheduledRotationAlong(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	w.configure("rotate = \"14d\"\n")
	w.agent()
	killed := make(chan struct{})
	agentPID := make(chan int, 1)
	f.hooks(func(int) { _ = syscall.Kill(<-agentPID, syscall.SIGKILL); close(killed) }, func(int) {})
	// The schedule began long ago.
	w.record(`{"schema":1,"account":"ci","host":"reg.example","since":"2020-01-01T00:00:00Z","looked_at":"2020-01-01T00:00:00Z"}`)
	if out, code := w.run("", "agent", "start"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	agentPID <- w.agentPID()
	<-killed
	f.answered(t)
	w.quiet()()
	f.hooks(func(int) {}, func(int) {})
	w.env = append(w.env, "REGMINT_AGENT=off")
	w.works(f, "after it")
	if n, reuses := f.counts(); n != 1 || reuses != 0 {
		t.Errorf("%d rotations, %d reuses", n, reuses)
	}
}

// An account may own its hosts by a wildcard, and others may share its secret:
// a running agent serves none of them the dead one.
func TestARunningAgentServesNobodyTheFormerSecret(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	w.configure("[[account]]\nname = \"proxy\"\nprovider = \"rotator\"\nhosts = [\"*.proxy.example\"]\nusername = \"ci\"\npassword = \"keyring:reg.example\"\n")
	w.agent()
	get := func(host string) {
		t.Helper()
		if out, code := w.run("", "get", host, "--format", "bare"); code != 0 || strings.TrimSpace(out) != f.living() {
			t.Fatalf("%s: %d %q, the living token is %q", host, code, out, f.living())
		}
	}
	for range 2 {
		get("reg.example")
		get("one.proxy.example")
		if out, code := w.run("", "rotate", "reg.example"); code != 0 {
			t.Fatalf("%d %s", code, out)
		}
	}
	get("reg.example")
	get("one.proxy.example")
	if out, code := w.run("", "rotate", "two.proxy.example", "--dry-run"); code != 0 || !strings.Contains(out, "shared by   account ci, which gets the new one too") {
		t.Fatalf("%d %s", code, out)
	}
}

func TestStatusAndCheckSayThatARotationWasInterrupted(t *testing.T) {
	t.Parallel()
	w, f := newRotateWorld(t)
	w.agent()
	f.hooks(func(int) {}, func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) })
	_, _ = w.run("", "rotate", "reg.example")
	f.hooks(func(int) {}, func(int) {})
	f.answered(t)
	w.quiet()()
	out, code := w.run("", "rotate", "reg.example", "--dry-run")
	if code != 0 || !strings.Contains(out, "regmint rotate brings it to its end first") {
		t.Errorf("dry run: %d %s", code, out)
	}
	w.age()
	out, code = w.run("", "rotate", "reg.example")
	if code != exitLogin || !strings.Contains(out, "was interrupted") || !strings.Contains(out, "regmint login reg.example") {
		t.Fatalf("rotate: %d %s", code, out)
	}
	out, _ = w.run("", "status")
	if !strings.Contains(out, "rotation of ci") || !strings.Contains(out, "login required") {
		t.Errorf("status: %s", out)
	}
	out, _ = w.run("", "status", "reg.example", "--format", "json")
	var st struct {
		Rotations []struct{ Account, State string }
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil || len(st.Rotations) != 1 || st.Rotations[0].State != "login_required" {
		t.Errorf("status: %v %s", err, out)
	}
	if out, code = w.run("", "check", "reg.example"); code != exitLogin || !strings.Contains(out, "the old secret is dead") {
		t.Errorf("check: %d %s", code, out)
	}
	w.login(f)
	if out, _ = w.run("", "status"); strings.Contains(out, "rotation of") {
		t.Errorf("status: %s", out)
	}
	w.works(f, "after the login")
}
