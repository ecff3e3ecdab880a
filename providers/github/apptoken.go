// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// appToken is an installation token with the life that GitHub's own clock gives
// it.
type appToken struct {
	secret providers.Secret
	life   time.Duration
}

// token mints; where the repositories are not the installation's, a package
// need not be called as its repository: without them, and wider.
func (c appCall) token(ctx context.Context, id int64, level string, names []string) (t appToken, wider bool, err error) {
	ask := map[string]any{"permissions": map[string]string{"packages": level}}
	if len(names) > 0 {
		ask["repositories"] = names
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return t, false, err
	}
	asked := c.s.deps.Now()
	res, err := c.do(ctx, http.MethodPost, fmt.Sprintf("/app/installations/%d/access_tokens", id), body)
	if res != nil && res.Status == http.StatusUnprocessableEntity && len(names) > 0 {
		t, _, err = c.token(ctx, id, level, nil)
		return t, true, err
	}
	if err != nil {
		return t, false, err
	}
	var out struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if json.Unmarshal(res.Body, &out) != nil || out.Token == "" || httpx.HasBreak(out.Token) {
		return t, false, c.odd("an installation token")
	}
	now := asked
	if d, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		now = d
	}
	return appToken{providers.NewSecret(out.Token), min(out.Expires.Sub(now), appLife)}, false, nil
}

// drop ends an installation token.
func (s *source) drop(ctx context.Context, h providers.Host, at site, secret providers.Secret) error {
	res, err := s.call(ctx, h, http.MethodDelete, at.api+"/installation/token", secret, nil)
	if res != nil && res.Status == http.StatusUnauthorized { // it is over already
		return nil
	}
	return err
}
