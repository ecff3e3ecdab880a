// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

const rotateLife = 7 * 24 * time.Hour

func (t *Token) show(secret bool) map[string]any {
	m := map[string]any{
		"id": t.ID, "name": t.Name, "revoked": t.revoked, "active": t.active(), "created_at": stamp(t.created), "description": t.text,
		"scopes": t.Scopes, "user_id": t.User.ID, "last_used_at": stamp(t.used), "expires_at": nil,
	}
	if !t.expires.IsZero() {
		m["expires_at"] = t.expires.Format(dateForm)
	}
	if t.Kind != PersonalToken {
		m["access_level"] = t.level
		m["resource_type"] = string(t.Kind)
	}
	if secret {
		m["token"] = t.Secret
	}
	return m
}

// killFamily revokes what grew out of the same token, since one of it was used
// after its end. Callers hold mu.
func (g *GitLab) killFamily(t *Token) {
	killed := false
	for _, x := range g.tokens {
		if x.family == t.family && x.active() {
			g.revoke(x, ByReuse)
			killed = true
		}
	}
	if killed {
		g.counts.FamiliesKilled++
	}
}

// rotate puts another token in the place of t. Callers hold mu.
func (g *GitLab) rotate(t *Token, form url.Values) (*Token, *refusal) {
	if t.revoked {
		return nil, badRequest("token already revoked")
	}
	expires := midnight(g.Cloud.Now().Add(rotateLife))
	if form.Has("expires_at") {
		var f *refusal
		if expires, f = g.date(form.Get("expires_at")); f != nil {
			return nil, f
		}
	}
	n := *t
	n.ID, n.created, n.used, n.expires = g.id(), g.Cloud.Now(), time.Time{}, expires
	n.Secret = newSecret("glpat-")
	n.Scopes = slices.Clone(t.Scopes)
	g.revoke(t, ByRotation)
	g.tokens = append(g.tokens, &n)
	g.counts.Rotations++
	return &n, nil
}

// date reads expires_at. Callers hold mu.
func (g *GitLab) date(s string) (time.Time, *refusal) {
	d, err := time.Parse(dateForm, s)
	if err != nil {
		if d, err = time.Parse(time.RFC3339, s); err != nil {
			return d, invalid("expires_at is invalid")
		}
	}
	if last := midnight(g.Cloud.Now()).AddDate(0, 0, g.options.MaxDays+1); !midnight(d).Before(last) {
		return d, badRequest("Expiration date must be before " + last.Format(dateForm))
	}
	return midnight(d), nil
}

var errPersonalOnly = badRequest("This endpoint requires token type to be a personal access token")

func (g *GitLab) showSelf(c *call, _ []string) *refusal {
	if c.token == nil {
		return errPersonalOnly
	}
	g.mu.Lock()
	m := c.token.show(false)
	g.mu.Unlock()
	fakecloud.WriteJSON(c.w, http.StatusOK, m)
	return nil
}

func (g *GitLab) deleteSelf(c *call, _ []string) *refusal {
	if c.token == nil {
		return errPersonalOnly
	}
	return g.end(c, c.token)
}

// end revokes a token by the API.
func (g *GitLab) end(c *call, t *Token) *refusal {
	g.mu.Lock()
	g.revoke(t, ByAPI)
	g.mu.Unlock()
	g.answer(c.w, c.Request, RevokeToken, http.StatusNoContent, nil)
	return nil
}

func (g *GitLab) rotateSelf(c *call, _ []string) *refusal {
	if c.token == nil {
		return errNotAllowed
	}
	return g.rotated(c, c.token)
}

func (g *GitLab) rotated(c *call, t *Token) *refusal {
	g.mu.Lock()
	n, f := g.rotate(t, c.form)
	var m map[string]any
	if f == nil {
		m = n.show(true)
	}
	g.mu.Unlock()
	if f != nil {
		return f
	}
	g.answer(c.w, c.Request, Rotate, http.StatusOK, m)
	return nil
}

// personal finds a personal access token by its number, as its owner or an
// administrator may.
func (g *GitLab) personal(c *call, id string) (*Token, *refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tokens {
		if strconv.Itoa(t.ID) == id && (t.User == c.user || c.admin) {
			return t, nil
		}
	}
	if c.admin {
		return nil, errNotFound
	}
	return nil, errUnauthorized
}

func (g *GitLab) showPersonal(c *call, args []string) *refusal {
	t, f := g.personal(c, args[0])
	if f != nil {
		return f
	}
	g.mu.Lock()
	m := t.show(false)
	g.mu.Unlock()
	fakecloud.WriteJSON(c.w, http.StatusOK, m)
	return nil
}

func (g *GitLab) deletePersonal(c *call, args []string) *refusal {
	t, f := g.personal(c, args[0])
	if f != nil {
		return f
	}
	return g.end(c, t)
}

func (g *GitLab) rotatePersonal(c *call, args []string) *refusal {
	t, f := g.personal(c, args[0])
	if f != nil {
		return f
	}
	return g.rotated(c, t)
}

func (g *GitLab) listPersonal(c *call, _ []string) *refusal {
	g.list(c, func(t *Token) bool { return t.User == c.user || c.admin })
	return nil
}

// list answers the tokens that f accepts and the filters let through.
func (g *GitLab) list(c *call, f func(*Token) bool) {
	g.mu.Lock()
	out := []map[string]any{}
	for _, t := range g.tokens {
		state, search := c.form.Get("state"), strings.ToLower(c.form.Get("search"))
		ok := f(t) && (state == "" || (state == "active") == t.active()) && strings.Contains(strings.ToLower(t.Name), search)
		if v := c.form.Get("revoked"); v != "" && v != strconv.FormatBool(t.revoked) {
			ok = false
		}
		if ok {
			out = append(out, t.show(false))
		}
	}
	g.mu.Unlock()
	page(c, out)
}
