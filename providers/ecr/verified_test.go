// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

// amazon is a person whose provider talks to a fake AWS that verifies: jane has
// keys of account 111111111111 and may take the role ci.
type amazon struct {
	*person
	cloud *fakecloud.Cloud
	aws   *aws.AWS
	role  *aws.Role
	jane  *Options
}

func newAmazon(t *testing.T) amazon {
	t.Helper()
	c := fakecloud.Start(t)
	a := aws.New(c, aws.Options{})
	user := a.User("arn:aws:iam::111111111111:user/jane").Attach(aws.Allow("*"))
	k := user.Keys()
	ref, err := providers.ParseSecretRef("keyring:jane")
	if err != nil {
		t.Fatal(err)
	}
	return amazon{
		person: (&clouds{Cloud: c}).person(t, map[string]string{ref.String(): k.SecretAccessKey}), cloud: c, aws: a,
		role: a.Role(roleCI, aws.TrustPrincipal(user.ARN())).Attach(aws.Allow("*")),
		jane: &Options{AccessKeyID: k.AccessKeyID, SecretAccessKey: ref},
	}
}

// asRole is jane as ci.
func (a amazon) asRole() *Options {
	o := *a.jane
	o.RoleARN = []string{roleCI}
	return &o
}

// try pulls or pushes with a credential.
func (a amazon) try(access providers.Access, ref string, cred providers.Credential) error {
	a.t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		a.t.Fatal(err)
	}
	o := []remote.Option{
		remote.WithAuth(&authn.Basic{Username: cred.Username, Password: cred.Secret.Reveal()}), remote.WithTransport(a.cloud.Client().Transport),
		remote.WithContext(a.t.Context()), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
	if access == providers.Pull {
		_, err = remote.Get(r, o...)
		return err
	}
	img, err := random.Image(32, 1)
	if err != nil {
		a.t.Fatal(err)
	}
	return remote.Write(r, img, o...)
}

func (a amazon) must(o *Options, host string, gs ...providers.Grant) providers.Credential {
	a.t.Helper()
	c, err := mint(a.t, a.configured(o), host, gs...)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// What a policy of ours allows is what IAM reads in it: in the role's account,
// in another one, and in ECR Public.
func TestWhatATargetNarrowsTheRegistryRefuses(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.aws.PublicAlias("acme", "111111111111")
	names := []string{"acme/app", "acme/app2", "acme/app/sub", "acme/b"}
	for _, h := range []string{hostOne, hostTwo, publicHost} {
		wide := a.must(a.asRole(), h)
		for _, r := range names {
			a.aws.Repository(h+"/"+r).ShareWith("111111111111", true)
			if err := a.try(providers.Push, h+"/"+r+":v1", wide); err != nil {
				t.Fatal(err)
			}
		}
		narrow := a.must(a.asRole(), h, providers.Grant{Repository: "acme/app", Access: providers.Pull}, providers.Grant{Repository: "acme/b", Access: providers.Push})
		if narrow.Wider {
			t.Errorf("%s: wider", h)
		}
		for _, r := range names {
			pulls := h == publicHost || r == "acme/app" || r == "acme/b" // everybody pulls from ECR Public
			if err := a.try(providers.Pull, h+"/"+r+":v1", narrow); (err == nil) != pulls {
				t.Errorf("pull of %s/%s: %v", h, r, err)
			}
			if err := a.try(providers.Push, h+"/"+r+":v1", narrow); (err == nil) != (r == "acme/b") {
				t.Errorf("push to %s/%s: %v", h, r, err)
			}
		}
	}
}

func TestANarrowedPullThroughACacheImportsWhereTheAccountSaysSo(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	up := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(up.Close)
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(up.URL, "http://") + "/library/busybox:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	a.aws.PullThrough(hostOne, "hub", up.Config.Handler)
	g := providers.Grant{Repository: "hub/library/busybox", Access: providers.Pull}
	const image = hostOne + "/hub/library/busybox:1"
	o := a.asRole()
	if err := a.try(providers.Pull, image, a.must(o, hostOne, g)); err == nil {
		t.Error("imported without being asked to")
	}
	o.PullThrough = true
	if err := a.try(providers.Pull, image, a.must(o, hostOne, g)); err != nil {
		t.Error(err)
	}
}

func TestAnIdentityOfAnotherPartitionIsNamed(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	const china = "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn"
	_, err := mint(t, a.configured(a.asRole()), china)
	wants(t, err, providers.Misconfigured, "111111111111:role/ci is of the partition aws, the registry of aws-cn", "use an identity of aws-cn")
	if got := a.cloud.Reached(); len(got) > 0 {
		t.Errorf("reached %q", got)
	}
	_, err = mint(t, a.configured(a.jane), china)
	wants(t, err, providers.LoginRequired, "the partition aws-cn does not know the credentials")
}

func TestAHangEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	center := a.aws.Center("https://acme.awsapps.com/start", "eu-west-1")
	center.Assign("jane", "111111111111", "Dev", aws.PowerUser)
	a.file(".aws/config", center.Config("dev", "corp", "111111111111", "Dev"))
	file, text := center.Saved("jane", "corp", false)
	a.file(".aws/sso/cache/"+file, text)
	for host, o := range map[string]*Options{
		"sts.eu-west-1.amazonaws.com":        a.asRole(),
		"api.ecr.eu-west-1.amazonaws.com":    a.jane,
		"portal.sso.eu-west-1.amazonaws.com": {Profile: "dev"},
		"imds":                               {MetadataEndpoint: a.aws.Instance(a.role).URL},
		"container":                          {ContainerURI: a.aws.Container(a.role).FullURI},
	} {
		a.cloud.Inject(fakecloud.Fault{Host: host, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := a.configured(o).Mint(ctx, request(t, hostOne))
			done <- err
		}()
		select {
		case err := <-done:
			wants(t, err, providers.Unavailable)
		case <-time.After(time.Minute):
			t.Errorf("%s: still there", host)
		}
		cancel()
	}
}

// The variables of the process are the agent's, not the caller's.
func TestNothingOfTheProcessesEnvironmentIsRead(t *testing.T) {
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": "https://evil.example", "AWS_ENDPOINT_URL_STS": "https://evil.example", "AWS_ENDPOINT_URL_SSO": "https://evil.example",
		"AWS_ENDPOINT_URL_SSO_OIDC": "https://evil.example", "AWS_STS_REGIONAL_ENDPOINTS": "legacy", "AWS_REGION": "ap-south-1", "AWS_CA_BUNDLE": "/nowhere",
		"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_PROFILE": "evil", "AWS_ACCESS_KEY_ID": "AKIAEVIL",
		"AWS_SECRET_ACCESS_KEY": "evil", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
	} {
		t.Setenv(k, v)
	}
	a := newAmazon(t)
	center := a.aws.Center("https://acme.awsapps.com/start", "eu-west-1")
	center.Assign("jane", "111111111111", "Dev", aws.PowerUser)
	center.Life(time.Minute, 8*time.Hour) // so that it is renewed
	a.file(".aws/config", center.Config("dev", "corp", "111111111111", "Dev"))
	file, text := center.Saved("jane", "corp", true)
	a.file(".aws/sso/cache/"+file, text)
	a.must(a.asRole(), hostOne)
	a.must(&Options{Profile: "dev"}, hostOne)
	const want = "api.ecr.eu-west-1.amazonaws.com oidc.eu-west-1.amazonaws.com portal.sso.eu-west-1.amazonaws.com sts.eu-west-1.amazonaws.com"
	if got := strings.Join(a.cloud.Reached(), " "); got != want {
		t.Errorf("reached %s", got)
	}
}
