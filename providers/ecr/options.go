// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// Options are the keys of an account of provider "ecr". One of profile,
// access_key_id, sso_*, web_identity, credential_process and
// container_credentials says who the account is; none of them: the default
// profile, else the machine's role. role_arn comes on top of it.
type Options struct {
	Profile           string              `toml:"profile" doc:"profile of ~/.aws/config and ~/.aws/credentials"`
	AccessKeyID       string              `toml:"access_key_id" doc:"access key of a user or a session; with secret_access_key"`
	SecretAccessKey   providers.SecretRef `toml:"secret_access_key" doc:"reference to the secret key of access_key_id"`
	SessionToken      providers.SecretRef `toml:"session_token" doc:"reference to the session token of access_key_id, for a session"`
	SSOSession        string              `toml:"sso_session" doc:"sso-session of ~/.aws/config; shares its login with the aws command line"`
	SSOStartURL       string              `toml:"sso_start_url" doc:"start URL of IAM Identity Center, where sso_session is not in ~/.aws/config"`
	SSORegion         string              `toml:"sso_region" doc:"region of IAM Identity Center, with sso_start_url"`
	SSOAccountID      string              `toml:"sso_account_id" doc:"account to enter through IAM Identity Center; default: the registry's"`
	SSORoleName       string              `toml:"sso_role_name" doc:"permission set to enter with through IAM Identity Center"`
	WebIdentity       oidc.Ref            `toml:"web_identity" doc:"identity token that role_arn is assumed with: github, gitlab, kubernetes, bitbucket, circleci, buildkite, env:NAME, file:/PATH, exec:/PATH or a table { exec = [ … ] }"`
	Audience          string              `toml:"audience" doc:"audience asked for in web_identity; default: sts.amazonaws.com"`
	CredentialProcess []string            `toml:"credential_process" doc:"program and arguments that print credentials in the format of the AWS SDKs"`
	ContainerURI      string              `toml:"container_credentials" doc:"credentials endpoint of an ECS task or an EKS pod: a path at 169.254.170.2 or a whole URL"`
	ContainerToken    providers.SecretRef `toml:"container_token" doc:"reference to the authorization token of container_credentials"`
	RoleARN           providers.Strings   `toml:"role_arn" doc:"role to assume, or a list of roles to assume one after the other"`
	ExternalID        string              `toml:"external_id" doc:"external id that the last role asks for"`
	SessionName       string              `toml:"session_name" doc:"name of assumed sessions in CloudTrail; default: regmint"`
	Duration          providers.Duration  `toml:"duration" doc:"life of the assumed session, from 15m to 12h; default: 1h"`
	PullThrough       bool                `toml:"pull_through" doc:"a pull may import images through a pull-through cache, when narrowed too"`
	Registry          map[string]string   `toml:"registry" doc:"which registry a custom domain stands for, with a path for a part of it such as a pull-through cache"`
	Region            string              `toml:"region" doc:"region of the STS endpoint; default: the registry's"`
	STSEndpoint       string              `toml:"sts_endpoint" doc:"URL that replaces the STS endpoint"`
	SSOEndpoint       string              `toml:"sso_endpoint" doc:"URL that replaces the endpoints of IAM Identity Center"`
	MetadataEndpoint  string              `toml:"metadata_endpoint" doc:"URL that replaces the metadata services at 169.254.169.254 and 169.254.170.2"`
}

// EnvRefs lists the caller's variables that the options name.
func (o *Options) EnvRefs() []string {
	out := o.WebIdentity.EnvRefs()
	for _, r := range []providers.SecretRef{o.SecretAccessKey, o.SessionToken, o.ContainerToken} {
		if r.Scheme == "env" {
			out = append(out, r.Value)
		}
	}
	return out
}

// sources names what the options say about who the account is.
func (o *Options) sources() []string {
	var out []string
	for _, x := range []struct {
		set  bool
		name string
	}{
		{o.Profile != "", "profile"},
		{o.AccessKeyID != "" || !o.SecretAccessKey.IsZero() || !o.SessionToken.IsZero(), "access_key_id"},
		{o.sso(), "sso_session"},
		{!o.WebIdentity.IsZero(), "web_identity"},
		{len(o.CredentialProcess) > 0, "credential_process"},
		{o.ContainerURI != "", "container_credentials"},
	} {
		if x.set {
			out = append(out, x.name)
		}
	}
	return out
}

func (o *Options) sso() bool {
	return o.SSOSession != "" || o.SSOStartURL != "" || o.SSORegion != "" || o.SSOAccountID != "" || o.SSORoleName != ""
}

