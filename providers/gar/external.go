// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// externalFile opens credentials of type external_account.
func (s *source) externalFile(name string, f *file) (identity, error) {
	if f.Audience == "" {
		return nil, errors.New("it has no audience")
	}
	to, err := s.plan.serviceURL("token_url", f.TokenURL, "https://sts."+s.plan.universe+"/v1/token", s.plan.STSEndpoint, "sts")
	if err != nil {
		return nil, err
	}
	id := &federation{
		s: s, url: to, audience: f.Audience, kind: f.SubjectTokenType, project: f.WorkforceProject,
		client: [2]string{f.ClientID, f.ClientSecret}, name: httpx.Printable(lastOf(f.Audience), 60) + " by way of " + name,
	}
	if id.kind == "" {
		id.kind = tokenTypeJWT
	}
	src := f.Source
	switch {
	case strings.HasPrefix(src.Environment, "aws"):
		if src.Environment != "aws1" {
			return nil, fmt.Errorf("its environment_id %s is not known here", httpx.Printable(src.Environment, 40))
		}
		id.aws = s.awsIdentity
	case src.Executable != nil:
		if !s.plan.AllowExecutable {
			return nil, &hinted{errors.New("it names a program to run"), "if you know it, write an account with credentials and allow_executable = true"}
		}
		id.subject = func(ctx context.Context, h providers.Host) (string, error) { return s.program(ctx, h, name, f) }
	case src.File != "":
		if !isAbs(src.File) {
			return nil, errors.New("the file of its identity token has a relative path")
		}
		id.subject = func(_ context.Context, h providers.Host) (string, error) { return s.tokenFile(h, src, id.kind) }
	case src.URL != "":
		if err := s.mayFetch(src.URL); err != nil {
			return nil, err
		}
		id.subject = func(ctx context.Context, h providers.Host) (string, error) { return s.tokenURL(ctx, h, src, id.kind) }
	case len(src.Certificate) > 0:
		return nil, errors.New("identities by certificate (X.509 federation) cannot be used here: give the job an OIDC token")
	default:
		return nil, errors.New("its credential_source names no file, url, executable or AWS")
	}
	if f.ImpersonationURL != "" {
		return s.fileImpersonation(f, id)
	}
	return id, nil
}

// mayFetch lets a file name the token service of GitHub's runners, which
// google-github-actions/auth writes into it, and any URL where the account says
// so: the agent stands elsewhere in the network than who wrote the file.
func (s *source) mayFetch(raw string) error {
	u, h, err := endpoint(raw)
	if err != nil {
		return errors.New("the url of its identity token is no valid URL")
	}
	if s.plan.AllowURL {
		return nil
	}
	if _, ok := h.Under("actions.githubusercontent.com"); ok && u.Scheme == "https" {
		return nil
	}
	return &hinted{fmt.Errorf("it fetches its identity token from %s", httpx.Printable(u.Host, 100)), "if you know it, write an account with credentials and allow_url = true"}
}

func (s *source) tokenFile(h providers.Host, src origin, kind string) (string, error) {
	name := httpx.Printable(src.File, 120)
	b, err := readFile(src.File)
	if err != nil {
		return "", s.fail(h, providers.Misconfigured, "", fmt.Errorf("identity token: %s: %w", name, err))
	}
	t, err := src.subject(b, kind)
	if err != nil {
		return "", s.fail(h, providers.Misconfigured, "", fmt.Errorf("identity token: %s: %w", name, err))
	}
	return t, s.alive(h, name, t)
}

func (s *source) tokenURL(ctx context.Context, h providers.Host, src origin, kind string) (string, error) {
	header := http.Header{"Accept": {"application/json, text/plain"}}
	for k, v := range src.Headers {
		header.Set(k, v)
	}
	res, err := s.http.Do(ctx, httpx.Request{Host: h, What: whatSourceURL, URL: src.URL, Header: header, SameOrigin: true, Unauthorized: providers.LoginRequired})
	if e, ok := errors.AsType[*providers.Error](err); ok {
		out := *e
		if out.Kind == providers.LoginRequired {
			out.Hint = "the job that wrote the credentials may be over"
		}
		return "", &out
	}
	t, err := src.subject(res.Body, kind)
	if err != nil {
		return "", s.fail(h, providers.Unavailable, "", fmt.Errorf("identity token at %s: %w", httpx.Printable(res.URL.Host, 100), err))
	}
	return t, s.alive(h, res.URL.Host, t)
}

