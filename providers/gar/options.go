// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// Scopes of access tokens.
const (
	scopeAll  = "https://www.googleapis.com/auth/cloud-platform"
	scopeRead = "https://www.googleapis.com/auth/cloud-platform.read-only"
)

// googleapis is the universe of everybody but the Trusted Clouds.
const googleapis = "googleapis.com"

// maxLifetime is the longest life that an organisation policy can allow to the
// tokens of an impersonated service account.
const maxLifetime = 12 * time.Hour

// Options are the keys of a gar account. At most one of key, credentials,
// workload_identity_provider, gcloud_configuration or gcloud_account, and
// metadata says who it is; none: what this machine has.
type Options struct {
	Key         providers.SecretRef `toml:"key" doc:"reference to the JSON of a service account key"`
	Credentials providers.SecretRef `toml:"credentials" doc:"reference to a credentials JSON of any type: external_account, authorized_user, impersonated_service_account, service_account"`

	WorkloadIdentityProvider string   `toml:"workload_identity_provider" doc:"projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER; needs web_identity"`
	WebIdentity              oidc.Ref `toml:"web_identity" doc:"identity token for workload_identity_provider: github, gitlab, gitlab:NAME, kubernetes, buildkite, circleci, bitbucket, env:NAME, file:/PATH or exec:/PATH"`
	Audience                 string   `toml:"audience" doc:"audience of the identity token; default: the provider's own"`

	GcloudConfiguration string `toml:"gcloud_configuration" doc:"configuration of gcloud whose account is used"`
	GcloudAccount       string `toml:"gcloud_account" doc:"account that gcloud is logged in to; default: the one of its configuration"`
	GcloudPath          string `toml:"gcloud_path" doc:"absolute path of gcloud; default: looked up in PATH"`

	Metadata         string `toml:"metadata" doc:"service account of the machine or pod, from the metadata server: default, or its address"`
	MetadataEndpoint string `toml:"metadata_endpoint" doc:"URL of the metadata server" default:"http://169.254.169.254"`

	ServiceAccount string             `toml:"service_account" doc:"address of the service account to impersonate"`
	Delegates      []string           `toml:"delegates" doc:"addresses of service accounts between the identity and service_account, in order"`
	Lifetime       providers.Duration `toml:"lifetime" doc:"life of the tokens of impersonated service accounts" default:"1h"`
	NarrowTo       map[string]string  `toml:"narrow_to" doc:"service accounts to impersonate where less is asked for: REPOSITORY[=ACCESS] to address"`
	Scopes         []string           `toml:"scopes" doc:"OAuth scopes of the token; default: cloud-platform, and its read-only form where only pull is asked for"`

	AllowExecutable bool `toml:"allow_executable" doc:"credentials may name a program to run for the identity token"`
	AllowURL        bool `toml:"allow_url" doc:"credentials may name any URL to fetch the identity token from"`

	AWSAccessKeyID      providers.SecretRef `toml:"aws_access_key_id" doc:"reference, for credentials of type external_account that prove an AWS identity; default: the role of the EC2 instance"`
	AWSSecretAccessKey  providers.SecretRef `toml:"aws_secret_access_key" doc:"reference, beside aws_access_key_id"`
	AWSSessionToken     providers.SecretRef `toml:"aws_session_token" doc:"reference, beside aws_access_key_id"`
	AWSRegion           string              `toml:"aws_region" doc:"region of the AWS identity; default: the instance's"`
	AWSMetadataEndpoint string              `toml:"aws_metadata_endpoint" doc:"URL of the EC2 instance metadata service" default:"http://169.254.169.254"`

	UniverseDomain         string `toml:"universe_domain" doc:"domain of the APIs in a Trusted Cloud" default:"googleapis.com"`
	TokenEndpoint          string `toml:"token_endpoint" doc:"URL that replaces https://oauth2.googleapis.com/token and what credentials name"`
	STSEndpoint            string `toml:"sts_endpoint" doc:"URL that replaces https://sts.googleapis.com/v1/token and what credentials name"`
	IAMCredentialsEndpoint string `toml:"iamcredentials_endpoint" doc:"origin that replaces https://iamcredentials.googleapis.com and what credentials name"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	out := o.WebIdentity.EnvRefs()
	for _, r := range o.refs() {
		if r.Scheme == "env" {
			out = append(out, r.Value)
		}
	}
	return out
}

func (o *Options) refs() []providers.SecretRef {
	return []providers.SecretRef{o.Key, o.Credentials, o.AWSAccessKeyID, o.AWSSecretAccessKey, o.AWSSessionToken}
}

// explicit says who the options say the account is: the key that does; "" = what
// the machine has.
func (o *Options) explicit() (keys []string) {
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"key", !o.Key.IsZero()},
		{"credentials", !o.Credentials.IsZero()},
		{"workload_identity_provider", o.WorkloadIdentityProvider != ""},
		{"gcloud_configuration", o.GcloudConfiguration != "" || o.GcloudAccount != ""},
		{"metadata", o.Metadata != ""},
	} {
		if k.set {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// plan is what the options come to.
type plan struct {
	*Options
	identity string // of explicit; "" = what the machine has
	universe string
	provider string // "projects/…/providers/X"
	purposes []purpose
}

// compile checks everything that can be checked without a request.
func compile(a providers.Account, o *Options) (*plan, error) {
	p := &plan{Options: o, universe: cmp.Or(strings.ToLower(o.UniverseDomain), googleapis)}
	for _, step := range []func() error{
		func() error { return checkCommon(a) }, p.checkIdentity, p.checkImpersonation, p.checkPurposes, p.checkEndpoints,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func checkCommon(a providers.Account) error {
	switch {
	case a.Username != "" && a.Username != user:
		return fmt.Errorf("username is always %s here: a login as _json_key belongs to provider = \"generic\"", user)
	case !a.Password.IsZero():
		return errors.New("password has no meaning here: write key for a service account key")
	case a.Endpoint != "":
		return errors.New("endpoint has no meaning here: there are token_endpoint, sts_endpoint, iamcredentials_endpoint and metadata_endpoint")
	case a.Rotate > 0 || !a.RotateTo.IsZero():
		return errors.New("rotate has no meaning here: keys are made and deleted with gcloud iam service-accounts keys")
	}
	return nil
}

func (p *plan) checkIdentity() error {
	keys := p.explicit()
	if len(keys) > 1 {
		return fmt.Errorf("%s exclude each other", strings.Join(keys, " and "))
	}
	if len(keys) == 1 {
		p.identity = keys[0]
	}
	switch {
	case p.WorkloadIdentityProvider != "" && p.WebIdentity.IsZero():
		return errors.New("workload_identity_provider needs web_identity: github, gitlab, kubernetes, file:/PATH …")
	case p.WorkloadIdentityProvider == "" && !p.WebIdentity.IsZero():
		return errors.New("web_identity needs workload_identity_provider")
	case p.Audience != "" && p.WebIdentity.IsZero():
		return errors.New("audience belongs to web_identity, which is not set")
	case p.AWSAccessKeyID.IsZero() != p.AWSSecretAccessKey.IsZero():
		return errors.New("aws_access_key_id and aws_secret_access_key belong together")
	case !p.AWSSessionToken.IsZero() && p.AWSAccessKeyID.IsZero():
		return errors.New("aws_session_token needs aws_access_key_id and aws_secret_access_key")
	case p.GcloudPath != "" && !isAbs(p.GcloudPath):
		return errors.New("gcloud_path must be an absolute path")
	}
	for key, v := range map[string]string{"gcloud_configuration": p.GcloudConfiguration, "gcloud_account": p.GcloudAccount, "metadata": p.Metadata, "aws_region": p.AWSRegion} {
		if strings.HasPrefix(v, "-") || strings.ContainsFunc(v, func(r rune) bool { return r <= 0x20 || r >= 0x7f || strings.ContainsRune(`/\?#%:,`, r) }) {
			return fmt.Errorf("%s: %q is no valid name", key, httpx.Printable(v, 60))
		}
	}
	var err error
	p.provider, err = providerName(p.WorkloadIdentityProvider)
	return err
}

