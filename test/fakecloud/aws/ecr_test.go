// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/regmint/regmint/test/fakecloud/aws"
)

func TestAuthorizationTokensNameTheCallersRegistry(t *testing.T) {
	c, a := start(t, aws.Options{})
	k := a.User(userArn).Attach(aws.PullOnly).Keys()
	for _, tc := range []struct {
		region, proxy, api string
		keys               aws.Keys
		dual, fips         bool
	}{
		{region, hostOne, "api.ecr.eu-west-1.amazonaws.com", k, false, false},
		{region, hostOne, "ecr.eu-west-1.api.aws", k, true, false},
		{"us-east-1", one + ".dkr.ecr.us-east-1.amazonaws.com", "api.ecr-fips.us-east-1.amazonaws.com", k, false, true},
		{"us-east-1", one + ".dkr.ecr.us-east-1.amazonaws.com", "ecr-fips.us-east-1.api.aws", k, true, true},
		{"cn-north-1", two + ".dkr.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn", a.User("arn:aws-cn:iam::" + two + ":user/c").Attach(aws.PullOnly).Keys(), false, false},
		{"us-gov-west-1", two + ".dkr.ecr.us-gov-west-1.amazonaws.com", "api.ecr-fips.us-gov-west-1.amazonaws.com", a.User("arn:aws-us-gov:iam::" + two + ":user/g").Attach(aws.PullOnly).Keys(), false, true},
		{"eusc-de-east-1", two + ".dkr.ecr.eusc-de-east-1.amazonaws.eu", "api.ecr.eusc-de-east-1.amazonaws.eu", a.User("arn:aws-eusc:iam::" + two + ":user/e").Attach(aws.PullOnly).Keys(), false, false},
		{"us-iso-east-1", two + ".dkr.ecr.us-iso-east-1.c2s.ic.gov", "api.ecr.us-iso-east-1.c2s.ic.gov", a.User("arn:aws-iso:iam::" + two + ":user/i").Attach(aws.PullOnly).Keys(), false, false},
	} {
		e := ecrOf(c, tc.region, keys(tc.keys), func(o *ecr.Options) {
			if tc.dual {
				o.EndpointOptions.UseDualStackEndpoint = sdk.DualStackEndpointStateEnabled
			}
			if tc.fips {
				o.EndpointOptions.UseFIPSEndpoint = sdk.FIPSEndpointStateEnabled
			}
		})
		out, err := e.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		if err != nil {
			t.Errorf("%s: %v", tc.api, err)
			continue
		}
		d := out.AuthorizationData[0]
		if *d.ProxyEndpoint != "https://"+tc.proxy || d.ExpiresAt.Sub(c.Now()).Round(time.Minute) != 12*time.Hour || len(*d.AuthorizationToken) < 2000 {
			t.Errorf("%s: %s %s %d", tc.api, *d.ProxyEndpoint, d.ExpiresAt, len(*d.AuthorizationToken))
		}
		if m := a.Mints(); m[len(m)-1].Host != tc.api {
			t.Errorf("asked %s, not %s", m[len(m)-1].Host, tc.api)
		}
	}
	if n := a.Count()[userArn]; n != 4 {
		t.Errorf("%d tokens of jane", n)
	}
}

func TestECRRefusesAsECRDoes(t *testing.T) {
	c, a := start(t, aws.Options{})
	good := a.User(userArn).Attach(aws.Allow("ecr:*")).Keys()
	none := a.User("arn:aws:iam::" + one + ":user/joe").Keys()
	over := a.Role(roleCI).Attach(aws.PullOnly).Session("job", 0)
	a.Expire(over)
	bad := good
	bad.SecretAccessKey = "x"
	unknown := good
	unknown.AccessKeyID = "AKIAIOSFODNN7EXAMPLE"
	token := func(k sdk.CredentialsProvider, region string, edit ...func(*ecr.Options)) error {
		_, err := ecrOf(c, region, k, edit...).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		return err
	}
	refused(t, token(keys(none), region), "AccessDeniedException", 400,
		"User: arn:aws:iam::"+one+":user/joe is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action")
	refused(t, token(keys(over), region), "ExpiredTokenException", 400, "expired")
	refused(t, token(keys(bad), region), "InvalidSignatureException", 400, "calculated")
	refused(t, token(keys(unknown), region), "UnrecognizedClientException", 400, "invalid")
	refused(t, token(sdk.AnonymousCredentials{}, region), "MissingAuthenticationTokenException", 400)
	refused(t, token(keys(good), "us-east-1", func(o *ecr.Options) { o.BaseEndpoint = sdk.String("https://api.ecr." + region + ".amazonaws.com") }),
		"InvalidSignatureException", 400, "valid region")
	if err := token(keys(good), "cn-north-1", func(o *ecr.Options) { o.BaseEndpoint = sdk.String("https://api.ecr.cn-north-1.amazonaws.com") }); err == nil {
		t.Error("a name that does not exist answered")
	}
	a.Throttle("ecr:GetAuthorizationToken", 1)
	refused(t, token(keys(good), region), "ThrottlingException", 400)
	a.Fail(aws.Failure{Action: "ecr:GetAuthorizationToken", Status: 500, Code: "ServerException", Times: 1})
	err := token(keys(good), region)
	if _, ok := errors.AsType[*types.ServerException](err); !ok {
		t.Error(err)
	}
	c.Advance(time.Hour)
	refused(t, token(keys(good), region), "InvalidSignatureException", 400, "Signature expired")
}

