// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The addresses of the metadata services.
const (
	instanceEndpoint  = "http://169.254.169.254"
	containerEndpoint = "http://169.254.170.2"
)

// How long the metadata service is waited for: before and after it answered
// once.
const (
	probe    = time.Second
	patience = 5 * time.Second
)

// absence remembers whether this machine has a metadata service: asking one
// that is not there costs a second, which nobody pays twice.
type absence struct {
	gate  chan struct{} // held by who asks first
	mu    sync.Mutex
	until map[string]time.Time // by endpoint: it is not there
	seen  map[string]bool      // by endpoint: it answered before
}

func newAbsence() *absence {
	return &absence{gate: make(chan struct{}, 1), until: map[string]time.Time{}, seen: map[string]bool{}}
}

const absentFor = 15 * time.Minute

func (a *absence) read(endpoint string, now time.Time) (absent, seen bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[endpoint]), a.seen[endpoint]
}

func (a *absence) write(endpoint string, there bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if there {
		a.seen[endpoint] = true
		return
	}
	a.until[endpoint] = now.Add(absentFor)
}

// nobody is the answer of an account that says nothing about who it is, on a
// machine that is nobody. profile is the one that was named and holds nothing.
func (c *call) nobody(profile, why string) *providers.Error {
	if profile != "" {
		return c.fail(providers.Misconfigured, "", fmt.Errorf("profile %q holds no credentials, %s", httpx.Printable(profile, 60), why))
	}
	if c.account.Layer == providers.LayerAmbient {
		return c.fail(providers.NoAccount, "", errors.New("no AWS identity here: no variables, no profile in ~/.aws, "+why))
	}
	return c.fail(providers.Misconfigured, "run: regmint login "+c.host.String(), errors.New("no AWS identity here: no profile in ~/.aws, "+why))
}

// instance asks IMDSv2 for the machine's role. profile is the one that was named
// and leads here.
func (c *call) instance(profile string) *plan {
	endpoint := strings.TrimSuffix(cmp.Or(c.options.MetadataEndpoint, instanceEndpoint), "/")
	const who = "this machine's role"
	return &plan{who: who, first: func(ctx context.Context, c *call, _ string) (session, error) {
		if strings.EqualFold(c.deps.Env[envNoMetadata], "true") {
			return session{}, c.nobody(profile, "and AWS_EC2_METADATA_DISABLED is set")
		}
		absent, seen := c.metadata.read(endpoint, c.deps.Now())
		limit := patience
		if !seen {
			select {
			case c.metadata.gate <- struct{}{}:
				defer func() { <-c.metadata.gate }()
			case <-ctx.Done():
				return session{}, c.fail(providers.Unavailable, "", errors.New("metadata service: timed out"))
			}
			absent, _ = c.metadata.read(endpoint, c.deps.Now())
			limit = probe
		}
		if absent {
			return session{}, c.nobody(profile, "no role of this machine")
		}
		short, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		creds, answered, err := c.askInstance(short, endpoint)
		if err != nil && !answered && !seen {
			return session{}, c.noInstance(ctx, endpoint, profile, err)
		}
		c.metadata.write(endpoint, true, c.deps.Now())
		if res, ok := errors.AsType[*httpx.StatusError](err); ok && res.Status == http.StatusNotFound {
			return session{}, c.nobody(profile, "and the machine has no role")
		}
		if err != nil {
			return session{}, err
		}
		return session{who: who, renew: "the machine's metadata service gave them"}.with(creds), nil
	}}
}

// The paths and headers of IMDSv2
// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html).
const (
	imdsToken   = "/latest/api/token"
	imdsRoles   = "/latest/meta-data/iam/security-credentials/"
	imdsTTL     = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	imdsSession = "X-Aws-Ec2-Metadata-Token"
)

// askInstance takes a session of the metadata service, the name of the
// machine's role and its credentials. The first version of the service, which
// any request that is tricked out of a program can use, is never asked.
// answered: a session came, so it is AWS that is asked.
func (c *call) askInstance(ctx context.Context, endpoint string) (creds aws.Credentials, answered bool, err error) {
	req := httpx.Request{Host: c.host, What: "metadata service", Method: http.MethodPut, URL: endpoint + imdsToken, SameOrigin: true, Header: http.Header{imdsTTL: {"60"}}}
	res, err := c.http.Do(ctx, req)
	if err != nil {
		return creds, false, err
	}
	token := strings.TrimSpace(string(res.Body))
	if token == "" || httpx.HasBreak(token) {
		return creds, false, c.fail(providers.Unavailable, "", errors.New("metadata service: the answer holds no token"))
	}
	req.Method, req.URL, req.Header = http.MethodGet, endpoint+imdsRoles, http.Header{imdsSession: {token}}
	if res, err = c.http.Do(ctx, req); err != nil {
		return creds, true, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(res.Body)), "\n")
	if role == "" || url.PathEscape(role) != role {
		return creds, true, c.fail(providers.Unavailable, "", errors.New("metadata service: the answer names no role"))
	}
	req.URL = endpoint + imdsRoles + role
	if res, err = c.http.Do(ctx, req); err != nil {
		return creds, true, err
	}
	creds, err = c.readMetadata("metadata service", res.Body)
	return creds, true, err
}

// readMetadata reads the credentials of a machine or a container. Errors
// repeat nothing of them.
func (c *call) readMetadata(what string, body []byte) (aws.Credentials, error) {
	var v struct {
		Code            string
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      *time.Time
		AccountID       string `json:"AccountId"`
	}
	switch err := json.Unmarshal(body, &v); {
	case err != nil:
		return aws.Credentials{}, c.fail(providers.Unavailable, "", fmt.Errorf("%s: the answer holds no credentials", what))
	case v.Code != "" && v.Code != "Success":
		return aws.Credentials{}, c.fail(providers.Denied, "check the role's trust policy", fmt.Errorf("%s: %s", what, httpx.Clean(v.Code, 60)))
	case v.AccessKeyID == "" || v.SecretAccessKey == "":
		return aws.Credentials{}, c.fail(providers.Unavailable, "", fmt.Errorf("%s: the answer holds no credentials", what))
	}
	out := aws.Credentials{AccessKeyID: v.AccessKeyID, SecretAccessKey: v.SecretAccessKey, SessionToken: v.Token, AccountID: v.AccountID}
	if v.Expiration != nil {
		out.CanExpire, out.Expires = true, *v.Expiration
	}
	return out, nil
}

// noInstance is the answer where no session came. Other clouds and captive
// portals answer at this address too: what refuses is no identity of AWS. What
// is broken may be one.
func (c *call) noInstance(ctx context.Context, endpoint, profile string, err error) error {
	res, ok := errors.AsType[*httpx.StatusError](err)
	if ctx.Err() != nil || ok && res.Status >= http.StatusInternalServerError {
		return err
	}
	c.metadata.write(endpoint, false, c.deps.Now())
	return c.nobody(profile, "no role of this machine")
}

// checkURL takes https, and http to this machine.
func checkURL(s string, local bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be an absolute URL without user, query and fragment")
	}
	h, err := providers.ParseHost(u.Host)
	switch {
	case err != nil:
		return errors.New("the URL has no valid host")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (h.IsLoopback() || local):
		return nil
	}
	return errors.New("must be https")
}
