// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The variables that select an ambient identity
// (docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html).
const (
	envProfile           = "AWS_PROFILE"
	envDefaultProfile    = "AWS_DEFAULT_PROFILE"
	envKeyID             = "AWS_ACCESS_KEY_ID"
	envSecret            = "AWS_SECRET_ACCESS_KEY"
	envToken             = "AWS_SESSION_TOKEN"
	envWebFile           = "AWS_WEB_IDENTITY_TOKEN_FILE"
	envRole              = "AWS_ROLE_ARN"
	envRoleName          = "AWS_ROLE_SESSION_NAME"
	envConfig            = "AWS_CONFIG_FILE"
	envCredentials       = "AWS_SHARED_CREDENTIALS_FILE"
	envContainerRelative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
	envContainerFull     = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	envContainerToken    = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
	envContainerFile     = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
	envNoMetadata        = "AWS_EC2_METADATA_DISABLED"
)

// maxFile bounds the files of AWS that are read.
const maxFile = 1 << 20

// files are the two files of profiles.
type files struct {
	config string // named by the caller's variable; "" = the user's own in ~/.aws
	creds  string
}

// named are the paths; "" where there is no home directory.
func (f files) named(home string) (cfg, creds string) {
	if home != "" {
		cfg, creds = filepath.Join(home, ".aws", "config"), filepath.Join(home, ".aws", "credentials")
	}
	return cmp.Or(f.config, cfg), cmp.Or(f.creds, creds)
}

// own reports that nobody but the user chose the files: what they say to run
// may be run.
func (f files) own() bool { return f.config == "" && f.creds == "" }

// ambient is the caller's identity, in the order of the AWS SDKs: keys, web
// identity, profile, container, machine.
func (c *call) ambient(ctx context.Context) (*plan, error) {
	env := c.deps.Env
	switch {
	case env[envKeyID] != "" && env[envSecret] != "":
		creds := aws.Credentials{AccessKeyID: env[envKeyID], SecretAccessKey: env[envSecret], SessionToken: env[envToken]}
		who := "access key " + httpx.Printable(env[envKeyID], 40) + " of AWS_ACCESS_KEY_ID"
		return &plan{who: who, first: func(context.Context, *call, string) (session, error) {
			return session{who: who, renew: "renew " + envKeyID + " and its companions"}.with(creds), nil
		}}, nil
	case env[envWebFile] != "":
		if !isRole(env[envRole]) {
			return nil, c.fail(providers.Misconfigured, "set AWS_ROLE_ARN", errors.New("AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN names no role"))
		}
		return c.fromTokenFile(env[envWebFile], role{arn: env[envRole], name: env[envRoleName]}), nil
	}
	f := files{config: env[envConfig], creds: env[envCredentials]}
	return c.fromProfile(ctx, cmp.Or(env[envProfile], env[envDefaultProfile]), f)
}

// fromTokenFile assumes a role with the identity token in a file, which is
// read anew each time: clusters rotate it.
func (c *call) fromTokenFile(name string, r role) *plan {
	return webPlan(r, func(context.Context) (providers.Secret, error) { return c.tokenFile(name) }, filepath.Base(name))
}

// tokenFile reads an identity token. What is no JWT is never sent: a caller
// names this file, and must not learn of another one through us.
func (c *call) tokenFile(name string) (providers.Secret, error) {
	show := httpx.Printable(name, 120)
	if !filepath.IsAbs(name) {
		return providers.Secret{}, c.fail(providers.Misconfigured, "", fmt.Errorf("the identity token's file %s has no absolute path", show))
	}
	b, err := readFile(name)
	if err != nil {
		return providers.Secret{}, c.fail(providers.Misconfigured, "", fmt.Errorf("identity token %s: %w", show, err))
	}
	text := strings.TrimSpace(string(b))
	if _, ok := httpx.JWTClaims(text); !ok {
		return providers.Secret{}, c.fail(providers.Misconfigured, "", fmt.Errorf("the file %s holds no identity token", show))
	}
	if exp, ok := httpx.JWTExpiry(text); ok && !exp.After(c.deps.Now()) {
		return providers.Secret{}, c.fail(providers.LoginRequired, "the job may be over", fmt.Errorf("the identity token in %s expired at %s", show, clock(exp)))
	}
	return providers.NewSecret(text), nil
}

