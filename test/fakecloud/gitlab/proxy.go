// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regmint/regmint/test/fakecloud"
)

const hubHost = "registry-1.docker.io"

// proxyClaims are those of the Dependency Proxy's tokens: who asked.
type proxyClaims struct {
	jwt.RegisteredClaims
	UserID int    `json:"user_id,omitempty"`
	Deploy string `json:"deploy_token,omitempty"`
	Access string `json:"personal_access_token,omitempty"`
	Group  string `json:"group_access_token,omitempty"`
}

// Upstream puts a new image of this name into Docker Hub, as the Dependency
// Proxy sees it: "alpine:3.22".
func (g *GitLab) Upstream(image string) error {
	ref, err := name.ParseReference(hubHost + "/" + hubName(image))
	if err != nil {
		return err
	}
	img, err := random.Image(64, 1)
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithTransport(transport(func(r *http.Request) *http.Response {
		w := httptest.NewRecorder()
		g.hub.Serve(w, r, "")
		return w.Result()
	})))
}

type transport func(*http.Request) *http.Response

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.Clone(r.Context())
	q.Host = hubHost
	if q.Body == nil {
		q.Body = http.NoBody
	}
	res := t(q)
	res.Request = r
	return res, nil
}

func hubName(image string) string {
	if strings.Contains(image, "/") {
		return image
	}
	return "library/" + image
}

// Proxied lists what the Dependency Proxy let through, each once, in order;
// repositories are as in the request: acme/dependency_proxy/containers/alpine.
func (g *GitLab) Proxied() []fakecloud.Done {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.proxied)
}

// proxyToken answers a token of the Dependency Proxy. It carries who asked; the
// group is looked at later.
func (g *GitLab) proxyToken(w http.ResponseWriter, r *http.Request, c *caller) {
	g.mu.Lock()
	ok := c.proxies()
	claims := proxyClaims{RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(g.Cloud.Now().Add(g.options.BearerLife))}}
	switch {
	case c.deploy != nil:
		claims.Deploy = c.deploy.Secret
	case c.user != nil:
		claims.UserID = c.user.ID
		if c.token != nil && c.token.Kind == GroupToken {
			claims.Group = c.raw
		} else if c.token != nil {
			claims.Access = c.raw
		}
	}
	if ok {
		g.counts.Bearers++
	}
	g.mu.Unlock()
	if !ok {
		fakecloud.WriteJSON(w, http.StatusForbidden, map[string]any{"message": "access forbidden", "status": "error", "http_status": 403})
		return
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(g.proxyKey)
	if err != nil {
		panic(err)
	}
	g.answer(w, r, Authenticate, http.StatusOK, map[string]string{"token": s})
}

// proxies tells whether c may use the Dependency Proxy of any group.
func (c *caller) proxies() bool {
	both := c.has(canRead) && c.has(canCreate) || c.has(canProxyRead) && c.has(canProxyWrite)
	switch {
	case c.deploy != nil:
		return c.deploy.group != nil && both
	case c.job != nil:
		return true
	case c.token != nil && c.token.Kind == ProjectToken:
		return false
	}
	return c.user != nil && both
}

// serveProxy is the Dependency Proxy on the instance's own name: manifests and
// blobs, and no list of anything.
func (g *GitLab) serveProxy(w http.ResponseWriter, r *http.Request) {
	raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	user, deploy := g.proxyCaller(raw)
	if user == nil && deploy == nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+g.Host()+`/jwt/auth",service="`+serviceProxy+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.URL.Path == "/v2/" {
		w.WriteHeader(http.StatusOK)
		return
	}
	op := fakecloud.OpOf(r)
	group, image, ok := strings.Cut(op.Repository, "/dependency_proxy/containers/")
	who := ""
	g.mu.Lock()
	gr := g.groups[group]
	switch {
	case gr == nil || !ok || op.Action != "pull" || !strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "/blobs/"):
		gr = nil
	case user != nil:
		who = user.Username
		if !user.admin && g.groupLevel(user, group) == 0 && !g.inside(user, group) {
			gr = nil
		}
	default:
		who = deploy.Username
		if !within(group, deploy.group.Path) {
			gr = nil
		}
	}
	if gr != nil {
		d := fakecloud.Done{Host: g.options.Host, Who: who, Op: op}
		if !slices.Contains(g.proxied, d) {
			g.proxied = append(g.proxied, d)
		}
	}
	g.mu.Unlock()
	if gr == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	q := r.Clone(r.Context())
	q.Host = hubHost
	q.URL.Path = "/v2/" + hubName(image) + strings.TrimPrefix(r.URL.Path, "/v2/"+op.Repository)
	g.hub.Serve(w, q, who)
}

// inside tells whether u is a member of something in the group. Callers hold mu.
func (g *GitLab) inside(u *User, group string) bool {
	for _, p := range g.projects {
		if p.members[u] > 0 && within(p.Path, group) {
			return true
		}
	}
	return false
}

// proxyCaller reads a token of the Dependency Proxy; what it was made from has
// to be good still.
func (g *GitLab) proxyCaller(raw string) (*User, *DeployToken) {
	var c proxyClaims
	if raw == "" {
		return nil, nil
	}
	_, err := jwt.ParseWithClaims(raw, &c, func(*jwt.Token) (any, error) { return g.proxyKey, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(g.Cloud.Now), jwt.WithExpirationRequired(), jwt.WithLeeway(time.Second))
	if err != nil {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.Deploy != "" {
		for _, d := range g.deploys {
			if d.Secret == c.Deploy && d.active() {
				return nil, d
			}
		}
		return nil, nil
	}
	if made := c.Access + c.Group; made != "" {
		if t := g.token(made); t == nil || !t.active() {
			return nil, nil
		}
	}
	for _, u := range g.users {
		if u.ID == c.UserID && !u.blocked {
			return u, nil
		}
	}
	return nil, nil
}
