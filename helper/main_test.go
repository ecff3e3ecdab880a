// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// The test binary is the helper under the names of its links, and other
// programs under theirs.
func TestMain(m *testing.M) {
	switch base := filepath.Base(os.Args[0]); {
	case strings.HasPrefix(base, program):
		os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	case strings.HasPrefix(base, "regmint"), strings.HasPrefix(base, "former"):
		os.Exit(play(base))
	}
	os.Exit(m.Run())
}

// play is another program: a former helper, or `regmint direct`. It notes how
// it was called in a file beside itself and does what the file "do" says:
// exit code, stdout, stderr, separated by lines of "--".
func play(base string) int {
	time.AfterFunc(30*time.Second, func() { os.Exit(9) })
	dir := filepath.Dir(os.Args[0])
	input, _ := io.ReadAll(os.Stdin)
	note, _ := json.Marshal(played{Name: base, Args: os.Args[1:], Input: string(input), Env: os.Environ()})
	f, err := os.OpenFile(filepath.Join(dir, "played"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 8
	}
	_, _ = f.Write(append(note, '\n'))
	_ = f.Close()
	do, err := os.ReadFile(filepath.Join(dir, base+".do"))
	if err != nil {
		return 7
	}
	parts := strings.SplitN(string(do), "\n--\n", 3)
	var code int
	if _, err := fmt.Sscan(parts[0], &code); err != nil { // "hang"
		time.Sleep(30 * time.Second)
	}
	fmt.Fprint(os.Stdout, parts[1])
	fmt.Fprint(os.Stderr, parts[2])
	return code
}

// played is one call of a program that play stands for.
type played struct {
	Name  string
	Args  []string
	Input string
	Env   []string
}

// rigs guards what agents note and tests read.
var rigs sync.Mutex

// rig is a user's home with an agent that a test answers for.
type rig struct {
	t   *testing.T
	dir string // also where programs are
	api.Paths

	requests []string         // paths
	gets     []api.GetRequest // as they came
	logins   []api.Login      // store and erase
	onGet    func(r api.GetRequest) api.GetResponse
	onLogin  func(path string, l api.Login) api.Reply
	onList   func() api.ListResponse
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	if len(dir) > 60 {
		var err error
		if dir, err = os.MkdirTemp("", "rm"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, Paths: api.Paths{Runtime: filepath.Join(dir, "r"), State: filepath.Join(dir, "st")}}
	if err := r.Ensure(); err != nil {
		t.Fatal(err)
	}
	r.setEnv("HOME="+dir, "PATH=/usr/bin:/bin", "REGMINT_RUNTIME_DIR="+r.Runtime, "REGMINT_STATE_DIR="+r.State)
	return r
}

// setEnv replaces the environment for the length of the test.
func (r *rig) setEnv(env ...string) {
	old := os.Environ()
	r.t.Cleanup(func() { putEnv(old) })
	putEnv(env)
}

func putEnv(env []string) {
	os.Clearenv()
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		_ = os.Setenv(k, v)
	}
}

// serve answers at socket as the agent does.
func (r *rig) serve(socket string) {
	r.t.Helper()
	l, err := api.Listen(socket)
	if err != nil {
		r.t.Fatal(err)
	}
	mux := http.NewServeMux()
	handle := func(path string, answer func(body []byte) any) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			rigs.Lock()
			r.requests = append(r.requests, path)
			v := answer(body)
			rigs.Unlock()
			out, _ := json.Marshal(v)
			w.Header().Set("Content-Length", fmt.Sprint(len(out)))
			_, _ = w.Write(out)
		})
	}
	handle("/v1/get", func(body []byte) any {
		var q api.GetRequest
		_ = json.Unmarshal(body, &q)
		r.gets = append(r.gets, q)
		return r.onGet(q)
	})
	for _, path := range []string{"/v1/store", "/v1/erase"} {
		handle(path, func(body []byte) any {
			var l api.Login
			_ = json.Unmarshal(body, &l)
			r.logins = append(r.logins, l)
			return r.onLogin(path, l)
		})
	}
	handle("/v1/list", func([]byte) any { return r.onList() })
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	r.t.Cleanup(func() { _ = s.Close() })
}

// agent serves the main socket.
func (r *rig) agent() *rig {
	r.t.Helper()
	r.onGet = func(q api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.OK, Username: "u", Secret: "s3cret"}
	}
	r.onLogin = func(string, api.Login) api.Reply { return api.Reply{Outcome: api.OK} }
	r.onList = func() api.ListResponse {
		return api.ListResponse{Outcome: api.OK, Entries: map[string]string{"ghcr.io": "u"}}
	}
	r.serve(r.MainSocket())
	return r
}

// raw hands each connection at the main socket to f.
func (r *rig) raw(f func(c net.Conn)) {
	l, err := api.Listen(r.MainSocket())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
}

// settle orders what a test does to the rig before a call, and what the agent
// noted during it, for the race detector: it does not see through a socket
// that is read with system calls.
func (r *rig) settle() {
	rigs.Lock()
	defer rigs.Unlock()
}

// result is what a caller of the helper sees.
type result struct {
	code     int
	out, err string
}

// run calls the helper in this process.
func (r *rig) run(verb, input string) result { return r.runAs(program, verb, input) }

func (r *rig) runAs(name, verb, input string) result {
	r.settle()
	defer r.settle()
	var out, err bytes.Buffer
	code := Main([]string{"/usr/bin/" + name, verb}, strings.NewReader(input), &out, &err)
	return result{code, out.String(), err.String()}
}

// program puts a program beside the tests and tells it what to do.
func (r *rig) program(name, do string) string {
	r.t.Helper()
	path := r.install(name)
	r.do(name, do)
	return path
}

// install copies the test binary: under the name it has there it is the helper
// or another program.
func (r *rig) install(name string) string {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) do(name, do string) {
	if err := os.WriteFile(filepath.Join(r.dir, name+".do"), []byte(do), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// played lists the calls of programs so far.
func (r *rig) played() []played {
	data, _ := os.ReadFile(filepath.Join(r.dir, "played"))
	var out []played
	for line := range strings.Lines(string(data)) {
		var p played
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

const notFoundLine = "credentials not found in native keychain\n"

// wantFailure checks rule 1: one line of at most 160 characters, the same on
// both streams, exit 1, never the text of not found.
func wantFailure(t *testing.T, got result, prefix string, parts ...string) {
	t.Helper()
	line := strings.TrimSuffix(got.out, "\n")
	if got.code != 1 || got.out != got.err || line == "" || strings.Contains(line, "\n") || len([]rune(line)) > 160 || got.out == notFoundLine {
		t.Errorf("not a failure of one line on both streams: %+v", got)
	}
	if !strings.HasPrefix(line, prefix) {
		t.Errorf("%q does not start with %q", line, prefix)
	}
	for _, p := range parts {
		if !strings.Contains(line, p) {
			t.Errorf("%q has no %q", line, p)
		}
	}
}

func wantNotFound(t *testing.T, got result) {
	t.Helper()
	if got != (result{1, notFoundLine, ""}) {
		t.Errorf("%+v, want not found", got)
	}
}

func wantSilent(t *testing.T, got result) {
	t.Helper()
	if got != (result{}) {
		t.Errorf("%+v, want exit 0 and no word", got)
	}
}
