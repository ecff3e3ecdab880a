// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Verify asks the registry whether it accepts c and, for grants that name a
// repository, whether c has their access. Errors are *Error: LoginRequired
// (401), Denied (403 or less access than asked), Misconfigured (no registry
// v2 API, realm not trusted), Unavailable (everything that does not speak
// about the credential).
//
// What a bearer may do is read from its access claim where it has one;
// registries with opaque tokens are asked for the repository's tags, which
// proves pull only.
func Verify(ctx context.Context, cfg Config, c providers.Credential, grants []providers.Grant) error {
	for _, g := range grants {
		if g.Repository != "" && !validRepository(g.Repository) {
			return &providers.Error{Kind: providers.Misconfigured, Host: cfg.Host, Err: fmt.Errorf("%q is no repository name", httpx.Printable(g.Repository, 100))}
		}
	}
	r, err := Probe(ctx, cfg)
	if err != nil {
		return err
	}
	if err := r.login(ctx, c); err != nil {
		return err
	}
	for _, g := range grants {
		if g.Repository == "" {
			continue
		}
		if err := r.grant(ctx, c, g); err != nil {
			return err
		}
	}
	return nil
}

// login presents c at GET /v2/ in the way the registry asked for.
func (r *Registry) login(ctx context.Context, c providers.Credential) error {
	auth := ""
	switch r.Challenge.Scheme {
	case "bearer":
		t, err := r.Exchange(ctx, c, nil, providers.LoginRequired)
		if err != nil {
			return err
		}
		auth = "Bearer " + t.Value.Reveal()
	default:
		if c.Username == TokenUser {
			if r.Challenge.IsZero() {
				return nil // open to everybody, and there is no token server to ask
			}
			return r.fail(providers.Misconfigured, errors.New("the registry takes no identity tokens: log in with a user name and password"))
		}
		auth = basic(c)
	}
	res, err := r.get(ctx, "/v2/", http.Header{"Authorization": {auth}}, providers.LoginRequired)
	if res != nil && res.Status >= 400 && providers.KindOf(err) == providers.Misconfigured {
		return r.fail(providers.Unavailable, fmt.Errorf("HTTP %d at %s after the login", res.Status, httpx.CleanURL(res.URL)))
	}
	return err
}

// grant checks one repository. The credential itself was accepted already: a
// 401 from here on means that it may not do this.
func (r *Registry) grant(ctx context.Context, c providers.Credential, g providers.Grant) error {
	path := "/v2/" + g.Repository + "/tags/list?n=1"
	at := r
	if r.Challenge.IsZero() {
		// Open at /v2/, perhaps not here.
		res, err := r.get(ctx, path, nil, providers.Denied)
		if res == nil || res.Status != http.StatusUnauthorized {
			return r.tags(g, res, err)
		}
		ch, err := r.pick(res.Header.Values("WWW-Authenticate"))
		if err != nil {
			return err
		}
		here := *r
		here.Challenge, at = ch, &here
	}
	auth := ""
	if at.Challenge.Scheme == "bearer" {
		t, err := at.Exchange(ctx, c, Scopes([]providers.Grant{least(g)}), providers.Denied)
		if err != nil {
			return err
		}
		if have, ok := granted(t.Value.Reveal(), g.Repository); ok {
			return at.compare(g, have)
		}
		auth = "Bearer " + t.Value.Reveal()
	} else {
		auth = basic(c)
	}
	res, err := at.get(ctx, path, http.Header{"Authorization": {auth}}, providers.Denied)
	return at.tags(g, res, err)
}

// tags judges the answer to a look at a repository's tags.
func (r *Registry) tags(g providers.Grant, res *httpx.Response, err error) error {
	if res == nil || res.Status < 400 {
		return err
	}
	switch res.Status {
	case http.StatusNotFound:
		if g.Access.Has(providers.Push) {
			return nil // made by the first push
		}
		return r.fail(providers.Denied, fmt.Errorf("no repository %s, or no right to see it", g.Repository))
	case http.StatusUnauthorized, http.StatusForbidden:
		return r.fail(providers.Denied, fmt.Errorf("no right to pull %s (HTTP %d)", g.Repository, res.Status))
	}
	return err
}

// compare reports the actions that are missing.
func (r *Registry) compare(g providers.Grant, have []string) error {
	var missing []string
	for _, a := range actions(least(g).Access) {
		if !slices.Contains(have, a) && !slices.Contains(have, "*") {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return r.fail(providers.Denied, fmt.Errorf("no right to %s %s", strings.Join(missing, " and "), g.Repository))
}

// least is g with pull in place of "as the account is": the least that proves
// a login.
func least(g providers.Grant) providers.Grant {
	if g.Access == 0 {
		g.Access = providers.Pull
	}
	return g
}

// Scopes renders grants as docker scopes, "repository:acme/app:pull,push",
// one for each grant that names a repository. "As the account is" is pull and
// push: delete is never asked for unasked.
func Scopes(grants []providers.Grant) []string {
	var out []string
	for _, g := range grants {
		if g.Repository != "" {
			out = append(out, "repository:"+g.Repository+":"+strings.Join(actions(g.Access), ","))
		}
	}
	return out
}

// actions spells an access as scope actions.
func actions(a providers.Access) []string {
	if a == 0 {
		a = providers.Push
	}
	var out []string
	if a.Has(providers.Pull) {
		out = append(out, "pull")
	}
	if a.Has(providers.Push) {
		out = append(out, "push")
	}
	if a.Has(providers.Delete) {
		out = append(out, "delete")
	}
	return out
}

// validRepository holds for names of the distribution specification's grammar;
// nothing else is put into a path.
func validRepository(s string) bool {
	if len(s) > 255 {
		return false
	}
	for seg := range strings.SplitSeq(s, "/") {
		if seg == "" || strings.Trim(seg, "._-") != seg {
			return false
		}
		for i := range len(seg) {
			c := seg[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
				return false
			}
		}
		if strings.Contains(seg, "..") {
			return false
		}
	}
	return true
}
