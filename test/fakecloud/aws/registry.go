// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

// serveRegistry is a private registry: Basic with an authorization token, and
// the permissions of who minted it, at every request.
func (a *AWS) serveRegistry(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	ep, ok := a.registryOf(hostOf(r))
	a.mu.Unlock()
	if !ok {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Date", a.c.Now().UTC().Format(http.TimeFormat))
	if !strings.HasPrefix(r.URL.Path, "/v2/") {
		http.NotFound(w, r)
		return
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		challenge(w, ep)
		return
	}
	token := a.token(w, user, password, ep)
	if token == nil {
		return
	}
	a.operate(w, r, ep, token.key)
}

// challenge is what a registry answers without credentials.
func challenge(w http.ResponseWriter, ep endpoint) {
	w.Header().Set("Www-Authenticate", `Basic realm="https://`+ep.classic(ep.account)+`/",service="ecr.amazonaws.com"`)
	http.Error(w, "Not Authorized", http.StatusUnauthorized)
}

// token finds the token of a password, or answers why it is none.
func (a *AWS) token(w http.ResponseWriter, user, password string, ep endpoint) *registryToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tokens[password]
	now := a.c.Now()
	switch {
	case user != "AWS" || t == nil || t.place.partition != ep.partition || t.place.region != ep.region || t.place.public != ep.public:
		challenge(w, ep)
	case t.revoked || !now.Before(t.expires), a.o.TokenEndsWithSession && (t.key.over(now) || t.key.revoked):
		registryError(w, a.o.ExpiredStatus, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	default:
		return t
	}
	return nil
}

// registryError answers in the shape of the distribution API.
func registryError(w http.ResponseWriter, status int, code, message string) {
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

// need is what a request to a registry takes, in IAM's words without the
// service; "" is a method that ECR does not have.
func need(r *http.Request) []string {
	path, get := r.URL.Path, r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case path == "/v2/" && get:
		return []string{}
	case path == "/v2/_catalog" && get:
		return []string{"DescribeRepositories"}
	case strings.HasSuffix(path, "/tags/list") && get:
		return []string{"ListImages"}
	case strings.Contains(path, "/referrers/") && get:
		return []string{"BatchGetImage"}
	case strings.Contains(path, "/manifests/"):
		switch {
		case get:
			return []string{"BatchGetImage"}
		case r.Method == http.MethodPut:
			return []string{"PutImage"}
		}
	case strings.Contains(path, "/blobs/uploads"):
		switch r.Method {
		case http.MethodPost:
			if r.URL.Query().Has("digest") { // everything at once
				return []string{"InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"}
			}
			return []string{"InitiateLayerUpload"}
		case http.MethodPatch, http.MethodGet:
			return []string{"UploadLayerPart"}
		case http.MethodPut:
			return []string{"CompleteLayerUpload"}
		}
	case strings.Contains(path, "/blobs/") && r.Method == http.MethodHead:
		return []string{"BatchCheckLayerAvailability"}
	case strings.Contains(path, "/blobs/") && get:
		return []string{"GetDownloadUrlForLayer"}
	}
	return nil
}

// repoKey is the repository of a path in a registry. The lock is held.
func (a *AWS) repoKey(ep endpoint, path string) (repoKey, bool) {
	if !ep.public {
		return repoKey{ep.partition, ep.account, ep.region, path}, true
	}
	alias, name, _ := strings.Cut(path, "/")
	account, ok := a.aliases[alias]
	return repoKey{partition: "aws", account: account, name: name}, ok && name != ""
}

// operate does what a request asks for, if its caller may.
func (a *AWS) operate(w http.ResponseWriter, r *http.Request, ep endpoint, key *accessKey) {
	actions, op := need(r), fakecloud.OpOf(r)
	if actions == nil {
		registryError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	if op.Repository == "" {
		a.lists(w, r, ep, key, actions)
		return
	}
	a.mu.Lock()
	k, known := a.repoKey(ep, op.Repository)
	repo := a.repos[k]
	text := ""
	if known && !(ep.public && op.Action == "pull") { // everybody may pull from ECR Public
		text = a.permitted(key, ep, k, repo, actions)
	}
	a.mu.Unlock()
	if text != "" {
		registryError(w, http.StatusForbidden, "DENIED", text)
		return
	}
	if !ep.public {
		var done bool
		if repo, done = a.pullThrough(w, r, key, k, repo); done {
			return
		}
	}
	if repo == nil {
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", op.Repository, k.account))
		return
	}
	a.note(fakecloud.Done{Host: hostOf(r), Who: key.name(), Op: op})
	a.perform(w, r, ep, repo)
}

func (k *accessKey) name() string {
	if k == nil {
		return "anonymous"
	}
	return k.caller
}

// permitted asks for every action. The lock is held.
func (a *AWS) permitted(key *accessKey, ep endpoint, k repoKey, repo *Repository, actions []string) string {
	service := "ecr:"
	if ep.public {
		service = "ecr-public:"
	}
	if key == nil {
		return "Not Authorized"
	}
	if ep.public && key.who.account != k.account {
		return "Not Authorized"
	}
	o := owned{account: k.account}
	if repo != nil {
		o.policy = repo.policy
	}
	for _, action := range actions {
		if text := a.permit(key, asked{action: service + action, resource: k.arn()}, o); text != "" {
			return text
		}
	}
	return ""
}

// lists serves /v2/ and the catalog.
func (a *AWS) lists(w http.ResponseWriter, r *http.Request, ep endpoint, key *accessKey, actions []string) {
	if len(actions) == 0 {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		return
	}
	if ep.public {
		registryError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	a.mu.Lock()
	k := repoKey{ep.partition, ep.account, ep.region, "*"}
	text := a.permitted(key, ep, k, nil, actions)
	names := a.names(k)
	a.mu.Unlock()
	if text != "" {
		registryError(w, http.StatusForbidden, "DENIED", text)
		return
	}
	a.note(fakecloud.Done{Host: hostOf(r), Who: key.name(), Op: fakecloud.OpOf(r)})
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"repositories": names})
}

func (a *AWS) note(d fakecloud.Done) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.done, d) {
		a.done = append(a.done, d)
	}
}