// subject takes the identity token out of what a file or URL gave.
// What is no such token is not sent: who wrote the file may name a file of
// others.
func (o origin) subject(b []byte, kind string) (string, error) {
	t := strings.TrimSpace(string(b))
	if o.Format.Type == "json" {
		v, err := httpx.ParseJSON(b)
		if err != nil {
			return "", err
		}
		m, _ := v.(map[string]any)
		t, _ = m[o.Format.Field].(string)
		if t == "" {
			return "", fmt.Errorf("it holds no text at %s", httpx.Printable(o.Format.Field, 60))
		}
	}
	switch {
	case t == "":
		return "", errors.New("it is empty")
	case kind != tokenTypeSAML && !looksJWT(t):
		return "", errors.New("it holds no JWT")
	case httpx.HasBreak(t):
		return "", errors.New("it holds a line break or a NUL byte")
	}
	return t, nil
}

const tokenTypeSAML = "urn:ietf:params:oauth:token-type:saml2"

// looksJWT holds for three parts of which the first is a JSON object in base64.
func looksJWT(t string) bool {
	parts := strings.Split(t, ".")
	if len(parts) != 3 {
		return false
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	return err == nil && json.Valid(head) && bytes.HasPrefix(head, []byte("{"))
}

// alive refuses a token that says itself that it is expired: Google says it
// less clearly.
func (s *source) alive(h providers.Host, from, t string) error {
	if exp, ok := httpx.JWTExpiry(t); ok && !exp.After(s.deps.Now()) {
		return s.fail(h, providers.LoginRequired, "", fmt.Errorf("identity token of %s expired at %s", httpx.Printable(from, 120), exp.UTC().Format(time.RFC3339)))
	}
	return nil
}

// program runs the executable of a credentials file (AIP-4117). Its cache file
// is not read: tokens are kept in memory alone.
func (s *source) program(ctx context.Context, h providers.Host, name string, f *file) (string, error) {
	argv := strings.Fields(f.Source.Executable.Command)
	if len(argv) == 0 || !isAbs(argv[0]) {
		return "", s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s: the command of its executable needs an absolute path", name))
	}
	limit := time.Duration(f.Source.Executable.Timeout) * time.Millisecond
	if limit <= 0 || limit > 30*time.Second {
		limit = 30 * time.Second
	}
	env := []string{
		"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1", "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0",
		"GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE=" + f.Audience, "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE=" + f.SubjectTokenType,
	}
	if account, err := s.plan.impersonationURL(f.ImpersonationURL); err == nil {
		env = append(env, "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL="+account)
	}
	b, err := s.deps.Run(ctx, providers.Command{Path: argv[0], Args: argv[1:], Env: env, Limit: limit})
	if err != nil {
		return "", s.hosted(h, err)
	}
	var out struct {
		Success   bool   `json:"success"`
		TokenType string `json:"token_type"`
		IDToken   string `json:"id_token"`
		SAML      string `json:"saml_response"`
		Expires   int64  `json:"expiration_time"`
		Code      string `json:"code"`
		Message   string `json:"message"`
	}
	if _, perr := httpx.ParseJSON(b); perr != nil || json.Unmarshal(b, &out) != nil {
		return "", s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s wrote no JSON", httpx.Printable(argv[0], 120)))
	}
	t := out.IDToken
	if t == "" {
		t = out.SAML
	}
	switch {
	case !out.Success:
		return "", s.fail(h, providers.LoginRequired, "", fmt.Errorf("%s: %s %s", httpx.Printable(argv[0], 120), httpx.Clean(out.Code, 40), httpx.Clean(out.Message, 120)))
	case t == "" || httpx.HasBreak(t):
		return "", s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s gave no identity token", httpx.Printable(argv[0], 120)))
	case out.Expires != 0 && !time.Unix(out.Expires, 0).After(s.deps.Now()):
		return "", s.fail(h, providers.LoginRequired, "", fmt.Errorf("%s gave an expired identity token", httpx.Printable(argv[0], 120)))
	}
	return t, s.alive(h, argv[0], t)
}

// hosted puts the host into an error that has none.
func (s *source) hosted(h providers.Host, err error) error {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		out := *e
		out.Host = h
		return &out
	}
	return s.fail(h, providers.Unavailable, "", errors.New(httpx.Clean(err.Error(), 200)))
}
