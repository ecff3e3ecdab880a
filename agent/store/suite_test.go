// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/providers"
)

// backends opens every kind of store; reopen gives a second handle on the same
// secrets, nil where there is none.
func backends(t *testing.T, run func(t *testing.T, s Store, reopen func() Store)) {
	for _, kind := range []string{KindMemory, KindFile, KindKeyring, KindAuto, "auto, no keyring"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			o := m.options(kind)
			if kind == "auto, no keyring" {
				o.Kind, o.Child = KindAuto, nil
			}
			reopen := func() Store { return openStore(t, o) }
			if kind == KindMemory {
				reopen = nil
			}
			run(t, openStore(t, o), reopen)
		})
	}
}

func TestSecretsAreKeptReplacedAndForgotten(t *testing.T) {
	backends(t, func(t *testing.T, s Store, reopen func() Store) {
		ctx := t.Context()
		_, err := s.Get(ctx, "reg.example")
		wantError(t, err, ErrNotFound, providers.LoginRequired, "reg.example")
		if names, err := s.Names(ctx); err != nil || len(names) != 0 {
			t.Errorf("names of nothing: %v %v", names, err)
		}
		must(t, s.Delete(ctx, "reg.example"))
		set(t, s, "reg.example", "one")
		set(t, s, "b.example/team", "two")
		set(t, s, "reg.example", "three")
		if got := get(t, s, "reg.example"); got != "three" {
			t.Errorf("got %q", got)
		}
		if reopen != nil {
			s = reopen()
			if got := get(t, s, "reg.example"); got != "three" {
				t.Errorf("another process gets %q", got)
			}
		}
		if names, err := s.Names(ctx); err != nil || !slices.Equal(names, []string{"b.example/team", "reg.example"}) {
			t.Errorf("names %v %v", names, err)
		}
		must(t, s.Delete(ctx, "reg.example"))
		must(t, s.Delete(ctx, "reg.example"))
		_, err = s.Get(ctx, "reg.example")
		wantError(t, err, ErrNotFound, providers.LoginRequired)
		if got := get(t, s, "b.example/team"); got != "two" {
			t.Errorf("the neighbour is %q", got)
		}
		if d := s.Describe(); d == "" || strings.Contains(d, "two") {
			t.Errorf("described as %q", d)
		}
	})
}

// T5's sizes, and bytes that some keychain would alter.
func TestEverySecretComesBackAsItWas(t *testing.T) {
	backends(t, func(t *testing.T, s Store, _ func() Store) {
		for name, text := range map[string]string{
			"1 B": "x", "2,560 B": size(2560), "3 kB": size(3000), "4 kB": size(4096), "70 kB": size(70000), "100 kB": size(100000),
			"quotes": `'"\ $(id) ;`, "unicode": "é世\u2028", "not UTF-8": "\xff\xfe", "tab": "a\tb", "spaces": " a ", "json": `{"a":"b"}`,
		} {
			set(t, s, name, text)
			if got := get(t, s, name); got != text {
				t.Errorf("%s: %d bytes came back as %d", name, len(text), len(got))
			}
		}
	})
}

func size(n int) string { return strings.Repeat("s", n) }

func TestKeyFilesInJSONAreKeptOnOneLine(t *testing.T) {
	backends(t, func(t *testing.T, s Store, _ func() Store) {
		set(t, s, "key", "{\n  \"type\": \"service_account\",\r\n  \"private_key\": \"a\\nb\"\n}\n")
		if got := get(t, s, "key"); got != `{"type":"service_account","private_key":"a\nb"}` {
			t.Errorf("came back as %q", got)
		}
	})
}

// H14, H17: refused, never altered; what was there stays.
func TestUnfitSecretsAreRefusedAndTheOldOneStays(t *testing.T) {
	backends(t, func(t *testing.T, s Store, _ func() Store) {
		set(t, s, "reg.example", "old")
		for name, text := range map[string]string{"empty": "", "LF": "hunter2\nx", "trailing LF": "hunter2\n", "CR": "hunter2\r", "NUL": "hunter2\x00x", "too large": size(1<<20 + 1)} {
			err := s.Set(t.Context(), "reg.example", secret(text))
			cause := error(nil)
			if name == "too large" {
				cause = ErrTooLarge
			}
			wantError(t, err, cause, providers.Misconfigured)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: repeats the secret: %v", name, err)
			}
		}
		for _, name := range []string{"", "a\nb", "a\x00b", "\x1b", "\xff", size(513)} {
			wantError(t, s.Set(t.Context(), name, secret("x")), nil, providers.Misconfigured)
		}
		if got := get(t, s, "reg.example"); got != "old" {
			t.Errorf("got %q", got)
		}
	})
}

