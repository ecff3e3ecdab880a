// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/google/externalaccount"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// key is a service account key: a signed statement in, a token out (RFC 7523).
// In a Trusted Cloud the signed statement itself is the token.
type key struct {
	s    *source
	file *file
	name string
	url  string
}

// What the requests are called in errors.
const (
	whatKey       = "service account key"
	whatUser      = "user credentials"
	whatSTS       = "workload identity federation"
	whatIAM       = "impersonation"
	whatMetadata  = "metadata server"
	whatAWS       = "EC2 instance metadata"
	whatSourceURL = "identity token"
)

func (k *key) token(ctx context.Context, c call) (access, error) {
	w := k.s.wire(ctx, c.host, whatKey)
	w.sent = append(w.sent, providers.NewSecret(k.file.PrivateKey))
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": k.file.ClientEmail, "private_key": k.file.PrivateKey,
		"private_key_id": k.file.PrivateKeyID, "token_uri": k.url,
	})
	if err != nil {
		return access{}, k.s.fail(c.host, providers.Misconfigured, "", fmt.Errorf("%s: %w", k.name, errJSON))
	}
	var ts oauth2.TokenSource
	if k.s.plan.universe != googleapis && k.s.plan.TokenEndpoint == "" {
		ts, err = google.JWTAccessTokenSourceWithScope(b, c.scopes...)
	} else {
		var creds *google.Credentials
		if creds, err = google.CredentialsFromJSONWithType(w.context(), b, google.ServiceAccount, c.scopes...); err == nil {
			ts = creds.TokenSource
		}
	}
	var t *oauth2.Token
	if err == nil {
		t, err = ts.Token()
	}
	a, err := w.take(t, err, k.name+": its private_key cannot be read")
	if err != nil {
		return a, k.refused(w, err)
	}
	a.scoped, a.who = true, httpx.Printable(k.file.ClientEmail, 120)
	a.origin = "key of " + a.who
	return a, nil
}

// person is a refresh token that gcloud got for a user.
type person struct {
	s    *source
	file *file
	name string
	url  string
}

// loginCommand is what mints the file anew.
const loginCommand = "run: gcloud auth application-default login"

func (p *person) token(ctx context.Context, c call) (access, error) {
	w := p.s.wire(ctx, c.host, whatUser)
	f := p.file
	fields := map[string]string{"type": f.Type, "client_id": f.ClientID, "client_secret": f.ClientSecret, "refresh_token": f.RefreshToken, "audience": f.Audience}
	w.sent = append(w.sent, providers.NewSecret(f.RefreshToken), providers.NewSecret(f.ClientSecret))
	fields["token_uri"], fields["token_url"] = p.url, p.url
	b, err := json.Marshal(fields)
	if err != nil {
		return access{}, p.s.fail(c.host, providers.Misconfigured, "", fmt.Errorf("%s: %w", p.name, errJSON))
	}
	creds, err := google.CredentialsFromJSONWithType(w.context(), b, google.CredentialsType(f.Type), c.scopes...)
	var t *oauth2.Token
	if err == nil {
		t, err = creds.TokenSource.Token()
	}
	a, err := w.take(t, err, p.name+": it cannot be used to ask for tokens")
	if err != nil {
		return a, p.refused(w, err)
	}
	a.who = httpx.Printable(cmp.Or(f.Account, emailOf(t), "the user of "+filepath.Base(p.name)), 120)
	a.origin = "application-default credentials of " + a.who
	return a, nil
}

// emailOf is who an answer is for: logins of gcloud ask for an ID token too.
func emailOf(t *oauth2.Token) string {
	id, _ := t.Extra("id_token").(string)
	claims, _ := httpx.JWTClaims(id)
	email, _ := claims["email"].(string)
	return email
}

// federation is an identity token of another issuer, or an AWS identity, for a
// federated token (RFC 8693).
type federation struct {
	s        *source
	url      string
	audience string
	kind     string // subject_token_type
	project  string // workforce_pool_user_project
	client   [2]string
	name     string // for people

	subject func(ctx context.Context, h providers.Host) (string, error)
	aws     func(ctx context.Context, h providers.Host) (*awsIdentity, error)
}

const tokenTypeJWT = "urn:ietf:params:oauth:token-type:jwt"

