// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// bearerLife is how long bearers of ECR Public live here.
const bearerLife = time.Hour

// servePublic is ECR Public: bearers from /token/, for nobody or for who has an
// authorization token; everybody may pull.
func (a *AWS) servePublic(w http.ResponseWriter, r *http.Request) {
	ep := endpoint{host: hostOf(r), partition: "aws", region: "us-east-1", public: true}
	w.Header().Set("Date", a.c.Now().UTC().Format(http.TimeFormat))
	if r.URL.Path == "/token/" || r.URL.Path == "/token" {
		a.publicBearer(w, r, ep)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if !strings.HasPrefix(r.URL.Path, "/v2/") {
		http.NotFound(w, r)
		return
	}
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	t := a.bearers[value]
	over := t != nil && !a.c.Now().Before(t.expires)
	a.mu.Unlock()
	if !ok || t == nil || over {
		w.Header().Set("Www-Authenticate", `Bearer realm="https://`+ep.host+`/token/",service="public.ecr.aws",scope="aws"`)
		http.Error(w, "Not Authorized", http.StatusUnauthorized)
		return
	}
	a.operate(w, r, ep, t.key)
}

func (a *AWS) publicBearer(w http.ResponseWriter, r *http.Request, ep endpoint) {
	t := &registryToken{place: ep, expires: a.c.Now().Add(bearerLife)}
	if user, password, ok := r.BasicAuth(); ok {
		login := a.publicLogin(w, user, password)
		if login == nil {
			return
		}
		t.key = login.key
		if login.expires.Before(t.expires) {
			t.expires = login.expires
		}
	}
	value := random(400)
	a.mu.Lock()
	a.bearers[value] = t
	a.mu.Unlock()
	fakecloud.WriteJSON(w, http.StatusOK, map[string]string{"token": value})
}

// publicLogin finds an authorization token, or refuses: a stale login spoils
// public pulls.
func (a *AWS) publicLogin(w http.ResponseWriter, user, password string) *registryToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tokens[password]
	now := a.c.Now()
	switch {
	case user != "AWS" || t == nil || !t.place.public:
		http.Error(w, "Not Authorized", http.StatusUnauthorized)
	case t.revoked || !now.Before(t.expires), a.o.TokenEndsWithSession && (t.key.over(now) || t.key.revoked):
		registryError(w, http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	default:
		return t
	}
	return nil
}
