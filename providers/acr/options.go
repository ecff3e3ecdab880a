// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// The identities an account may name.
const (
	byEnvironment = "environment" // the caller's AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET
	byWorkload    = "workload"    // the caller's AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE
	bySecret      = "secret"
	byCertificate = "certificate"
	byFederation  = "federated" // web_identity; "github" and the like stand for it
	byManaged     = "managed"
	byAz          = "az"
	byDevice      = "device"
	byAmbient     = "" // found out
)

// The variables of a caller that name an identity.
const (
	envTenant       = "AZURE_TENANT_ID"
	envClient       = "AZURE_CLIENT_ID"
	envSecret       = "AZURE_CLIENT_SECRET"
	envCert         = "AZURE_CLIENT_CERTIFICATE_PATH"
	envCertPassword = "AZURE_CLIENT_CERTIFICATE_PASSWORD"
	envTokenFile    = "AZURE_FEDERATED_TOKEN_FILE"
	envAuthority    = "AZURE_AUTHORITY_HOST"
	envConfigDir    = "AZURE_CONFIG_DIR"
)

// Identity is the value of the option identity. In TOML it is its Kind.
type Identity struct {
	Kind string
	// Refs are what environment, workload, github and the like stand for: the
	// caller sends the variables that an account names.
	Refs []providers.SecretRef
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Identity) UnmarshalText(b []byte) error {
	names, refs := []string{}, []providers.SecretRef(nil)
	switch s := string(b); s {
	case byEnvironment:
		names = []string{envTenant, envClient, envSecret}
	case byWorkload:
		names = []string{envTenant, envClient, envTokenFile}
	case bySecret, byCertificate, byFederation, byManaged, byAz, byDevice, byAmbient:
	default:
		r, ok := system(s)
		if !ok {
			return errors.New("identity is environment, workload, secret, certificate, federated, github, gitlab, kubernetes, managed, az or device")
		}
		refs = slices.Clone(r.Refs)
	}
	*i = Identity{Kind: string(b), Refs: refs}
	for _, n := range names {
		i.Refs = append(i.Refs, providers.SecretRef{Scheme: "env", Value: n})
	}
	return nil
}

// system is the identity token of a CI system or cluster by its bare name.
func system(name string) (oidc.Ref, bool) {
	if name == "" || strings.Contains(name, ":") {
		return oidc.Ref{}, false
	}
	r, err := oidc.ParseRef(name)
	return r, err == nil
}

// MarshalText implements encoding.TextMarshaler.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.Kind), nil }

