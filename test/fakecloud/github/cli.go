// SPDX-License-Identifier: Apache-2.0

package github

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

// CLI is a fake gh program. It knows `gh auth token [--hostname H] [--user U]`,
// with the variables that the real one takes a token from; the first login of a
// host is the active one.
type CLI struct {
	*fakecloud.Program
	g *GitHub

	mu     sync.Mutex
	logins []cliLogin
}

type cliLogin struct {
	host, user string
	token      *Token
}

// The variables of gh: the second pair is for Enterprise Servers alone.
var ghVariables = []string{"GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"}

// What gh says before it had `auth token` (2.17), and `--user` (2.40).
var (
	GhWithoutToken = fakecloud.Result{Code: 1, Stderr: "unknown command \"token\" for \"gh auth\"\n\nUsage:  gh auth <command> [flags]\n"}
	GhWithoutUser  = fakecloud.Result{Code: 1, Stderr: "unknown flag: --user\n\nUsage:  gh auth token [flags]\n"}
)

// CLI writes the program into a directory of the test; nobody is logged in.
func (g *GitHub) CLI(t testing.TB) *CLI {
	t.Helper()
	p := &CLI{g: g}
	p.Program = g.Cloud.Program(t, "gh", ghVariables, p.run)
	return p
}

// LogIn logs a person in with scopes, as `gh auth login -s` does; none: gh's
// own, which know no packages.
func (p *CLI) LogIn(u *User, scopes ...string) *Token {
	if len(scopes) == 0 {
		scopes = []string{"repo", "read:org", "gist"}
	}
	return p.LogInToken(u, u.OAuth(scopes...))
}

// LogInToken logs a person in with a token, as `gh auth login --with-token` does.
func (p *CLI) LogInToken(u *User, t *Token) *Token {
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

func (p *CLI) run(c fakecloud.Call) fakecloud.Result {
	if len(c.Args) < 2 || c.Args[0] != "auth" || c.Args[1] != "token" {
		return fakecloud.Fail("unknown command %q for \"gh\"", strings.Join(c.Args, " "))
	}
	host, user := "github.com", ""
	for i := 2; i < len(c.Args); i += 2 {
		if i+1 == len(c.Args) {
			return fakecloud.Fail("flag needs an argument: %s", c.Args[i])
		}
		switch c.Args[i] {
		case "--hostname", "-h":
			host = c.Args[i+1]
		case "--user", "-u":
			user = c.Args[i+1]
		default:
			return fakecloud.Fail("unknown flag: %s", c.Args[i])
		}
	}
	variables := ghVariables[:2]
	if host != "github.com" && !strings.HasSuffix(host, ".ghe.com") {
		variables = ghVariables[2:]
	}
	for _, v := range variables {
		if c.Env[v] != "" && user == "" {
			return fakecloud.Result{Stdout: c.Env[v] + "\n"}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.logins {
		if l.host == host && (user == "" || l.user == user) {
			return fakecloud.Result{Stdout: l.token.Secret + "\n"}
		}
	}
	if user != "" {
		return fakecloud.Fail("no oauth token found for %s account %s", host, user)
	}
	return fakecloud.Fail("no oauth token found for %s", host)
}
