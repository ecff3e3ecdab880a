// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// glabAnswer is what `glab auth credential-helper` prints
// (gitlab-org/cli, internal/commands/auth/credentialhelper). It refreshes an
// OAuth login on the way.
type glabAnswer struct {
	Type     string `json:"type"` // success or error
	Message  string `json:"message"`
	Instance string `json:"instance_url"`
	Token    struct {
		Type    string    `json:"type"` // oauth2, pat or job-token
		Token   string    `json:"token"`
		Expires time.Time `json:"expiry_timestamp"`
	} `json:"token"`
}

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
	path := s.plan.GlabPath
	if path == "" {
		path = "glab"
	}
	asked := s.deps.Now()
	out, err := s.deps.Run(ctx, providers.Command{
		Path: path, Args: []string{"auth", "credential-helper"},
		Env: []string{"GITLAB_HOST=" + at.String(), "NO_PROMPT=true", "NO_COLOR=1", "GLAB_CHECK_UPDATE=false", "GLAB_CREDENTIAL_HELPER_SKIP_WRAPPER=1"},
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return token{}, s.fail(h, providers.Misconfigured, "install glab, or take out glab = true and run: regmint login "+h.String(), errors.New("glab is not installed"))
	case err != nil:
		return token{}, s.fail(h, providers.KindOf(err), login, fmt.Errorf("glab: %w", err))
	}
	var a glabAnswer
	if json.Unmarshal(out, &a) != nil || a.Type != "success" && a.Type != "error" {
		return token{}, s.fail(h, providers.Misconfigured, "bring glab up to date", errors.New("glab does not say its login: its auth credential-helper is too old or too new"))
	}
	secret := a.Token.Token
	if a.Type == "error" || secret == "" {
		return token{}, s.fail(h, providers.LoginRequired, login, errors.New("glab is not logged in to "+at.String()))
	}
	if other, ok := hostOf(a.Instance); !ok || other != at {
		return token{}, s.fail(h, providers.LoginRequired, login, fmt.Errorf("glab answers for %s, not for %s", httpx.Printable(a.Instance, 80), at))
	}
	if httpx.HasBreak(secret) {
		return token{}, s.fail(h, providers.Misconfigured, login, errors.New("the token of glab holds a line break"))
	}
	t := token{user: anyUser, secret: providers.NewSecret(secret), origin: "login of glab at " + at.String()}
	switch a.Token.Type {
	case "oauth2":
		t.oauth, t.expires = true, a.Token.Expires
		if !t.expires.IsZero() && !t.expires.After(asked) {
			return token{}, s.fail(h, providers.LoginRequired, login, errors.New("the login of glab has expired"))
		}
	case "job-token":
		return token{}, s.fail(h, providers.Misconfigured, `write identity = "job" instead of glab = true`, errors.New("glab has the token of a CI job, no login"))
	default:
		t.checked = true
	}
	return t, nil
}

// glabFiles are what a login or logout of glab changes.
func (s *source) glabFiles() []string {
	if s.deps.Home == "" {
		return nil
	}
	return []string{filepath.Join(s.deps.Home, ".config", "glab-cli", "config.yml")}
}
