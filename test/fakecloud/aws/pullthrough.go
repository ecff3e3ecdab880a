// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

// pullThrough brings what a pull through a cache asks for into the repository,
// which it makes if it is new. done: the request is answered.
func (a *AWS) pullThrough(w http.ResponseWriter, r *http.Request, key *accessKey, k repoKey, repo *Repository) (_ *Repository, done bool) {
	ref, isManifest := strings.CutPrefix(r.URL.Path, "/v2/"+k.name+"/manifests/")
	if !isManifest || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return repo, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rule := a.rule(k)
	if rule == nil || repo != nil && a.ask(repo, http.MethodHead, "/manifests/"+ref).Code == http.StatusOK {
		return repo, false
	}
	need := []string{"BatchImportUpstreamImage"}
	if repo == nil {
		need = append(need, "CreateRepository")
	}
	if text := a.permitted(key, endpoint{}, k, repo, need); text != "" {
		registryError(w, http.StatusForbidden, "DENIED", text)
		return nil, true
	}
	name := strings.TrimPrefix(k.name, rule.prefix)
	if res := upstream(rule.upstream, name, "/manifests/"+ref, r.Header); res.Code != http.StatusOK {
		return repo, false
	}
	repo = a.create(k)
	a.bring(repo, rule.upstream, name, ref)
	a.done = append(a.done, fakecloud.Done{Host: hostOf(r), Who: key.name(), Op: fakecloud.Op{Repository: k.name, Action: "import"}})
	return repo, false
}

// rule is the cache that a repository is below. The lock is held.
func (a *AWS) rule(k repoKey) *cacheRule {
	for _, c := range a.caches {
		if c.registry == (repoKey{k.partition, k.account, k.region, ""}) && strings.HasPrefix(k.name, c.prefix) {
			return c
		}
	}
	return nil
}

func upstream(h http.Handler, name, path string, header http.Header) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v2/"+name+path, nil)
	r.Header["Accept"] = header["Accept"]
	h.ServeHTTP(w, r)
	return w
}

// bring copies a manifest and all it names. The lock is held.
func (a *AWS) bring(repo *Repository, from http.Handler, name, ref string) {
	res := upstream(from, name, "/manifests/"+ref, http.Header{"Accept": {"*/*"}})
	type described struct{ Digest string }
	var m struct {
		Config            described
		Layers, Manifests []described
	}
	if res.Code != http.StatusOK || json.Unmarshal(res.Body.Bytes(), &m) != nil {
		return
	}
	for _, d := range m.Manifests {
		a.bring(repo, from, name, d.Digest)
	}
	for _, d := range append(m.Layers, m.Config) {
		if d.Digest != "" {
			b := upstream(from, name, "/blobs/"+d.Digest, nil)
			a.put(repo, http.MethodPost, "/blobs/uploads/?digest="+url.QueryEscape(d.Digest), "application/octet-stream", b.Body.Bytes())
		}
	}
	a.put(repo, http.MethodPut, "/manifests/"+ref, res.Header().Get("Content-Type"), res.Body.Bytes())
}

func (a *AWS) put(repo *Repository, method, path, kind string, body []byte) {
	r := httptest.NewRequest(method, "/v2/"+repo.key.name+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	a.store(repo.key).ServeHTTP(httptest.NewRecorder(), r)
}
