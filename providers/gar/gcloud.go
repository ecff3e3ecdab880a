// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// gcloud is an account that gcloud is logged in to.
type gcloud struct {
	s             *source
	configuration string
	account       string

	got *access // of answers, for the mint that follows
}

// gcloudLimit bounds one call: it starts an interpreter.
const gcloudLimit = 20 * time.Second

// renewAt makes gcloud renew its own cached token where less is left.
const renewAt = "30m"

// answers reports whether gcloud is there and has an account. The token it
// gives on the way is kept. A caller who names an account or a configuration
// gets no other identity in its place.
func (g *gcloud) answers(ctx context.Context, h providers.Host) (bool, error) {
	a, err := g.ask(ctx, h)
	switch {
	case err == nil:
		g.got = &a
		return true, nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoGcloudAccount):
		return false, err
	}
	if name := g.s.namesGcloud(); name != "" {
		why := "gcloud is not logged in as that"
		if errors.Is(err, fs.ErrNotExist) {
			why = "gcloud is not installed"
		}
		return false, g.s.fail(h, providers.LoginRequired, g.login(), fmt.Errorf("%s is set, and %s", name, why))
	}
	return false, nil
}

// namesGcloud is the caller's variable that names an identity of gcloud's; ""
// where there is none.
func (s *source) namesGcloud() string {
	for _, n := range []string{envImpersonate, envAccount, envConfiguration} {
		if s.deps.Env[n] != "" {
			return n
		}
	}
	return ""
}

// hasGcloud reports whether gcloud may be logged in. Any command of gcloud makes
// its data bases; a login writes its account into a configuration, too. To start
// gcloud for the answer takes a second.
func hasGcloud(dir string) bool {
	for _, f := range credentialFiles {
		if _, err := os.Stat(filepath.Join(dir, f)); dir != "" && err == nil {
			return hasAccount(dir)
		}
	}
	return false
}

// hasAccount reports whether the active configuration names an account, or
// cannot be read.
func hasAccount(dir string) bool {
	active, err := readFile(filepath.Join(dir, "active_config"))
	name := strings.TrimSpace(string(active))
	if errors.Is(err, fs.ErrNotExist) {
		name, err = "default", nil
	}
	if err != nil || name == "" || name != filepath.Base(name) {
		return true
	}
	text, err := readFile(filepath.Join(dir, "configurations", "config_"+name))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "account" && strings.TrimSpace(value) != "" {
			return true
		}
	}
	return false
}

func (g *gcloud) token(ctx context.Context, c call) (access, error) {
	if g.got != nil {
		return *g.got, nil
	}
	return g.ask(ctx, c.host)
}

var errNoGcloudAccount = errors.New("gcloud has no active account")

