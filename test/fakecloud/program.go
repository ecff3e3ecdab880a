// SPDX-License-Identifier: Apache-2.0

package fakecloud

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Program is a fake command line program: a bash script, so not for Windows.
type Program struct {
	Path string // DIR/NAME
	Dir  string // for PATH

	mu    sync.Mutex
	calls [][]string
	broke *Result
}

// Call is one run of a program.
type Call struct {
	Args  []string
	Env   map[string]string // the variables that it reads, where they are set; HOME always
	Stdin string            // of a pipe
}

// Result is what a run leaves.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Fail is a run that ends with 1 and a line on stderr.
func Fail(format string, args ...any) Result {
	return Result{Stderr: fmt.Sprintf(format, args...) + "\n", Code: 1}
}

// The script has no logic of its own: it hands its arguments, the variables and
// what a pipe brings to the test's process and shows the answer. It uses what
// bash has built in (of version 3.2, which macOS has), so that PATH and proxies
// do not matter to it.
const programScript = `#!/bin/bash
LC_ALL=C
in=""
[ -p /dev/stdin ] && IFS= read -r -d '' in
fields=("$in" "$@")
for v in VARIABLES; do
  if [ -n "${!v+set}" ]; then fields+=("$v=${!v}"); else fields+=("$v"); fi
done
n=0
for f in "${fields[@]}"; do n=$((n + ${#f} + 1)); done
exec 3<>/dev/tcp/ADDRESS || { echo "the fake program reaches its test no more" >&2; exit 1; }
{ printf 'POST / HTTP/1.0\r\nHost: program\r\nContent-Length: %d\r\n\r\n' "$n"; printf '%s\0' "${fields[@]}"; } >&3
while IFS= read -r line <&3 && [ "${line%$'\r'}" != "" ]; do :; done
out="" err=""
IFS=' ' read -r code no ne <&3 || exit 70
[ "$no" = 0 ] || IFS= read -r -d '' -n "$no" out <&3
[ "$ne" = 0 ] || IFS= read -r -d '' -n "$ne" err <&3
printf '%s' "$out"
printf '%s' "$err" >&2
exit "$code"
`

// Program writes a program of this name into a directory of the test; run
// answers its calls, several at once. variables are those that it reads beside
// HOME. Its calls are recorded and its faults injected under its name.
func (c *Cloud) Program(t testing.TB, name string, variables []string, run func(Call) Result) *Program {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake " + name + " is a shell script")
	}
	variables = append([]string{"HOME"}, variables...)
	p := &Program{Dir: filepath.Join(t.TempDir(), "bin")}
	p.Path = filepath.Join(p.Dir, name)
	u, err := url.Parse(c.Plain(name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r, len(variables), run)
	})))
	if err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("VARIABLES", strings.Join(variables, " "), "ADDRESS", u.Hostname()+"/"+u.Port()).Replace(programScript)
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Program) serve(w http.ResponseWriter, r *http.Request, variables int, run func(Call) Result) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	fields := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	if err != nil || len(fields) < 1+variables {
		http.Error(w, "bad call", http.StatusBadRequest)
		return
	}
	env := fields[len(fields)-variables:]
	c := Call{Stdin: fields[0], Args: fields[1 : len(fields)-variables], Env: map[string]string{}}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			c.Env[k] = v
		}
	}
	p.mu.Lock()
	p.calls = append(p.calls, slices.Clone(c.Args))
	broke := p.broke
	p.mu.Unlock()
	var res Result
	if broke != nil {
		res = *broke
	} else {
		res = run(c)
	}
	_, _ = io.WriteString(w, strconv.Itoa(res.Code)+" "+strconv.Itoa(len(res.Stdout))+" "+strconv.Itoa(len(res.Stderr))+"\n"+res.Stdout+res.Stderr)
}

// Calls lists the arguments of every call so far.
func (p *Program) Calls() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Break makes every call end like this, as one of another version does, or with
// a locked keyring; nil: no longer.
func (p *Program) Break(r *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broke = r
}
