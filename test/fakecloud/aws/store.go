// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/google/go-containerregistry/pkg/registry"
)

// image is what a repository holds under a digest.
type image struct {
	digest, kind string
	manifest     []byte
	tags         []string
}

func (i image) is(id imageID) bool {
	return (id.Digest != "" || id.Tag != "") && (id.Digest == "" || id.Digest == i.digest) && (id.Tag == "" || slices.Contains(i.tags, id.Tag))
}

// store is the registry behind a repository, which shares no layers with
// others. The lock is held.
func (a *AWS) store(k repoKey) http.Handler {
	name := k.arn()
	s := a.stores[name]
	if s == nil {
		s = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
		a.stores[name] = s
	}
	return s
}

// ask is a request of the API to the registry behind it.
func (a *AWS) ask(r *Repository, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.store(r.key).ServeHTTP(w, httptest.NewRequest(method, "/v2/"+r.key.name+path, nil))
	return w
}

// images lists what a repository holds. The lock is held.
func (a *AWS) images(r *Repository) []image {
	var list struct{ Tags []string }
	_ = json.Unmarshal(a.ask(r, http.MethodGet, "/tags/list").Body.Bytes(), &list)
	var out []image
	add := func(ref string) {
		w := a.ask(r, http.MethodGet, "/manifests/"+ref)
		if w.Code != http.StatusOK {
			return
		}
		digest := w.Header().Get("Docker-Content-Digest")
		at := slices.IndexFunc(out, func(i image) bool { return i.digest == digest })
		if at < 0 {
			at = len(out)
			out = append(out, image{digest: digest, kind: w.Header().Get("Content-Type"), manifest: w.Body.Bytes(), tags: []string{}})
		}
		if ref != digest {
			out[at].tags = append(out[at].tags, ref)
		}
	}
	for _, tag := range list.Tags {
		add(tag)
	}
	for _, digest := range r.digests {
		add(digest)
	}
	return out
}

func (a *AWS) untag(r *Repository, tag string) {
	a.ask(r, http.MethodDelete, "/manifests/"+tag)
}

func (a *AWS) remove(r *Repository, i image) {
	for _, tag := range i.tags {
		a.untag(r, tag)
	}
	a.ask(r, http.MethodDelete, "/manifests/"+i.digest)
}
