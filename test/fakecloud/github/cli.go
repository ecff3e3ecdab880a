// SPDX-License-Identifier: Apache-2.0

package github

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// CLI is a fake gh program. It needs sh and curl. It knows
// `gh auth token [--hostname H] [--user U]`; the first login of a host is the
// active one.
type CLI struct {
	Path string // of the program: DIR/gh
	Dir  string // its directory, for PATH
	g    *GitHub

	mu     sync.Mutex
	calls  [][]string
	logins []cliLogin
}

type cliLogin struct {
	host, user string
	token      *Token
}

const ghScript = `#!/bin/sh
for a do
	set -- "$@" --data-urlencode "arg=$a"
	shift
done
answer=$(curl -fsS --noproxy '*' -X POST "$@" 'URL') || exit 70
eval "$answer"
`

// CLI writes the program into a directory of the test; nobody is logged in.
func (g *GitHub) CLI(t testing.TB) *CLI {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake gh is a shell script")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the fake gh needs curl: apt-get install curl")
	}
	dir := t.TempDir()
	p := &CLI{Path: filepath.Join(dir, "gh"), Dir: dir, g: g}
	url := g.Cloud.Plain("gh", http.HandlerFunc(p.serve))
	if err := os.WriteFile(p.Path, []byte(strings.Replace(ghScript, "URL", url, 1)), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// LogIn logs a person in with scopes, as `gh auth login -s` does; none: gh's
// own, which know no packages.
func (p *CLI) LogIn(u *User, scopes ...string) *Token {
	if len(scopes) == 0 {
		scopes = []string{"repo", "read:org", "gist"}
	}
	t := u.OAuth(scopes...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins = append(slices.DeleteFunc(p.logins, func(l cliLogin) bool { return l.user == u.Login }), cliLogin{p.g.Host(), u.Login, t})
	return t
}

// LogOut ends all logins.
func (p *CLI) LogOut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins = nil
}

// Calls lists the arguments of every call so far.
func (p *CLI) Calls() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *CLI) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	args := r.PostForm["arg"]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, slices.Clone(args))
	out, failure := p.run(args)
	code := 0
	if failure != "" {
		code = 1
	}
	_, _ = fmt.Fprintf(w, "printf '%%s' '%s'\nprintf '%%s' '%s' >&2\nexit %d\n", out, failure, code)
}

func (p *CLI) run(args []string) (out, failure string) {
	if len(args) < 2 || args[0] != "auth" || args[1] != "token" {
		return "", "unknown command\n"
	}
	host, user := "github.com", ""
	for i := 2; i+1 < len(args); i += 2 {
		switch args[i] {
		case "--hostname", "-h":
			host = args[i+1]
		case "--user", "-u":
			user = args[i+1]
		default:
			return "", "unknown flag: " + args[i] + "\n"
		}
	}
	for _, l := range p.logins {
		if l.host == host && (user == "" || l.user == user) {
			return l.token.Secret + "\n", ""
		}
	}
	if user != "" {
		return "", "no oauth token found for " + host + " account " + user + "\n"
	}
	return "", "no oauth token found for " + host + "\n"
}
