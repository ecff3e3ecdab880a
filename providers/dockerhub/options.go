// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// The product's own addresses, and the public client of the docker command at
// its OAuth tenant.
const (
	hubAPI      = "https://hub.docker.com"
	loginURL    = "https://login.docker.com"
	identityURL = "https://identity.docker.com"
	cliClient   = "L4v0dmlNBpYUjGGab0C2JtgTgXr1Qz4d"
)

// The bounds of a federated token's life: those of docker/login-action 4.6.
const (
	minLife     = 5 * time.Minute
	maxLife     = 6 * time.Hour
	defaultLife = 5 * time.Minute
)

// Options are the keys of a dockerhub account. identity = "device" and
// oidc_connection say who it is; without them it is username and password.
type Options struct {
	Identity string `toml:"identity" doc:"who it is: password, device (a person's login with a code in the browser) or oidc; default: what the other keys say"`

	OIDCConnection string             `toml:"oidc_connection" doc:"id of an OIDC connection of the organisation, from Docker Home"`
	Organization   string             `toml:"organization" doc:"organisation of the OIDC connection; it is the user name"`
	WebIdentity    oidc.Ref           `toml:"web_identity" doc:"identity token for oidc_connection: github, env:NAME, file:/PATH or exec:/PATH"`
	Audience       string             `toml:"audience" doc:"audience of the identity token" default:"https://identity.docker.com"`
	TokenLife      providers.Duration `toml:"token_life" doc:"life of the tokens of oidc_connection: 5m to 6h" default:"5m"`

	TwoFactorCode providers.SecretRef `toml:"two_factor_code" doc:"reference that gives the present code of two-factor authentication, for API tokens made with a password"`

	ClientID         string `toml:"client_id" doc:"OAuth client of the device login; default: the docker command's"`
	LoginEndpoint    string `toml:"login_endpoint" doc:"URL that replaces https://login.docker.com"`
	IdentityEndpoint string `toml:"identity_endpoint" doc:"URL that replaces https://identity.docker.com"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	out := o.WebIdentity.EnvRefs()
	if o.TwoFactorCode.Scheme == "env" {
		out = append(out, o.TwoFactorCode.Value)
	}
	return out
}

// kind is a way to be somebody; "" = nobody.
type kind string

const (
	byPassword kind = "password"
	byDevice   kind = "device"
	byOIDC     kind = "oidc"
)

// plan is what options and ambient variables come to.
type plan struct {
	Options
	kind kind
	life time.Duration // of federated tokens
	why  string        // why there is nobody

	api, login, identity string // without a slash at the end
}

// compile checks everything that can be checked without a request.
func compile(a providers.Account, o *Options, env map[string]string) (*plan, error) {
	p := &plan{Options: *o, kind: kind(o.Identity), life: time.Duration(o.TokenLife), api: a.Endpoint, login: o.LoginEndpoint, identity: o.IdentityEndpoint}
	if p.ClientID == "" {
		p.ClientID = cliClient
	}
	for key, at := range map[string]struct {
		url    *string
		preset string
	}{"endpoint": {&p.api, hubAPI}, "login_endpoint": {&p.login, loginURL}, "identity_endpoint": {&p.identity, identityURL}} {
		if *at.url == "" {
			*at.url = at.preset
			continue
		}
		if !isEndpoint(*at.url) {
			return nil, bad(a, errors.New(key+" is no https URL"), "")
		}
		*at.url = strings.TrimRight(*at.url, "/")
	}
	if p.Audience == "" {
		p.Audience = p.identity
	}
	if a.Layer == providers.LayerAmbient {
		return p, p.recognise(env)
	}
	if p.kind == "" {
		p.kind = byPassword
		if o.OIDCConnection != "" {
			p.kind = byOIDC
		}
	}
	if p.Organization == "" && p.kind == byOIDC {
		p.Organization = a.Username
	}
	return p, p.check(a)
}

// recognise reads the variables of a CI job. What does not say enough is
// nobody; what says enough and is wrong is an error.
func (p *plan) recognise(env map[string]string) error {
	id := strings.TrimSpace(env[envConnection])
	if id == "" {
		return nil
	}
	switch {
	case env[envOrganization] == "":
		p.why = "no login to Docker Hub: " + envConnection + " is set, " + envOrganization + " is not"
		return nil
	case env[oidc.GitHubURL] == "" || env[oidc.GitHubToken] == "":
		p.why = "no login to Docker Hub: " + envConnection + " is set, but the job lacks permissions: id-token: write"
		return nil
	case !isUUID(id):
		return &providers.Error{Kind: providers.Misconfigured, Host: providers.DockerHub, Err: errors.New(envConnection + " is no UUID")}
	}
	p.kind, p.OIDCConnection, p.Organization = byOIDC, id, strings.TrimSpace(env[envOrganization])
	ref, err := oidc.ParseRef("github")
	if err != nil {
		return err
	}
	p.WebIdentity, p.life = ref, defaultLife
	if s := strings.TrimSpace(env[envLife]); s != "" {
		n, err := strconv.Atoi(s)
		if p.life = time.Duration(n) * time.Second; err != nil || p.life < minLife || p.life > maxLife {
			return &providers.Error{Kind: providers.Misconfigured, Host: providers.DockerHub, Err: errors.New(envLife + " is not between 300 and 21600 (seconds)")}
		}
	}
	if !isName(p.Organization) {
		return &providers.Error{Kind: providers.Misconfigured, Host: providers.DockerHub, Err: errors.New(envOrganization + " is no name of an organisation")}
	}
	return nil
}

func (p *plan) check(a providers.Account) error {
	if a.PlainHTTP {
		return bad(a, errors.New("reached by https alone"), "take plain_http out")
	}
	if a.Rotate > 0 || !a.RotateTo.IsZero() {
		return bad(a, errors.New("rotate has no meaning here: Docker Hub has no way to replace a token by itself"), "take rotate out, and let what the password refers to change")
	}
	switch p.kind {
	case byPassword:
		return p.checkPassword(a)
	case byDevice:
		return p.checkDevice(a)
	case byOIDC:
		return p.checkOIDC(a)
	}
	return bad(a, fmt.Errorf("identity %q: write password, device or oidc", httpx.Printable(p.Identity, 40)), "")
}

func (p *plan) checkPassword(a providers.Account) error {
	switch {
	case p.OIDCConnection != "" || p.Organization != "" || !p.WebIdentity.IsZero() || p.TokenLife != 0:
		return bad(a, errors.New("oidc_connection, organization, web_identity and token_life belong to an OIDC connection"), `take identity = "password" out, or them`)
	case a.Username == "":
		return bad(a, errors.New("no username"), "set username, or run: regmint login docker.io")
	case httpx.HasBreak(a.Username):
		return bad(a, errors.New("username holds a line break or a NUL byte"), "")
	case a.Password.IsZero():
		return bad(a, errors.New("no password"), "set password to a reference, or run: regmint login docker.io")
	}
	return nil
}

func (p *plan) checkDevice(a providers.Account) error {
	switch {
	case p.OIDCConnection != "" || p.Organization != "" || !p.WebIdentity.IsZero() || p.TokenLife != 0:
		return bad(a, errors.New("oidc_connection, organization, web_identity and token_life do not go with a device login"), "")
	case !a.Password.IsZero() && a.Password.Scheme != "keyring":
		return bad(a, errors.New("a device login is kept and renewed in the keyring alone"), "write password = \"keyring:NAME\"")
	case a.ExpiresIn != 0:
		return bad(a, errors.New("expires_in has no meaning here: Docker Hub says how long a login lives"), "")
	}
	return nil
}

func (p *plan) checkOIDC(a providers.Account) error {
	if p.life == 0 {
		p.life = defaultLife
	}
	switch {
	case !isUUID(p.OIDCConnection):
		return bad(a, errors.New("oidc_connection is no UUID"), "copy the id of the connection from Docker Home")
	case p.WebIdentity.IsZero():
		return bad(a, errors.New("no web_identity"), `set web_identity = "github": an account reads no variables of its caller unless it says so`)
	case p.Organization == "":
		return bad(a, errors.New("no organization"), "set organization: it is the user name of the tokens")
	case !isName(p.Organization):
		return bad(a, errors.New("organization is no name of an organisation"), "")
	case a.Username != "" && a.Username != p.Organization:
		return bad(a, errors.New("username is the organisation here"), "take it out")
	case !a.Password.IsZero():
		return bad(a, errors.New("password has no meaning beside oidc_connection"), "")
	case p.life < minLife || p.life > maxLife:
		return bad(a, errors.New("token_life is not between 5m and 6h"), "")
	}
	return nil
}

// isEndpoint reports an https URL, or http on loopback.
func isEndpoint(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	h, err := providers.ParseHost(u.Host)
	return u.Scheme == "http" && err == nil && h.IsLoopback()
}

func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != n || strings.Trim(parts[i], "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	return true
}

// isName is looser than Docker Hub's rule: it keeps what could break a client
// out.
func isName(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}