// readFile reads a regular file of bounded size; errors have no path.
func readFile(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(name)
	}
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, errors.New("cannot be read")
	case len(b) > maxFile:
		return nil, errors.New("larger than 1 MiB")
	}
	return b, nil
}

// load reads a profile; found is false where no file has it.
func (c *call) load(ctx context.Context, name string, f files) (cfg config.SharedConfig, found bool, err error) {
	cfgFile, credsFile := f.named(c.deps.Home)
	paths := [2][]string{{}, {}} // never nil: that is the SDK's own choice
	for i, name := range []string{cfgFile, credsFile} {
		if name == "" {
			continue
		}
		// The SDK reads whatever it is given to its end.
		_, err := readFile(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil || !filepath.IsAbs(name):
			return cfg, false, c.fail(providers.Misconfigured, "", fmt.Errorf("%s: %w", httpx.Printable(name, 120), cmp.Or(err, errors.New("not an absolute path"))))
		default:
			paths[i] = []string{name}
		}
	}
	cfg, err = config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles, o.Logger = paths[0], paths[1], logging.Nop{}
	})
	if _, missing := errors.AsType[config.SharedConfigProfileNotExistError](err); missing {
		return cfg, false, nil
	}
	if err != nil && !f.own() { // what another file holds is not repeated
		return cfg, false, c.fail(providers.Misconfigured, "", fmt.Errorf("profile %q: the file that AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE names cannot be used", httpx.Printable(name, 60)))
	}
	if err != nil {
		return cfg, false, c.fail(providers.Misconfigured, "", fmt.Errorf("profile %q: %s", httpx.Printable(name, 60), httpx.Clean(err.Error(), 160)))
	}
	return cfg, true, nil
}

// fromProfile plans with a profile of AWS; "" is the default one, which need
// not exist.
func (c *call) fromProfile(ctx context.Context, name string, f files) (*plan, error) {
	chosen := name
	if name == "" {
		name = config.DefaultSharedConfigProfile
	}
	cfg, found, err := c.load(ctx, name, f)
	switch {
	case err != nil:
		return nil, err
	case !found && chosen != "":
		return nil, c.fail(providers.Misconfigured, "see: aws configure list-profiles", fmt.Errorf("AWS has no profile %q", httpx.Printable(name, 60)))
	}
	p, err := c.profile(ctx, &cfg, f, 0)
	if err != nil {
		return nil, err
	}
	if found {
		p.profile = name
	}
	return p, nil
}

// maxProfiles bounds a chain of source_profile.
const maxProfiles = 16

// profile follows the SDK's order inside a profile: source_profile, keys,
// credential_source, web identity, IAM Identity Center, program, and where
// there is nothing the container's and the machine's role. role_arn comes on
// top.
func (c *call) profile(ctx context.Context, cfg *config.SharedConfig, f files, depth int) (*plan, error) {
	if depth > maxProfiles {
		return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("profile %q: source_profile goes in a circle", httpx.Printable(cfg.Profile, 60)))
	}
	if cfg.MFASerial != "" {
		return nil, c.fail(providers.Misconfigured, "use IAM Identity Center, or keys got with aws sts get-session-token",
			fmt.Errorf("profile %q asks for an MFA code (mfa_serial), and nobody can be asked here", httpx.Printable(cfg.Profile, 60)))
	}
	p, err := c.profileFirst(ctx, cfg, f, depth)
	if err != nil || cfg.RoleARN == "" || cfg.WebIdentityTokenFile != "" && cfg.Source == nil && !cfg.Credentials.HasKeys() {
		return p, err
	}
	if !isRole(cfg.RoleARN) {
		return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("profile %q: role_arn is no role", httpx.Printable(cfg.Profile, 60)))
	}
	p.roles = append(p.roles, c.profileRole(cfg))
	return p, nil
}

