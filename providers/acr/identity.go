// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// identity is who the account asks Entra as.
func (s *source) identity(h providers.Host) (identity, error) {
	if s.as != nil {
		return s.as, nil
	}
	p := s.plan
	switch p.kind {
	case bySecret:
		return s.withSecret(p.TenantID, p.ClientID, s.secretOf(p.ClientSecret), p.ClientSecret.String()), nil
	case byCertificate:
		return s.withCertificate(p.TenantID, p.ClientID, s.certificate, p.Certificate.String()), nil
	case byFederation:
		return s.withWebIdentity(p.TenantID, p.ClientID, p.WebIdentity), nil
	case byEnvironment, byWorkload:
		return &variables{s}, nil
	case byManaged:
		return &managed{s, p.ClientID, p.ObjectID, p.ResourceID}, nil
	case byAz:
		return &azIdentity{s, p.TenantID, p.Subscription}, nil
	case byDevice:
		return &person{s}, nil
	case byAmbient:
		return &ambient{s}, nil
	}
	return nil, s.fail(h, providers.Misconfigured, fmt.Errorf("identity %q is not known", p.kind))
}

// certificate reads the configured one. A file is read here where the agent's
// rights are meant: PKCS#12 is no text, which references hold.
func (s *source) certificate(ctx context.Context, h providers.Host) (*certificate, error) {
	ref, password := s.plan.Certificate, ""
	if !s.plan.CertificatePassword.IsZero() {
		p, err := s.secretOf(s.plan.CertificatePassword)(ctx, h)
		if err != nil {
			return nil, err
		}
		password = p.Reveal()
	}
	var c *certificate
	var err error
	if ref.Scheme == "file" && s.account.Layer != providers.LayerJobConfig {
		c, err = certificateFile(ref.Value, password)
	} else {
		v, rerr := s.deps.Resolve(ctx, ref)
		if rerr != nil {
			return nil, named(h, ref.String(), rerr)
		}
		c, err = parseCertificate([]byte(v.Reveal()), password)
	}
	if err != nil {
		return nil, s.fail(h, providers.Misconfigured, fmt.Errorf("certificate %s: %w", ref, err))
	}
	return c, nil
}

// named is a failure to read what a reference names.
func named(h providers.Host, ref string, err error) error {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		return forHost(e, h)
	}
	return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("%s: %s", ref, httpx.Printable(err.Error(), 200))}
}

// variables is a configured account that names the caller's variables: those
// of a secret, or of an identity token in a file.
type variables struct{ s *source }

func (v *variables) stamp() string { return "" }

func (v *variables) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	s := v.s
	tenant, client := s.plan.TenantID, s.plan.ClientID
	for _, f := range []struct {
		into *string
		name string
	}{{&tenant, envTenant}, {&client, envClient}} {
		if *f.into != "" {
			continue
		}
		value, err := s.secretOf(envRef(f.name))(ctx, h)
		if err != nil {
			return entraToken{}, err
		}
		*f.into = value.Reveal()
	}
	if s.plan.kind == byEnvironment {
		return s.withSecret(tenant, client, s.secretOf(envRef(envSecret)), envSecret).token(ctx, h, audience)
	}
	file, err := s.secretOf(envRef(envTokenFile))(ctx, h)
	if err != nil {
		return entraToken{}, err
	}
	return s.withTokenFile(ctx, h, tenant, client, file.Reveal(), audience)
}

func envRef(name string) providers.SecretRef { return providers.SecretRef{Scheme: "env", Value: name} }

// withTokenFile is a workload identity: its token is in a file that is renewed.
func (s *source) withTokenFile(ctx context.Context, h providers.Host, tenant, client, file, audience string) (entraToken, error) {
	if !filepath.IsAbs(file) {
		return entraToken{}, s.fail(h, providers.Misconfigured, errors.New(envTokenFile+" is no absolute path"))
	}
	ref := oidc.Ref{Kind: "ref", Refs: []providers.SecretRef{{Scheme: "file", Value: file}}}
	return s.withWebIdentity(tenant, client, ref).token(ctx, h, audience)
}

// ambient is what is found where nothing is configured: the caller's
// variables, else az, else the machine. What is there and fails ends the
// search: another identity in its place would be a surprise.
type ambient struct{ s *source }

func (a *ambient) stamp() string { return a.s.azStamp() }

func (a *ambient) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	s := a.s
	if id, err := s.fromCaller(h); id != nil || err != nil {
		if err != nil {
			return entraToken{}, err
		}
		return id.token(ctx, h, audience)
	}
	var missing []string
	if c := s.abroad(h); c != "" && s.deps.Env[envClient] != "" {
		missing = append(missing, envClient+" is of Azure's cloud "+c)
	}
	t, err := s.fromAz(ctx, h, audience)
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, errNoAz), errors.Is(err, errNoLogin):
		e, _ := errors.AsType[*providers.Error](err)
		missing = append(missing, e.Err.Error())
	default:
		return entraToken{}, err
	}
	m := &managed{s: s, client: firstOf(s.plan.ClientID, s.deps.Env[envClient])}
	if m.there(ctx, h) {
		t, err := m.token(ctx, h, audience)
		if _, none := errors.AsType[*noIdentity](err); !none {
			return t, err
		}
		missing = append(missing, errText(err))
	} else if ctx.Err() != nil { // nothing was found out: the host may well have an identity
		return entraToken{}, s.fail(h, providers.Unavailable, errors.New("the search for an Azure identity did not end in time"))
	} else {
		missing = append(missing, "this is no machine of Azure")
	}
	return entraToken{}, s.nobody(h, missing)
}