// check finds what can never work.
func (o *Options) check(a providers.Account) error {
	if who := o.sources(); len(who) > 1 {
		return fmt.Errorf("%s exclude each other: each says who the account is", strings.Join(who, " and "))
	}
	for _, f := range []func(providers.Account) error{o.checkAccount, o.checkIdentity, o.checkRoles, o.checkURLs} {
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}

// checkAccount refuses keys of the account that mean nothing for ECR.
func (o *Options) checkAccount(a providers.Account) error {
	switch {
	case a.Username != "" && a.Username != userName:
		return errors.New("username has no meaning here: ECR's is always " + userName)
	case !a.Password.IsZero():
		return errors.New("password has no meaning here: it is minted; say who asks with profile, sso_session, web_identity or access_key_id")
	case a.Rotate > 0 || !a.RotateTo.IsZero():
		return errors.New("rotate has no meaning here: nothing long-lived is kept")
	case a.ExpiresIn > 0:
		return errors.New("expires_in has no meaning here: ECR says how long a token lives")
	}
	return nil
}

func (o *Options) checkIdentity(providers.Account) error {
	switch {
	case o.AccessKeyID == "" && (!o.SecretAccessKey.IsZero() || !o.SessionToken.IsZero()):
		return errors.New("access_key_id is missing")
	case o.AccessKeyID != "" && o.SecretAccessKey.IsZero():
		return errors.New("secret_access_key is missing")
	case o.sso() && o.SSOSession == "" && (o.SSOStartURL == "" || o.SSORegion == ""):
		return errors.New("sso_session, or sso_start_url with sso_region, is missing")
	case o.sso() && (o.SSOStartURL == "") != (o.SSORegion == ""):
		return errors.New("sso_start_url and sso_region belong together")
	case o.sso() && o.SSORoleName == "":
		return errors.New("sso_role_name is missing")
	case o.SSOAccountID != "" && !isAccount(o.SSOAccountID):
		return errors.New("sso_account_id is 12 digits")
	case !o.WebIdentity.IsZero() && len(o.RoleARN) == 0:
		return errors.New("web_identity needs role_arn")
	case o.Audience != "" && o.WebIdentity.IsZero():
		return errors.New("audience belongs to web_identity")
	case len(o.CredentialProcess) > 0 && !filepath.IsAbs(o.CredentialProcess[0]):
		return errors.New("credential_process needs an absolute path")
	case !o.ContainerToken.IsZero() && o.ContainerURI == "":
		return errors.New("container_token belongs to container_credentials")
	}
	return nil
}

func (o *Options) checkRoles(providers.Account) error {
	for _, r := range o.RoleARN {
		if !isRole(r) {
			return fmt.Errorf("role_arn: %q is no role: write arn:aws:iam::ACCOUNT:role/NAME", httpx.Printable(r, 100))
		}
	}
	d := time.Duration(o.Duration)
	switch {
	case len(o.RoleARN) == 0 && (o.ExternalID != "" || d > 0):
		return errors.New("external_id and duration belong to role_arn")
	case d > 0 && (d < minSession || d > maxSession):
		return errors.New("duration is from 15m to 12h")
	case d > maxChained && len(o.RoleARN) > 1:
		return errors.New("duration: a role that is assumed by another role lives 1h at most")
	case o.SessionName != "" && sessionName(o.SessionName) != o.SessionName:
		return errors.New("session_name has 2 to 64 letters, digits and =,.@_-")
	}
	return nil
}

func (o *Options) checkURLs(a providers.Account) error {
	for key, s := range map[string]string{"endpoint": a.Endpoint, "sts_endpoint": o.STSEndpoint, "sso_endpoint": o.SSOEndpoint, "metadata_endpoint": o.MetadataEndpoint} {
		if s == "" {
			continue
		}
		if err := checkURL(s, key == "metadata_endpoint"); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if o.ContainerURI != "" {
		if _, err := containerURL(o.ContainerURI, o.MetadataEndpoint); err != nil {
			return fmt.Errorf("container_credentials: %w", err)
		}
	}
	for _, s := range []string{o.Region, o.SSORegion} {
		if s != "" && !isRegion(s) {
			return fmt.Errorf("%q is no region", httpx.Printable(s, 40))
		}
	}
	return nil
}

// places reads the table of custom domains.
func (o *Options) places() (map[providers.Host]place, error) {
	out := map[providers.Host]place{}
	for name, target := range o.Registry {
		h, err := providers.ParseHost(name)
		if err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		k, err := providers.ParseKey(target)
		if err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		p, ok := placeOf(k.Host)
		if !ok {
			return nil, fmt.Errorf("registry: %s is no registry of ECR", httpx.Printable(target, 100))
		}
		if k.Repository != "" {
			p.prefix = k.Repository + "/"
		}
		out[h] = p
	}
	return out, nil
}
