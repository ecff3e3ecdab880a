// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// containerHosts may be asked for a container's credentials besides loopback:
// ECS, and EKS over both IP versions
// (docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html).
var containerHosts = []netip.Addr{
	netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"), netip.MustParseAddr("fd00:ec2::23"),
}

// container is the role of an ECS task or an EKS pod by the caller's
// variables; nil where they say nothing.
func (c *call) container() (*plan, error) {
	env := c.deps.Env
	uri := cmp.Or(env[envContainerRelative], env[envContainerFull])
	if uri == "" {
		return nil, nil
	}
	return c.containerPlan(uri, func(context.Context) (string, error) {
		if env[envContainerToken] != "" || env[envContainerFile] == "" {
			return env[envContainerToken], nil
		}
		u, err := containerURL(uri, "")
		if err != nil {
			return "", err
		}
		// Somebody else's server on loopback must not get a file's content.
		if a, err := netip.ParseAddr(u.Hostname()); err != nil || a.IsLoopback() {
			return "", c.fail(providers.Misconfigured, "", errors.New(envContainerFile+" is for the endpoints of ECS and EKS alone"))
		}
		name := env[envContainerFile]
		if !filepath.IsAbs(name) {
			return "", c.fail(providers.Misconfigured, "", errors.New(envContainerFile+" has no absolute path"))
		}
		b, err := readFile(name)
		if err != nil {
			return "", c.fail(providers.Misconfigured, "", fmt.Errorf("%s: %w", envContainerFile, err))
		}
		return strings.TrimSpace(string(b)), nil
	})
}

func (c *call) containerPlan(uri string, token func(context.Context) (string, error)) (*plan, error) {
	u, err := containerURL(uri, c.options.MetadataEndpoint)
	if err == nil && c.account.Layer == providers.LayerAmbient && !onMachine(u) {
		err = errors.New("only loopback and the addresses of ECS and EKS are asked")
	}
	if err != nil {
		return nil, c.fail(providers.Misconfigured, "", fmt.Errorf("container credentials: %w", err))
	}
	const who = "this container's role"
	return &plan{who: who, first: func(ctx context.Context, c *call, _ string) (session, error) {
		t, err := token(ctx)
		if err != nil {
			return session{}, err
		}
		if httpx.HasBreak(t) {
			return session{}, c.fail(providers.Misconfigured, "", errors.New("the container's authorization token holds a line break"))
		}
		req := httpx.Request{Host: c.host, What: "container credentials", URL: u.String(), SameOrigin: true, Header: http.Header{"Accept": {"application/json"}}}
		if t != "" {
			req.Header.Set("Authorization", t)
		}
		res, err := c.http.Do(ctx, req)
		if e, ok := errors.AsType[*providers.Error](err); ok {
			own := *e
			if own.Kind == providers.LoginRequired {
				own.Hint = "check the container's authorization token"
			}
			return session{}, &own
		}
		creds, err := c.readMetadata("container credentials", res.Body)
		if err != nil {
			return session{}, err
		}
		return session{who: who, renew: "the container's credentials endpoint gave them"}.with(creds), nil
	}}, nil
}

// containerURL is the address of a container's credentials: a path at ECS's
// address, or a URL that only reaches this machine.
func containerURL(uri, endpoint string) (*url.URL, error) {
	if strings.HasPrefix(uri, "/") {
		uri = strings.TrimSuffix(cmp.Or(endpoint, containerEndpoint), "/") + uri
	}
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.User != nil || httpx.HasBreak(uri) {
		return nil, errors.New("no valid URL")
	}
	if u.Scheme == "https" {
		return u, nil
	}
	if u.Scheme != "http" {
		return nil, errors.New("no http or https URL")
	}
	if !onMachine(u) {
		return nil, errors.New("only loopback and the addresses of ECS and EKS are asked by http")
	}
	return u, nil
}

// onMachine reports a URL that cannot leave this machine or its hypervisor.
func onMachine(u *url.URL) bool {
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return false
	}
	a, ok := h.Addr()
	return h.IsLoopback() || ok && slices.Contains(containerHosts, a.Unmap())
}
