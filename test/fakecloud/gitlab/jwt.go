// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// Services of /jwt/auth.
const (
	serviceRegistry = "container_registry"
	serviceProxy    = "dependency_proxy"
)

// access is an entry of a token: what may be done with a repository.
type access struct {
	Type    string         `json:"type"`
	Name    string         `json:"name"`
	Actions []string       `json:"actions"`
	Meta    map[string]any `json:"meta,omitempty"`
}

type registryClaims struct {
	jwt.RegisteredClaims
	AuthType string   `json:"auth_type"`
	Access   []access `json:"access"`
	User     string   `json:"user"`
}

// jwtAuth is the token endpoint of the registry and of the Dependency Proxy.
func (g *GitLab) jwtAuth(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	login, pass, given := r.BasicAuth()
	g.mu.Lock()
	if g.banned(login) {
		g.mu.Unlock()
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	c := &caller{kind: byNobody, can: []string{canRead}}
	if given {
		c = g.basic(login, pass)
		g.tried(login, c != nil)
	}
	g.mu.Unlock()
	q := r.URL.Query()
	switch {
	case c == nil:
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "HTTP Basic: Access denied. If a password was provided for Git authentication, "+
			"the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, "+
			"expired, or improperly scoped. See https://"+g.Host()+"/help/user/profile/account/two_factor_authentication_troubleshooting.md"+
			"#error-http-basic-access-denied-if-a-password-was-provided-for-git-authentication-")
	case q.Get("service") == serviceRegistry:
		g.registryToken(w, r, c, q["scope"])
	case q.Get("service") == serviceProxy:
		g.proxyToken(w, r, c)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func registryError(w http.ResponseWriter, status int, code, message string) {
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

// registryToken answers a token with as much of the scopes as c may.
func (g *GitLab) registryToken(w http.ResponseWriter, r *http.Request, c *caller, scopes []string) {
	g.mu.Lock()
	if g.options.NoRegistry {
		g.mu.Unlock()
		registryError(w, http.StatusNotFound, "UNAVAILABLE", "registry not enabled")
		return
	}
	var list []access
	protected := false
	for _, s := range scopes {
		for one := range strings.FieldsSeq(s) {
			if a, ok := g.access(c, one); ok {
				list = append(list, a)
				protected = protected || g.pushProtected(c, a)
			}
		}
	}
	life := g.options.BearerLife
	refused := ""
	switch {
	case !slices.ContainsFunc(c.can, func(a string) bool { return strings.HasSuffix(a, "_container_image") }),
		len(list) == 0 && c.kind == byNobody:
		refused = "access forbidden"
	case protected:
		refused = "Pushing to protected repository path forbidden"
	default:
		g.counts.Bearers++
	}
	g.mu.Unlock()
	if refused != "" {
		registryError(w, http.StatusForbidden, "DENIED", refused)
		return
	}
	g.answer(w, r, Authenticate, http.StatusOK, map[string]string{"token": g.sign(c, serviceRegistry, life, list)})
}

// access is one scope, less what c may not; false: nothing is left. Callers hold mu.
func (g *GitLab) access(c *caller, scope string) (access, bool) {
	kind, rest, _ := strings.Cut(scope, ":")
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return access{}, false
	}
	name, actions := rest[:i], strings.Split(rest[i+1:], ",")
	switch kind {
	case "registry":
		ok := c.user != nil && c.user.admin && name == "catalog" && slices.Equal(actions, []string{"*"})
		return access{Type: kind, Name: name, Actions: actions}, ok
	case "repository":
		p := g.projectOf(name)
		if p == nil || strings.ToLower(name) != name {
			return access{}, false
		}
		actions = slices.DeleteFunc(actions, func(a string) bool { return !g.allowed(c, p, a) })
		if len(actions) == 0 {
			return access{}, false
		}
		if slices.Contains(actions, "push") {
			g.repository(p, name)
		}
		root, _, _ := strings.Cut(p.Path, "/")
		meta := map[string]any{"project_path": strings.ToLower(p.Path), "project_id": p.ID, "root_namespace_id": g.group(root).ID}
		return access{Type: kind, Name: name, Actions: actions, Meta: meta}, true
	}
	return access{}, false
}

// pushProtected: a rule keeps all pushes to a path to those with a role.
func (g *GitLab) pushProtected(c *caller, a access) bool {
	if a.Type != "repository" || !slices.Contains(a.Actions, "push") && !slices.Contains(a.Actions, "*") || c.user != nil && c.user.admin {
		return false
	}
	p := g.projectOf(a.Name)
	return slices.ContainsFunc(p.protected, func(x protection) bool {
		ok, _ := path.Match(x.pattern, a.Name)
		return ok && g.level(c.user, p) < x.least
	})
}

// sign makes a token of the registry, as it is read by readToken.
func (g *GitLab) sign(c *caller, audience string, life time.Duration, list []access) string {
	if list == nil {
		list = []access{}
	}
	info := jwt.MapClaims{"user_info": nil}
	switch {
	case c.user != nil:
		info["user_info"] = map[string]any{"token_type": c.kind, "username": c.user.Username, "user_id": c.user.ID}
	case c.deploy != nil:
		info["user_info"] = map[string]any{"token_type": c.kind, "username": c.deploy.Username, "deploy_token_id": c.deploy.ID}
	}
	now := g.Cloud.Now()
	claims := registryClaims{
		AuthType: c.kind, Access: list, User: g.signed(info),
		RegisteredClaims: jwt.RegisteredClaims{
			ID: hexText()[:36], Issuer: g.issuer, Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-5 * time.Second)), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
	}
	if c.user != nil {
		claims.Subject = c.user.Username
	}
	return g.signed(claims)
}

func (g *GitLab) signed(c jwt.Claims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	t.Header["kid"] = "gitlab-registry-1"
	s, err := t.SignedString(g.key)
	if err != nil {
		panic(err)
	}
	return s
}

// readToken verifies a token as the registry does.
func (g *GitLab) readToken(token string) (registryClaims, error) {
	var c registryClaims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return g.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(g.Cloud.Now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(g.issuer), jwt.WithAudience(serviceRegistry))
	return c, err
}

// Bearer signs a token of the registry without any request, for scopes such as
// "repository:acme/app:pull" as they are: for tests of what the registry
// refuses. life may be negative, audience another than container_registry.
func (g *GitLab) Bearer(u *User, audience string, life time.Duration, scopes ...string) string {
	var list []access
	for _, s := range scopes {
		if part := strings.Split(s, ":"); len(part) == 3 {
			list = append(list, access{Type: part[0], Name: part[1], Actions: strings.Split(part[2], ",")})
		}
	}
	return g.sign(&caller{kind: byToken, user: u}, audience, life, list)
}
