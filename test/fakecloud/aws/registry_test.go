// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

func basic(pass string) remote.Option {
	if pass == "" {
		return remote.WithAuth(authn.Anonymous)
	}
	return remote.WithAuth(&authn.Basic{Username: "AWS", Password: pass})
}

func options(t *testing.T, c *fakecloud.Cloud, pass string) []remote.Option {
	return []remote.Option{basic(pass), remote.WithTransport(c.Client().Transport), remote.WithContext(t.Context()), remote.WithRetryBackoff(remote.Backoff{Steps: 1})}
}

func tryPush(t *testing.T, c *fakecloud.Cloud, ref, pass string) (string, error) {
	t.Helper()
	img := must2(random.Image(64, 2))(t)
	err := remote.Write(must2(name.ParseReference(ref))(t), img, options(t, c, pass)...)
	return must2(img.Digest())(t).String(), err
}

func must2[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T { return must(t, v, err) }
}

func push(t *testing.T, c *fakecloud.Cloud, ref, pass string) (digest string) {
	t.Helper()
	digest, err := tryPush(t, c, ref, pass)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func tryPull(t *testing.T, c *fakecloud.Cloud, ref, pass string) (v1.Image, error) {
	t.Helper()
	img, err := remote.Image(must2(name.ParseReference(ref))(t), options(t, c, pass)...)
	if err == nil {
		err = validate.Image(img)
	}
	return img, err
}

// denied checks the registry's refusal.
func denied(t *testing.T, err error, status int, code transport.ErrorCode, words string) {
	t.Helper()
	e, ok := errors.AsType[*transport.Error](err)
	if !ok || e.StatusCode != status || len(e.Errors) == 0 && code != "" || code != "" && e.Errors[0].Code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("want %d %s %q, got %v", status, code, words, err)
	}
}

func TestImagesArePushedAndPulledUnderEveryNameOfARegistry(t *testing.T) {
	c, a := start(t, aws.Options{})
	a.Repository(hostOne + "/acme/app")
	a.CustomDomain("images.acme.example", hostOne)
	pass := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.PowerUser).Keys())))
	digest := push(t, c, hostOne+"/acme/app:v1", pass)
	for _, host := range []string{
		hostOne, one + ".dkr.ecr-fips.eu-west-1.amazonaws.com", one + ".dkr-ecr.eu-west-1.on.aws", one + ".dkr-ecr-fips.eu-west-1.on.aws", "images.acme.example",
	} {
		img, err := tryPull(t, c, host+"/acme/app:v1", pass)
		if err != nil || must2(img.Digest())(t).String() != digest {
			t.Errorf("%s: %v", host, err)
		}
	}
	if got := a.Done(); got[0].Who != userArn || got[0].Host != hostOne || got[0].Repository != "acme/app" {
		t.Errorf("%+v", got[0])
	}
}

