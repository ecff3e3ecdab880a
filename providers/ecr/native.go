// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// MintNative implements providers.NativeMinter: the AWS session that mints,
// for ECR's own API (BatchDeleteImage), narrowed to the grants where a role is
// assumed. Keys of a user never leave: a session is made of them.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	asked := s.deps.Now()
	c, p, err := s.begin(ctx, r)
	if err != nil {
		return providers.Native{}, err
	}
	sess, err := c.session(ctx, p, r.Grants, true)
	if err != nil {
		return providers.Native{}, err
	}
	if sess.creds.SessionToken == "" {
		if sess, err = c.temporary(ctx, sess); err != nil {
			return providers.Native{}, err
		}
	}
	out := providers.Native{
		Credential: providers.Credential{
			Username: sess.creds.AccessKeyID, Secret: providers.NewSecret(sess.creds.SecretAccessKey), IssuedAt: asked,
			Wider: len(r.Grants) > 0 && !sess.narrowed, Origin: sess.who,
		},
		Env: []providers.Variable{
			{Name: envKeyID, Value: providers.NewSecret(sess.creds.AccessKeyID)},
			{Name: envSecret, Value: providers.NewSecret(sess.creds.SecretAccessKey)},
			{Name: envToken, Value: providers.NewSecret(sess.creds.SessionToken)},
			{Name: "AWS_REGION", Value: providers.NewSecret(c.place.region)},
		},
	}
	if sess.creds.CanExpire {
		out.ExpiresAt = sess.creds.Expires
	}
	return out, nil
}

// nativeLife is how long a session made of a user's keys lives.
const nativeLife = time.Hour

// temporary makes a session of a user's own keys.
func (c *call) temporary(ctx context.Context, s session) (session, error) {
	o := op{name: "sts:GetSessionToken", sess: s}
	out, err := c.sts(s.provider()).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(int32(nativeLife / time.Second))})
	if err != nil {
		return session{}, c.explain(ctx, o, err)
	}
	made, err := c.assumed(o, out.Credentials, out.ResultMetadata, s.renew)
	made.who = "session of " + httpx.Printable(s.who, 120)
	return made, err
}
