// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The SDK's clients of ECR are as large as ECR: their tables alone cost every
// start of the program a millisecond. One call of the JSON protocol is made
// here, signed by the SDK.

// apiDomains are where the API is found by partition: under its first names,
// and over IPv6 too (docs.aws.amazon.com/general/latest/gr/ecr.html and the
// SDK's endpoint rules). The isolated partitions have no registries there.
var apiDomains = map[string]struct{ classic, dual string }{
	"aws":        {"amazonaws.com", "api.aws"},
	"aws-us-gov": {"amazonaws.com", "api.aws"},
	"aws-cn":     {"amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	"aws-eusc":   {"amazonaws.eu", "api.amazonwebservices.eu"},
	"aws-iso":    {"c2s.ic.gov", ""},
	"aws-iso-b":  {"sc2s.sgov.gov", ""},
	"aws-iso-e":  {"cloud.adc-e.uk", ""},
	"aws-iso-f":  {"csp.hci.ic.gov", ""},
}

// api is the URL of ECR's API for a registry: api.ecr.REGION.amazonaws.com,
// or ecr.REGION.api.aws over IPv6 too, each with -fips where the host has it.
func (p place) api() string {
	name := "ecr"
	if p.public {
		name = "ecr-public"
	}
	if p.fips {
		name += "-fips"
	}
	d := apiDomains[p.partition]
	if p.dual {
		return "https://" + name + "." + p.region + "." + d.dual + "/"
	}
	return "https://api." + name + "." + p.region + "." + d.classic + "/"
}

// maxAsks bounds the tries of a call that AWS throttles.
const maxAsks = 3

// ask makes a call of JSON 1.1 with an empty input, and returns the body of
// its success and how far AWS's clock is ahead of this machine's.
func (c *call) ask(ctx context.Context, o op, target, service string) (body []byte, skew time.Duration, err error) {
	to := c.place.api()
	if e := base(c.account.Endpoint); e != nil {
		to = *e + "/"
	}
	for try := 1; ; try++ {
		req, err := c.signed4(ctx, o, to, target, service, skew)
		if err != nil {
			return nil, 0, err
		}
		res, err := c.http.Do(ctx, req)
		if res != nil {
			skew = c.skew(res.Header)
		}
		if err == nil {
			return res.Body, skew, nil
		}
		if res == nil {
			return nil, 0, err
		}
		code, message := jsonError(res.Body)
		last := try == maxAsks || res.Header.Get("Retry-After") != ""
		again := slices.Contains(codesThrottled, code) || slices.Contains(codesSigned, code) && skew != 0 && try == 1
		if last || !again || pause(ctx, rand.N(300*time.Millisecond<<try)) != nil {
			return nil, 0, c.told(o, code, message, res.Header, err)
		}
	}
}

// told explains an answer that is no success.
func (c *call) told(o op, code, message string, header http.Header, err error) error {
	if e := c.coded(o, code, message, header); e != nil {
		return e
	}
	e, ok := err.(*providers.Error) //nolint:errorlint // httpx returns nothing else
	if !ok || e.Kind != providers.LoginRequired {
		return err
	}
	own := *e
	own.Hint = o.sess.renew
	return &own
}

// skew is how far AWS's clock is ahead of this machine's, 0 for little.
func (c *call) skew(h http.Header) time.Duration {
	there, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	if d := there.Sub(c.deps.Now()); d.Abs() > time.Minute {
		return d
	}
	return 0
}

// signed4 is the request with a signature of version 4 for AWS's own time.
func (c *call) signed4(ctx context.Context, o op, to, target, service string, skew time.Duration) (httpx.Request, error) {
	body := []byte("{}")
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return httpx.Request{}, c.fail(providers.Misconfigured, "", errEndpoint)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", target)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, o.sess.creds, r, hex.EncodeToString(sum[:]), service, c.place.region, c.deps.Now().Add(skew)); err != nil {
		return httpx.Request{}, c.fail(providers.Misconfigured, "", errEndpoint)
	}
	return httpx.Request{
		Host: c.host, What: o.name, Method: http.MethodPost, URL: to, Header: r.Header, Body: body, Replay: true, SameOrigin: true, Secrets: o.sess.secrets,
	}, nil
}

// jsonError reads {"__type":"com.amazonaws.ecr#Code","message":"…"}.
func jsonError(body []byte) (code, message string) {
	var v struct {
		Type    string `json:"__type"`
		Message string // or "message"
	}
	if json.Unmarshal(body, &v) != nil {
		return "", ""
	}
	code = v.Type
	if _, name, ok := strings.Cut(code, "#"); ok {
		code = name
	}
	code, _, _ = strings.Cut(code, ":")
	return code, v.Message
}
