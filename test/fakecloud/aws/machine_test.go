// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

func imdsOf(c *fakecloud.Cloud, m *aws.Instance) *imds.Client {
	return imds.New(imds.Options{Endpoint: m.URL, HTTPClient: client(c), Retryer: sdk.NopRetryer{}, ClientEnableState: imds.ClientEnabled, EnableFallback: sdk.FalseTernary})
}

func instanceKeys(t *testing.T, c *fakecloud.Cloud, m *aws.Instance) (sdk.Credentials, error) {
	return instanceKeysWithin(t, time.Minute, c, m)
}

func instanceKeysWithin(t *testing.T, limit time.Duration, c *fakecloud.Cloud, m *aws.Instance) (sdk.Credentials, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imdsOf(c, m) }).Retrieve(ctx)
}

func TestInstancesHaveTheirRole(t *testing.T) {
	c, a := start(t, aws.Options{})
	m := a.Instance(a.Role(roleCI)).Life(time.Hour)
	k := must2(instanceKeys(t, c, m))(t)
	who, err := stsOf(c, region, sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return k, nil })).
		GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || !strings.HasPrefix(*who.Arn, "arn:aws:sts::"+one+":assumed-role/ci/i-") {
		t.Errorf("%+v %v", who, err)
	}
	if again := must2(instanceKeys(t, c, m))(t); again.AccessKeyID != k.AccessKeyID {
		t.Error("new keys while the old ones live")
	}
	c.Advance(56 * time.Minute)
	if again := must2(instanceKeys(t, c, m))(t); again.AccessKeyID == k.AccessKeyID {
		t.Error("no new keys shortly before the end")
	}
	if got, err := imdsOf(c, m).GetRegion(t.Context(), &imds.GetRegionInput{}); err != nil || got.Region != region {
		t.Errorf("%+v %v", got, err)
	}
	m.SetRole(nil)
	if _, err := instanceKeys(t, c, m); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

func TestTheMetadataServiceDemandsASession(t *testing.T) {
	c, a := start(t, aws.Options{})
	m := a.Instance(a.Role(roleCI))
	const ttl, token, roles = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token", "/latest/meta-data/iam/security-credentials/"
	ask := func(method, path string, header ...string) (int, string) {
		t.Helper()
		r := must2(http.NewRequestWithContext(t.Context(), method, m.URL+path, nil))(t)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res := must2(c.Client().Do(r))(t)
		defer res.Body.Close()
		return res.StatusCode, string(must2(io.ReadAll(res.Body))(t))
	}
	code, session := ask(http.MethodPut, "/latest/api/token", ttl, "60")
	if code != 200 {
		t.Fatal(code)
	}
	for _, tc := range []struct {
		method, path string
		header       []string
		want         int
	}{
		{"GET", roles, nil, 401},
		{"GET", roles, []string{token, "x"}, 401},
		{"GET", roles, []string{token, session}, 200},
		{"PUT", "/latest/api/token", nil, 400},
		{"PUT", "/latest/api/token", []string{ttl, "21601"}, 400},
		{"PUT", "/latest/api/token", []string{ttl, "0"}, 400},
		{"PUT", "/latest/api/token", []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		{"GET", "/latest/api/token", nil, 405},
		{"POST", roles, []string{token, session}, 405},
		{"GET", roles + "other", []string{token, session}, 404},
	} {
		if code, _ := ask(tc.method, tc.path, tc.header...); code != tc.want {
			t.Errorf("%s %s %v: %d", tc.method, tc.path, tc.header, code)
		}
	}
	c.Advance(time.Minute)
	if code, _ := ask("GET", roles, token, session); code != 401 {
		t.Errorf("after its life: %d", code)
	}
	m.AllowV1()
	if code, _ := ask("GET", roles); code != 200 {
		t.Errorf("version 1: %d", code)
	}
	m.Disable()
	if code, _ := ask("PUT", "/latest/api/token", ttl, "60"); code != 403 {
		t.Errorf("switched off: %d", code)
	}
}

func TestAContainerOneHopAwayGetsNoSession(t *testing.T) {
	c, a := start(t, aws.Options{})
	m := a.Instance(a.Role(roleCI))
	m.OneHop()
	if _, err := instanceKeysWithin(t, 500*time.Millisecond, c, m); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Error(err)
	}
}

func TestContainersHaveTheirRole(t *testing.T) {
	c, a := start(t, aws.Options{})
	e := a.Container(a.Role(roleCI)).Life(time.Hour)
	ask := func(url, token string) (sdk.Credentials, error) {
		return endpointcreds.New(url, func(o *endpointcreds.Options) {
			o.HTTPClient, o.AuthorizationToken, o.Retryer = c.Client(), token, sdk.NopRetryer{}
		}).Retrieve(t.Context())
	}
	k := must2(ask(e.FullURI, e.Token))(t)
	if other := must2(ask(e.URL+e.RelativeURI, ""))(t); other.AccessKeyID != k.AccessKeyID || !k.CanExpire {
		t.Errorf("%+v", other)
	}
	who, err := stsOf(c, region, sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return k, nil })).
		GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:sts::"+one+":assumed-role/ci/task" {
		t.Errorf("%+v %v", who, err)
	}
	for _, token := range []string{"", "x"} {
		if _, err := ask(e.FullURI, token); err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if _, err := ask(e.URL+"/v2/credentials/other", ""); err == nil || !strings.Contains(err.Error(), "InvalidIdInRequest") {
		t.Error(err)
	}
	e.SetToken("rotated")
	if _, err := ask(e.FullURI, "rotated"); err != nil {
		t.Error(err)
	}
}
