// SPDX-License-Identifier: Apache-2.0

package google

import (
	"cmp"
	"time"
)

// WorkloadProvider describes a provider of a workload identity pool.
type WorkloadProvider struct {
	Project  string // number; "" = 123456789012
	Pool     string // "" = ci
	Provider string // "" = oidc
	// Issuer is the issuer of the identity tokens that it accepts.
	Issuer string
	// AWSAccount makes it a provider for AWS identities of that account
	// instead: their signed GetCallerIdentity is sent to sts.REGION.amazonaws.com
	// on the same fakecloud.
	AWSAccount string
	// AllowedAudiences replaces the default: Audience, with or without https:.
	AllowedAudiences []string
	// Attributes maps attribute names to claims, for principalSets. google.subject
	// is sub.
	Attributes map[string]string
	// Condition is the attribute condition over the claims; nil = none.
	Condition func(claims map[string]any) bool
}

// Provider is a provider of a workload identity pool.
type Provider struct {
	WorkloadProvider
	g *Google
}

// Provider makes a pool and a provider in it.
func (g *Google) Provider(w WorkloadProvider) *Provider {
	w.Project = cmp.Or(w.Project, "123456789012")
	w.Pool = cmp.Or(w.Pool, "ci")
	w.Provider = cmp.Or(w.Provider, "oidc")
	p := &Provider{WorkloadProvider: w, g: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.providers[p.Audience()] = p
	return p
}

func (p *Provider) pool() string {
	return "iam.googleapis.com/projects/" + p.Project + "/locations/global/workloadIdentityPools/" + p.Pool
}

// Audience is the provider's name for STS:
// //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.
func (p *Provider) Audience() string {
	return "//" + p.pool() + "/providers/" + p.WorkloadProvider.Provider
}

// Principal is the member of one subject.
func (p *Provider) Principal(sub string) string { return "principal://" + p.pool() + "/subject/" + sub }

// PrincipalSet is the member of a set: "*" or "attribute.NAME/VALUE".
func (p *Provider) PrincipalSet(set string) string { return "principalSet://" + p.pool() + "/" + set }

// Credentials returns an external_account file. source is its
// credential_source (FileSource, URLSource or one of your own); impersonate may
// be nil; life 0 leaves the lifetime out.
func (p *Provider) Credentials(source map[string]any, impersonate *ServiceAccount, life time.Duration) []byte {
	out := map[string]any{
		"type": "external_account", "universe_domain": "googleapis.com", "audience": p.Audience(),
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
		"token_info_url": "https://sts.googleapis.com/v1/introspect", "credential_source": source,
	}
	if p.AWSAccount != "" {
		out["subject_token_type"] = awsTokenType
	}
	if impersonate != nil {
		out["service_account_impersonation_url"] = impersonate.ImpersonationURL()
		if life > 0 {
			out["service_account_impersonation"] = map[string]any{"token_lifetime_seconds": int(life / time.Second)}
		}
	}
	return indent(out)
}

// FileSource reads the identity token from a file.
func FileSource(path string) map[string]any { return map[string]any{"file": path} }

// URLSource asks a GitHub Actions runner, as google-github-actions/auth writes it.
func URLSource(url, requestToken string) map[string]any {
	return map[string]any{
		"url": url, "headers": map[string]string{"Authorization": "Bearer " + requestToken},
		"format": map[string]string{"type": "json", "subject_token_field_name": "value"},
	}
}

// AWSSource uses the AWS credentials of the environment or of a machine's
// metadata service at the address given; "" = the real one.
func AWSSource(metadata string) map[string]any {
	metadata = cmp.Or(metadata, "http://169.254.169.254")
	return map[string]any{
		"environment_id":                 "aws1",
		"region_url":                     metadata + "/latest/meta-data/placement/availability-zone",
		"url":                            metadata + "/latest/meta-data/iam/security-credentials",
		"imdsv2_session_token_url":       metadata + "/latest/api/token",
		"regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
	}
}
