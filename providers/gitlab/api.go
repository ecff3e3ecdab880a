// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// call is one request to the API.
type call struct {
	host   providers.Host
	what   string
	method string
	path   string // below /api/v4, escaped
	as     token
	body   any
	into   any // nil: the answer is 204
}

func (s *source) call(ctx context.Context, c call) error {
	v, err := s.gitlab(ctx, c.host)
	if err != nil {
		return err
	}
	q := httpx.Request{
		Host: c.host, What: c.what, Method: c.method, URL: v.base + "/api/v4" + c.path, SameOrigin: true,
		Header: http.Header{"Accept": {"application/json"}}, Secrets: []providers.Secret{c.as.secret},
	}
	if c.as.oauth {
		q.Header.Set("Authorization", "Bearer "+c.as.secret.Reveal())
	} else {
		q.Header.Set("PRIVATE-TOKEN", c.as.secret.Reveal())
	}
	if c.body != nil {
		q.Header.Set("Content-Type", "application/json")
		if q.Body, err = json.Marshal(c.body); err != nil {
			return s.fail(c.host, providers.Misconfigured, "", errors.New(c.what+": the request cannot be written"))
		}
	}
	res, err := v.http.Do(ctx, q)
	if err != nil {
		return s.explain(c.host, err)
	}
	switch {
	case c.into == nil && res.Status == http.StatusNoContent:
	case c.into == nil, json.Unmarshal(res.Body, c.into) != nil, string(bytes.TrimSpace(res.Body)) == "null":
		return s.notGitLab(c.host, c.what, res)
	}
	return nil
}

// notGitLab is an answer that no API of GitLab gives (H53): a page stands where
// the API should be, or something between changed the answer.
func (s *source) notGitLab(h providers.Host, what string, res *httpx.Response) error {
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		page := "a web page" // nothing more of its address: that may repeat what it was asked with
		if res.URL.Path == "/users/sign_in" {
			page = "GitLab's sign-in page"
		}
		return s.fail(h, providers.Unavailable, "look at url, and at what stands before GitLab", errors.New(what+": "+page+" at "+httpx.Printable(res.URL.Host, 100)+" in place of its API"))
	}
	return s.fail(h, providers.Unavailable, "look at what stands before GitLab", errors.New(what+": the answer is not what GitLab answers"))
}

// info is an access token as the API describes it. Dates of expiry are whole
// days; the token ends as the day begins, in UTC.
type info struct {
	ID      int64     `json:"id"`
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created_at"`
	Ends    *string   `json:"expires_at"`
	Revoked bool      `json:"revoked"`
	Token   string    `json:"token"`
}

// expires is zero where the token has no end.
func (i info) expires() time.Time {
	if i.Ends == nil {
		return time.Time{}
	}
	date, _, _ := strings.Cut(*i.Ends, "T") // whatever the time of a day that is over
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return time.Time{}
	}
	return t
}

// checkLimit bounds what a look at the account's own token may take of the time
// of a caller who has a deadline.
const checkLimit = 5 * time.Second

func hurry(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, hurried := ctx.Deadline(); !hurried {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, checkLimit)
}

// self asks GitLab what an access token is.
func (s *source) self(ctx context.Context, h providers.Host, t token) (info, error) {
	var i info
	err := s.call(ctx, call{host: h, what: "look at the token", path: "/personal_access_tokens/self", as: t, into: &i})
	if err == nil && i.ID == 0 {
		err = s.fail(h, providers.Unavailable, "", errors.New("look at the token: GitLab describes no token"))
	}
	return i, err
}

// look fills in what GitLab says about t. A token that is refused is an error;
// an API that does not answer is none: the registry may.
func (s *source) look(ctx context.Context, h providers.Host, t *token) error {
	if err := s.refusedLately(t.secret); err != nil {
		return err
	}
	ctx, cancel := hurry(ctx)
	defer cancel()
	i, err := s.self(ctx, h, *t)
	if err == nil {
		t.tell(i)
		s.facts.keep(*t)
		return nil
	}
	if providers.KindOf(err) != providers.LoginRequired {
		s.deps.Log.Debug("the token is used unseen", "host", h.String(), "reason", err.Error())
		return nil
	}
	// A deploy token without its usual looks, or a password: the registry knows.
	if s.account.Username != "" {
		cred := providers.Credential{Username: t.user, Secret: t.secret}
		if verr := s.askRegistry(ctx, providers.Request{Host: h}, cred); providers.KindOf(verr) != providers.LoginRequired {
			t.checked, t.origin = false, "saved login as "+httpx.Printable(t.user, 100)
			if providers.KindOf(verr) == providers.Denied {
				return verr
			}
			return nil
		}
	}
	s.refuse(t.secret, err)
	return err
}