// federated is the identity of workload_identity_provider.
func (s *source) federated(provider string, ref oidc.Ref, audience string) identity {
	to := s.plan.STSEndpoint
	if to == "" {
		to = "https://sts." + s.plan.universe + "/v1/token"
	}
	own := "iam." + s.plan.universe + "/" + provider
	want := audience
	if want == "" && (ref.Kind == "github" || ref.Kind == "buildkite") {
		want = "https://" + own // what a provider accepts unless told otherwise; elsewhere nobody can ask for it
	}
	return &federation{
		s: s, url: to, audience: "//" + own, kind: tokenTypeJWT,
		name: lastOf(provider) + " by way of " + ref.String(),
		subject: func(ctx context.Context, h providers.Host) (string, error) {
			t, err := oidc.Token(ctx, oidc.Config{Ref: ref, Audience: want, Host: h, Deps: s.deps, HTTP: s.http})
			if err == nil && want == "" && ref.Kind == "kubernetes" {
				err = s.notForTheCluster(h, t, own)
			}
			return t.Reveal(), err
		},
	}
}

// notForTheCluster keeps a pod's token for the API server out of Google's
// hands: the projected one has an audience of its own.
func (s *source) notForTheCluster(h providers.Host, t providers.Secret, own string) error {
	claims, ok := httpx.JWTClaims(t.Reveal())
	if !ok {
		return nil
	}
	list, _ := claims["aud"].([]any)
	if one, ok := claims["aud"].(string); ok {
		list = []any{one}
	}
	for _, a := range list {
		if text, ok := a.(string); ok && (text == "https://"+own || text == "//"+own) {
			return nil
		}
	}
	return s.fail(h, providers.Misconfigured, "project one with that audience, or set audience", fmt.Errorf("the pod's identity token is not made for https://%s", httpx.Printable(own, 160)))
}

func (f *federation) token(ctx context.Context, c call) (access, error) {
	w := f.s.wire(ctx, c.host, whatSTS)
	conf := externalaccount.Config{
		Audience: f.audience, SubjectTokenType: f.kind, TokenURL: f.url, Scopes: c.scopes, ClientID: f.client[0], ClientSecret: f.client[1],
		WorkforcePoolUserProject: f.project,
	}
	switch {
	case f.aws != nil:
		id, err := f.aws(ctx, c.host)
		if err != nil {
			return access{}, err
		}
		w.sent = append(w.sent, providers.NewSecret(id.credentials.SecretAccessKey), providers.NewSecret(id.credentials.SessionToken))
		conf.AwsSecurityCredentialsSupplier = id
	default:
		t, err := f.subject(ctx, c.host)
		if err != nil {
			return access{}, err
		}
		conf.SubjectTokenSupplier = subjectToken(t)
	}
	ts, err := externalaccount.NewTokenSource(w.context(), conf)
	var t *oauth2.Token
	if err == nil {
		t, err = ts.Token()
	}
	a, err := w.take(t, err, f.name+": the credentials do not fit together (audience, subject_token_type, workforce_pool_user_project)")
	if err != nil {
		return a, f.refused(w, err)
	}
	a.scoped, a.who, a.origin = true, f.name, "workload identity "+f.name
	return a, nil
}

// subjectToken supplies a token that was fetched already.
type subjectToken string

func (t subjectToken) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return string(t), nil
}

// impersonation is a service account by the right of another identity.
type impersonation struct {
	s         *source
	from      identity
	account   string
	delegates []string
	life      time.Duration // 0 = an hour
}

// impersonated puts the account's service_account, or the one of a purpose, on
// top of its identity.
func (s *source) impersonated(from identity, c choice) identity {
	i := &impersonation{s: s, from: from, account: s.plan.ServiceAccount, delegates: s.plan.Delegates, life: time.Duration(s.plan.Lifetime)}
	if c.account != "" {
		i.account = c.account
	}
	return i
}

func (i *impersonation) token(ctx context.Context, c call) (access, error) {
	from, err := i.from.token(ctx, call{host: c.host, scopes: []string{scopeAll}})
	if err != nil {
		return access{}, err
	}
	life := i.life
	if life == 0 {
		life = time.Hour
	}
	in := struct {
		Delegates []string `json:"delegates,omitempty"`
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
	}{Scope: c.scopes, Lifetime: fmt.Sprintf("%ds", int(life.Seconds()))}
	for _, d := range i.delegates {
		in.Delegates = append(in.Delegates, "projects/-/serviceAccounts/"+d)
	}
	w := i.s.wire(ctx, c.host, whatIAM)
	a, err := w.generate(i.endpoint(), from.value, in)
	if err != nil {
		return a, i.refused(w, err, from)
	}
	a.scoped, a.most, a.who, a.origin = true, life, i.account, i.account+", impersonated by "+from.who
	return a, nil
}

func (i *impersonation) endpoint() string {
	base := i.s.plan.IAMCredentialsEndpoint
	if base == "" {
		base = "https://iamcredentials." + i.s.plan.universe
	}
	return trimSlash(base) + "/v1/projects/-/serviceAccounts/" + i.account + ":generateAccessToken"
}
