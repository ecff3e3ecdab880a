// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/oauth2/google/externalaccount"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// awsIdentity proves who it is by a signed GetCallerIdentity request that Google
// sends to AWS. The library signs it and would read the process's environment;
// so it is given what it needs.
type awsIdentity struct {
	region      string
	credentials externalaccount.AwsSecurityCredentials
}

// AwsRegion implements externalaccount.AwsSecurityCredentialsSupplier.
func (i *awsIdentity) AwsRegion(context.Context, externalaccount.SupplierOptions) (string, error) {
	return i.region, nil
}

// AwsSecurityCredentials implements externalaccount.AwsSecurityCredentialsSupplier.
func (i *awsIdentity) AwsSecurityCredentials(context.Context, externalaccount.SupplierOptions) (*externalaccount.AwsSecurityCredentials, error) {
	return &i.credentials, nil
}

// awsIdentity finds the AWS identity: the options', the caller's, the EC2
// instance's. The URLs in the file are not used: they name the instance
// metadata service, whose address is known.
func (s *source) awsIdentity(ctx context.Context, h providers.Host) (*awsIdentity, error) {
	env := s.deps.Env
	id := &awsIdentity{region: cmp.Or(s.plan.AWSRegion, env["AWS_REGION"], env["AWS_DEFAULT_REGION"])}
	if !s.plan.AWSAccessKeyID.IsZero() {
		for _, f := range []struct {
			ref providers.SecretRef
			to  *string
		}{
			{s.plan.AWSAccessKeyID, &id.credentials.AccessKeyID},
			{s.plan.AWSSecretAccessKey, &id.credentials.SecretAccessKey},
			{s.plan.AWSSessionToken, &id.credentials.SessionToken},
		} {
			if f.ref.IsZero() {
				continue
			}
			v, err := httpx.Resolve(ctx, s.deps, h, f.ref)
			if err != nil {
				return nil, err
			}
			*f.to = v.Reveal()
		}
	} else if env["AWS_ACCESS_KEY_ID"] != "" && env["AWS_SECRET_ACCESS_KEY"] != "" {
		id.credentials = externalaccount.AwsSecurityCredentials{
			AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: env["AWS_SECRET_ACCESS_KEY"], SessionToken: env["AWS_SESSION_TOKEN"],
		}
	}
	if id.region != "" && id.credentials.AccessKeyID != "" {
		return id, s.checkAWS(h, id)
	}
	if err := s.instance(ctx, h, id); err != nil {
		return nil, err
	}
	return id, s.checkAWS(h, id)
}

func (s *source) checkAWS(h providers.Host, id *awsIdentity) error {
	if id.region == "" || strings.Trim(id.region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return s.fail(h, providers.Misconfigured, "set aws_region", fmt.Errorf("%q is no AWS region", httpx.Printable(id.region, 40)))
	}
	for _, v := range []string{id.credentials.AccessKeyID, id.credentials.SecretAccessKey, id.credentials.SessionToken} {
		if httpx.HasBreak(v) {
			return s.fail(h, providers.Misconfigured, "", errors.New("the AWS credentials hold a line break"))
		}
	}
	return nil
}

// instance asks the EC2 instance metadata service, version 2, for what is
// missing.
func (s *source) instance(ctx context.Context, h providers.Host, id *awsIdentity) error {
	base := trimSlash(cmp.Or(s.plan.AWSMetadataEndpoint, "http://169.254.169.254"))
	ask := func(method, path string, header http.Header) (string, error) {
		res, err := s.http.Do(ctx, httpx.Request{Host: h, What: whatAWS, Method: method, URL: base + path, Header: header, SameOrigin: true, Unauthorized: providers.Misconfigured})
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(res.Body)), nil
	}
	session, err := ask(http.MethodPut, "/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"300"}})
	if err != nil {
		return err
	}
	if session == "" || httpx.HasBreak(session) {
		return s.fail(h, providers.Unavailable, "", errors.New(whatAWS+": the answer holds no session token"))
	}
	header := http.Header{"X-Aws-Ec2-Metadata-Token": {session}}
	if id.region == "" {
		if id.region, err = ask(http.MethodGet, "/latest/meta-data/placement/region", header); err != nil {
			return err
		}
	}
	if id.credentials.AccessKeyID != "" {
		return nil
	}
	role, err := ask(http.MethodGet, "/latest/meta-data/iam/security-credentials/", header)
	if err != nil {
		return err
	}
	role, _, _ = strings.Cut(role, "\n")
	if role = strings.TrimSpace(role); role == "" || strings.ContainsAny(role, "/?#% ") {
		return s.fail(h, providers.Misconfigured, "give the instance a role", errors.New(whatAWS+": the instance has no role"))
	}
	body, err := ask(http.MethodGet, "/latest/meta-data/iam/security-credentials/"+role, header)
	if err != nil {
		return err
	}
	var out struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string `json:"SecretAccessKey"`
		Token           string `json:"Token"`
	}
	if json.Unmarshal([]byte(body), &out) != nil || out.AccessKeyID == "" || out.SecretAccessKey == "" {
		return s.fail(h, providers.Unavailable, "", errors.New(whatAWS+": the answer holds no credentials"))
	}
	id.credentials = externalaccount.AwsSecurityCredentials{AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.Token}
	return nil
}