func TestRegistriesAcceptTheTokensThatWereMintedAlone(t *testing.T) {
	c, a := start(t, aws.Options{TokenLife: time.Hour})
	a.Repository(hostOne + "/acme/app")
	u := a.User(userArn).Attach(aws.PowerUser, aws.PublicUser)
	pass := password(t, ecrOf(c, region, keys(u.Keys())))
	url := "https://" + hostOne + "/v2/"
	code, body, header := status(t, c, http.MethodGet, url, "")
	if code != 401 || strings.TrimSpace(body) != "Not Authorized" || header.Get("Docker-Distribution-Api-Version") != "registry/2.0" ||
		header.Get("Www-Authenticate") != `Basic realm="https://`+hostOne+`/",service="ecr.amazonaws.com"` {
		t.Errorf("%d %q %v", code, body, header)
	}
	for name, p := range map[string]string{
		"another password": "x", "a part of it": pass[:len(pass)-4], "of another region": password(t, ecrOf(c, "us-east-1", keys(u.Keys()))),
	} {
		if code, _, _ := status(t, c, http.MethodGet, url, p); code != 401 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code, _, _ := status(t, c, http.MethodGet, url, pass); code != 200 {
		t.Errorf("the password: %d", code)
	}
	c.Advance(time.Hour)
	code, body, _ = status(t, c, http.MethodGet, url, pass)
	if code != 403 || !strings.Contains(body, "DENIED") || !strings.Contains(body, "Your authorization token has expired. Reauthenticate and try again.") {
		t.Errorf("an hour later: %d %s", code, body)
	}
}

func TestATokenMayOutliveItsSession(t *testing.T) {
	for _, ends := range []bool{false, true} {
		c, a := start(t, aws.Options{TokenEndsWithSession: ends})
		session := a.Role(roleCI).Attach(aws.PullOnly).Session("job", time.Hour)
		pass := password(t, ecrOf(c, region, keys(session)))
		c.Advance(61 * time.Minute)
		want := map[bool]int{false: 200, true: 403}[ends]
		if code, _, _ := status(t, c, http.MethodGet, "https://"+hostOne+"/v2/", pass); code != want {
			t.Errorf("ends %v: %d", ends, code)
		}
	}
}

func TestASessionMayDoWhatRoleAndPolicyBothAllow(t *testing.T) {
	c, a := start(t, aws.Options{})
	for _, r := range []string{"/acme/app", "/acme/other", "/secret/app"} {
		a.Repository(hostOne + r)
	}
	owner := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.Allow("*")).Keys())))
	for _, r := range []string{"/acme/app:v1", "/acme/other:v1", "/secret/app:v1"} {
		push(t, c, hostOne+r, owner)
	}
	const arn = "arn:aws:ecr:" + region + ":" + one + ":repository/"
	role := a.Role(roleCI, aws.TrustPrincipal(userArn)).Attach(aws.PowerUser, aws.DenyOn(arn+"secret/*", "ecr:*"))
	session := func(policy string) string {
		in := &sts.AssumeRoleInput{RoleArn: sdk.String(roleCI), RoleSessionName: sdk.String("job")}
		if policy != "" {
			in.Policy = &policy
		}
		out, err := stsOf(c, region, keys(a.User(userArn).Keys())).AssumeRole(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		k := out.Credentials
		return password(t, ecrOf(c, region, keys(aws.Keys{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken})))
	}
	wide := session("")
	pull := session(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"],"Resource":"` + arn + `acme/app"}]}`)
	everything := session(aws.Allow("*"))
	for _, tc := range []struct {
		name, pass, repo string
		pull, push       string // words of the refusal
	}{
		{"the role", wide, "/acme/other", "", ""},
		{"the role, where it is denied", wide, "/secret/app", "explicit deny in an identity-based policy", "HEAD"},
		{"pull only", pull, "/acme/app", "", "is not authorized to perform: ecr:InitiateLayerUpload on resource: " + arn + "acme/app because no session policy allows"},
		{"pull only, another repository", pull, "/acme/other", "ecr:BatchGetImage on resource: " + arn + "acme/other because no session policy", "HEAD"},
		{"a policy gives nothing", everything, "/secret/app", "explicit deny", "HEAD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tryPull(t, c, hostOne+tc.repo+":v1", tc.pass)
			check(t, err, tc.pull)
			_, err = tryPush(t, c, hostOne+tc.repo+":v2", tc.pass)
			check(t, err, tc.push)
		})
	}
	role.Revoke()
	_, err := tryPull(t, c, hostOne+"/acme/app:v1", wide)
	check(t, err, "explicit deny")
}

func check(t *testing.T, err error, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	code := transport.DeniedErrorCode
	if words == "HEAD" { // whose answers say nothing
		code = ""
	}
	denied(t, err, 403, code, words)
}

func TestAnotherAccountsRepositoryNeedsItsPolicy(t *testing.T) {
	c, a := start(t, aws.Options{})
	a.Repository(hostTwo+"/shared").ShareWith(one, false)
	a.Repository(hostTwo + "/private")
	owner := password(t, ecrOf(c, region, keys(a.User("arn:aws:iam::"+two+":user/o").Attach(aws.PowerUser).Keys())))
	push(t, c, hostTwo+"/shared:v1", owner)
	push(t, c, hostTwo+"/private:v1", owner)
	pass := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.PowerUser).Keys())))
	if _, err := tryPull(t, c, hostTwo+"/shared:v1", pass); err != nil {
		t.Error(err)
	}
	_, err := tryPush(t, c, hostTwo+"/shared:v2", pass)
	check(t, err, "because no resource-based policy allows")
	_, err = tryPull(t, c, hostTwo+"/private:v1", pass)
	check(t, err, "because no resource-based policy allows")
}

func TestRepositoriesMustExist(t *testing.T) {
	c, a := start(t, aws.Options{})
	pass := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.PowerUser).Keys())))
	_, err := tryPush(t, c, hostOne+"/acme/app:v1", pass)
	denied(t, err, 404, transport.NameUnknownErrorCode, "The repository with name 'acme/app' does not exist in the registry with id '"+one+"'")
}

func TestManifestsAreNotDeletedByTheRegistry(t *testing.T) {
	c, a := start(t, aws.Options{})
	a.Repository(hostOne + "/acme/app")
	pass := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.Allow("*")).Keys())))
	digest := push(t, c, hostOne+"/acme/app:v1", pass)
	err := remote.Delete(must2(name.ParseReference(hostOne+"/acme/app@"+digest))(t), options(t, c, pass)...)
	denied(t, err, 405, transport.UnsupportedErrorCode, "")
}

