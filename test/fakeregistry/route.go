// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// access is one thing a request needs, as in a scope and in a token's claims.
type access struct {
	Type, Name, Action string
}

// route is a request to /v2/, understood.
type route struct {
	kind       string // "", "_catalog", "manifests", "blobs", "uploads", "tags", "referrers"
	repository string
	ref        string // digest, tag or upload id
	action     string // what success is booked as
	needs      []access
	mount      string // digest to mount
	from       string // repository to mount from
}

// validName is the grammar of a repository in the OCI distribution
// specification.
var validName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// parseRoute reports false for what is not below /v2/. Endpoints are told from
// the end, since a repository may have any depth.
func parseRoute(r *http.Request) (route, bool) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v2")
	if !ok || path != "" && path[0] != '/' {
		return route{}, false
	}
	elem := strings.Split(strings.Trim(path, "/"), "/")
	n := len(elem)
	var rt route
	switch {
	case n == 1 && elem[0] == "_catalog":
		return route{kind: "_catalog", needs: []access{{"registry", "catalog", "*"}}}, true
	case n >= 4 && elem[n-3] == "blobs" && elem[n-2] == "uploads":
		rt = route{kind: "uploads", repository: strings.Join(elem[:n-3], "/"), ref: elem[n-1]}
	case n >= 3 && elem[n-2] == "blobs" && elem[n-1] == "uploads":
		rt = route{kind: "uploads", repository: strings.Join(elem[:n-2], "/")}
	case n >= 3 && slices.Contains([]string{"manifests", "blobs", "tags", "referrers"}, elem[n-2]):
		rt = route{kind: elem[n-2], repository: strings.Join(elem[:n-2], "/"), ref: elem[n-1]}
	default:
		return route{}, true
	}
	rt.need(r)
	return rt, true
}

// need follows the distribution registry: writing needs pull and push, a mount
// needs pull on its source.
func (rt *route) need(r *http.Request) {
	add := func(name string, actions ...string) {
		for _, a := range actions {
			rt.needs = append(rt.needs, access{"repository", name, a})
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		rt.action = "pull"
		add(rt.repository, "pull")
	case http.MethodDelete:
		rt.action = "delete"
		if rt.kind == "uploads" {
			rt.action = "push"
		}
		add(rt.repository, rt.action)
	default:
		rt.action = "push"
		add(rt.repository, "pull", "push")
	}
	q := r.URL.Query()
	if rt.kind == "uploads" && rt.ref == "" && r.Method == http.MethodPost && q.Get("mount") != "" && q.Get("from") != "" {
		rt.mount, rt.from = q.Get("mount"), q.Get("from")
		add(rt.from, "pull")
	}
}

// counted is the path without what differs from request to request.
func (rt *route) counted() string {
	switch rt.kind {
	case "":
		return "/v2/"
	case "_catalog":
		return "/v2/_catalog"
	case "uploads":
		return "/v2/" + rt.repository + "/blobs/uploads"
	}
	return "/v2/" + rt.repository + "/" + rt.kind
}