func (c *call) profileRole(cfg *config.SharedConfig) role {
	r := role{arn: cfg.RoleARN, externalID: cfg.ExternalID, name: cfg.RoleSessionName}
	if cfg.RoleDurationSeconds != nil {
		r.duration = *cfg.RoleDurationSeconds
	}
	return r
}

func (c *call) profileFirst(ctx context.Context, cfg *config.SharedConfig, f files, depth int) (*plan, error) {
	who := fmt.Sprintf("profile %q", httpx.Printable(cfg.Profile, 60))
	switch {
	case cfg.Source != nil:
		return c.profile(ctx, cfg.Source, f, depth+1)
	case cfg.Credentials.HasKeys():
		creds := cfg.Credentials
		return &plan{who: who, first: func(context.Context, *call, string) (session, error) {
			return session{who: who, renew: "renew the keys of " + who}.with(creds), nil
		}}, nil
	case cfg.CredentialSource != "":
		return c.credentialSource(cfg.CredentialSource, who)
	case cfg.WebIdentityTokenFile != "":
		if !isRole(cfg.RoleARN) {
			return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("%s: web_identity_token_file needs role_arn", who))
		}
		return c.fromTokenFile(cfg.WebIdentityTokenFile, c.profileRole(cfg)), nil
	case cfg.SSOAccountID != "" || cfg.SSORoleName != "" || cfg.SSOSession != nil:
		return c.profileSSO(cfg)
	case cfg.LoginSession != "":
		return nil, c.fail(providers.Misconfigured, "add a profile with credential_process = aws configure export-credentials --profile "+httpx.Printable(cfg.Profile, 60)+" --format process",
			fmt.Errorf("%s signs in with aws login, whose session is the aws command line's own", who))
	case cfg.CredentialProcess != "":
		if !f.own() {
			return nil, c.fail(providers.Misconfigured, "write an [[account]] with credential_process",
				fmt.Errorf("%s of a file that a variable names wants to run a program", who))
		}
		argv, err := splitCommand(cfg.CredentialProcess)
		if err != nil {
			return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("%s: credential_process: %w", who, err))
		}
		if err := c.notOurselves(argv, who); err != nil {
			return nil, err
		}
		return processPlan(argv, who), nil
	}
	return c.machine(cfg.Profile)
}

// machine is what is left where no profile says anything: the role of the
// container or of the machine.
func (c *call) machine(profile string) (*plan, error) {
	if p, err := c.container(); p != nil || err != nil {
		return p, err
	}
	if named := cmp.Or(c.options.Profile, c.deps.Env[envProfile], c.deps.Env[envDefaultProfile]); named == "" {
		profile = "" // a default profile is often a region and no more
	}
	return c.instance(profile), nil
}

// credentialSource reads the key of that name.
func (c *call) credentialSource(from, who string) (*plan, error) {
	switch strings.ToLower(from) {
	case "ec2instancemetadata":
		return c.instance(""), nil
	case "ecscontainer":
		p, err := c.container()
		if p == nil && err == nil {
			err = c.fail(providers.Misconfigured, "", fmt.Errorf("%s: credential_source is EcsContainer, and this is no container of ECS", who))
		}
		return p, err
	case "environment":
		env := c.deps.Env
		if env[envKeyID] == "" || env[envSecret] == "" {
			return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("%s: credential_source is Environment, and there are no keys in it", who))
		}
		creds := aws.Credentials{AccessKeyID: env[envKeyID], SecretAccessKey: env[envSecret], SessionToken: env[envToken]}
		return &plan{who: who, first: func(context.Context, *call, string) (session, error) {
			return session{who: who, renew: "renew " + envKeyID + " and its companions"}.with(creds), nil
		}}, nil
	}
	return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("%s: credential_source is unknown", who))
}
