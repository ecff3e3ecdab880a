// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package jobs drives the built binaries: what regmint run promises to the
// command it wraps, to the jobs beside it and to the machine afterwards.
package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// bin holds the two binaries, built once.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "rmjbin")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	cmd := exec.Command("go", "build", "-o", dir+"/", "../../cmd/regmint", "../../cmd/docker-credential-regmint")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// world is a person's HOME with an agent and a registry that issues passwords
// for two accounts.
type world struct {
	t    *testing.T
	home string
	reg  *fakeregistry.Server
}

func newWorld(t *testing.T, life time.Duration) *world {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rmj")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	w := &world{t: t, home: home}
	w.reg, err = fakeregistry.Start(fakeregistry.Options{Issue: fakeregistry.IssueOptions{Life: life, Clients: []fakeregistry.Client{
		{ID: "one", Secret: "client-secret", User: "bot-one"}, {ID: "two", Secret: "client-secret", User: "bot-two"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.reg.Close() })
	text := "[agent]\nstore = \"file\"\n"
	for _, name := range []string{"one", "two"} {
		text += fmt.Sprintf("\n[[account]]\nname = %q\nprovider = \"http-exchange\"\nhosts = [%q]\ndefault = %t\nurl = %q\nsecret = \"file:%s/secret\"\n"+
			"json = { grant_type = \"client_credentials\", client_id = %q, client_secret = \"{{.Secret}}\" }\n"+
			"username_path = \"username\"\npassword_path = \"password\"\nexpires_in_path = \"expires_in\"\n",
			name, w.reg.Host(), name == "one", w.reg.IssueURL(), home, name)
	}
	w.write(".config/regmint/config.toml", text)
	w.write("secret", "client-secret\n")
	w.write(".docker/config.json", "{\n\t\"HttpHeaders\": {\"X\": \"y\"}\n}\n")
	t.Cleanup(func() { _ = w.command("regmint", "agent", "stop", "--force").Run() })
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.home, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// command is a command of this world, with an environment of its own.
func (w *world) command(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	path := name
	if p := filepath.Join(bin, name); !strings.Contains(name, "/") {
		if _, err := os.Stat(p); err == nil {
			path = p
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = w.home
	cmd.Env = []string{"HOME=" + w.home, "PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "REGMINT_RUNTIME_DIR=" + w.home + "/r"}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a command and returns its exit code and what it said.
func (w *world) run(stdin, name string, args ...string) (code int, out, errOut string) {
	w.t.Helper()
	cmd := w.command(name, args...)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &o, &e
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), o.String(), e.String()
	}
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	return 0, o.String(), e.String()
}

// jobs lists what is left of jobs in the runtime directory.
func (w *world) jobs() []string {
	var out []string
	entries, _ := os.ReadDir(filepath.Join(w.home, "r", "j"))
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// eventually waits for a condition that another process makes true.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("never: %s", what)
}

func (w *world) agentPID() string {
	_, out, _ := w.run("", "sh", "-c", "regmint status --format json | sed -n 's/.*\"pid\": \\([0-9]*\\),.*/\\1/p' | head -1")
	return strings.TrimSpace(out)
}