// providerName takes the name as the console, gcloud and audiences write it.
func providerName(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	name := s
	if i := strings.Index(name, "projects/"); i >= 0 && (strings.HasPrefix(name, "//") || strings.HasPrefix(name, "https://")) {
		name = name[i:]
	}
	parts := strings.Split(name, "/")
	if len(parts) != 8 || parts[0] != "projects" || parts[2] != "locations" || parts[4] != "workloadIdentityPools" || parts[6] != "providers" {
		return "", errors.New("workload_identity_provider: write projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER")
	}
	if parts[1] == "" || strings.Trim(parts[1], "0123456789") != "" {
		return "", errors.New("workload_identity_provider: it has the project's number, not its name")
	}
	for _, i := range []int{3, 5, 7} {
		if !isLocation(parts[i]) {
			return "", fmt.Errorf("workload_identity_provider: %q is no valid name", httpx.Printable(parts[i], 60))
		}
	}
	return name, nil
}

func (p *plan) checkImpersonation() error {
	for _, e := range append(slices.Clone(p.Delegates), p.ServiceAccount) {
		if e != "" && !isAddress(e) {
			return fmt.Errorf("%q is no address of a service account (NAME@PROJECT.iam.gserviceaccount.com)", httpx.Printable(e, 80))
		}
	}
	if len(p.Delegates) > 0 && p.ServiceAccount == "" && len(p.NarrowTo) == 0 {
		return errors.New("delegates belong to service_account, which is not set")
	}
	if life := time.Duration(p.Lifetime); life > 0 && (life < time.Minute || life > maxLifetime || life%time.Second != 0) {
		return errors.New("lifetime is between 1m and 12h; more than 1h needs the organisation policy iam.allowServiceAccountCredentialLifetimeExtension")
	}
	for _, s := range p.Scopes {
		if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s, " ,") {
			return fmt.Errorf("scopes: %q is no scope (%s)", httpx.Printable(s, 80), scopeAll)
		}
	}
	return nil
}