// Options are the keys of an acr account.
type Options struct {
	Identity Identity `toml:"identity" doc:"who asks for tokens: environment, workload, secret, certificate, federated, github, gitlab, kubernetes (or another system of web_identity), managed, az or device; default: what the other keys say, else az, else the machine's managed identity"`
	TenantID string   `toml:"tenant_id" doc:"Entra tenant of the registry: its id or a domain of it"`
	ClientID string   `toml:"client_id" doc:"application (client) id of the service principal or of a user-assigned managed identity"`

	ClientSecret        providers.SecretRef `toml:"client_secret" doc:"reference to the client secret of the application; default: password"`
	Certificate         providers.SecretRef `toml:"certificate" doc:"reference to certificate and private key of the application, PEM or PKCS#12"`
	CertificatePassword providers.SecretRef `toml:"certificate_password" doc:"reference to the password of a PKCS#12 certificate"`
	SendChain           bool                `toml:"send_certificate_chain" doc:"send the certificate along, for applications that trust a subject name and issuer"`

	WebIdentity         oidc.Ref `toml:"web_identity" doc:"identity token that the application trusts: github, gitlab, gitlab:NAME, kubernetes, bitbucket, circleci, buildkite, env:NAME, file:/PATH or exec:/PATH"`
	WebIdentityAudience string   `toml:"web_identity_audience" doc:"audience of that token" default:"api://AzureADTokenExchange"`

	ObjectID         string              `toml:"object_id" doc:"object id of a user-assigned managed identity"`
	ResourceID       string              `toml:"resource_id" doc:"resource id of a user-assigned managed identity: /subscriptions/…"`
	MetadataEndpoint string              `toml:"metadata_endpoint" doc:"URL of the service that knows the managed identity" default:"http://169.254.169.254"`
	MetadataHeader   providers.SecretRef `toml:"metadata_header" doc:"reference to IDENTITY_HEADER, on App Service and Container Apps; metadata_endpoint is IDENTITY_ENDPOINT there"`

	Subscription string `toml:"subscription" doc:"subscription, by id or name, whose az login is used"`
	AzConfigDir  string `toml:"az_config_dir" doc:"configuration directory of az that holds the login; default: ~/.azure"`

	Cloud         string `toml:"cloud" doc:"Azure cloud; default: by the host" enum:"public,china,usgov"`
	AuthorityHost string `toml:"authority_host" doc:"origin of the token endpoints of Entra, where cloud does not say it"`
	Audience      string `toml:"audience" doc:"audience of the Entra token" default:"https://containerregistry.azure.net"`
	ARMFallback   bool   `toml:"arm_fallback" doc:"where the registry refuses that token, ask once more with one for the Resource Manager"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	out := o.WebIdentity.EnvRefs()
	for _, r := range append([]providers.SecretRef{o.ClientSecret, o.Certificate, o.CertificatePassword, o.MetadataHeader}, o.Identity.Refs...) {
		if r.Scheme == "env" {
			out = append(out, r.Value)
		}
	}
	return out
}

const (
	defaultAudience    = "https://containerregistry.azure.net"
	defaultWebAudience = "api://AzureADTokenExchange"
	defaultMetadata    = "http://169.254.169.254"
	// azureCLI is the public client of the Azure CLI, which every tenant knows.
	azureCLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
)

// plan is a checked account.
type plan struct {
	Options
	kind      string // one of the identities above
	authority string // "" = by the host
	metadata  string
	endpoint  string // origin of a registry whose challenge is not asked for
}

// compile checks everything that can be checked without a request.
func compile(a providers.Account, o *Options) (*plan, error) {
	if a.Username != "" {
		return nil, errors.New("username has no meaning here: for an admin user or a token of the registry write provider = \"generic\"")
	}
	if a.Rotate > 0 || !a.RotateTo.IsZero() {
		return nil, errors.New("rotate has no meaning here")
	}
	p := &plan{Options: *o}
	if err := p.choose(a); err != nil {
		return nil, err
	}
	if p.Audience == "" {
		p.Audience = defaultAudience
	}
	p.Audience = strings.TrimSuffix(strings.TrimRight(p.Audience, "/"), "/.default")
	if strings.Trim(p.Audience, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-") != "" {
		return nil, errors.New("audience has a character that no audience has")
	}
	if p.WebIdentityAudience == "" {
		p.WebIdentityAudience = defaultWebAudience
	}
	if p.Cloud != "" {
		if _, ok := cloudNamed(p.Cloud); !ok {
			return nil, errors.New("cloud is public, china or usgov")
		}
	}
	for _, u := range []struct {
		key, value string
		into       *string
		plain      bool // http is as good: the service is on the machine
	}{{"authority_host", o.AuthorityHost, &p.authority, false}, {"endpoint", a.Endpoint, &p.endpoint, false}, {"metadata_endpoint", o.MetadataEndpoint, &p.metadata, true}} {
		if u.value == "" {
			continue
		}
		v, err := checkURL(u.value, u.plain)
		if err != nil {
			return nil, fmt.Errorf("%s %w", u.key, err)
		}
		*u.into = v
	}
	if p.metadata == "" {
		p.metadata = defaultMetadata
	}
	return p, nil
}

// checkURL returns s without trailing slashes.
func checkURL(s string, plain bool) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("is no absolute URL without user name and query")
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return "", errors.New("names no valid host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !plain && !h.IsLoopback()) {
		return "", errors.New("is no https URL")
	}
	return strings.TrimRight(s, "/"), nil
}

// choose settles the identity from the key identity and those that only one of
// them has, and refuses what does not go together.
func (p *plan) choose(a providers.Account) error {
	p.kind = p.Identity.Kind
	if ref, ok := system(p.kind); ok {
		if p.WebIdentity.IsZero() {
			p.WebIdentity = ref
		}
		p.kind = byFederation
	}
	implied := byAmbient
	for _, k := range []struct {
		key, kind string
		set       bool
	}{
		{"client_secret", bySecret, !p.ClientSecret.IsZero()},
		{"certificate", byCertificate, !p.Certificate.IsZero()},
		{"web_identity", byFederation, !p.WebIdentity.IsZero()},
		{"object_id", byManaged, p.ObjectID != ""},
		{"resource_id", byManaged, p.ResourceID != ""},
		{"metadata_header", byManaged, !p.MetadataHeader.IsZero()},
		{"subscription", byAz, p.Subscription != ""},
		{"az_config_dir", byAz, p.AzConfigDir != ""},
	} {
		switch {
		case !k.set:
		case p.kind != byAmbient && p.kind != k.kind:
			return fmt.Errorf("%s does not go with identity = %q", k.key, p.Identity.Kind)
		case implied != byAmbient && implied != k.kind:
			return fmt.Errorf("%s does not go with the keys before it: write identity to say which is meant", k.key)
		default:
			implied = k.kind
		}
	}
	if p.kind == byAmbient {
		p.kind = implied
	}
	if p.kind == byAmbient && !a.Password.IsZero() {
		p.kind = bySecret
	}
	return p.checkKeys(a)
}

// isSubscription holds for what may stand in a command line: on Windows az is a
// batch file, whose arguments a shell reads once more.
func isSubscription(s string) bool {
	return s == "" || s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-") == ""
}

func (p *plan) checkKeys(a providers.Account) error {
	need := func(keys ...string) error {
		for _, k := range keys {
			if v := map[string]string{"tenant_id": p.TenantID, "client_id": p.ClientID}[k]; v == "" {
				return fmt.Errorf("identity %s needs %s", p.kind, k)
			}
		}
		return nil
	}
	for k, v := range map[string]string{"tenant_id": p.TenantID, "client_id": p.ClientID, "object_id": p.ObjectID} {
		if v != "" && !isID(v) {
			return fmt.Errorf("%s has a character that no id has", k)
		}
	}
	switch p.kind {
	case bySecret:
		if p.ClientSecret.IsZero() {
			p.ClientSecret = a.Password
		}
		if p.ClientSecret.IsZero() {
			return errors.New("identity secret needs client_secret")
		}
		return need("tenant_id", "client_id")
	case byCertificate:
		if p.Certificate.IsZero() {
			return errors.New("identity certificate needs certificate")
		}
		return need("tenant_id", "client_id")
	case byFederation:
		if p.WebIdentity.IsZero() {
			return errors.New("identity federated needs web_identity")
		}
		return need("tenant_id", "client_id")
	case byManaged:
		n := 0
		for _, v := range []string{p.ClientID, p.ObjectID, p.ResourceID} {
			if v != "" {
				n++
			}
		}
		if n > 1 {
			return errors.New("a managed identity is named once: by client_id, object_id or resource_id")
		}
		if !p.MetadataHeader.IsZero() && p.MetadataEndpoint == "" {
			return errors.New("metadata_header needs metadata_endpoint")
		}
	}
	if !isSubscription(p.Subscription) {
		return errors.New("subscription has a character that is not passed to az: use the id of the subscription")
	}
	if p.AzConfigDir != "" && !filepath.IsAbs(p.AzConfigDir) {
		return errors.New("az_config_dir is no absolute path")
	}
	return nil
}
