// SPDX-License-Identifier: Apache-2.0

package github

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// The words of the API about JWTs.
const (
	jwtUndecodable = "A JSON web token could not be decoded"
	jwtTooFar      = "'Expiration time' claim ('exp') is too far in the future"
	jwtExpired     = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	jwtIssued      = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
)

// asApp lets an App in with a JWT of its own key. It holds mu.
func (g *GitHub) asApp(h func(http.ResponseWriter, *http.Request, *App)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") { // "token" is for tokens alone
			text = ""
		}
		a, err := g.verify(text)
		if err != nil {
			w.Header().Set("Date", g.Cloud.Now().UTC().Format(http.TimeFormat))
			status := http.StatusUnauthorized
			if errors.Is(err, errNoApp) {
				status = http.StatusNotFound
			}
			apiError(w, status, err.Error())
			return
		}
		h(w, r, a)
	}
}

// wrong is what the API says about a JWT.
type wrong string

// Error implements error.
func (w wrong) Error() string { return string(w) }

const errNoApp = wrong("Integration not found")

// verify checks a JWT: RS256, iat not in the future, exp within ten minutes,
// no leeway, whole numbers.
func (g *GitHub) verify(text string) (*App, error) {
	claims := jwt.MapClaims{}
	p := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithJSONNumber(), jwt.WithValidMethods([]string{"RS256"}))
	if _, _, err := p.ParseUnverified(text, claims); err != nil {
		return nil, wrong(jwtUndecodable)
	}
	iss, _ := claims["iss"].(string)
	i := slices.IndexFunc(g.apps, func(a *App) bool { return iss == a.ClientID || iss == strconv.Itoa(a.ID) })
	if i < 0 {
		return nil, errNoApp
	}
	a := g.apps[i]
	if _, err := p.Parse(text, func(*jwt.Token) (any, error) { return a.public, nil }); err != nil {
		return nil, wrong(jwtUndecodable)
	}
	number := func(name string) (time.Time, bool) {
		n, ok := claims[name].(json.Number)
		if !ok {
			return time.Time{}, false
		}
		v, err := n.Int64()
		return time.Unix(v, 0), err == nil
	}
	now := g.Cloud.Now()
	exp, ok := number("exp")
	if !ok || !exp.After(now) {
		return nil, wrong(jwtExpired)
	}
	if exp.Sub(now) > 10*time.Minute {
		return nil, wrong(jwtTooFar)
	}
	if iat, ok := number("iat"); !ok || iat.After(now) {
		return nil, wrong(jwtIssued)
	}
	return a, nil
}

func (g *GitHub) getApp(w http.ResponseWriter, _ *http.Request, a *App) {
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"id": a.ID, "slug": a.Slug, "client_id": a.ClientID, "name": a.Slug})
}

func (in *Installation) json() map[string]any {
	selection, suspended := "all", any(nil)
	if len(in.repos) > 0 {
		selection = "selected"
	}
	if in.suspended {
		suspended = "2026-01-01T00:00:00Z"
	}
	permissions := map[string]string{"metadata": "read"}
	if in.level > None {
		permissions["packages"] = in.level.String()
	}
	return map[string]any{
		"id": in.ID, "app_id": in.app.ID, "app_slug": in.app.Slug, "client_id": in.app.ClientID, "account": map[string]string{"login": in.Owner},
		"target_type": "Organization", "repository_selection": selection, "permissions": permissions, "suspended_at": suspended,
	}
}

func (g *GitHub) listInstallations(w http.ResponseWriter, r *http.Request, a *App) {
	list := []any{}
	for _, in := range paged(w, r, a.in) {
		list = append(list, in.json())
	}
	fakecloud.WriteJSON(w, http.StatusOK, list)
}

func (a *App) byID(id string) *Installation {
	for _, in := range a.in {
		if strconv.Itoa(in.ID) == id {
			return in
		}
	}
	return nil
}

func (g *GitHub) getInstallation(w http.ResponseWriter, r *http.Request, a *App) {
	in := a.byID(r.PathValue("id"))
	if in == nil {
		apiError(w, http.StatusNotFound, "Not Found")
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, in.json())
}

