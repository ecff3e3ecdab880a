// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

var errEndpoint = errors.New("endpoint is no URL that can be asked")

// op is a call to AWS, for its errors.
type op struct {
	name string // the permission it needs: "ecr:GetAuthorizationToken"
	role string // the role it is about
	sess session
}

// explain turns an error of the SDK into one for people.
func (c *call) explain(ctx context.Context, o op, err error) *providers.Error {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		return e
	}
	res, _ := errors.AsType[*smithyhttp.ResponseError](err)
	status := 0
	var header http.Header
	if res != nil && res.Response != nil {
		status, header = res.HTTPStatusCode(), res.Response.Header
	}
	api, isAPI := errors.AsType[smithy.APIError](err)
	code, message := "", ""
	if isAPI {
		code, message = strings.TrimSuffix(api.ErrorCode(), "Fault"), api.ErrorMessage()
	}
	if k := c.coded(o, code, message, header); k != nil {
		return k
	}
	if status >= 300 {
		return c.byStatus(o, status, code, message, header)
	}
	_, unread := errors.AsType[*smithy.DeserializationError](err)
	if sent, ok := errors.AsType[*url.Error](err); ok {
		err = sent.Err // without what the SDK and net/http put before it
	}
	fail := c.http.Failure(ctx, httpx.Request{Host: c.host, What: o.name, Secrets: o.sess.secrets}, err)
	if unread && status != 0 && !errors.Is(fail, context.DeadlineExceeded) && !errors.Is(fail, context.Canceled) && !strings.Contains(fail.Error(), "too large") {
		return c.fail(providers.Unavailable, "", fmt.Errorf("%s: the answer is not what AWS sends (HTTP %d)", o.name, status))
	}
	return fail
}

// said is what an upstream wrote, fit for an error.
func (o op) said(message string) string { return httpx.Clean(message, 200, o.sess.secrets...) }

// The codes of AWS by what a person does next. Services spell the same thing
// in several ways.
var (
	codesThrottled = []string{
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
		"RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException", "SlowDown", "PriorRequestNotComplete", "TransactionInProgressException",
	}
	codesBusy    = []string{"ServerException", "InternalFailure", "InternalError", "InternalServerException", "ServiceUnavailable", "ServiceUnavailableException", "IDPCommunicationError"}
	codesDenied  = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "ForbiddenException", "OptInRequired"}
	codesExpired = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
	codesUnknown = []string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "UnauthorizedException", "InvalidToken"}
	codesSigned  = []string{"InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "InvalidSignature"}
)

// coded knows what the codes of AWS mean, nil for one it does not know.
func (c *call) coded(o op, code, message string, header http.Header) *providers.Error {
	is := func(codes []string) bool { return slices.Contains(codes, code) }
	said := o.said(message)
	text := fmt.Errorf("%s: %s", o.name, httpx.Printable(code, 60))
	if said != "" {
		text = fmt.Errorf("%w: %s", text, said)
	}
	switch {
	case code == "":
		return nil
	case is(codesThrottled):
		return c.throttled(o, header)
	case is(codesBusy):
		return c.fail(providers.Unavailable, "", text)
	case is(codesDenied):
		return c.denied(o, message)
	case is(codesSigned):
		return c.signed(o, code, message, header)
	case is(codesExpired) && o.name == "sts:AssumeRoleWithWebIdentity":
		return c.fail(providers.LoginRequired, "the job may be over, or the token's file is stale", fmt.Errorf("%s: the identity token is expired", o.name))
	case is(codesExpired):
		return c.fail(providers.LoginRequired, o.sess.renew, fmt.Errorf("%s: the credentials of %s are expired", o.name, o.sess.whose()))
	case is(codesUnknown):
		where := "AWS"
		if c.place.partition != "aws" { // keys of the usual one are unknown there
			where = "the partition " + c.place.partition
		}
		return c.fail(providers.LoginRequired, o.sess.renew, fmt.Errorf("%s: %s does not know the credentials of %s (%s)", o.name, where, o.sess.whose(), httpx.Printable(code, 60)))
	case code == "InvalidIdentityToken":
		return c.fail(providers.Misconfigured, "check the identity provider of the AWS account and its audiences", text)
	case code == "IDPRejectedClaim":
		return c.fail(providers.Denied, "check the trust policy of "+roleName(o.role), text)
	case code == "RegionDisabledException":
		return c.fail(providers.Misconfigured, "switch STS on there, or set region", fmt.Errorf("%s: STS is switched off in %s for this AWS account", o.name, c.stsRegion()))
	case code == "PackedPolicyTooLarge":
		return c.fail(providers.Misconfigured, "name fewer repositories", fmt.Errorf("%s: AWS finds the session policy too large", o.name))
	case code == "ValidationError" && strings.Contains(message, "DurationSeconds"):
		return c.fail(providers.Misconfigured, "set a shorter duration, or raise the role's maximum", fmt.Errorf("%s: %s gives no session that long", o.name, roleName(o.role)))
	case is([]string{"MalformedPolicyDocument", "ValidationError", "InvalidParameterException", "UnsupportedCommandException", "InvalidRequestException"}):
		return c.fail(providers.Misconfigured, "", text)
	}
	return nil
}

