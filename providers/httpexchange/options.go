// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// Options are the keys of an http-exchange account. Values said to be
// templates may use {{.Secret}}, {{.IdentityToken}}, {{.Host}}, {{.Username}},
// {{.Scope}}, {{.Repository}}, {{.Access}} and the functions json, urlquery,
// base64 and join.
type Options struct {
	URL         string            `toml:"url" doc:"exchange endpoint, https; its path and query may be a template"`
	Method      string            `toml:"method" doc:"GET, POST or PUT" enum:"GET,POST,PUT" default:"POST"`
	Headers     map[string]string `toml:"headers" doc:"request headers; the values are templates"`
	Form        map[string]string `toml:"form" doc:"fields sent form-encoded; the values are templates"`
	JSON        map[string]string `toml:"json" doc:"fields sent as one JSON object of texts; the values are templates"`
	Body        string            `toml:"body" doc:"template of the whole body, where form and json do not fit; needs content_type"`
	ContentType string            `toml:"content_type" doc:"content type of body"`
	Retry       bool              `toml:"retry" doc:"a POST may be sent again after a network failure: not for secrets that work once"`

	Secret        providers.SecretRef `toml:"secret" doc:"reference to the secret the endpoint asks for; default: password"`
	IdentityToken oidc.Ref            `toml:"identity_token" doc:"identity token the endpoint asks for: github, gitlab, kubernetes, bitbucket, circleci, buildkite, env:NAME, file:/PATH, exec:/PATH or a table { exec = [ … ] }"`
	Audience      string              `toml:"audience" doc:"audience of the identity token"`

	PasswordPath    string `toml:"password_path" doc:"where the answer holds the registry's password: access_token, data.items[0].secret, a[\"odd.key\"]"`
	UsernamePath    string `toml:"username_path" doc:"where the answer holds the user name; default: username"`
	ExpiresInPath   string `toml:"expires_in_path" doc:"where the answer holds the life in seconds"`
	ExpiresAtPath   string `toml:"expires_at_path" doc:"where the answer holds the end of life: RFC 3339 or Unix seconds"`
	ExpiresAtMSPath string `toml:"expires_at_ms_path" doc:"where the answer holds the end of life in Unix milliseconds"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	out := o.IdentityToken.EnvRefs()
	if o.Secret.Scheme == "env" {
		out = append(out, o.Secret.Value)
	}
	return out
}

// plan is a checked account.
type plan struct {
	method      string
	url         *template
	origin      string // "https://sts.example.com": what url must begin with
	headers     map[string]*template
	form, json  map[string]*template
	body        *template
	contentType string

	password, username, expires path
	unit                        unit
	secret                      providers.SecretRef
	uses                        fields // of all templates
}

// compile checks everything that can be checked without a request.
func compile(a providers.Account, o *Options) (*plan, error) {
	if a.Endpoint != "" {
		return nil, errors.New("endpoint has no meaning here: url is the endpoint")
	}
	if a.Rotate > 0 || !a.RotateTo.IsZero() {
		return nil, errors.New("rotate has no meaning here: the secret belongs to the service at url")
	}
	p := &plan{method: o.Method, contentType: o.ContentType, secret: o.Secret}
	if p.method == "" {
		p.method = http.MethodPost
	}
	if p.secret.IsZero() {
		p.secret = a.Password
	}
	for _, step := range []func(providers.Account, *Options) error{p.compileURL, p.compileBody, p.compileHeaders, p.compileAnswer, p.checkInputs} {
		if err := step(a, o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// compileURL wants a literal origin, so that no value can choose who gets the
// secret.
func (p *plan) compileURL(_ providers.Account, o *Options) (err error) {
	if o.URL == "" {
		return errors.New("url is missing")
	}
	literal, _, _ := strings.Cut(o.URL, "{{")
	u, perr := url.Parse(literal)
	if literal != o.URL && (perr != nil || u.Path == "" && u.RawQuery == "") {
		return errors.New("url: only the path and the query may be a template")
	}
	if perr != nil || u.Host == "" || u.User != nil || strings.Contains(literal, "#") {
		return errors.New("url must be an absolute URL without user name and fragment")
	}
	h, perr := providers.ParseHost(u.Host)
	if perr != nil {
		return errors.New("url must name a valid host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !h.IsLoopback()) {
		return errors.New("url must be https")
	}
	if uses, err := usesOf(pathOf(o.URL)); err == nil && (uses.Secret || uses.IdentityToken) {
		return errors.New("url: a secret must not stand in the path: put it into the query, a header or the body")
	}
	p.origin = u.Scheme + "://" + u.Host
	p.url, err = p.parse("url", o.URL)
	return err
}

// pathOf is s up to the "?" that no template action holds.
func pathOf(s string) string {
	for i := range len(s) {
		if s[i] == '?' && strings.Count(s[:i], "{{") == strings.Count(s[:i], "}}") {
			return s[:i]
		}
	}
	return s
}

func usesOf(text string) (fields, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return fields{}, err
	}
	return t.uses, nil
}

func (p *plan) compileBody(_ providers.Account, o *Options) (err error) {
	kinds := 0
	for _, set := range []bool{o.Body != "", len(o.Form) > 0, len(o.JSON) > 0} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return errors.New("body, form and json exclude each other")
	case kinds == 1 && p.method == http.MethodGet:
		return errors.New("a GET has no body: put the values into url or headers")
	case o.Body != "" && o.ContentType == "":
		return errors.New("body needs content_type")
	case o.Body == "" && o.ContentType != "":
		return errors.New("content_type belongs to body; form and json have their own")
	case httpx.HasBreak(o.ContentType):
		return errors.New("content_type holds a line break")
	}
	switch p.method {
	case http.MethodGet, http.MethodPost, http.MethodPut:
	default:
		return errors.New("method must be GET, POST or PUT")
	}
	if o.Body != "" {
		if p.body, err = p.parse("body", o.Body); err != nil {
			return err
		}
	}
	if p.form, err = p.parseAll("form", o.Form); err != nil {
		return err
	}
	p.json, err = p.parseAll("json", o.JSON)
	return err
}

func (p *plan) compileHeaders(_ providers.Account, o *Options) (err error) {
	for name := range o.Headers {
		switch {
		case !isToken(name):
			return fmt.Errorf("headers: %q is no header name", httpx.Printable(name, 40))
		case p.owns(http.CanonicalHeaderKey(name)):
			return fmt.Errorf("headers: %s cannot be set here", http.CanonicalHeaderKey(name))
		}
	}
	p.headers, err = p.parseAll("headers", o.Headers)
	return err
}

// owns lists the headers the client sets itself.
func (p *plan) owns(name string) bool {
	switch name {
	case "Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Accept-Encoding", "Proxy-Authorization", "Expect", "Upgrade", "Te", "Trailer":
		return true
	}
	return false
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

func (p *plan) compileAnswer(a providers.Account, o *Options) (err error) {
	if o.PasswordPath == "" {
		return errors.New("password_path is missing")
	}
	if p.password, err = parsePath(o.PasswordPath); err != nil {
		return fmt.Errorf("password_path: %w", err)
	}
	switch {
	case o.UsernamePath != "":
		if p.username, err = parsePath(o.UsernamePath); err != nil {
			return fmt.Errorf("username_path: %w", err)
		}
	case a.Username == "":
		return errors.New("username or username_path is missing")
	case httpx.HasBreak(a.Username):
		return errors.New("username holds a line break or a NUL byte")
	}
	for _, e := range []struct {
		key, path string
		unit      unit
	}{{"expires_in_path", o.ExpiresInPath, seconds}, {"expires_at_path", o.ExpiresAtPath, date}, {"expires_at_ms_path", o.ExpiresAtMSPath, millis}} {
		if e.path == "" {
			continue
		}
		if p.expires != nil {
			return errors.New("expires_in_path, expires_at_path and expires_at_ms_path exclude each other")
		}
		if p.expires, err = parsePath(e.path); err != nil {
			return fmt.Errorf("%s: %w", e.key, err)
		}
		p.unit = e.unit
	}
	if p.expires == nil && a.ExpiresIn <= 0 {
		return errors.New("nobody says how long a credential lives: set expires_in, or expires_in_path or expires_at_path")
	}
	return nil
}

// checkInputs wants each input that a template uses to be configured.
func (p *plan) checkInputs(a providers.Account, o *Options) error {
	switch {
	case p.uses.Secret && p.secret.IsZero():
		return errors.New("a template uses {{.Secret}}, but secret is not set")
	case !p.uses.Secret && !o.Secret.IsZero():
		return errors.New("secret is set, but no template uses {{.Secret}}")
	case p.uses.IdentityToken && o.IdentityToken.IsZero():
		return errors.New("a template uses {{.IdentityToken}}, but identity_token is not set")
	case !p.uses.IdentityToken && !o.IdentityToken.IsZero():
		return errors.New("identity_token is set, but no template uses {{.IdentityToken}}")
	case o.Audience != "" && o.IdentityToken.IsZero():
		return errors.New("audience belongs to identity_token, which is not set")
	case p.uses.Username && a.Username == "":
		return errors.New("a template uses {{.Username}}, but username is not set")
	}
	return nil
}

func (p *plan) parse(what, text string) (*template, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	p.uses.add(t.uses)
	return t, nil
}

func (p *plan) parseAll(what string, texts map[string]string) (map[string]*template, error) {
	out := make(map[string]*template, len(texts))
	for k, v := range texts {
		t, err := p.parse(what+"."+httpx.Printable(k, 40), v)
		if err != nil {
			return nil, err
		}
		out[k] = t
	}
	return out, nil
}