func (g *GitHub) findInstallation(w http.ResponseWriter, r *http.Request, a *App) {
	repo := r.PathValue("repo")
	for _, in := range a.in {
		if strings.EqualFold(in.Owner, r.PathValue("owner")) && (repo == "" || len(in.repos) == 0 || slices.Contains(in.repos, repo)) {
			fakecloud.WriteJSON(w, http.StatusOK, in.json())
			return
		}
	}
	apiError(w, http.StatusNotFound, "Not Found")
}

// maxRepositories is how many names a token may be narrowed to.
const maxRepositories = 500

// askedFor is the body of a request for a token.
type askedFor struct {
	Repositories []string          `json:"repositories"`
	Permissions  map[string]string `json:"permissions"`
}

func (g *GitHub) makeToken(w http.ResponseWriter, r *http.Request, a *App) {
	in := a.byID(r.PathValue("id"))
	var ask askedFor
	b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	switch {
	case in == nil:
		apiError(w, http.StatusNotFound, "Not Found")
		return
	case in.suspended:
		apiError(w, http.StatusForbidden, "This installation has been suspended")
		return
	case len(b) > 0 && json.Unmarshal(b, &ask) != nil:
		apiError(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	level, repos, wrong := g.narrow(in, ask)
	if wrong != "" {
		apiError(w, http.StatusUnprocessableEntity, wrong)
		return
	}
	g.counts.Installation++
	t := g.keep(&Token{
		Secret: g.installationText(a.ID, r.Header.Get("X-GitHub-Stateless-S2S-Token")), kind: installation, in: in, level: level, repos: repos,
		expires: g.Cloud.Now().Add(g.options.InstallationLife).Truncate(time.Second),
	})
	permissions := map[string]string{"metadata": "read"}
	if level > None {
		permissions["packages"] = level.String()
	}
	answer := map[string]any{
		"token": t.Secret, "expires_at": t.expires.UTC().Format(time.RFC3339), "permissions": permissions, "repository_selection": "all",
	}
	if len(repos) > 0 {
		answer["repository_selection"] = "selected"
	}
	fakecloud.WriteJSON(w, http.StatusCreated, answer)
}

// narrow is what a token of the installation gets; or what is wrong. A token has
// the permissions that were asked for, and no others.
func (g *GitHub) narrow(in *Installation, ask askedFor) (level Level, repos []string, wrong string) {
	level, repos = in.level, in.repos
	if len(ask.Permissions) > 0 {
		level = None
	}
	for name, l := range ask.Permissions {
		switch {
		case name == "packages" && l == "read" && in.level >= Read:
			level = Read
		case name == "packages" && l == "write" && in.level >= Write:
			level = Write
		case name == "metadata" && l == "read":
		default:
			return 0, nil, "The permissions requested are not granted to this installation."
		}
	}
	if len(ask.Repositories) > maxRepositories {
		return 0, nil, "Too many repositories"
	}
	for _, name := range ask.Repositories { // without the owner
		if len(in.repos) > 0 && !slices.Contains(in.repos, name) || strings.Contains(name, "/") || g.packages[in.Owner+"/"+name] == nil && len(in.repos) == 0 {
			return 0, nil, "There is at least one repository that does not exist or is not accessible to the parent installation."
		}
		repos = ask.Repositories
	}
	return level, repos, ""
}

func (g *GitHub) dropToken(w http.ResponseWriter, _ *http.Request, t *Token) {
	if t.kind != installation && t.kind != actions {
		apiError(w, http.StatusForbidden, "Resource not accessible by personal access token")
		return
	}
	t.revoked = true
	g.counts.Revoked++
	w.WriteHeader(http.StatusNoContent)
}

// Minted is an installation token, as a test looks at it.
type Minted struct {
	Secret       string
	Packages     Level
	Repositories []string
	Revoked      bool
}

// Installations lists the installation tokens that were made.
func (g *GitHub) Installations() []Minted {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Minted
	for _, t := range g.tokens {
		if t.kind == installation {
			out = append(out, Minted{t.Secret, t.level, slices.Clone(t.repos), t.revoked})
		}
	}
	return out
}