func (s session) whose() string {
	if s.who == "" {
		return "this account"
	}
	return s.who
}

// byStatus is an answer that carries no code we know.
func (c *call) byStatus(o op, status int, code, message string, header http.Header) *providers.Error {
	text := fmt.Sprintf("%s: HTTP %d", o.name, status)
	if code != "" && code != "UnknownError" {
		text += ": " + httpx.Clean(code, 60, o.sess.secrets...)
	}
	if m := o.said(message); m != "" && m != code {
		text += ": " + m
	}
	out := c.fail(providers.Misconfigured, "", errors.New(text))
	switch {
	case status == http.StatusUnauthorized:
		out.Kind, out.Hint = providers.LoginRequired, o.sess.renew
	case status == http.StatusForbidden:
		out.Kind = providers.Denied
	case status == http.StatusTooManyRequests:
		t := c.throttled(o, header)
		t.Err = fmt.Errorf("%w (HTTP %d)", t.Err, status)
		return t
	case status == http.StatusProxyAuthRequired:
		out.Hint = "set https_proxy with a user name and password"
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500:
		out.Kind, out.RetryAfter = providers.Unavailable, c.after(header)
	}
	return out
}

// throttled says until when, where AWS says it.
func (c *call) throttled(o op, header http.Header) *providers.Error {
	out := c.fail(providers.Unavailable, "", fmt.Errorf("%s is throttled by AWS", o.name))
	if d := c.after(header); d > 0 {
		out.RetryAfter = d
		out.Err = fmt.Errorf("%s is throttled by AWS until %s", o.name, clock(c.deps.Now().Add(d)))
	}
	return out
}

// after reads Retry-After in seconds, at most a minute: H55.
func (c *call) after(h http.Header) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(h.Get("Retry-After")), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(min(n, 60)) * time.Second
}

// denied names who may not do what, from AWS's own sentence:
// "User: ARN is not authorized to perform: ACTION on resource: ARN because …".
func (c *call) denied(o op, message string) *providers.Error {
	who, action, resource := readDenial(message)
	if o.said(message) != httpx.Clean(message, 200) { // it repeats a secret
		who, action, resource = "", "", ""
	}
	if action == "" {
		action = o.name
	}
	if who == "" {
		who = o.sess.whose()
	}
	text := fmt.Sprintf("%s may not %s", who, action)
	if resource != "" && resource != "*" {
		text += " on " + resource
	}
	hint := "allow it in IAM" // a client's one line of 160 characters has room for no more
	switch {
	case action == "sts:AssumeRole":
		text = fmt.Sprintf("%s may not sts:AssumeRole on %s", who, roleName(o.role))
		hint = "see the role's trust policy"
	case action == "sts:AssumeRoleWithWebIdentity":
		text = fmt.Sprintf("%s does not accept this identity token", roleName(o.role))
		hint = "check subject and audience in the role's trust policy"
	case strings.Contains(message, "explicit deny"):
		hint = "a policy denies it explicitly"
	}
	return c.fail(providers.Denied, hint, errors.New(text))
}

// readDenial takes the parts of AWS's sentence that are what they should be:
// an ARN, an action, an ARN or *.
func readDenial(s string) (who, action, resource string) {
	after := func(mark string) string {
		_, rest, found := strings.Cut(s, mark)
		if !found {
			return ""
		}
		word, _, _ := strings.Cut(rest, " ")
		return httpx.Printable(word, 160)
	}
	if who = after("User: "); !strings.HasPrefix(who, "arn:") {
		who = ""
	}
	action = after("to perform: ")
	if service, name, ok := strings.Cut(action, ":"); !ok || strings.Trim(service+name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		action = ""
	}
	if resource = after("on resource: "); resource != "*" && !strings.HasPrefix(resource, "arn:") {
		resource = ""
	}
	return who, action, resource
}

// signed tells a wrong clock from a wrong key.
func (c *call) signed(o op, code, message string, header http.Header) *providers.Error {
	now := c.deps.Now()
	there, err := http.ParseTime(header.Get("Date"))
	skew := time.Duration(0)
	if err == nil {
		skew = now.Sub(there).Round(time.Second)
	}
	if code == "InvalidSignatureException" || code == "SignatureDoesNotMatch" {
		if skew.Abs() <= 5*time.Minute && !strings.Contains(message, "expired") && !strings.Contains(message, "not yet current") {
			return c.fail(providers.LoginRequired, o.sess.renew, fmt.Errorf("%s: the secret key of %s is not the one of its access key", o.name, o.sess.whose()))
		}
	}
	text := "differs from AWS's"
	switch {
	case skew >= time.Second:
		text = "is " + skew.String() + " ahead of AWS's"
	case skew <= -time.Second:
		text = "is " + (-skew).String() + " behind AWS's"
	}
	return c.fail(providers.Misconfigured, "set the clock", fmt.Errorf("%s: this machine's clock %s", o.name, text))
}