// perform hands a request on to the registry behind a repository. Layers of
// private ones come from S3, by a signed address.
func (a *AWS) perform(w http.ResponseWriter, r *http.Request, ep endpoint, repo *Repository) {
	a.mu.Lock()
	store := a.store(repo.key)
	a.mu.Unlock()
	op := fakecloud.OpOf(r)
	in := r.Clone(r.Context())
	in.URL.Path = "/v2/" + repo.key.name + strings.TrimPrefix(r.URL.Path, "/v2/"+op.Repository)
	if r.Method == http.MethodPost { // a layer of another repository is not taken over
		q := in.URL.Query()
		q.Del("mount")
		q.Del("from")
		in.URL.RawQuery = q.Encode()
	}
	digest := in.URL.Path[strings.LastIndex(in.URL.Path, "/")+1:]
	if r.Method == http.MethodGet && !ep.public && strings.Contains(in.URL.Path, "/blobs/sha256:") {
		a.redirect(w, ep, repo, digest)
		return
	}
	out := &located{ResponseWriter: w, from: "/v2/" + repo.key.name + "/", to: "/v2/" + op.Repository + "/"}
	store.ServeHTTP(out, in)
	if r.Method == http.MethodPut && strings.Contains(in.URL.Path, "/manifests/") && w.Header().Get("Docker-Content-Digest") != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		repo.digests = append(repo.digests, w.Header().Get("Docker-Content-Digest"))
	}
}

// located puts the repository's public name into Location.
type located struct {
	http.ResponseWriter
	from, to string
}

func (l *located) WriteHeader(status int) {
	if s := l.Header().Get("Location"); s != "" {
		l.Header().Set("Location", strings.Replace(s, l.from, l.to, 1))
	}
	l.ResponseWriter.WriteHeader(status)
}
