// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The variables of a CI job (docs.gitlab.com/ci/variables/predefined_variables).
const (
	envJobToken       = "CI_JOB_TOKEN"
	envRegistry       = "CI_REGISTRY"
	envProxy          = "CI_DEPENDENCY_PROXY_SERVER"
	envDeployUser     = "CI_DEPLOY_USER"
	envDeployPassword = "CI_DEPLOY_PASSWORD"
	envProject        = "CI_PROJECT_PATH"
	envServer         = "CI_SERVER_HOST"
	envServerPort     = "CI_SERVER_PORT"
)

// jobUser is the user name that goes with job tokens.
const jobUser = "gitlab-ci-token"

// saas are the names of gitlab.com: GitLab itself, which is the Dependency
// Proxy too, and its registry.
var saas = []string{"gitlab.com", "registry.gitlab.com"}

const saasURL = "https://gitlab.com"

// Match implements providers.Provider.
func (Provider) Match(h providers.Host) bool { return slices.Contains(saas, h.String()) }

// Env implements providers.Provider.
func (Provider) Env() []string {
	return []string{envJobToken, envRegistry, envProxy, envDeployUser, envDeployPassword, envProject, envServer, envServerPort}
}

// Claims implements providers.Claimer: the registry and the Dependency Proxy
// of the instance whose job asks.
func (Provider) Claims(env map[string]string) []providers.Host {
	var out []providers.Host
	if env[envJobToken] == "" && env[envDeployPassword] == "" {
		return nil
	}
	for _, name := range []string{envRegistry, envProxy} {
		if h, ok := hostIn(env, name); ok && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// MintedUser implements providers.MintedUser: job tokens alone go with their
// name, and end with their job. The names that stand where GitLab wants any are
// nobody's either, but people may keep long-lived secrets under them.
func (Provider) MintedUser(_ providers.Host, user string, secret providers.Secret, now time.Time) (time.Duration, bool) {
	if user != jobUser {
		return 0, secret.IsZero() && (user == anyUser || user == oauthUser)
	}
	token := secret.Reveal()
	if rest, ok := strings.CutPrefix(token, "glcbt-"); ok { // glcbt-64_eyJ…
		_, token, _ = strings.Cut(rest, "_")
	}
	if exp, ok := httpx.JWTExpiry(token); ok {
		return max(exp.Sub(now), 0), true
	}
	return usualJob, true
}

// usualJob is how long a job may run unless somebody says otherwise.
const usualJob = time.Hour

// hostIn is the host in a variable; CI variables hold :443, hosts do not.
func hostIn(env map[string]string, name string) (providers.Host, bool) {
	h, err := providers.ParseHost(env[name])
	return h, err == nil && !h.IsZero()
}

// fromCaller is the token of the job that asks. It goes to the registry and
// the Dependency Proxy of its own instance and to no other host.
func (s *source) fromCaller(h providers.Host) (token, error) {
	env := s.deps.Env
	registry, isRegistry := hostIn(env, envRegistry)
	proxy, isProxy := hostIn(env, envProxy)
	switch {
	case !(isRegistry && registry == h) && !(isProxy && proxy == h):
		return token{}, s.fail(h, providers.NoAccount, "run: regmint login "+h.String(), errors.New("no GitLab login, and not the registry of a GitLab job"))
	case env[envJobToken] != "":
		return jobToken(env, env[envJobToken], s, h)
	case isRegistry && registry == h && env[envDeployUser] != "" && env[envDeployPassword] != "":
		return deployToken(env[envDeployUser], env[envDeployPassword], s, h)
	}
	return token{}, s.fail(h, providers.NoAccount, "run: regmint login "+h.String(), errors.New(envJobToken+" is not set"))
}

// fromVariables is the same where the account says so: at its hosts.
func (s *source) fromVariables(ctx context.Context, h providers.Host) (token, error) {
	read := func(name string) (string, error) {
		v, err := httpx.Resolve(ctx, s.deps, h, providers.SecretRef{Scheme: "env", Value: name})
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.Misconfigured {
			said := *e
			said.Hint = givers[s.plan.kind]
			return "", &said
		}
		return v.Reveal(), err
	}
	if s.plan.kind == byJob {
		v, err := read(envJobToken)
		if err != nil {
			return token{}, err
		}
		return jobToken(nil, v, s, h)
	}
	user, err := read(envDeployUser)
	if err != nil {
		return token{}, err
	}
	v, err := read(envDeployPassword)
	if err != nil {
		return token{}, err
	}
	return deployToken(user, v, s, h)
}

// givers are where the variables of an identity come from.
var givers = map[string]string{
	byJob:    "GitLab sets it in its CI jobs",
	byDeploy: "GitLab sets it in CI jobs of a project with a deploy token named gitlab-deploy-token",
}

func jobToken(env map[string]string, v string, s *source, h providers.Host) (token, error) {
	t := token{user: jobUser, secret: providers.NewSecret(v), origin: "CI job"}
	if p := env[envProject]; p != "" {
		t.origin += " of " + httpx.Printable(p, 100)
	}
	return t, s.whole(h, envJobToken, v)
}

func deployToken(user, v string, s *source, h providers.Host) (token, error) {
	t := token{user: user, secret: providers.NewSecret(v), origin: "deploy token " + httpx.Printable(user, 100)}
	return t, s.whole(h, envDeployPassword, v+user)
}

// whole refuses what not every client carries through.
func (s *source) whole(h providers.Host, name, v string) error {
	if httpx.HasBreak(v) {
		return s.fail(h, providers.Misconfigured, "", errors.New(name+" holds a line break or a NUL byte"))
	}
	return nil
}

// isDeploy reports what is certain to be a deploy token.
func isDeploy(user string, secret providers.Secret) bool {
	return strings.HasPrefix(user, "gitlab+deploy-token") || strings.HasPrefix(secret.Reveal(), "gldt-")
}

// realms are the hosts that may see the login besides the registry: GitLab
// itself, by the account or by the variables of the job whose token it is.
func (s *source) realms(h providers.Host) []providers.Host {
	var out []providers.Host
	if base := s.knownBase(h); base != "" {
		if at, ok := hostOf(base); ok {
			out = append(out, at)
		}
	}
	if s.plan.kind == byAmbient {
		env := s.deps.Env
		if at, ok := hostIn(env, envProxy); ok {
			out = append(out, at)
		}
		name := env[envServer]
		if p := env[envServerPort]; p != "" && p != "80" && name != "" { // an address by http has no port in it
			name += ":" + p
		}
		if at, err := providers.ParseHost(name); err == nil {
			out = append(out, at)
		}
	}
	return out
}
