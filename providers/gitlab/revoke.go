// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Revoke implements providers.Revoker: the token ends itself, which each may
// whatever became of the one it was made with. Sweep finds the others.
func (s *jobSource) Revoke(ctx context.Context, r providers.Request, c providers.Credential) error {
	if r.Job == "" || c.Secret.IsZero() {
		return nil
	}
	err := s.call(ctx, call{host: r.Host, what: "revoke the job's token", method: http.MethodDelete, path: "/personal_access_tokens/self", as: token{secret: c.Secret}})
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Status == http.StatusUnauthorized {
		return nil // it has ended
	}
	return err
}

// maxPages bounds how much of a list is read, 100 entries a page.
const maxPages = 20

// Sweep implements providers.Sweeper: everything whose name begins as the job's
// do, renewals and those whose making was never answered.
func (s *jobSource) Sweep(ctx context.Context, r providers.Request) error {
	if r.Job == "" {
		return nil
	}
	maker, err := s.own(ctx, r.Host)
	if err != nil {
		return err
	}
	found, err := s.left(ctx, r, maker)
	errs := []error{err}
	for _, i := range found {
		err := s.call(ctx, call{host: r.Host, what: "revoke the job's token", method: http.MethodDelete, path: fmt.Sprintf("%s/%d", s.path(), i.ID), as: maker})
		if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Status == http.StatusNotFound {
			err = nil // gone is gone
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// left lists the job's tokens that live.
func (s *jobSource) left(ctx context.Context, r providers.Request, maker token) (found []info, err error) {
	mine := prefix(r.Job)
	for page := 1; page <= maxPages; page++ {
		var list []info
		q := url.Values{"state": {"active"}, "search": {mine}, "per_page": {"100"}, "page": {fmt.Sprint(page)}}
		if err := s.call(ctx, call{host: r.Host, what: "list the tokens of jobs", path: s.path() + "?" + q.Encode(), as: maker, into: &list}); err != nil {
			return found, err
		}
		for _, i := range list {
			if strings.HasPrefix(i.Name, mine) && !i.Revoked {
				found = append(found, i)
			}
		}
		if len(list) < 100 {
			return found, nil
		}
	}
	return found, s.fail(r.Host, providers.Unavailable, "", errors.New("list the tokens of jobs: more than can be read at once"))
}
