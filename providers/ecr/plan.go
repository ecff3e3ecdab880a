// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// The limits of STS (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
const (
	minSession = 15 * time.Minute
	maxSession = 12 * time.Hour
	maxChained = time.Hour
)

// defaultSession is the name of sessions that nobody named.
const defaultSession = "regmint"

// session is a set of AWS credentials in use.
type session struct {
	creds aws.Credentials
	// who says for people whose they are.
	who string
	// renew says what to do where AWS calls them invalid or expired.
	renew string
	// narrowed: a session policy for the grants is part of them.
	narrowed bool
	secrets  []providers.Secret
}

func (s session) provider() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return s.creds, nil })
}

// with sets credentials and what must never be repeated of them.
func (s session) with(c aws.Credentials) session {
	s.creds = c
	s.secrets = []providers.Secret{providers.NewSecret(c.SecretAccessKey), providers.NewSecret(c.SessionToken)}
	return s
}

// role is a step from one identity to another.
type role struct {
	arn, externalID, name string
	duration              time.Duration
}

// plan is how an account gets its session: a beginning, then roles one after
// the other.
type plan struct {
	// who is the beginning for people: `profile "dev"`.
	who string
	// profile is the profile of AWS that was chosen, "" for none.
	profile string
	// first begins. A policy is given only where web says that it is taken.
	first func(ctx context.Context, c *call, policy string) (session, error)
	web   *role
	roles []role
}

// last is the role that a session policy can be put on, nil if there is none.
func (p *plan) last() *role {
	if n := len(p.roles); n > 0 {
		return &p.roles[n-1]
	}
	return p.web
}

// session runs the plan. With grants the last role gets a policy for them;
// without a role the session stays as wide as it is.
func (c *call) session(ctx context.Context, p *plan, gs []providers.Grant, native bool) (session, error) {
	policy := ""
	if err := c.samePartition(p); err != nil {
		return session{}, err
	}
	if last := p.last(); last != nil && len(gs) > 0 {
		var err error
		if policy, err = c.policy(gs, *last, native); err != nil {
			return session{}, err
		}
	}
	first := ""
	if len(p.roles) == 0 {
		first = policy
	}
	s, err := p.first(ctx, c, first)
	if err != nil {
		return session{}, err
	}
	if err := c.alive(s); err != nil {
		return session{}, err
	}
	for i, r := range p.roles {
		if i < len(p.roles)-1 {
			s, err = c.assume(ctx, s, r, "")
		} else {
			s, err = c.assume(ctx, s, r, policy)
		}
		if err != nil {
			return session{}, err
		}
	}
	s.narrowed = policy != ""
	return s, c.alive(s)
}

// samePartition refuses roles that the registry's partition cannot know: AWS
// would call the keys invalid, which they are not.
func (c *call) samePartition(p *plan) error {
	roles := p.roles
	if p.web != nil {
		roles = append([]role{*p.web}, roles...)
	}
	for _, r := range roles {
		of := strings.Split(r.arn, ":")[1] // isRole has looked at it
		if _, known := apiDomains[of]; known && of != c.place.partition {
			return c.fail(providers.Misconfigured, "use an identity of "+c.place.partition,
				fmt.Errorf("%s is of the partition %s, the registry of %s: they share no identities", roleName(r.arn), of, c.place.partition))
		}
	}
	return nil
}

// alive refuses a session that is over, before AWS says so less clearly.
func (c *call) alive(s session) error {
	if !s.creds.CanExpire || s.creds.Expires.After(c.deps.Now()) {
		return nil
	}
	return c.fail(providers.LoginRequired, s.renew, fmt.Errorf("the credentials of %s expired at %s", s.who, clock(s.creds.Expires)))
}

// plan settles who asks.
func (c *call) plan(ctx context.Context) (*plan, error) {
	p, err := c.beginning(ctx)
	if err != nil {
		return nil, err
	}
	o := c.options
	for i, arn := range o.RoleARN {
		if i == 0 && !o.WebIdentity.IsZero() {
			continue // the token is exchanged for it
		}
		r := role{arn: arn, name: o.SessionName}
		if i == len(o.RoleARN)-1 {
			r.externalID, r.duration = o.ExternalID, time.Duration(o.Duration)
		}
		p.roles = append(p.roles, r)
	}
	return p, nil
}

