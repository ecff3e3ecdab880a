// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
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

// profile is what az keeps a login in, below its configuration directory.
const profile = "azureProfile.json"

// notLoggedInFor bounds how long an az without a login is left alone; a new
// login changes its profile and ends that at once.
const notLoggedInFor = 5 * time.Minute

// azIdentity is the person or application that az is logged in as.
type azIdentity struct {
	s                    *source
	tenant, subscription string
}

// configDir is az's: the one configured, the caller's AZURE_CONFIG_DIR, else
// ~/.azure.
func (s *source) configDir() string {
	if d := firstOf(s.plan.AzConfigDir, s.deps.Env[envConfigDir]); d != "" {
		return d
	}
	if s.deps.Home == "" {
		return ""
	}
	return filepath.Join(s.deps.Home, ".azure")
}

func (s *source) azFiles() []string {
	dir := s.configDir()
	if dir == "" {
		return nil
	}
	var out []string
	for _, n := range []string{profile, "msal_token_cache.json", "msal_token_cache.bin", "service_principal_entries.json", "service_principal_entries.bin"} {
		out = append(out, filepath.Join(dir, n))
	}
	return out
}

// stamp changes with every login, logout and choice of a subscription.
func (a *azIdentity) stamp() string { return a.s.azStamp() }

func (s *source) azStamp() string {
	dir := s.configDir()
	if dir == "" {
		return ""
	}
	st, err := os.Stat(filepath.Join(dir, profile))
	if err != nil {
		return ""
	}
	return fmt.Sprint(st.ModTime().UnixNano(), " ", st.Size())
}

// errNoAz is an az that is not there, errNoLogin one that nobody is logged in
// with.
var (
	errNoAz    = errors.New("az is not installed")
	errNoLogin = errors.New("az is not logged in")
)

// az runs the program; nothing it writes can be a question.
func (s *source) az(ctx context.Context, limit time.Duration, args ...string) ([]byte, error) {
	c := providers.Command{Path: "az", Args: args, Limit: limit, Env: []string{
		"AZURE_CORE_ONLY_SHOW_ERRORS=true", "AZURE_CORE_NO_COLOR=true", "AZURE_CORE_COLLECT_TELEMETRY=false", "AZURE_CORE_LOGIN_EXPERIENCE_V2=off",
	}}
	if d := s.configDir(); d != "" {
		c.Env = append(c.Env, envConfigDir+"="+d)
	}
	if s.plan.AzConfigDir == "" && s.deps.Env[envConfigDir] != "" {
		// az runs the extensions below its configuration directory, and those that
		// its configuration names: a caller's variable chooses a login, no programs.
		c.Env = append(c.Env, "AZURE_EXTENSION_DIR="+filepath.Join(firstOf(s.deps.Home, os.DevNull), ".azure", "cliextensions"), "AZURE_EXTENSION_DEV_SOURCES=")
	}
	return s.deps.Run(ctx, c)
}

// token caches nothing: az is slow, but what it returns is kept by tokenCache.
func (a *azIdentity) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	if d := a.s.configDir(); d != "" && !filepath.IsAbs(d) { // relative to the caller's directory, which nobody knows here
		return entraToken{}, a.s.fail(h, providers.Misconfigured, errors.New(envConfigDir+" is no absolute path"))
	}
	args := []string{"account", "get-access-token", "-o", "json", "--resource", audience}
	switch { // az takes one of them
	case a.subscription != "":
		args = append(args, "--subscription", a.subscription)
	case a.tenant != "":
		args = append(args, "--tenant", a.tenant)
	}
	asked := a.s.deps.Now()
	out, err := a.s.az(ctx, 0, args...)
	if err != nil {
		return entraToken{}, a.explain(h, audience, err)
	}
	t, err := readAz(out, asked)
	if err == nil && !t.expires.After(a.s.deps.Now()) {
		err = errors.New("its token is already expired: check the clock of this machine")
	}
	if err != nil {
		return entraToken{}, a.s.fail(h, providers.Unavailable, fmt.Errorf("az: %w", err))
	}
	return t, nil
}

// readAz reads {"accessToken", "expires_on": Unix seconds, "expiresOn": local
// time, "tenant"}; expires_on came with az 2.54.
func readAz(out []byte, asked time.Time) (entraToken, error) {
	v, err := httpx.ParseJSON(out)
	m, _ := v.(map[string]any)
	if err != nil {
		return entraToken{}, err
	}
	token, _ := m["accessToken"].(string)
	value, end, err := tokenIn(map[string]any{"access_token": token}, asked)
	if err != nil {
		return entraToken{}, err
	}
	t := entraToken{value: value, asked: asked, expires: end, via: "az"}
	if n, ok := number(m["expires_on"]); ok && n > 0 {
		t.expires = time.Unix(n, 0)
	} else if text, _ := m["expiresOn"].(string); text != "" {
		local, err := time.ParseInLocation("2006-01-02 15:04:05.999999", text, time.Local)
		if err != nil {
			return entraToken{}, errors.New("the answer's expiresOn is no time")
		}
		t.expires = local
	}
	t.read()
	if tenant, _ := m["tenant"].(string); t.tenant == "" {
		t.tenant = httpx.Printable(tenant, 100)
	}
	return t, nil
}

// explain words what az wrote to stderr.
func (a *azIdentity) explain(h providers.Host, audience string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: errNoAz, Hint: "install it, or set identity"}
	}
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Err == nil {
		return err
	}
	login := "run: az login"
	if a.tenant != "" {
		login += " --tenant " + a.tenant
	}
	text := e.Err.Error()
	if w, known := aadsts[aadstsIn(text)]; known {
		c := circumstances{host: h, app: "az", tenant: a.tenant, resource: audience, loginRequired: login}
		return &providers.Error{Kind: w.kind, Host: h, Err: fmt.Errorf("az: %s (AADSTS%d)", c.fill(w.text), aadstsIn(text)), Hint: c.fill(w.hint)}
	}
	switch {
	case strings.Contains(text, "setup account"):
		return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errNoLogin, Hint: login}
	case strings.Contains(text, "az login"), aadstsIn(text) != 0:
		return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: e.Err, Hint: login}
	}
	out := *e
	out.Host = h
	return &out
}
