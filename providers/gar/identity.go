// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// The caller's variables that select an ambient identity.
const (
	envCredentials   = "GOOGLE_APPLICATION_CREDENTIALS"
	envConfigDir     = "CLOUDSDK_CONFIG"
	envConfiguration = "CLOUDSDK_ACTIVE_CONFIG_NAME"
	envAccount       = "CLOUDSDK_CORE_ACCOUNT"
	envImpersonate   = "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"

	// The names that GitLab's manual gives to a workload identity provider, and
	// to the token for it.
	envProject    = "GCP_PROJECT_NUMBER"
	envPool       = "GCP_WORKLOAD_IDENTITY_FEDERATION_POOL_ID"
	envProvider   = "GCP_WORKLOAD_IDENTITY_FEDERATION_PROVIDER_ID"
	envServiceAcc = "GCP_SERVICE_ACCOUNT"
	envIDToken    = "GCP_ID_TOKEN"
)

// envNames are those, those of the CI systems' identity tokens, and those that
// an external_account proves an AWS identity with.
func envNames() []string {
	out := []string{
		envCredentials, envConfigDir, envConfiguration, envAccount, envImpersonate,
		envProject, envPool, envProvider, envServiceAcc, envIDToken,
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
	}
	return append(out, oidc.EnvNames()...)
}

// call is what a token is asked for.
type call struct {
	host   providers.Host
	scopes []string
}

// access is an access token.
type access struct {
	value   providers.Secret
	life    time.Duration // from when it was asked for; 0: not said
	expires time.Time     // where the answer has a date of its own; it wins
	most    time.Duration // the life that was asked for: a date by Google's clock gives no more; 0: not asked
	scoped  bool          // it has the scopes of the call
	who     string        // an address, or another name for people
	origin  string
}

// identity can have access tokens. Errors are *Error.
type identity interface {
	token(ctx context.Context, c call) (access, error)
}

// find opens the identity of the account. Files are read for every mint: other
// programs renew them.
func (s *source) find(ctx context.Context, h providers.Host) (identity, error) {
	switch s.plan.identity {
	case "key":
		return s.reference(ctx, h, s.plan.Key, "service_account")
	case "credentials":
		return s.reference(ctx, h, s.plan.Credentials, "")
	case "workload_identity_provider":
		return s.federated(s.plan.provider, s.plan.WebIdentity, s.plan.Audience), nil
	case "gcloud_configuration":
		return &gcloud{s: s, configuration: s.plan.GcloudConfiguration, account: s.plan.GcloudAccount}, nil
	case "metadata":
		return &metadata{s: s, account: s.plan.Metadata}, nil
	}
	return s.search(ctx, h)
}

// reference reads a credentials JSON, as it is or in base64.
func (s *source) reference(ctx context.Context, h providers.Host, ref providers.SecretRef, want string) (identity, error) {
	v, err := httpx.Resolve(ctx, s.deps, h, ref)
	if err != nil {
		return nil, err
	}
	return s.fromJSON(h, ref.String(), decodeJSON(v.Reveal()), want)
}

// search looks where Google's tools look, in their order: the caller's
// variables, its CI, application-default credentials, gcloud, the metadata
// server.
func (s *source) search(ctx context.Context, h providers.Host) (identity, error) {
	if name := s.deps.Env[envCredentials]; name != "" {
		if !isAbs(name) {
			return nil, s.fail(h, providers.Misconfigured, "write its absolute path", fmt.Errorf("%s is a relative path", envCredentials))
		}
		b, err := readFile(name)
		if err != nil {
			return nil, s.fail(h, providers.Misconfigured, "the agent must be able to read it", fmt.Errorf("%s: %s: %w", envCredentials, httpx.Printable(name, 200), err))
		}
		return s.fromJSON(h, name, b, "")
	}
	if id := s.ci(); id != nil {
		return id, nil
	}
	dir := s.configDir()
	if name := adcFile(dir); name != "" {
		b, err := readFile(name)
		if err == nil {
			return s.fromJSON(h, name, b, "")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s: %w", httpx.Printable(name, 200), err))
		}
	}
	if s.namesGcloud() != "" || hasGcloud(dir) {
		g := &gcloud{s: s}
		if there, err := g.answers(ctx, h); err != nil || there {
			return g, err
		}
	}
	if there, err := s.machine.has(ctx, s.metadataURL(), s.http, h); err != nil {
		return nil, err
	} else if there {
		return &metadata{s: s, account: "default"}, nil
	}
	if s.account.Layer == providers.LayerAmbient {
		return nil, s.fail(h, providers.NoAccount, "", errors.New("no Google credentials here: no "+envCredentials+", no gcloud login, no metadata server"))
	}
	return nil, noIdentity(s.fail(h, providers.NoAccount, "", nil))
}

// loginHint names the ways in.
func loginHint(h providers.Host) string {
	return "run: gcloud auth login, or with a key: regmint login " + h.String() + " -u _json_key --password-stdin"
}

func (s *source) fail(h providers.Host, k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Hint: hint, Err: err}
}

// ci is the identity of a CI job that says which pool and provider it is for.
func (s *source) ci() identity {
	env := s.deps.Env
	provider, err := providerName(fmt.Sprintf("projects/%s/locations/global/workloadIdentityPools/%s/providers/%s", env[envProject], env[envPool], env[envProvider]))
	if err != nil {
		return nil
	}
	r, there := oidc.Ambient(env)
	if env[envIDToken] != "" {
		r, err = oidc.ParseRef("env:" + envIDToken)
		there = err == nil
	}
	if !there {
		return nil
	}
	id := s.federated(provider, r, "")
	if account := env[envServiceAcc]; isAddress(account) {
		return &impersonation{s: s, from: id, account: account}
	}
	return id
}

// configDir is gcloud's directory; "" = none.
func (s *source) configDir() string {
	if d := s.deps.Env[envConfigDir]; d != "" {
		if isAbs(d) {
			return d
		}
		return ""
	}
	switch {
	case s.deps.Home == "":
		return ""
	case runtime.GOOS == "windows":
		return filepath.Join(s.deps.Home, "AppData", "Roaming", "gcloud")
	}
	return filepath.Join(s.deps.Home, ".config", "gcloud")
}

func adcFile(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "application_default_credentials.json")
}

// credentialFiles are where gcloud keeps its logins; none of them: nobody is
// logged in, and there is no need to start it.
var credentialFiles = []string{"credentials.db", "access_tokens.db", "legacy_credentials"}

// ambientFiles are the files that the search reads.
func (s *source) ambientFiles() []string {
	var out []string
	if name := s.deps.Env[envCredentials]; isAbs(name) && s.plan.identity == "" {
		out = append(out, name)
	}
	dir := s.configDir()
	if dir == "" {
		return out
	}
	out = append(out, filepath.Join(dir, credentialFiles[0]), filepath.Join(dir, "active_config"))
	if s.plan.identity == "" {
		out = append(out, adcFile(dir))
	}
	name := s.plan.GcloudConfiguration
	if name == "" {
		name = s.deps.Env[envConfiguration]
	}
	if name != "" && name == filepath.Base(name) {
		out = append(out, filepath.Join(dir, "configurations", "config_"+name))
	}
	return out
}

func isAbs(name string) bool { return filepath.IsAbs(name) }

// maxFile is more than any credentials file has.
const maxFile = 1 << 20

// readFile reads a regular file: a pipe would never end.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(b) > maxFile:
		return nil, errors.New("larger than 1 MiB")
	}
	return b, nil
}

// cause drops the path, which the message has already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