func errText(err error) string {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// nobody is the end of the search. A host that is known by its name alone goes
// on without a login; an account that somebody wrote does not.
func (s *source) nobody(h providers.Host, missing []string) error {
	text := "no Azure identity: " + strings.Join(missing, ", ")
	if s.account.Layer == providers.LayerAmbient {
		return &providers.Error{Kind: providers.NoAccount, Host: h, Err: errors.New(text), Hint: "run: regmint login " + h.String()}
	}
	return &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New(text), Hint: "run: az login, or: regmint login " + h.String()}
}

// abroad names the cloud of the caller's variables where the registry is of
// another: its token endpoints must not see their secret. Without
// AZURE_AUTHORITY_HOST they are of the public one, as for every tool of Azure.
func (s *source) abroad(h providers.Host) string {
	to, known := parseServer(h)
	if !known || s.plan.Cloud != "" || s.plan.authority != "" {
		return ""
	}
	of, ok := cloudAt(s.deps.Env[envAuthority])
	if !ok {
		of = clouds[0]
	}
	if of.name == to.cloud.name {
		return ""
	}
	return of.name
}

// fromCaller is the application that the caller's variables name, nil where
// they name none: the proof decides, as for every tool of Azure.
func (s *source) fromCaller(h providers.Host) (identity, error) {
	env := s.deps.Env
	tenant, client := env[envTenant], env[envClient]
	if tenant == "" || client == "" || s.abroad(h) != "" {
		return nil, nil
	}
	for name, v := range map[string]string{envTenant: tenant, envClient: client} {
		if !isID(v) {
			return nil, s.fail(h, providers.Misconfigured, fmt.Errorf("%s has a character that no id has", name))
		}
	}
	switch {
	case env[envSecret] != "":
		return s.withSecret(tenant, client, func(context.Context, providers.Host) (providers.Secret, error) {
			if httpx.HasBreak(env[envSecret]) {
				return providers.Secret{}, s.fail(h, providers.Misconfigured, errors.New(envSecret+" holds a line break"))
			}
			return providers.NewSecret(env[envSecret]), nil
		}, envSecret), nil
	case env[envCert] != "":
		return s.withCertificate(tenant, client, func(_ context.Context, h providers.Host) (*certificate, error) {
			if !filepath.IsAbs(env[envCert]) {
				return nil, s.fail(h, providers.Misconfigured, errors.New(envCert+" is no absolute path"))
			}
			c, err := certificateFile(env[envCert], env[envCertPassword])
			if err != nil {
				return nil, s.fail(h, providers.Misconfigured, fmt.Errorf("%s: %w", envCert, err))
			}
			return c, nil
		}, envCert), nil
	case env[envTokenFile] != "":
		return &tokenFile{s, tenant, client, env[envTokenFile]}, nil
	}
	if ref, ok := oidc.Ambient(env); ok {
		return s.withWebIdentity(tenant, client, ref), nil
	}
	return nil, nil
}

type tokenFile struct {
	s                    *source
	tenant, client, file string
}

func (f *tokenFile) stamp() string { return "" }

func (f *tokenFile) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	return f.s.withTokenFile(ctx, h, f.tenant, f.client, f.file, audience)
}

// fromAz asks az, unless it said a moment ago that nobody is logged in.
func (s *source) fromAz(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	what := "az " + s.configDir() + " " + s.azStamp()
	if s.absent.known(what, s.deps.Now()) {
		return entraToken{}, s.fail(h, providers.LoginRequired, errNoLogin)
	}
	id := &azIdentity{s, firstOf(s.plan.TenantID, s.deps.Env[envTenant]), s.plan.Subscription}
	t, err := id.token(ctx, h, audience)
	if errors.Is(err, errNoLogin) {
		s.absent.remember(what, s.deps.Now().Add(notLoggedInFor))
	}
	return t, err
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// isID reports what ids and domain names are made of; it keeps a variable from
// being a path or a flag.
func isID(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}

// person is a login by device code: its refresh token is the account's secret.
type person struct{ s *source }

func (p *person) stamp() string { return "" }

// anyTenant stands for the person's own one.
const anyTenant = "organizations"

// token redeems the refresh token. Entra hands a new one with it, whose life
// begins anew: it is kept before the answer is used, and two processes never do
// so at the same time.
func (p *person) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	s, ref := p.s, p.s.account.Password
	login := "run: regmint login " + h.String()
	if ref.IsZero() {
		return entraToken{}, &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New("nobody is logged in"), Hint: login}
	}
	unlock, err := s.deps.Lock(ctx, "acr "+ref.String())
	if err != nil {
		return entraToken{}, named(h, ref.String(), err)
	}
	defer unlock()
	secret, err := s.secretOf(ref)(ctx, h)
	if err != nil {
		return entraToken{}, err
	}
	t, err := s.ask(ctx, h, grant{
		tenant: firstOf(s.plan.TenantID, anyTenant), client: firstOf(s.plan.ClientID, azureCLI), secrets: []providers.Secret{secret},
		form:  url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret.Reveal()}, "scope": {audience + "/.default offline_access"}},
		words: circumstances{ref: ref.String(), loginRequired: login},
	})
	if err != nil {
		return entraToken{}, err
	}
	if ref.Scheme == "keyring" && !t.refresh.IsZero() && !t.refresh.Equal(secret) {
		if err := s.deps.Save(ctx, ref, t.refresh); err != nil {
			return entraToken{}, named(h, ref.String(), err)
		}
	}
	t.refresh = providers.Secret{}
	return t, nil
}