func TestECRPublicWantsItsOwnRegionAndTwoPermissions(t *testing.T) {
	c, a := start(t, aws.Options{})
	ask := func(k aws.Keys, region string) error {
		_, err := ecrpublic.New(ecrpublic.Options{
			Region: region, HTTPClient: client(c), Credentials: keys(k), Retryer: sdk.NopRetryer{},
			BaseEndpoint: sdk.String("https://api.ecr-public.us-east-1.amazonaws.com"),
		}).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
		return err
	}
	half := a.User(userArn).Attach(aws.Allow("ecr-public:*")).Keys()
	refused(t, ask(half, "us-east-1"), "AccessDeniedException", 400, "sts:GetServiceBearerToken")
	full := a.User(userArn).Attach(aws.PublicUser).Keys()
	if err := ask(full, "us-east-1"); err != nil {
		t.Error(err)
	}
	refused(t, ask(full, region), "InvalidSignatureException", 400, "valid region")
	// The SDK builds the names of other regions, which do not exist.
	_, err := ecrpublic.New(ecrpublic.Options{Region: region, HTTPClient: client(c), Credentials: keys(full), Retryer: sdk.NopRetryer{}}).
		GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
	if err == nil || !strings.Contains(strings.Join(c.Reached(), " "), "api.ecr-public.eu-west-1.amazonaws.com") {
		t.Errorf("%v %v", err, c.Reached())
	}
}

func TestImagesAreCleanedUpByTheAPI(t *testing.T) {
	c, a := start(t, aws.Options{})
	a.Repository(hostOne + "/acme/app")
	k := a.User(userArn).Attach(aws.Allow("ecr:*")).Keys()
	e := ecrOf(c, region, keys(k))
	digest := push(t, c, hostOne+"/acme/app:v1", password(t, e))
	if push(t, c, hostOne+"/acme/app:v2", password(t, e)) == digest {
		t.Fatal("two images are one")
	}
	repos, err := e.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(repos.Repositories) != 1 || *repos.Repositories[0].RepositoryUri != hostOne+"/acme/app" {
		t.Fatalf("%+v %v", repos, err)
	}
	name := sdk.String("acme/app")
	list, err := e.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: name})
	if err != nil || len(list.ImageIds) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	got, err := e.BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageTag: sdk.String("v1")}}})
	if err != nil || len(got.Images) != 1 || *got.Images[0].ImageId.ImageDigest != digest {
		t.Fatalf("%+v %v", got, err)
	}
	out, err := e.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{
		{ImageDigest: &digest}, {ImageTag: sdk.String("v3")}, {}, {ImageDigest: &digest, ImageTag: sdk.String("v2")},
	}})
	if err != nil || len(out.ImageIds) != 1 || len(out.Failures) != 3 {
		t.Fatalf("%+v %v", out, err)
	}
	for i, want := range []types.ImageFailureCode{types.ImageFailureCodeImageNotFound, types.ImageFailureCodeMissingDigestAndTag, types.ImageFailureCodeImageTagDoesNotMatchDigest} {
		if out.Failures[i].FailureCode != want {
			t.Errorf("%d: %s", i, out.Failures[i].FailureCode)
		}
	}
	if code, _, _ := status(t, c, http.MethodGet, "https://"+hostOne+"/v2/acme/app/manifests/v1", password(t, e)); code != 404 {
		t.Errorf("a deleted image: %d", code)
	}
	_, err = e.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageTag: sdk.String("v1")}}})
	if _, ok := errors.AsType[*types.ImageNotFoundException](err); !ok {
		t.Error(err)
	}
	_, err = e.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: sdk.String("acme/none"), ImageIds: []types.ImageIdentifier{{ImageTag: sdk.String("v1")}}})
	if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); !ok {
		t.Error(err)
	}
	_, err = e.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: name})
	if _, ok := errors.AsType[*types.RepositoryNotEmptyException](err); !ok {
		t.Error(err)
	}
	if _, err = e.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: name, Force: true}); err != nil {
		t.Error(err)
	}
	// Made anew, it is empty.
	if _, err := e.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: name}); err != nil {
		t.Error(err)
	}
	_, err = e.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: name})
	if _, ok := errors.AsType[*types.RepositoryAlreadyExistsException](err); !ok {
		t.Error(err)
	}
	if list, err = e.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: name}); err != nil || len(list.ImageIds) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	only := a.User("arn:aws:iam::" + one + ":user/joe").Attach(aws.AllowOn("arn:aws:ecr:"+region+":"+one+":repository/other", "ecr:*")).Keys()
	_, err = ecrOf(c, region, keys(only)).ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: name})
	refused(t, err, "AccessDeniedException", 400, "ecr:ListImages on resource: arn:aws:ecr:"+region+":"+one+":repository/acme/app because no identity-based policy")
}
