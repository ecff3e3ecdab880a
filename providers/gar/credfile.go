// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// file is a credentials JSON.
type file struct {
	Type           string `json:"type"`
	UniverseDomain string `json:"universe_domain"`

	// service_account
	ClientEmail  string `json:"client_email"`
	PrivateKey   string `json:"private_key"`
	PrivateKeyID string `json:"private_key_id"`
	TokenURI     string `json:"token_uri"`

	// authorized_user, and external_account_authorized_user
	Account      string `json:"account"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	RefreshToken string `json:"refresh_token"`

	// external_account
	Audience            string `json:"audience"`
	SubjectTokenType    string `json:"subject_token_type"`
	TokenURL            string `json:"token_url"`
	WorkforceProject    string `json:"workforce_pool_user_project"`
	Source              origin `json:"credential_source"`
	ImpersonationURL    string `json:"service_account_impersonation_url"`
	ImpersonationLength struct {
		Seconds int `json:"token_lifetime_seconds"`
	} `json:"service_account_impersonation"`

	// impersonated_service_account
	Delegates         []string        `json:"delegates"`
	SourceCredentials json.RawMessage `json:"source_credentials"`
}

// origin is where an external_account's identity token comes from.
type origin struct {
	File        string            `json:"file"`
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Executable  *executable       `json:"executable"`
	Environment string            `json:"environment_id"`
	Certificate json.RawMessage   `json:"certificate"`
	Format      struct {
		Type  string `json:"type"`
		Field string `json:"subject_token_field_name"`
	} `json:"format"`
}

type executable struct {
	Command string `json:"command"`
	Timeout int    `json:"timeout_millis"`
}

// errJSON is all that is said of a text that cannot be read: it may be a secret.
var errJSON = errors.New("not a Google credentials JSON")

func parseFile(b []byte) (*file, error) {
	if _, err := httpx.ParseJSON(b); err != nil {
		return nil, errJSON
	}
	f := &file{}
	if json.Unmarshal(b, f) != nil {
		return nil, errJSON
	}
	if f.Type == "" {
		return nil, fmt.Errorf("%w: it has no type", errJSON)
	}
	return f, nil
}

// decodeJSON takes base64 off: CI systems mask no text of several lines.
func decodeJSON(s string) []byte {
	if !strings.HasPrefix(strings.TrimSpace(s), "{") {
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s)); err == nil {
			return b
		}
	}
	return []byte(s)
}

// fromJSON opens the identity in a credentials JSON. name says where it was
// read; want is the only type allowed, "" = any.
func (s *source) fromJSON(h providers.Host, name string, b []byte, want string) (identity, error) {
	name = httpx.Printable(name, 120)
	f, err := parseFile(b)
	if err == nil && want != "" && f.Type != want {
		err = fmt.Errorf("its type is %s, not %s: write credentials instead of key", httpx.Printable(f.Type, 40), want)
	}
	if err != nil {
		return nil, s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s: %w", name, err))
	}
	id, err := s.fromFile(name, f, 0)
	if err != nil {
		hint := ""
		if e, ok := errors.AsType[*hinted](err); ok {
			hint = e.hint
		}
		return nil, s.fail(h, providers.Misconfigured, hint, fmt.Errorf("%s: %w", name, err))
	}
	return id, nil
}

// hinted is an error that knows what to do.
type hinted struct {
	error
	hint string
}

// maxSources bounds impersonated_service_account inside itself.
const maxSources = 3

func (s *source) fromFile(name string, f *file, depth int) (identity, error) {
	if u := f.UniverseDomain; u != "" && u != s.plan.universe {
		return nil, &hinted{fmt.Errorf("it is for the universe %s", httpx.Printable(u, 80)), "set universe_domain"}
	}
	switch f.Type {
	case "service_account":
		return s.keyFile(name, f)
	case "authorized_user", "external_account_authorized_user":
		return s.userFile(name, f)
	case "external_account":
		return s.externalFile(name, f)
	case "impersonated_service_account":
		if depth >= maxSources {
			return nil, errors.New("too many source_credentials inside each other")
		}
		inner, err := parseFile(f.SourceCredentials)
		if err != nil {
			return nil, fmt.Errorf("source_credentials: %w", err)
		}
		id, err := s.fromFile(name, inner, depth+1)
		if err != nil {
			return nil, err
		}
		return s.fileImpersonation(f, id)
	}
	return nil, fmt.Errorf("credentials of type %s cannot be used here", httpx.Printable(f.Type, 40))
}

func (s *source) keyFile(name string, f *file) (identity, error) {
	if f.ClientEmail == "" || f.PrivateKey == "" {
		return nil, errors.New("it has no client_email or no private_key")
	}
	to, err := s.plan.serviceURL("token_uri", f.TokenURI, "https://oauth2.googleapis.com/token", s.plan.TokenEndpoint, "oauth2")
	if err != nil {
		return nil, err
	}
	return &key{s: s, file: f, name: name, url: to}, nil
}

func (s *source) userFile(name string, f *file) (identity, error) {
	if f.RefreshToken == "" || f.ClientID == "" || f.ClientSecret == "" {
		return nil, errors.New("it has no refresh_token, client_id or client_secret")
	}
	u := &person{s: s, file: f, name: name}
	var err error
	if f.Type == "authorized_user" {
		u.url, err = s.plan.serviceURL("token_uri", f.TokenURI, "https://oauth2.googleapis.com/token", s.plan.TokenEndpoint, "oauth2")
	} else {
		u.url, err = s.plan.serviceURL("token_url", f.TokenURL, "https://sts."+s.plan.universe+"/v1/oauthtoken", s.plan.STSEndpoint, "sts")
	}
	return u, err
}

// fileImpersonation is what service_account_impersonation_url asks for.
func (s *source) fileImpersonation(f *file, from identity) (identity, error) {
	account, err := s.plan.impersonationURL(f.ImpersonationURL)
	if err != nil {
		return nil, err
	}
	i := &impersonation{s: s, from: from, account: account, life: time.Duration(f.ImpersonationLength.Seconds) * time.Second}
	for _, d := range f.Delegates {
		d = strings.TrimPrefix(d, "projects/-/serviceAccounts/")
		if !isAddress(d) {
			return nil, errors.New("a delegate is no address of a service account")
		}
		i.delegates = append(i.delegates, d)
	}
	return i, nil
}

// serviceURL is where a request goes: the override, else what the file says if
// that is Google's own service, else the default. A file from elsewhere must not
// choose who gets identity tokens.
func (p *plan) serviceURL(key, said, standard, override, service string) (string, error) {
	switch {
	case override != "":
		return override, nil
	case said == "":
		return standard, nil
	}
	u, h, err := endpoint(said)
	switch {
	case err != nil:
		return "", fmt.Errorf("its %s is no valid URL", key)
	case u.Scheme != "https", h.Port() != "",
		!isService(h, service, p.universe) && !(service == "oauth2" && oldTokenHosts[h.String()]):
		return "", &hinted{fmt.Errorf("its %s is not Google's (%s)", key, httpx.Printable(u.Host, 100)), "if that is meant, set " + overrideOf[service]}
	}
	return said, nil
}

// overrideOf names the option that allows another place.
var overrideOf = map[string]string{"oauth2": "token_endpoint", "sts": "sts_endpoint", "iamcredentials": "iamcredentials_endpoint"}

// impersonationURL takes the service account out of a URL of the IAM
// credentials API: …/v1/projects/-/serviceAccounts/ADDRESS:generateAccessToken.
func (p *plan) impersonationURL(said string) (account string, err error) {
	const key = "service_account_impersonation_url"
	if _, err := p.serviceURL(key, said, "", p.IAMCredentialsEndpoint, "iamcredentials"); err != nil {
		return "", err
	}
	u, err := url.Parse(said)
	if err != nil {
		return "", fmt.Errorf("its %s is no valid URL", key)
	}
	rest, ok := strings.CutPrefix(u.Path, "/v1/projects/-/serviceAccounts/")
	account, cut := strings.CutSuffix(rest, ":generateAccessToken")
	if !ok || !cut || !isAddress(account) {
		return "", fmt.Errorf("its %s names no service account", key)
	}
	return account, nil
}