// isAddress holds for the addresses of service accounts, and for their numbers.
func isAddress(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return ok && name != "" && domain != "" && strings.Trim(name, chars) == "" && strings.Trim(domain, chars+":") == "" && len(s) < 256
}

func (p *plan) checkEndpoints() error {
	if h, err := providers.ParseHost(p.universe); err != nil || h.Port() != "" || len(h.Labels()) < 2 {
		return fmt.Errorf("universe_domain: %q is no domain", httpx.Printable(p.universe, 80))
	}
	for key, v := range map[string]string{"token_endpoint": p.TokenEndpoint, "sts_endpoint": p.STSEndpoint, "iamcredentials_endpoint": p.IAMCredentialsEndpoint} {
		if v == "" {
			continue
		}
		u, h, err := endpoint(v)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if u.Scheme != "https" && !h.IsLoopback() {
			return fmt.Errorf("%s must be https", key)
		}
	}
	for key, v := range map[string]string{"metadata_endpoint": p.MetadataEndpoint, "aws_metadata_endpoint": p.AWSMetadataEndpoint} {
		if v == "" {
			continue
		}
		if _, _, err := endpoint(v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// endpoint reads an absolute http or https URL.
func endpoint(s string) (*url.URL, providers.Host, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, providers.Host{}, errors.New("it must be an absolute URL without user name and fragment")
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return nil, h, errors.New("it names no valid host")
	}
	return u, h, nil
}
