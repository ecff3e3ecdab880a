// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
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
		o.MaxAttempts, o.MaxBackoff = 3, 500*time.Millisecond
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