// ask runs `gcloud config config-helper`, which answers for other programs:
//
//	{"configuration":{"active_configuration":"default","properties":{"core":{"account":"…"}}},
//	 "credential":{"access_token":"…","token_expiry":"2026-11-21T08:25:11Z"}}
func (g *gcloud) ask(ctx context.Context, h providers.Host) (access, error) {
	args := []string{"config", "config-helper", "--format=json", "--verbosity=error", "--min-expiry=" + renewAt}
	if g.configuration != "" {
		// gcloud itself goes on with none and says that nobody is logged in.
		if dir := g.s.configDir(); dir != "" {
			if _, err := os.Stat(filepath.Join(dir, "configurations", "config_"+g.configuration)); errors.Is(err, fs.ErrNotExist) {
				return access{}, g.s.fail(h, providers.Misconfigured, "gcloud config configurations list shows them", fmt.Errorf("gcloud has no configuration %q", g.configuration))
			}
		}
		args = append(args, "--configuration="+g.configuration)
	}
	if g.account != "" {
		args = append(args, "--account="+g.account)
	}
	b, err := g.s.runGcloud(ctx, args...)
	if err != nil {
		return access{}, g.refused(h, err)
	}
	var out struct {
		Configuration struct {
			Properties struct {
				Core struct {
					Account string `json:"account"`
				} `json:"core"`
			} `json:"properties"`
		} `json:"configuration"`
		Credential struct {
			AccessToken string `json:"access_token"`
			Expiry      string `json:"token_expiry"`
		} `json:"credential"`
	}
	if _, perr := httpx.ParseJSON(b); perr != nil || json.Unmarshal(b, &out) != nil {
		return access{}, g.s.fail(h, providers.Unavailable, "", errors.New("gcloud wrote no JSON; is it up to date?"))
	}
	t := out.Credential.AccessToken
	if t == "" || httpx.HasBreak(t) {
		return access{}, g.s.fail(h, providers.LoginRequired, g.login(), errNoGcloudAccount)
	}
	a := access{value: providers.NewSecret(t), who: httpx.Printable(out.Configuration.Properties.Core.Account, 120)}
	if g.account != "" {
		a.who = g.account
	}
	if a.who == "" {
		a.who = "the account of gcloud"
	}
	if target := g.s.deps.Env[envImpersonate]; target != "" {
		a.who = httpx.Printable(target, 120) + ", impersonated by " + a.who
	}
	a.origin = "gcloud as " + a.who
	if out.Credential.Expiry != "" {
		if a.expires, err = time.Parse(time.RFC3339, out.Credential.Expiry); err != nil {
			return access{}, g.s.fail(h, providers.Unavailable, "", errors.New("gcloud wrote a token_expiry that is no date"))
		}
	}
	return a, nil
}

// login is the command that mends a login of gcloud.
func (g *gcloud) login() string {
	s := "run: gcloud auth login"
	if g.account != "" {
		s += " " + g.account
	}
	if g.configuration != "" {
		s += " --configuration=" + g.configuration
	}
	return s
}

// refused sorts what gcloud says on stderr.
func (g *gcloud) refused(h providers.Host, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok {
		return g.s.hosted(h, err)
	}
	text := strings.ToLower(e.Error())
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("gcloud is not installed: %w", fs.ErrNotExist), Hint: "set gcloud_path"}
	case has("active account", "no credentialed accounts", "do not currently have"):
		return g.s.fail(h, providers.LoginRequired, g.login(), errNoGcloudAccount)
	case has("reauthentication", "invalid_rapt"):
		return g.s.fail(h, providers.LoginRequired, g.login(), errors.New("gcloud: your organisation asks for a new login"))
	case has("invalid_grant", "refreshing your current auth tokens", "refreshing auth tokens", "gcloud auth login", "expired or revoked"):
		return g.s.fail(h, providers.LoginRequired, g.login(), errors.New("gcloud: its login is expired or revoked"))
	case has("impersonate", "getaccesstoken"):
		return g.s.fail(h, providers.Denied, "it needs "+roleCreator+" on it", errors.New("gcloud: it may not impersonate the service account"))
	}
	return g.s.hosted(h, err)
}

// runGcloud finds and runs gcloud with the caller's choice of configuration.
func (s *source) runGcloud(ctx context.Context, args ...string) ([]byte, error) {
	env := []string{"CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=1"}
	for _, n := range []string{envConfigDir, envConfiguration, envAccount, envImpersonate} {
		if v := s.deps.Env[n]; v != "" && !strings.ContainsRune(v, 0) {
			env = append(env, n+"="+v)
		}
	}
	if p := s.account.HTTPSProxy; p != "" {
		env = append(env, "HTTPS_PROXY="+p, "https_proxy="+p)
	}
	paths := []string{s.plan.GcloudPath}
	if s.plan.GcloudPath == "" {
		paths = []string{"gcloud"}
		if s.deps.Home != "" {
			paths = append(paths, filepath.Join(s.deps.Home, "google-cloud-sdk", "bin", "gcloud"))
		}
	}
	var b []byte
	var err error
	for _, p := range paths {
		b, err = s.deps.Run(ctx, providers.Command{Path: p, Args: args, Env: env, Limit: gcloudLimit})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return b, err
}
