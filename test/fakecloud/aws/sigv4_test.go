// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/regmint/regmint/test/fakecloud/aws"
)

// TestASignatureCoversTheWholeRequest signs with the SDK's signer, then changes
// one thing.
func TestASignatureCoversTheWholeRequest(t *testing.T) {
	c, a := start(t, aws.Options{})
	k := a.Role(roleCI).Attach(aws.PullOnly).Session("job", 0)
	const host = "api.ecr." + region + ".amazonaws.com"
	type signing struct{ service, region string }
	good := signing{"ecr", region}
	for name, tc := range map[string]struct {
		signing
		at    time.Duration
		after func(*http.Request)
		code  string
		words string
	}{
		"nothing changed":    {good, 0, func(*http.Request) {}, "", ""},
		"spaces in a header": {good, 0, func(r *http.Request) { r.Header.Set("X-Extra", "a  b") }, "", ""},
		"14 minutes early":   {good, -14 * time.Minute, func(*http.Request) {}, "", ""},
		"16 minutes early":   {good, -16 * time.Minute, func(*http.Request) {}, "InvalidSignatureException", "Signature expired: "},
		"16 minutes late":    {good, 16 * time.Minute, func(*http.Request) {}, "InvalidSignatureException", "Signature not yet current: "},
		"another body":       {good, 0, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }, "InvalidSignatureException", "calculated"},
		"a header changed":   {good, 0, func(r *http.Request) { r.Header.Set("X-Extra", "c") }, "InvalidSignatureException", "calculated"},
		"a query added":      {good, 0, func(r *http.Request) { r.URL.RawQuery = "x=1" }, "InvalidSignatureException", "calculated"},
		"the time changed": {good, 0, func(r *http.Request) {
			r.Header.Set("X-Amz-Date", c.Now().UTC().Add(time.Second).Format("20060102T150405Z"))
		}, "InvalidSignatureException", ""},
		"another day":                {good, 0, func(r *http.Request) { edit(r, "/"+c.Now().UTC().Format("20060102")+"/", "/20200101/") }, "InvalidSignatureException", "Date in Credential scope"},
		"an x-amz header not signed": {good, 0, func(r *http.Request) { r.Header.Set("X-Amz-Other", "1") }, "InvalidSignatureException", "'x-amz-other' must be a 'SignedHeader'"},
		"the token left out":         {good, 0, func(r *http.Request) { r.Header.Del("X-Amz-Security-Token") }, "UnrecognizedClientException", "invalid"},
		"the token not signed":       {good, 0, func(r *http.Request) { edit(r, "x-amz-security-token;", "") }, "InvalidSignatureException", "'x-amz-security-token' must be a 'SignedHeader'"},
		"the host not signed":        {good, 0, func(r *http.Request) { edit(r, "host;", "") }, "InvalidSignatureException", "'host' must be a 'SignedHeader'"},
		"another service":            {signing{"sts", region}, 0, func(*http.Request) {}, "InvalidSignatureException", "correct service: 'ecr'"},
		"another region":             {signing{"ecr", "us-east-1"}, 0, func(*http.Request) {}, "InvalidSignatureException", "valid region, not 'us-east-1'"},
		"another algorithm":          {good, 0, func(r *http.Request) { edit(r, "AWS4-HMAC-SHA256", "AWS3") }, "IncompleteSignatureException", ""},
		"no signature":               {good, 0, func(r *http.Request) { edit(r, ", Signature=", ", X=") }, "IncompleteSignatureException", ""},
		"not signed":                 {good, 0, func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", ""},
		"another action's name":      {good, 0, func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.Other") }, "UnknownOperationException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte("{}")
			r := must2(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/", bytes.NewReader(body)))(t)
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
			r.Header.Set("X-Extra", "a b")
			sum := sha256.Sum256(body)
			err := v4.NewSigner().SignHTTP(t.Context(), sdk.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken},
				r, hex.EncodeToString(sum[:]), tc.service, tc.region, c.Now().Add(tc.at))
			if err != nil {
				t.Fatal(err)
			}
			tc.after(r)
			res := must2(c.Client().Do(r))(t)
			defer res.Body.Close()
			answer := string(must2(io.ReadAll(res.Body))(t))
			if tc.code == "" {
				if res.StatusCode != 200 {
					t.Errorf("%d %s", res.StatusCode, answer)
				}
				return
			}
			if res.StatusCode != 400 || !strings.Contains(answer, `"__type":"`+tc.code+`"`) || !strings.Contains(answer, tc.words) {
				t.Errorf("want %s %q, got %d %s", tc.code, tc.words, res.StatusCode, answer)
			}
		})
	}
	if n := len(a.Mints()); n != 3 {
		t.Errorf("%d tokens", n)
	}
}

func edit(r *http.Request, from, to string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
}
