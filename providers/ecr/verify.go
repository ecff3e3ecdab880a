// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// probeTag is asked for to see whether a repository may be pulled; nobody has
// it. Listing tags would ask for ecr:ListImages, which a pull does not need.
const probeTag = "regmint-check"

// Verify implements providers.Verifier: whether the registry accepts the
// token, then whether each repository of the grants is there and may be pulled.
// What a push may do shows in the push alone.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	err := registryauth.Verify(ctx, registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}, c, nil)
	if err != nil {
		return err
	}
	p, err := s.place(r.Host)
	if err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Host: r.Host, Err: err}
	}
	if p.public {
		return nil // anybody may pull
	}
	for _, g := range r.Grants {
		if g.Repository == "" || g.Access == providers.Delete {
			continue
		}
		if err := s.pullable(ctx, r.Host, g.Repository, c); err != nil {
			return err
		}
	}
	return nil
}

// pullable reads the registry's answer to a tag that is not there:
// MANIFEST_UNKNOWN where the repository may be pulled, NAME_UNKNOWN where it
// does not exist.
func (s *source) pullable(ctx context.Context, h providers.Host, repository string, c providers.Credential) error {
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Secret.Reveal()))
	res, err := s.http.Do(ctx, httpx.Request{
		Host: h, What: "registry", URL: "https://" + h.String() + "/v2/" + repository + "/manifests/" + probeTag, SameOrigin: true, Unauthorized: providers.Denied,
		Header:  http.Header{"Authorization": {auth}, "Accept": {"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}},
		Secrets: []providers.Secret{c.Secret},
	})
	if err == nil || res == nil {
		return err
	}
	fail := &providers.Error{Kind: providers.Denied, Host: h, Hint: "allow ecr:BatchGetImage there", Err: fmt.Errorf("no right to pull %s", httpx.Printable(repository, 80))}
	switch res.Status {
	case http.StatusNotFound:
		if !strings.Contains(string(res.Body), "NAME_UNKNOWN") {
			return nil
		}
		fail.Hint = "create it: aws ecr create-repository"
		fail.Err = fmt.Errorf("the registry has no repository %s", httpx.Printable(repository, 80))
		return fail
	case http.StatusUnauthorized, http.StatusForbidden:
		if who, action, _ := readDenial(httpx.Clean(string(res.Body), 400, c.Secret)); who != "" && action != "" {
			fail.Err = errors.New(who + " may not " + action + " on " + httpx.Printable(repository, 80))
			fail.Hint = "allow it in IAM"
		}
		return fail
	}
	return err
}
