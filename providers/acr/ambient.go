// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

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
	} else if s.halfSaid() {
		missing = append(missing, envTenant+" or "+envClient+" is not set")
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

// halfSaid reports a proof in the caller's variables whose owner they do not
// name.
func (s *source) halfSaid() bool {
	env := s.deps.Env
	return firstOf(env[envSecret], env[envCert], env[envTokenFile]) != "" && (env[envTenant] == "" || env[envClient] == "")
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
	if t := s.deps.Env[envTenant]; t != "" && !isID(t) {
		return entraToken{}, s.fail(h, providers.Misconfigured, errors.New(envTenant+" has a character that no id has"))
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
