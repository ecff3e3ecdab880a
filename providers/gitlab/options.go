// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The identities an account may have.
const (
	byAmbient = ""       // the variables of the CI job that asks
	byToken   = "token"  // password: an access token or a deploy token
	byDevice  = "device" // client_id: a login in the browser
	byGlab    = "glab"
	byJob     = "job"    // the caller's CI_JOB_TOKEN, at the account's hosts
	byDeploy  = "deploy" // the caller's CI_DEPLOY_USER and CI_DEPLOY_PASSWORD
)

// Identity is the value of the option identity. In TOML it is its Kind.
type Identity struct {
	Kind string
	// Refs are the variables it stands for: the caller sends those that an
	// account names.
	Refs []providers.SecretRef
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Identity) UnmarshalText(b []byte) error {
	names, ok := map[string][]string{"": nil, byJob: {envJobToken}, byDeploy: {envDeployUser, envDeployPassword}}[string(b)]
	if !ok {
		return errors.New("identity is job or deploy")
	}
	*i = Identity{Kind: string(b)}
	for _, n := range names {
		i.Refs = append(i.Refs, providers.SecretRef{Scheme: "env", Value: n})
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.Kind), nil }

// Options are the keys of a gitlab account.
type Options struct {
	URL      string   `toml:"url" doc:"URL of GitLab itself, where the registry has another name; default: https://gitlab.com for its registry, else what the registry's challenge says"`
	Identity Identity `toml:"identity" doc:"whose variables log in, in a CI job: job (CI_JOB_TOKEN) or deploy (CI_DEPLOY_USER, CI_DEPLOY_PASSWORD)" enum:"job,deploy"`
	ClientID string   `toml:"client_id" doc:"id of an OAuth application of GitLab, not confidential, for a login in the browser"`
	Glab     bool     `toml:"glab" doc:"use the login of glab"`
	GlabPath string   `toml:"glab_path" doc:"absolute path of glab; default: looked up in PATH"`

	Project     string            `toml:"project" doc:"id or path of the project to make a token in for each job; the account's own token needs the scope api"`
	Group       string            `toml:"group" doc:"id or path of the group to make a token in for each job, instead of project"`
	Scopes      providers.Strings `toml:"scopes" doc:"scopes of tokens made for jobs, or of the login in the browser; default: read_registry, and write_registry where pushes are asked for"`
	AccessLevel string            `toml:"access_level" doc:"role of tokens made for jobs; default: reporter to pull, developer to push, maintainer to delete" enum:"guest,reporter,developer,maintainer,owner"`
	TokenOwner  string            `toml:"token_owner" doc:"projects/ID or groups/ID: whose token password is, where it is no personal one; needed to rotate it"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	var out []string
	for _, r := range o.Identity.Refs {
		out = append(out, r.Value)
	}
	return out
}

// perJob reports an account that makes a token for each job.
func (o *Options) perJob() bool { return o.Project != "" || o.Group != "" }

// plan is a checked account.
type plan struct {
	Options
	kind string
	base string // of GitLab; "" = by the host
}

var levels = map[string]int{"guest": 10, "reporter": 20, "developer": 30, "maintainer": 40, "owner": 50}

// compile checks everything that can be checked without a request.
func compile(a providers.Account, o *Options) (*plan, error) {
	p := &plan{Options: *o}
	if err := p.choose(a); err != nil {
		return nil, err
	}
	switch {
	case a.Endpoint != "":
		return nil, errors.New("endpoint has no meaning here: set url")
	case httpx.HasBreak(a.Username):
		return nil, errors.New("username holds a line break or a NUL byte")
	case o.Project != "" && o.Group != "":
		return nil, errors.New("project and group do not go together")
	case o.AccessLevel != "" && levels[o.AccessLevel] == 0:
		return nil, errors.New("access_level is guest, reporter, developer, maintainer or owner")
	case o.AccessLevel != "" && !o.perJob():
		return nil, errors.New("access_level is for tokens made for jobs: set project or group")
	case len(o.Scopes) > 0 && !o.perJob() && p.kind != byDevice:
		return nil, errors.New("scopes are for tokens made for jobs and for a login in the browser: set project, group or client_id")
	case o.perJob() && (p.kind == byJob || p.kind == byDeploy || p.kind == byAmbient):
		return nil, errors.New("tokens are made for jobs with a token of a person: set password, client_id or glab")
	case (a.Rotate > 0 || !a.RotateTo.IsZero()) && p.kind != byToken:
		return nil, errors.New("rotate has no meaning here: it is for an access token in password")
	case o.GlabPath != "" && (!o.Glab || !filepath.IsAbs(o.GlabPath)):
		return nil, errors.New("glab_path is an absolute path, with glab = true")
	case o.TokenOwner != "" && !isOwner(o.TokenOwner):
		return nil, errors.New("token_owner is projects/ID or groups/ID")
	}
	for _, s := range o.Scopes {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return nil, errors.New("scopes hold something that is no scope")
		}
	}
	for key, v := range map[string]string{"project": o.Project, "group": o.Group} {
		if strings.Trim(v, "/") != v || strings.ContainsAny(v, " ?#%\\") || httpx.HasBreak(v) || strings.Contains(v, "..") {
			return nil, fmt.Errorf("%s is an id, or a path without the host: acme/app", key)
		}
	}
	return p, p.settle(a.PlainHTTP)
}

// settle checks the URL of GitLab. plain is an account that goes without TLS.
func (p *plan) settle(plain bool) error {
	if p.URL == "" {
		return nil
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("url is no absolute URL without user name and query")
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return errors.New("url names no valid host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !h.IsLoopback() && !plain) {
		return errors.New("url is no https URL; http takes plain_http = true")
	}
	p.base = strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/")
	return nil
}

// choose settles the identity and refuses what does not go together.
func (p *plan) choose(a providers.Account) error {
	var set []string
	for _, k := range []struct {
		key, kind string
		on        bool
	}{
		{"identity", p.Identity.Kind, p.Identity.Kind != ""}, {"client_id", byDevice, p.ClientID != ""}, {"glab", byGlab, p.Glab},
	} {
		if k.on {
			set, p.kind = append(set, k.key), k.kind
		}
	}
	switch {
	case len(set) > 1:
		return fmt.Errorf("%s do not go together", strings.Join(set, " and "))
	case p.kind == byDevice:
		if strings.Trim(p.ClientID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return errors.New("client_id has a character that no id has")
		}
		if !a.Password.IsZero() && a.Password.Scheme != "keyring" {
			return errors.New("client_id needs a password that can be written: keyring:NAME")
		}
	case p.kind != byAmbient:
		if !a.Password.IsZero() {
			return fmt.Errorf("password does not go with %s", set[0])
		}
	case !a.Password.IsZero():
		p.kind = byToken
	case a.Layer != providers.LayerAmbient:
		return errNoIdentity
	}
	return nil
}

var errNoIdentity = errors.New(`nothing says who logs in: set password, client_id, glab = true, or identity = "job" in CI`)

func isOwner(s string) bool {
	kind, id, ok := strings.Cut(s, "/")
	return ok && (kind == "projects" || kind == "groups") && id != "" && strings.Trim(id, "0123456789") == ""
}
