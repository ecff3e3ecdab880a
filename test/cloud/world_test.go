// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/home"
)

// patience bounds every wait: for a command, for something to come true.
const patience = home.Patience

// bin holds regmint and its helper, built once.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "rmcbin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // most of them wait for tokens to end
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := home.Build(bin, "dev", "cmd/regmint", "cmd/docker-credential-regmint"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var buildCrane = sync.OnceValue(func() error { return home.Build(bin, "dev", "github.com/google/go-containerregistry/cmd/crane") })

// world is a person with a HOME of their own whose network ends at a cloud.
// Nothing of this machine's configuration or environment reaches it.
type world struct {
	t     testing.TB
	cloud *fakecloud.Cloud
	home  string
	env   map[string]string
}

// newWorld makes the person and writes their configuration: the cloud's proxy
// and CA, secrets in a file, and accounts, each the text of an [[account]]. The
// agent starts with the first command that wants it and ends with the test.
func newWorld(t testing.TB, cloud *fakecloud.Cloud, accounts ...string) *world {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rmc") // short, as sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cloud: cloud, home: home}
	w.env = map[string]string{
		"HOME": home, "USER": "person", "LANG": "C.UTF-8", "TERM": "dumb",
		"PATH":                w.path("bin") + ":" + bin + ":/usr/local/bin:/usr/bin:/bin",
		"REGMINT_RUNTIME_DIR": w.path("r"),
	}
	if os.Getenv("REGMINT_RACE") != "" {
		w.env["GORACE"] = "halt_on_error=1 exitcode=66"
	}
	w.write("cloud-ca.pem", string(cloud.CAPEM()))
	w.configure(accounts...)
	t.Cleanup(w.close)
	return w
}

// close ends the agent and takes everything away.
func (w *world) close() {
	if r := w.regmint("agent", "stop", "--force"); r.code != 0 {
		w.t.Errorf("the agent could not be stopped: %s%s", r.out, r.err)
	}
	if log := w.agentLog(); strings.Contains(log, "DATA RACE") {
		w.t.Errorf("the race detector speaks in the agent's log:\n%s", log)
	} else if w.t.Failed() && log != "" {
		w.t.Logf("the agent's log ends:\n%s", log[max(0, len(log)-6000):])
	}
	_ = os.RemoveAll(w.home)
}

// with is the same person in another terminal, where these variables
// (NAME=value; NAME alone takes one away) are set too.
func (w *world) with(env ...string) *world {
	other := *w
	other.env = maps.Clone(w.env)
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			other.env[k] = v
		} else {
			delete(other.env, k)
		}
	}
	return &other
}

// configure writes config.toml anew; a running agent is restarted.
func (w *world) configure(accounts ...string) {
	w.t.Helper()
	text := fmt.Sprintf("[agent]\nstore = \"file\"\n[network]\nhttps_proxy = %q\nca_file = %q\n", w.cloud.ProxyURL(), w.path("cloud-ca.pem"))
	for _, a := range accounts {
		text += "\n" + strings.TrimSpace(a) + "\n"
	}
	w.write(".config/regmint/config.toml", text)
	if _, err := os.Stat(w.path("r", "agent.sock")); err == nil {
		if r := w.regmint("agent", "restart", "--force"); r.code != 0 {
			w.t.Fatalf("agent restart: %s", r.err)
		}
	}
}

// at is the world's HOME.
func (w *world) at() home.Home { return home.Home{T: w.t, Dir: w.home, Env: w.env} }

func (w *world) path(elem ...string) string { return w.at().Path(elem...) }

func (w *world) write(name, text string) string { w.t.Helper(); return w.at().Write(name, text) }

func (w *world) read(name string) string { w.t.Helper(); return w.at().Read(name) }

func (w *world) find(name string) string { w.t.Helper(); return w.at().Find(name) }

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	w.at().Eventually(what, ok)
}

// program puts a shell script on the PATH, before anything of the machine: az,
// gcloud, aws, xdg-open.
func (w *world) program(name, script string) string {
	w.t.Helper()
	path := w.write("bin/"+name, "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// agentLog is what the agent has logged.
func (w *world) agentLog() string { return w.read(".local/state/regmint/agent.log") }

func (w *world) environ() []string { return w.at().Environ() }

// result is what a command left. code is 128+n for signal n.
type result struct {
	out, err string
	code     int
}

func (r result) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// run runs a program to its end with nothing on stdin.
func (w *world) run(args ...string) result { w.t.Helper(); return w.feed("", args...) }

// regmint runs `regmint ARGS`.
func (w *world) regmint(args ...string) result {
	w.t.Helper()
	return w.feed("", append([]string{"regmint"}, args...)...)
}

// feed runs a program with stdin. One that does not end in time is killed, and
// the test fails. crane is built when a command first names it.
func (w *world) feed(stdin string, args ...string) result {
	w.t.Helper()
	if slices.ContainsFunc(args, func(a string) bool { return a == "crane" || strings.Contains(a, "crane ") }) {
		if err := buildCrane(); err != nil {
			w.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.find(args[0]), args[1:]...)
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.WaitDelay = args[0], w.home, w.environ(), 5*time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = w.at().Input(stdin), &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		w.t.Errorf("%q: %v\n%s%s", args, err, out.String(), errs.String())
		return result{code: -1}
	}
	if strings.Contains(errs.String(), "DATA RACE") {
		w.t.Errorf("%q: the race detector speaks:\n%s", args, errs.String())
	}
	return result{out: out.String(), err: errs.String(), code: home.ExitCode(cmd.ProcessState)}
}

// must fails the test where the command fails, and returns its stdout.
func (w *world) must(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.t.Fatalf("%q: %s", args, r)
	}
	return r.out
}