// beginning is who the options say, for an ambient account who the caller is.
func (c *call) beginning(ctx context.Context) (*plan, error) {
	o := c.options
	switch {
	case o.AccessKeyID != "":
		return &plan{who: "access key " + httpx.Printable(o.AccessKeyID, 40), first: fromKeys}, nil
	case o.sso():
		return c.fromSSO()
	case !o.WebIdentity.IsZero():
		return c.fromWebIdentity(), nil
	case len(o.CredentialProcess) > 0:
		if err := c.notOurselves(o.CredentialProcess, "credential_process"); err != nil {
			return nil, err
		}
		return processPlan(o.CredentialProcess, ""), nil
	case o.ContainerURI != "":
		return c.containerPlan(o.ContainerURI, func(ctx context.Context) (string, error) {
			if o.ContainerToken.IsZero() {
				return "", nil
			}
			t, err := httpx.Resolve(ctx, c.deps, c.host, o.ContainerToken)
			return t.Reveal(), err
		})
	case c.account.Layer == providers.LayerAmbient && o.Profile == "":
		return c.ambient(ctx)
	}
	return c.fromProfile(ctx, o.Profile, files{})
}

// fromKeys uses the keys of the options.
func fromKeys(ctx context.Context, c *call, _ string) (session, error) {
	o := c.options
	key, err := httpx.Resolve(ctx, c.deps, c.host, o.SecretAccessKey)
	if err != nil {
		return session{}, err
	}
	creds := aws.Credentials{AccessKeyID: o.AccessKeyID, SecretAccessKey: key.Reveal()}
	renew := "renew the key in " + o.SecretAccessKey.String()
	if !o.SessionToken.IsZero() {
		tok, err := httpx.Resolve(ctx, c.deps, c.host, o.SessionToken)
		if err != nil {
			return session{}, err
		}
		creds.SessionToken, renew = tok.Reveal(), "renew the session in "+o.SessionToken.String()
	}
	return session{who: "access key " + httpx.Printable(o.AccessKeyID, 40), renew: renew}.with(creds), nil
}

// fromWebIdentity exchanges an identity token of a CI system or a cluster.
func (c *call) fromWebIdentity() *plan {
	o := c.options
	r := role{arn: o.RoleARN[0], name: o.SessionName}
	if len(o.RoleARN) == 1 {
		r.duration = time.Duration(o.Duration)
	}
	token := func(ctx context.Context) (providers.Secret, error) {
		aud := o.Audience
		if k := o.WebIdentity.Kind; aud == "" && (k == "github" || k == "buildkite") { // they sign for any audience
			aud = stsAudience
		}
		return oidc.Token(ctx, oidc.Config{Ref: o.WebIdentity, Audience: aud, Host: c.host, Deps: c.deps, HTTP: c.http})
	}
	return webPlan(r, token, o.WebIdentity.String())
}

// stsAudience is what the configure-aws-credentials action and EKS ask for.
const stsAudience = "sts.amazonaws.com"

func webPlan(r role, token func(context.Context) (providers.Secret, error), from string) *plan {
	return &plan{
		who: "web identity of " + httpx.Printable(from, 60), web: &r,
		first: func(ctx context.Context, c *call, policy string) (session, error) {
			t, err := token(ctx)
			if err != nil {
				return session{}, err
			}
			return c.assumeWeb(ctx, t, r, policy)
		},
	}
}

// sessionName keeps what STS takes in a session name ([\w+=,.@-]{2,64}).
func sessionName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+=,.@-", r) {
			return r
		}
		return '-'
	}, s)
	if len(s) < 2 {
		return defaultSession
	}
	return s[:min(len(s), 64)]
}

// isRole takes arn:PARTITION:iam::ACCOUNT:role/PATH/NAME.
func isRole(arn string) bool {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[2] != "iam" || f[3] != "" || !isAccount(f[4]) || httpx.HasBreak(arn) || strings.ContainsAny(arn, " \t") {
		return false
	}
	name, ok := strings.CutPrefix(f[5], "role/")
	return ok && name != ""
}

func accountOf(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) == 6 && isAccount(f[4]) {
		return f[4]
	}
	return ""
}