func TestGoroutinesLoseNothing(t *testing.T) {
	backends(t, func(t *testing.T, s Store, _ func() Store) {
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				name := fmt.Sprintf("reg%d.example", i)
				if err := s.Set(t.Context(), name, secret(name)); err != nil {
					t.Error(err)
				}
				if got, err := s.Get(t.Context(), name); err != nil || got.Reveal() != name {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if names, err := s.Names(t.Context()); err != nil || len(names) != 12 {
			t.Errorf("%d names %v", len(names), err)
		}
	})
}

// writerMain is another process: writer STATE RING BUS KIND ID N [forever].
func writerMain(args []string) int {
	state, ring, bus, kind, id := args[0], args[1], args[2], args[3], args[4]
	s, err := Open(Options{Kind: kind, StateDir: state, Child: childCommand("ok", ring), Env: []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx := context.Background()
	for i := 0; i < 4 || len(args) > 5; i++ {
		name, text := fmt.Sprintf("p%s-%d", id, i), "own"
		if len(args) > 5 {
			name, text = "victim", value(i)
		}
		if err := s.Set(ctx, name, providers.NewSecret(text)); err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			return 1
		}
		if len(args) > 5 {
			fmt.Println(i)
		}
	}
	return 0
}

// value is one of the values that are written over and over: of one length or
// another, so that a mixture would show, and in the keychain or beside it.
func value(i int) string {
	c := string(rune('a' + i%3))
	return strings.Repeat(c, []int{40, 4000, ringLimit + 1}[i%3])
}

func (m *machine) writer(kind, id string, more ...string) *exec.Cmd {
	exe, err := os.Executable()
	must(m.t, err)
	cmd := exec.Command(exe, append([]string{"writer", m.state, m.ring, m.bus, kind, id}, more...)...)
	cmd.Env = append(os.Environ(), quickRace)
	return cmd
}

func TestEightProcessesLoseNothing(t *testing.T) {
	for _, kind := range []string{KindFile, KindKeyring, KindAuto} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			var cmds []*exec.Cmd
			for i := range 8 {
				cmd := m.writer(kind, fmt.Sprint(i))
				cmd.Stderr = os.Stderr
				must(t, cmd.Start())
				cmds = append(cmds, cmd)
			}
			for _, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
			s := m.open(kind)
			if names, err := s.Names(t.Context()); err != nil || len(names) != 32 {
				t.Errorf("%d of 32 secrets, %v", len(names), err)
			}
			for i := range 8 {
				if got := get(t, s, fmt.Sprintf("p%d-3", i)); got != "own" {
					t.Errorf("process %d: %q", i, got)
				}
			}
		})
	}
}

// T2, T3: whenever the writer dies, the old or the new value is there, nothing
// else, and nothing stays in the way of the next writer.
func TestKilledWriterLeavesTheOldOrTheNewValue(t *testing.T) {
	unixOnly(t)
	for _, kind := range []string{KindFile, KindKeyring} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			s := m.open(kind)
			set(t, s, "victim", value(0))
			set(t, s, "bystander", "still here")
			for round := range 15 {
				cmd := m.writer(kind, "k", "forever")
				out := &lineCounter{kill: 1 + round%5, done: make(chan struct{})}
				cmd.Stdout = out
				must(t, cmd.Start())
				<-out.done // some writes in, in the middle of the next
				must(t, cmd.Process.Kill())
				_ = cmd.Wait()
				got := get(t, s, "victim")
				if !slices.Contains([]string{value(0), value(1), value(2)}, got) {
					t.Fatalf("round %d: a value of %d bytes that nobody wrote", round, len(got))
				}
				if get(t, s, "bystander") != "still here" {
					t.Fatal("the neighbour changed")
				}
			}
			set(t, s, "victim", "after")
			if get(t, s, "victim") != "after" {
				t.Error("the store is stuck")
			}
			if bad, _ := filepath.Glob(filepath.Join(m.state, "*.bad-*")); len(bad) > 0 {
				t.Errorf("damaged files: %v", bad)
			}
		})
	}
}

// lineCounter closes done after some lines.
type lineCounter struct {
	mu   sync.Mutex
	kill int
	done chan struct{}
}

func (l *lineCounter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.kill
	l.kill -= bytes.Count(p, []byte("\n"))
	if before > 0 && l.kill <= 0 {
		close(l.done)
	}
	return len(p), nil
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	m := newMachine(t)
	for name, change := range map[string]func(*Options){
		"kind":            func(o *Options) { o.Kind = "keychain" },
		"no state":        func(o *Options) { o.StateDir = "" },
		"relative state":  func(o *Options) { o.StateDir = "state" },
		"relative helper": func(o *Options) { o.Child = []string{"regmint", "agent", "keyring"} },
		"no keyring":      func(o *Options) { o.Kind, o.Child = KindKeyring, nil },
	} {
		o := m.options(KindFile)
		change(&o)
		if s, err := Open(o); err == nil {
			t.Errorf("%s: opened %T", name, s)
		} else {
			wantError(t, err, nil, providers.Misconfigured)
		}
	}
}

func TestNobodyIsAskedBeforeTheFirstLogin(t *testing.T) {
	backends(t, func(t *testing.T, s Store, _ func() Store) {
		if n, ok := s.(Locker); ok && n.Locked() {
			t.Error("an empty store is locked")
		}
		if _, ok := s.(*memory); !ok && s.Describe() == "" {
			t.Error("no description")
		}
	})
	m := newMachine(t)
	m.mode = "hang"
	s := m.open(KindAuto)
	_, err := s.Get(t.Context(), "x")
	wantError(t, err, ErrNotFound, providers.LoginRequired)
	if _, err := os.Stat(m.state); err == nil {
		t.Error("a question made the state directory")
	}
}
