// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

const (
	one     = "111111111111"
	two     = "222222222222"
	region  = "eu-west-1"
	hostOne = one + ".dkr.ecr." + region + ".amazonaws.com"
	hostTwo = two + ".dkr.ecr." + region + ".amazonaws.com"
	roleCI  = "arn:aws:iam::" + one + ":role/ci"
	userArn = "arn:aws:iam::" + one + ":user/jane"
)

func start(t *testing.T, o aws.Options) (*fakecloud.Cloud, *aws.AWS) {
	t.Helper()
	c := fakecloud.Start(t)
	return c, aws.New(c, o)
}

// steady sends copies of bodies: smithy closes its own as soon as an answer
// begins, and a machine under load may then lose the rest of the answer.
type steady struct{ *http.Client }

func client(c *fakecloud.Cloud) steady { return steady{c.Client()} }

// Do is what SDKs call.
func (s steady) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return s.Client.Do(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out := *r
	out.Body = io.NopCloser(bytes.NewReader(b))
	return s.Client.Do(&out)
}

// keys are credentials for an SDK.
func keys(k aws.Keys) sdk.CredentialsProvider {
	return sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken}, nil
	})
}

func stsOf(c *fakecloud.Cloud, region string, k sdk.CredentialsProvider, edit ...func(*sts.Options)) *sts.Client {
	return sts.New(sts.Options{Region: region, HTTPClient: client(c), Credentials: k, Retryer: sdk.NopRetryer{}}, edit...)
}

func ecrOf(c *fakecloud.Cloud, region string, k sdk.CredentialsProvider, edit ...func(*ecr.Options)) *ecr.Client {
	return ecr.New(ecr.Options{Region: region, HTTPClient: client(c), Credentials: k, Retryer: sdk.NopRetryer{}}, edit...)
}

func publicOf(c *fakecloud.Cloud, k sdk.CredentialsProvider) *ecrpublic.Client {
	return ecrpublic.New(ecrpublic.Options{Region: "us-east-1", HTTPClient: client(c), Credentials: k, Retryer: sdk.NopRetryer{}})
}

// refused checks the code and the status of an error, and that its message
// says something.
func refused(t *testing.T, err error, code string, status int, words ...string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code {
		t.Errorf("want %s, got %v", code, err)
		return
	}
	if res, ok := errors.AsType[*smithyhttp.ResponseError](err); !ok || res.HTTPStatusCode() != status {
		t.Errorf("want HTTP %d, got %v", status, err)
	}
	for _, w := range words {
		if !strings.Contains(api.ErrorMessage(), w) {
			t.Errorf("no %q in %q", w, api.ErrorMessage())
		}
	}
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// password gets an authorization token and takes it apart.
func password(t *testing.T, c *ecr.Client) string {
	t.Helper()
	out, err := c.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	return unpack(t, *out.AuthorizationData[0].AuthorizationToken)
}

func unpack(t *testing.T, token string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(token)
	user, pass, _ := strings.Cut(string(raw), ":")
	if err != nil || user != "AWS" || pass == "" {
		t.Fatalf("%q %v", raw, err)
	}
	return pass
}

// status asks a registry by Basic and returns what it says.
func status(t *testing.T, c *fakecloud.Cloud, method, url, pass string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if pass != "" {
		r.SetBasicAuth("AWS", pass)
	}
	direct := c.Client()
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := direct.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}
