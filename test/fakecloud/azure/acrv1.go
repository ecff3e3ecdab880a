// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

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

func (v v1) list(path, key string) []string {
	var body map[string]json.RawMessage
	var out []string
	if w := v.inner(http.MethodGet, path); w.Code == http.StatusOK && json.Unmarshal(w.Body.Bytes(), &body) == nil {
		_ = json.Unmarshal(body[key], &out)
	}
	slices.Sort(out)
	return out
}

// byTag maps the repository's tags to digests.
func (v v1) byTag() map[string]string {
	out := map[string]string{}
	for _, t := range v.list("/v2/"+v.repo+"/tags/list?n=10000", "tags") {
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
	all := v.list("/v2/_catalog?n=10000", "repositories")
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

func (v v1) properties(w http.ResponseWriter) {
	all := v.byTag()
	if len(all) == 0 {
		v.unknown(w)
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"registry": v.host, "imageName": v.repo, "createdTime": v.now(), "lastUpdateTime": v.now(),
		"manifestCount": len(digests(all)), "tagCount": len(all), "changeableAttributes": changeable(),
	})
}

func digests(byTag map[string]string) map[string][]string {
	out := map[string][]string{}
	for t, d := range byTag {
		out[d] = append(out[d], t)
	}
	for _, ts := range out {
		slices.Sort(ts)
	}
	return out
}

func (v v1) tags(w http.ResponseWriter, name string) {
	all := v.byTag()
	if len(all) == 0 {
		v.unknown(w)
		return
	}
	if name != "" {
		if all[name] == "" {
			v.noTag(w, name)
			return
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "tag": v.tag(name, all[name])})
		return
	}
	names := []string{}
	for t := range all {
		names = append(names, t)
	}
	slices.Sort(names)
	list := []any{}
	for _, t := range names {
		list = append(list, v.tag(t, all[t]))
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"registry": v.host, "imageName": v.repo, "tags": list})
}

func (v v1) noTag(w http.ResponseWriter, name string) {
	acrFail(w, http.StatusNotFound, "TAG_UNKNOWN", "the specified tag does not exist", map[string]string{"name": name})
}

func (v v1) manifests(w http.ResponseWriter, digest string) {
	all := digests(v.byTag())
	if len(all) == 0 {
		v.unknown(w)
		return
	}
	list := []any{}
	for d, tags := range all {
		if digest != "" && d != digest {
			continue
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

func (v v1) deleteTag(w http.ResponseWriter, name string) {
	switch {
	case len(v.byTag()) == 0:
		v.unknown(w)
	case name == "" || v.inner(http.MethodDelete, "/v2/"+v.repo+"/manifests/"+name).Code != http.StatusAccepted:
		v.noTag(w, name)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (v v1) deleteRepository(w http.ResponseWriter) {
	all := v.byTag()
	if len(all) == 0 {
		v.unknown(w)
		return
	}
	tags, manifests := []string{}, []string{}
	for d, ts := range digests(all) {
		for _, t := range ts {
			v.inner(http.MethodDelete, "/v2/"+v.repo+"/manifests/"+t)
		}
		v.inner(http.MethodDelete, "/v2/"+v.repo+"/manifests/"+d)
		tags, manifests = append(tags, ts...), append(manifests, d)
	}
	fakecloud.WriteJSON(w, http.StatusAccepted, map[string]any{"manifestsDeleted": manifests, "tagsDeleted": tags})
}

// untagAll removes the tags of a manifest that is about to be deleted.
func (a *Azure) untagAll(reg *Registry, who, repo, digest string) {
	v := v1{az: a, reg: reg, repo: repo, who: who}
	for t, d := range v.byTag() {
		if d == digest && !strings.Contains(t, ":") {
			v.inner(http.MethodDelete, "/v2/"+repo+"/manifests/"+t)
		}
	}
}
