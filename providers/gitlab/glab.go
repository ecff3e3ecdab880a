// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"encoding/json"
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

// glabAnswer is what `glab auth credential-helper` prints
// (gitlab-org/cli, internal/commands/auth/credentialhelper). It refreshes an
// OAuth login on the way.
type glabAnswer struct {
	Type     string `json:"type"` // success or error
	Instance string `json:"instance_url"`
	Token    struct {
		Type    string    `json:"type"` // oauth2, pat or job-token
		Token   string    `json:"token"`
		Expires time.Time `json:"expiry_timestamp"`
	} `json:"token"`
}

// errNoGlab is a glab that is not there, errNoLogin one that nobody is logged
// in with.
var (
	errNoGlab  = errors.New("glab is not installed")
	errNoLogin = errors.New("glab is not logged in")
)

// fromGlab borrows the login of glab at the GitLab that the host belongs to.
func (s *source) fromGlab(ctx context.Context, h providers.Host) (token, error) {
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return token{}, err
	}
	at, ok := hostOf(v.base)
	if !ok {
		return token{}, s.fail(h, providers.Misconfigured, "set url", errors.New("the host of GitLab is not known"))
	}
	login := "run: glab auth login --hostname " + at.String()
	ctx, cancel := context.WithTimeout(ctx, glabLimit)
	defer cancel()
	a, err := s.askGlab(ctx, at)
	switch {
	case ctx.Err() != nil:
		return token{}, s.fail(h, providers.Unavailable, "run: glab auth status --hostname "+at.String(), &said{text: "glab does not answer", err: ctx.Err()})
	case errors.Is(err, errNoGlab):
		return token{}, s.fail(h, providers.Misconfigured, "install it, or run: regmint login "+h.String(), err)
	case errors.Is(err, errNoLogin):
		return token{}, s.fail(h, providers.LoginRequired, login, fmt.Errorf("%w to %s", err, at))
	case err != nil:
		return token{}, s.fail(h, providers.KindOf(err), login, fmt.Errorf("glab: %w", err))
	}
	if other, ok := hostOf(a.Instance); !ok || other != at {
		return token{}, s.fail(h, providers.LoginRequired, login, fmt.Errorf("glab answers for %s, not for %s", httpx.Printable(a.Instance, 80), at))
	}
	if !isWord(a.Token.Token) {
		return token{}, s.fail(h, providers.Misconfigured, login, errors.New("what glab prints is no token"))
	}
	t := token{user: anyUser, secret: providers.NewSecret(a.Token.Token), origin: "login of glab at " + at.String()}
	switch a.Token.Type {
	case "oauth2":
		t.user, t.oauth, t.expires = oauthUser, true, a.Token.Expires
		if !t.expires.IsZero() && !t.expires.After(s.deps.Now()) {
			return token{}, s.fail(h, providers.LoginRequired, login, errors.New("the login of glab has expired"))
		}
	case "job-token":
		return token{}, s.fail(h, providers.Misconfigured, `write identity = "job" instead of glab = true`, errors.New("glab has the token of a CI job, no login"))
	default:
		t.checked = true
	}
	return t, nil
}

// glabLimit bounds all that glab is asked for one token: less than a get waits.
const glabLimit = 8 * time.Second

// isWord: a token is one word of visible ASCII.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// askGlab asks as current versions answer, then as all do.
func (s *source) askGlab(ctx context.Context, at providers.Host) (glabAnswer, error) {
	var a glabAnswer
	out, err := s.glab(ctx, at, "auth", "credential-helper")
	switch {
	case errors.Is(err, errNoGlab) || ctx.Err() != nil:
		return a, err
	case err != nil || json.Unmarshal(out, &a) != nil:
		return s.readGlab(ctx, at)
	}
	if other, ok := hostOf(a.Instance); ok && other == at && a.Type == "success" && a.Token.Token != "" {
		return a, nil
	}
	// It is logged in elsewhere, or by default elsewhere.
	b, err := s.readGlab(ctx, at)
	switch {
	case err == nil:
		return b, nil
	case a.Type == "success":
		return a, nil // whose it is decides
	case a.Type == "error":
		return b, errNoLogin
	}
	return b, err
}

// readGlab reads the configuration of glab by its own word. A login that is
// nearly over is renewed by `glab auth status`, which uses it.
func (s *source) readGlab(ctx context.Context, at providers.Host) (a glabAnswer, err error) {
	for last := false; ; last = true {
		var values [3]string
		for i, key := range []string{"token", "is_oauth2", "oauth2_expiry_date"} {
			out, err := s.glab(ctx, at, "config", "get", key, "--host", at.String())
			if err != nil {
				return a, err
			}
			values[i] = strings.TrimSpace(string(out))
		}
		if values[0] == "" {
			return a, errNoLogin
		}
		a = glabAnswer{Type: "success", Instance: "https://" + at.String()}
		a.Token.Token, a.Token.Type = values[0], "pat"
		if values[1] != "true" {
			return a, nil
		}
		a.Token.Type = "oauth2"
		if a.Token.Expires, err = time.Parse(time.RFC822, values[2]); err != nil {
			a.Token.Expires = time.Time{}
			return a, nil
		}
		if last || a.Token.Expires.Sub(s.deps.Now()) > nearlyOver {
			return a, nil
		}
		if _, err := s.glab(ctx, at, "auth", "status", "--hostname", at.String()); err != nil {
			return a, errNoLogin
		}
	}
}

// nearlyOver is what a login of glab has to have left to be handed out as it is.
const nearlyOver = 5 * time.Minute

// glab runs the program; nothing it writes can be a question.
func (s *source) glab(ctx context.Context, at providers.Host, args ...string) ([]byte, error) {
	path := s.plan.GlabPath
	if path == "" {
		path = "glab"
	}
	out, err := s.deps.Run(ctx, providers.Command{
		Path: path, Args: args,
		Env: []string{"GITLAB_HOST=" + at.String(), "NO_PROMPT=true", "NO_COLOR=1", "GLAB_CHECK_UPDATE=false", "GLAB_CREDENTIAL_HELPER_SKIP_WRAPPER=1"},
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoGlab
	}
	return out, err
}

// glabFiles are what a login or logout of glab changes.
func (s *source) glabFiles() []string {
	if s.deps.Home == "" {
		return nil
	}
	files := []string{filepath.Join(s.deps.Home, ".config", "glab-cli", "config.yml")}
	if runtime.GOOS == "darwin" {
		files = append(files, filepath.Join(s.deps.Home, "Library", "Application Support", "glab-cli", "config.yml"))
	}
	return files
}
