// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// fakeRotator is a product that replaces tokens, at the URL in the file
// rotator.url of HOME.
type fakeRotator struct{}

func (fakeRotator) Name() string              { return "rotator" }
func (fakeRotator) Match(providers.Host) bool { return false }
func (fakeRotator) Env() []string             { return nil }
func (fakeRotator) Options() any              { return &struct{}{} }

func (fakeRotator) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	url, err := os.ReadFile(filepath.Join(config.Process().Home(), "rotator.url"))
	return &rotatorSource{a: a, d: d, url: strings.TrimSpace(string(url))}, err
}

type rotatorSource struct {
	a   providers.Account
	d   providers.Deps
	url string
}

func (s *rotatorSource) Key(providers.Request) string { return "" }

func (s *rotatorSource) Mint(ctx context.Context, _ providers.Request) (providers.Credential, error) {
	secret, err := s.d.Resolve(ctx, s.a.Password)
	return providers.Credential{Username: "ci", Secret: secret, IssuedAt: s.d.Now()}, err
}

func (s *rotatorSource) RotationPlan(context.Context, providers.Secret) (providers.RotationPlan, error) {
	return providers.RotationPlan{What: `access token "ci"`, Dies: "the old token, at once, wherever else it is used", ExpiresAt: s.d.Now().Add(48 * time.Hour)}, nil
}

func (s *rotatorSource) ask(ctx context.Context, path string, token providers.Secret) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", s.url+path, strings.NewReader(token.Reveal()))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Pid", strconv.Itoa(os.Getpid()))
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return "", &providers.Error{Kind: providers.Unavailable, Err: errors.New("no answer")}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusUnauthorized {
		return "", &providers.Error{Kind: providers.LoginRequired, Err: errors.New("401")}
	}
	return string(body), err
}

func (s *rotatorSource) Rotate(ctx context.Context, old providers.Secret) (providers.Rotated, error) {
	t, err := s.ask(ctx, "/rotate", old)
	return providers.Rotated{Secret: providers.NewSecret(t)}, err
}

func (s *rotatorSource) Alive(ctx context.Context, t providers.Secret) error {
	_, err := s.ask(ctx, "/alive", t)
	return err
}

func (s *rotatorSource) Verify(ctx context.Context, _ providers.Request, c providers.Credential) error {
	return s.Alive(ctx, c.Secret)
}

// rotatorServer has one family of tokens: a second use of a dead one kills all.
type rotatorServer struct {
	mu             sync.Mutex
	serial, reuses int
	alive          string
	dead           map[string]bool
	before, served func(pid int)
	asking         int
}

func (f *rotatorServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked(1)
	defer f.asked(-1)
	body, _ := io.ReadAll(r.Body)
	token := string(body)
	pid, _ := strconv.Atoi(r.Header.Get("X-Pid"))
	rotates := r.URL.Path == "/rotate"
	f.mu.Lock()
	before, served := f.before, f.served
	f.mu.Unlock()
	if rotates {
		before(pid)
	}
	f.mu.Lock()
	if rotates && f.dead[token] {
		f.reuses++
		f.alive = ""
	}
	if token == "" || token != f.alive {
		f.mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if rotates {
		f.serial++
		f.dead[token] = true
		f.alive = fmt.Sprintf("token-%04d", f.serial)
	}
	out := f.alive
	f.mu.Unlock()
	if rotates {
		served(pid)
	}
	_, _ = io.WriteString(w, out)
}

func (f *rotatorServer) asked(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asking += n
}

// answered returns when it is not asked just now: the senders of what it has been
// asked so far may have died.
func (f *rotatorServer) answered(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		n := f.asking
		f.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a question is never answered")
		}
	}
}

func (f *rotatorServer) hooks(before, served func(pid int)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.served = before, served
}

func (f *rotatorServer) counts() (serial, reuses int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serial, f.reuses
}

func (f *rotatorServer) living() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive
}

type rotateWorld struct {
	t    *testing.T
	exe  string
	env  []string
	home string
}

