// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"

	"github.com/regmint/regmint/test/fakecloud"
)

// v1 is one request to a registry's own API that was let through for who.
type v1 struct {
	az   *Azure
	reg  *Registry
	host string
	repo string
	who  string
}

// inner asks the store behind the registry.
func (v v1) inner(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "https://"+v.reg.Host+path, nil)
	v.az.Images.Serve(w, r, v.who)
	return w
}

// byTag maps the repository's tags to digests.
func (v v1) byTag() map[string]string {
	out := map[string]string{}
	var body struct {
		Tags []string `json:"tags"`
	}
	if w := v.inner(http.MethodGet, "/v2/"+v.repo+"/tags/list"); w.Code == http.StatusOK {
		_ = json.Unmarshal(w.Body.Bytes(), &body)
	}
	for _, t := range body.Tags {
		if w := v.inner(http.MethodHead, "/v2/"+v.repo+"/manifests/"+t); w.Code == http.StatusOK {
			out[t] = w.Header().Get("Docker-Content-Digest")
		}
	}
	return out
}

// page cuts a sorted list by n and last and answers the link to the next page.
func page(w http.ResponseWriter, r *http.Request, all []string) []string {
	q := r.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(all, last)
		if found {
			i++
		}
		all = all[i:]
	}
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n <= 0 {
		n = 100
	}
	if len(all) <= n {
		return all
	}
	next := url.Values{"last": {all[n-1]}, "n": {strconv.Itoa(n)}, "orderby": {""}}
	w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), next.Encode()))
	return all[:n]
}

func (v v1) catalog(w http.ResponseWriter, r *http.Request) {
	all := append([]string{}, v.reg.repositories()...)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"repositories": page(w, r, all)})
}

func changeable() map[string]bool {
	return map[string]bool{"deleteEnabled": true, "writeEnabled": true, "readEnabled": true, "listEnabled": true}
}

func (v v1) now() string { return v.az.Cloud.Now().UTC().Format("2006-01-02T15:04:05.0000000Z") }

func (v v1) tag(name, digest string) map[string]any {
	return map[string]any{
		"name": name, "digest": digest, "createdTime": v.now(), "lastUpdateTime": v.now(), "signed": false,
		"changeableAttributes": changeable(),
	}
}

func (v v1) unknown(w http.ResponseWriter) {
	acrFail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", map[string]string{"name": v.repo})
}

func (v v1) known(w http.ResponseWriter) bool {
	if len(v.reg.digests(v.repo)) == 0 {
		v.unknown(w)
		return false
	}
	return true
}

func (v v1) properties(w http.ResponseWriter) {
	if !v.known(w) {
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"registry": v.host, "imageName": v.repo, "createdTime": v.now(), "lastUpdateTime": v.now(),
		"manifestCount": len(v.reg.digests(v.repo)), "tagCount": len(v.byTag()), "changeableAttributes": changeable(),
	})
}

func (v v1) tags(w http.ResponseWriter, name string) {
	if !v.known(w) {
		return
	}
	all := v.byTag()
	if name != "" {
		if all[name] == "" {
			v.noTag(w, name)
			return
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "tag": v.tag(name, all[name])})
		return
	}
	list := []any{}
	for _, t := range slices.Sorted(maps.Keys(all)) {
		list = append(list, v.tag(t, all[t]))
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "tags": list})
}

func (v v1) noTag(w http.ResponseWriter, name string) {
	acrFail(w, http.StatusNotFound, "TAG_UNKNOWN", "the specified tag does not exist", map[string]string{"name": name})
}

func (v v1) manifests(w http.ResponseWriter, digest string) {
	if !v.known(w) {
		return
	}
	all := v.byTag()
	list := []any{}
	for _, d := range v.reg.digests(v.repo) {
		if digest != "" && d != digest {
			continue
		}
		tags := []string{}
		for _, t := range slices.Sorted(maps.Keys(all)) {
			if all[t] == d {
				tags = append(tags, t)
			}
		}
		list = append(list, map[string]any{
			"digest": d, "createdTime": v.now(), "lastUpdateTime": v.now(), "tags": tags,
			"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "changeableAttributes": changeable(),
		})
	}
	switch {
	case digest != "" && len(list) == 0:
		acrFail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest tagged by "+strconv.Quote(digest)+" is not found", nil)
	case digest != "":
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "manifest": list[0]})
	default:
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "manifests": list})
	}
}

// deleteTag removes a tag; its manifest stays.
func (v v1) deleteTag(w http.ResponseWriter, name string) {
	if !v.known(w) {
		return
	}
	if v.byTag()[name] == "" {
		v.noTag(w, name)
		return
	}
	v.inner(http.MethodDelete, "/v2/"+v.repo+"/manifests/"+name)
	w.WriteHeader(http.StatusAccepted)
}

func (v v1) deleteRepository(w http.ResponseWriter) {
	if !v.known(w) {
		return
	}
	tags, manifests := slices.Sorted(maps.Keys(v.byTag())), v.reg.digests(v.repo)
	for _, x := range append(slices.Clone(tags), manifests...) {
		v.inner(http.MethodDelete, "/v2/"+v.repo+"/manifests/"+x)
		v.reg.keep(v.repo, x, false)
	}
	fakecloud.WriteJSON(w, http.StatusAccepted, map[string]any{"manifestsDeleted": manifests, "tagsDeleted": append([]string{}, tags...)})
}

// untagAll removes the tags of a manifest that is about to be deleted.
func (a *Azure) untagAll(reg *Registry, who, repo, digest string) {
	v := v1{az: a, reg: reg, repo: repo, who: who}
	for t, d := range v.byTag() {
		if d == digest {
			v.inner(http.MethodDelete, "/v2/"+repo+"/manifests/"+t)
		}
	}
}
