// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

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
