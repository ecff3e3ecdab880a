// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

func isAbs(name string) bool { return filepath.IsAbs(name) }

// ghLimit leaves time for what follows.
const ghLimit = 5 * time.Second

// noGH is a gh that is not there, without the words of the system.
type noGH struct{}

func (noGH) Error() string { return "gh is not installed" }

// Unwrap returns fs.ErrNotExist.
func (noGH) Unwrap() error { return fs.ErrNotExist }

var errNoGH error = noGH{}

// errLoggedOut is wrapped where gh has no login.
var errLoggedOut = errors.New("gh is not logged in")

// refreshScopes are what gh is asked to add; it keeps those that it has.
func refreshScopes(scope string) string {
	if scope == scopeDelete {
		return scopeRead + "," + scopeDelete
	}
	return scopeRead + "," + scopeWrite
}

// borrow asks gh for the token of its login.
func (s *source) borrow(ctx context.Context, h providers.Host, at site) (login, error) {
	args := []string{"auth", "token", "--hostname", at.web}
	if s.options.GHUser != "" {
		args = append(args, "--user", s.options.GHUser)
	}
	path := s.options.GHPath
	if path == "" {
		path = "gh"
	}
	b, err := s.deps.Run(ctx, providers.Command{Path: path, Args: args, Env: []string{"GH_PROMPT_DISABLED=1", "GH_NO_UPDATE_NOTIFIER=1", "NO_COLOR=1"}, Limit: ghLimit})
	again := "run: gh auth login -h " + at.web + " -s " + refreshScopes("")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return login{}, s.fail(h, providers.Misconfigured, "install it, or set gh_path", errNoGH)
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "no oauth token"):
		who := ""
		if s.options.GHUser != "" {
			who = " as " + s.options.GHUser
		}
		return login{}, s.fail(h, providers.LoginRequired, again, fmt.Errorf("%w to %s%s", errLoggedOut, at.web, who))
	case err != nil:
		return login{}, s.brokenGH(h, at, err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return login{}, s.fail(h, providers.LoginRequired, again, fmt.Errorf("%w to %s", errLoggedOut, at.web))
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return login{}, s.fail(h, providers.Unavailable, "see: gh auth token -h "+at.web, errors.New("gh wrote something that is no token"))
	}
	return login{by: byGH, secret: providers.NewSecret(token), user: s.options.GHUser, origin: "gh login"}, nil
}

// brokenGH is a gh that gave neither a token nor its word that there is none.
func (s *source) brokenGH(h providers.Host, at site, err error) error {
	text := err.Error()
	if strings.Contains(text, "unknown command") || strings.Contains(text, "unknown flag") {
		return s.fail(h, providers.Misconfigured, "update it", errors.New("gh is too old to hand its token out"))
	}
	out := &providers.Error{Kind: providers.Unavailable, Err: err}
	if e, ok := errors.AsType[*providers.Error](err); ok {
		*out = *e
	}
	out.Host = h
	if out.Hint == "" {
		out.Hint = "see: gh auth status -h " + at.web
	}
	return out
}

// ghFiles is where gh notes its logins.
func (s *source) ghFiles() []string {
	switch {
	case s.deps.Home == "":
		return nil
	case runtime.GOOS == "windows":
		return []string{filepath.Join(s.deps.Home, "AppData", "Roaming", "GitHub CLI", "hosts.yml")}
	}
	return []string{filepath.Join(s.deps.Home, ".config", "gh", "hosts.yml")}
}

// LoginGroup implements providers.LoginGrouper: accounts that live by one login
// of gh.
func (Provider) LoginGroup(a providers.Account) string {
	o, ok := a.Options.(*Options)
	if !ok || o == nil || !o.GH || len(a.Hosts) == 0 {
		return ""
	}
	web := o.server()
	if h, exact := a.Hosts[0].Exact(); web == "" && exact {
		if at, is := known(h); is {
			web = at.web
		} else {
			web = enterprise(h)
		}
	}
	if web == "" {
		return ""
	}
	name := "gh login at " + web
	if o.GHUser != "" {
		name += " as " + httpx.Printable(o.GHUser, 60)
	}
	return name
}