func TestLayersComeFromS3WithoutCredentials(t *testing.T) {
	c, a := start(t, aws.Options{})
	a.Repository(hostOne + "/acme/app")
	pass := password(t, ecrOf(c, region, keys(a.User(userArn).Attach(aws.PowerUser).Keys())))
	push(t, c, hostOne+"/acme/app:v1", pass)
	img := must2(tryPull(t, c, hostOne+"/acme/app:v1", pass))(t)
	layer := must2(must2(img.Layers())(t)[0].Digest())(t).String()
	code, _, header := status(t, c, http.MethodGet, "https://"+hostOne+"/v2/acme/app/blobs/"+layer, pass)
	to := header.Get("Location")
	if code != 307 || !strings.HasPrefix(to, "https://prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com/") {
		t.Fatalf("%d %s", code, to)
	}
	if code, body, _ := status(t, c, http.MethodGet, to, pass); code != 400 || !strings.Contains(body, "Only one auth mechanism allowed") {
		t.Errorf("with credentials: %d %s", code, body)
	}
	if code, _, _ := status(t, c, http.MethodGet, to, ""); code != 200 {
		t.Errorf("as it was given: %d", code)
	}
	if code, _, _ := status(t, c, http.MethodGet, to+"x", ""); code != 403 {
		t.Errorf("another signature: %d", code)
	}
	c.Advance(time.Hour)
	if code, _, _ := status(t, c, http.MethodGet, to, ""); code != 403 {
		t.Errorf("an hour later: %d", code)
	}
}

func TestPullThroughNeedsTheRightToImport(t *testing.T) {
	c, a := start(t, aws.Options{})
	up := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(up.Close)
	img := must2(random.Image(64, 1))(t)
	if err := remote.Write(must2(name.ParseReference(strings.TrimPrefix(up.URL, "http://")+"/library/busybox:1"))(t), img); err != nil {
		t.Fatal(err)
	}
	a.PullThrough(hostOne, "docker-hub", up.Config.Handler)
	const ref = hostOne + "/docker-hub/library/busybox:1"
	pull := a.User(userArn).Attach(aws.AllowOn("*", "ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"))
	pass := password(t, ecrOf(c, region, keys(pull.Keys())))
	_, err := tryPull(t, c, ref, pass)
	check(t, err, "ecr:BatchImportUpstreamImage")
	pull.Attach(aws.Allow("ecr:BatchImportUpstreamImage"))
	_, err = tryPull(t, c, ref, pass)
	check(t, err, "ecr:CreateRepository")
	pull.Attach(aws.Allow("ecr:CreateRepository"))
	got, err := tryPull(t, c, ref, pass)
	if err != nil || must2(got.Digest())(t) != must2(img.Digest())(t) {
		t.Error(err)
	}
	_, err = tryPull(t, c, hostOne+"/docker-hub/library/none:1", pass)
	denied(t, err, 404, transport.NameUnknownErrorCode, "")
}

func TestECRPublicLetsEverybodyPullAndItsOwnersPush(t *testing.T) {
	c, a := start(t, aws.Options{TokenLife: time.Hour})
	a.PublicAlias("acme", one)
	a.Repository("public.ecr.aws/acme/app")
	pass := func(k aws.Keys) string {
		out, err := publicOf(c, keys(k)).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		return unpack(t, *out.AuthorizationData.AuthorizationToken)
	}
	owner := pass(a.User(userArn).Attach(aws.PublicUser).Keys())
	other := pass(a.User("arn:aws:iam::" + two + ":user/o").Attach(aws.PublicUser).Keys())
	push(t, c, "public.ecr.aws/acme/app:v1", owner)
	for _, p := range []string{"", owner, other} {
		if _, err := tryPull(t, c, "public.ecr.aws/acme/app:v1", p); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []string{"", other} {
		if _, err := tryPush(t, c, "public.ecr.aws/acme/app:v2", p); err == nil {
			t.Error("pushed by somebody else")
		}
	}
	private := password(t, ecrOf(c, "us-east-1", keys(a.User(userArn).Attach(aws.PowerUser).Keys())))
	if _, err := tryPull(t, c, "public.ecr.aws/acme/app:v1", private); err == nil {
		t.Error("a token of private registries was taken")
	}
	c.Advance(2 * time.Hour)
	_, err := tryPull(t, c, "public.ecr.aws/acme/app:v1", owner)
	denied(t, err, 403, transport.DeniedErrorCode, "Your authorization token has expired")
	if _, err := tryPull(t, c, "public.ecr.aws/acme/app:v1", ""); err != nil {
		t.Error(err)
	}
}