func (w *rotateWorld) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.exe, args...)
	cmd.Env = w.env
	return cmd
}

func (w *rotateWorld) run(stdin string, args ...string) (string, int) {
	w.t.Helper()
	cmd := w.command(args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), e.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	return out.String(), 0
}

// quiet returns when no rotation is under way, and lets none begin until then.
func (w *rotateWorld) quiet() (until func()) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	ref := providers.SecretRef{Scheme: "keyring", Value: "reg.example"}
	unlock, err := config.Lock(ctx, filepath.Join(w.home, "state"), "rotate "+config.RefKey(ref))
	if err != nil {
		w.t.Fatal(err)
	}
	return unlock
}

// age makes interrupted rotations look old.
func (w *rotateWorld) age() {
	w.t.Helper()
	defer w.quiet()()
	files, _ := filepath.Glob(filepath.Join(w.home, "state", "rotate", "*.json"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		old := strings.ReplaceAll(string(data), `"begun": "20`, `"begun": "19`)
		if err := os.WriteFile(f, []byte(old), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func newRotateWorld(t *testing.T) (*rotateWorld, *rotatorServer) {
	t.Helper()
	exe, err := exec.LookPath("regmint")
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(int) {}
	f := &rotatorServer{alive: "token-0000", dead: map[string]bool{}, before: nobody, served: nobody}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	home := t.TempDir()
	w := &rotateWorld{t: t, exe: exe, home: home, env: []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "REGMINT_STATE_DIR=" + filepath.Join(home, "state"),
		"REGMINT_RUNTIME_DIR=" + filepath.Join(home, "r"), "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "REGMINT_AGENT=off",
		"GORACE=atexit_sleep_ms=10", // else every process ends a second late
	}}
	cfg := filepath.Join(home, ".config", "regmint")
	if err := os.MkdirAll(cfg, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(cfg, "config.toml"):  "[agent]\nstore = \"file\"\n[[account]]\nname = \"ci\"\nprovider = \"rotator\"\nhosts = [\"reg.example\"]\nusername = \"ci\"\npassword = \"keyring:reg.example\"\n",
		filepath.Join(home, "rotator.url"): srv.URL,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.login(f)
	return w, f
}

// configure adds to the configuration.
func (w *rotateWorld) configure(text string) {
	w.t.Helper()
	path := filepath.Join(w.home, ".config", "regmint", "config.toml")
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(old, text...), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// agent lets commands use an agent, which ends with the test.
func (w *rotateWorld) agent() {
	w.t.Helper()
	run, err := os.MkdirTemp("/tmp", "rm") // t.TempDir is too long for a socket
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "REGMINT_AGENT=auto", "REGMINT_RUNTIME_DIR="+run)
	env := slices.Clone(w.env)
	w.t.Cleanup(func() {
		stopScriptAgent(env)
		_ = os.RemoveAll(run)
	})
}

func (w *rotateWorld) agentPID() int {
	w.t.Helper()
	out, code := w.run("", "status", "--format", "json")
	var st struct{ PID int }
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != 0 || st.PID == 0 {
		w.t.Fatalf("status: %d %v %s", code, err, out)
	}
	return st.PID
}

// record writes what is known of the last rotation.
func (w *rotateWorld) record(text string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte("keyring:reg.example"))
	dir := filepath.Join(w.home, "state", "rotate")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, hex.EncodeToString(sum[:16])+".last.json"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rotateWorld) login(f *rotatorServer) {
	w.t.Helper()
	if out, code := w.run(f.living()+"\n", "login", "reg.example", "-u", "ci", "--password-stdin", "--no-verify", "--no-wire"); code != 0 {
		w.t.Fatalf("login: %d %s", code, out)
	}
}

func (w *rotateWorld) works(f *rotatorServer, what string) {
	w.t.Helper()
	out, code := w.run("", "get", "reg.example", "--format", "bare")
	if code != 0 || strings.TrimSpace(out) != f.living() {
		w.t.Fatalf("%s: get = %d %q, the living token is %q", what, code, out, f.living())
	}
}
