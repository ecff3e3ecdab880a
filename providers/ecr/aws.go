// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	smithy "github.com/aws/smithy-go/middleware"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// retryer bounds the SDK's own tries: a caller of `get` waits 10 s. What
// no second try mends gets none.
func (c *call) retryer() aws.Retryer {
	hopeless := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return aws.FalseTernary
		}
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return aws.FalseTernary
		}
		if _, sent := errors.AsType[*url.Error](err); sent && c.http.Failure(context.Background(), httpx.Request{}, err).Kind == providers.Misconfigured {
			return aws.FalseTernary
		}
		return aws.UnknownTernary
	})
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = 3, time.Second
		o.Retryables = append([]retry.IsErrorRetryable{hopeless}, o.Retryables...)
	})
}

func base(s string) *string {
	if s == "" {
		return nil
	}
	return aws.String(strings.TrimSuffix(s, "/"))
}

func dualStack(on bool) aws.DualStackEndpointState {
	if on {
		return aws.DualStackEndpointStateEnabled
	}
	return aws.DualStackEndpointStateDisabled
}

func fips(on bool) aws.FIPSEndpointState {
	if on {
		return aws.FIPSEndpointStateEnabled
	}
	return aws.FIPSEndpointStateDisabled
}

// sts is a client of the region's own STS endpoint, of the same kind as the
// registry's host: FIPS, dual-stack.
func (c *call) sts(p aws.CredentialsProvider) *sts.Client {
	o := sts.Options{
		Region: c.stsRegion(), HTTPClient: c.http.HTTPClient(), Retryer: c.retryer(), Credentials: p, BaseEndpoint: base(c.options.STSEndpoint), AppID: "regmint",
	}
	o.EndpointOptions.UseFIPSEndpoint, o.EndpointOptions.UseDualStackEndpoint = fips(c.place.fips), dualStack(c.place.dual)
	return sts.New(o)
}

func (c *call) stsRegion() string {
	if c.options.Region != "" {
		return c.options.Region
	}
	return c.place.region
}

// assume takes a role with a session.
func (c *call) assume(ctx context.Context, s session, r role, policy string) (session, error) {
	in := &sts.AssumeRoleInput{RoleArn: aws.String(r.arn), RoleSessionName: aws.String(r.session())}
	if r.externalID != "" {
		in.ExternalId = aws.String(r.externalID)
	}
	if policy != "" {
		in.Policy = aws.String(policy)
	}
	in.DurationSeconds = r.seconds()
	out, err := c.sts(s.provider()).AssumeRole(ctx, in)
	if err != nil {
		return session{}, c.explain(ctx, op{name: "sts:AssumeRole", role: r.arn, sess: s}, err)
	}
	return c.assumed(op{name: "sts:AssumeRole", role: r.arn}, out.Credentials, out.ResultMetadata, s.renew)
}

// assumeWeb takes a role with an identity token. The request is not signed.
func (c *call) assumeWeb(ctx context.Context, token providers.Secret, r role, policy string) (session, error) {
	in := &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(r.arn), RoleSessionName: aws.String(r.session()), WebIdentityToken: aws.String(token.Reveal()), DurationSeconds: r.seconds(),
	}
	if policy != "" {
		in.Policy = aws.String(policy)
	}
	out, err := c.sts(aws.AnonymousCredentials{}).AssumeRoleWithWebIdentity(ctx, in)
	if err != nil {
		return session{}, c.explain(ctx, op{name: "sts:AssumeRoleWithWebIdentity", role: r.arn, sess: session{secrets: []providers.Secret{token}}}, err)
	}
	return c.assumed(op{name: "sts:AssumeRoleWithWebIdentity", role: r.arn}, out.Credentials, out.ResultMetadata, "")
}

func (r role) session() string {
	if r.name == "" {
		return defaultSession
	}
	return sessionName(r.name)
}

func (r role) seconds() *int32 {
	if r.duration <= 0 {
		return nil
	}
	return aws.Int32(int32(min(r.duration, maxSession) / time.Second))
}

// assumed checks what STS handed out.
func (c *call) assumed(o op, k *types.Credentials, md smithy.Metadata, renew string) (session, error) {
	if k == nil || aws.ToString(k.AccessKeyId) == "" || aws.ToString(k.SecretAccessKey) == "" || aws.ToString(k.SessionToken) == "" || k.Expiration == nil {
		return session{}, c.fail(providers.Unavailable, "", fmt.Errorf("%s: the answer holds no credentials", o.name))
	}
	return session{who: "role " + roleName(o.role), renew: renew}.with(aws.Credentials{
		AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken, CanExpire: true, Expires: local(*k.Expiration, md),
	}), nil
}

// roleName is ACCOUNT:role/NAME of a role's ARN.
func roleName(arn string) string {
	if f := strings.SplitN(arn, ":", 6); len(f) == 6 {
		return httpx.Printable(f[4]+":"+f[5], 120)
	}
	return httpx.Printable(arn, 120)
}

// local is a time of AWS on this machine's clock, where the two differ.
func local(t time.Time, md smithy.Metadata) time.Time {
	if skew, ok := middleware.GetAttemptSkew(md); ok && skew.Abs() > time.Minute {
		return t.Add(-skew)
	}
	return t
}

// token is an authorization token of ECR, taken apart.
type token struct {
	password providers.Secret
	expires  time.Time
	// account is whose registry the answer names: the caller's own.
	account string
}

// authorize asks for a token. The region is the host's, whatever a profile
// says: a token opens the registries of one region.
func (c *call) authorize(ctx context.Context, s session) (token, error) {
	if c.place.public {
		return c.authorizePublic(ctx, s)
	}
	o := ecr.Options{
		Region: c.place.region, HTTPClient: c.http.HTTPClient(), Retryer: c.retryer(), Credentials: s.provider(), BaseEndpoint: base(c.account.Endpoint), AppID: "regmint",
	}
	o.EndpointOptions.UseFIPSEndpoint, o.EndpointOptions.UseDualStackEndpoint = fips(c.place.fips), dualStack(c.place.dual)
	what := op{name: "ecr:GetAuthorizationToken", sess: s}
	out, err := ecr.New(o).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return token{}, c.explain(ctx, what, err)
	}
	if len(out.AuthorizationData) == 0 {
		return token{}, c.unusable(what, errors.New("the answer holds no authorization data"))
	}
	d := out.AuthorizationData[0]
	t, err := c.take(what, d.AuthorizationToken, d.ExpiresAt, out.ResultMetadata)
	if err != nil {
		return token{}, err
	}
	if t.account, err = c.proxied(aws.ToString(d.ProxyEndpoint)); err != nil {
		return token{}, c.unusable(what, err)
	}
	return t, nil
}

func (c *call) authorizePublic(ctx context.Context, s session) (token, error) {
	o := ecrpublic.Options{
		Region: publicRegion, HTTPClient: c.http.HTTPClient(), Retryer: c.retryer(), Credentials: s.provider(), BaseEndpoint: base(c.account.Endpoint), AppID: "regmint",
	}
	o.EndpointOptions.UseDualStackEndpoint = dualStack(c.place.dual)
	what := op{name: "ecr-public:GetAuthorizationToken", sess: s}
	out, err := ecrpublic.New(o).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return token{}, c.explain(ctx, what, err)
	}
	if out.AuthorizationData == nil {
		return token{}, c.unusable(what, errors.New("the answer holds no authorization data"))
	}
	return c.take(what, out.AuthorizationData.AuthorizationToken, out.AuthorizationData.ExpiresAt, out.ResultMetadata)
}

// unusable is a success that holds no token.
func (c *call) unusable(o op, err error) *providers.Error {
	return c.fail(providers.Unavailable, "", fmt.Errorf("%s: %w", o.name, err))
}

// take reads base64("AWS:" + password).
func (c *call) take(o op, text *string, expires *time.Time, md smithy.Metadata) (token, error) {
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(text))
	user, password, found := strings.Cut(string(raw), ":")
	switch {
	case aws.ToString(text) == "":
		return token{}, c.unusable(o, errors.New("the answer holds no token"))
	case err != nil:
		return token{}, c.unusable(o, errors.New("the token is no base64 text"))
	case !found || user != userName:
		return token{}, c.unusable(o, errors.New("the token is not made of "+userName+" and a password"))
	case password == "":
		return token{}, c.unusable(o, errors.New("the token holds no password"))
	case httpx.HasBreak(password):
		return token{}, c.unusable(o, errors.New("the token holds a line break or a NUL byte"))
	case expires == nil:
		return token{}, c.unusable(o, errors.New("the answer does not say how long the token lives"))
	}
	t := token{password: providers.NewSecret(password), expires: local(*expires, md)}
	now := c.deps.Now()
	if !t.expires.After(now) {
		return token{}, c.unusable(o, fmt.Errorf("the answer is a token that expired at %s already", clock(t.expires)))
	}
	if limit := now.Add(tokenLife + time.Hour); t.expires.After(limit) {
		t.expires = limit
	}
	return t, nil
}

// proxied reads the registry that an answer names: the caller's own one in the
// region that was asked, under its classic name. It is not the registry the
// token is for: a token opens those of other accounts too, where they allow it.
func (c *call) proxied(endpoint string) (account string, err error) {
	if endpoint == "" || c.account.Endpoint != "" {
		return "", nil // a stand-in for ECR has names of its own
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return "", errors.New("the answer names a registry that is none of ECR")
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return "", errors.New("the answer names a registry that is none of ECR")
	}
	p, ok := placeOf(h)
	switch {
	case !ok || p.public:
		return "", fmt.Errorf("the answer is for %s, no registry of ECR", h)
	case p.region != c.place.region:
		return "", fmt.Errorf("the answer is for the region %s, not %s", p.region, c.place.region)
	}
	return p.account, nil
}
