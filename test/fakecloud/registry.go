// SPDX-License-Identifier: Apache-2.0

package fakecloud

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Op is what a request wants of a registry.
type Op struct {
	Repository string // "" for /v2/ and the catalog
	Action     string // pull, push or delete
}

// OpOf reads a request under /v2/.
func OpOf(r *http.Request) Op {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	op := Op{Action: "pull"}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		op.Action = "push"
	case http.MethodDelete:
		op.Action = "delete"
	}
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/list", "/referrers/"} {
		if i := strings.LastIndex(path, part); i > 0 {
			op.Repository = path[:i]
			return op
		}
	}
	return op
}

// Done is an operation that was let through.
type Done struct {
	Host string
	Who  string
	Op
}

// Registry is a registry that a cloud's own authentication stands before: one
// store of images for each host name.
type Registry struct {
	mu    sync.Mutex
	inner map[string]http.Handler
	done  []Done
}

// Serve lets a request through for who.
func (g *Registry) Serve(w http.ResponseWriter, r *http.Request, who string) {
	g.mu.Lock()
	if g.inner == nil {
		g.inner = map[string]http.Handler{}
	}
	h := g.inner[r.Host]
	if h == nil {
		h = registry.New(registry.Logger(quiet))
		g.inner[r.Host] = h
	}
	d := Done{Host: strings.TrimSuffix(r.Host, ":443"), Who: who, Op: OpOf(r)}
	if !slices.Contains(g.done, d) {
		g.done = append(g.done, d)
	}
	g.mu.Unlock()
	h.ServeHTTP(w, r)
}

// Done lists what was let through, each once, in order.
func (g *Registry) Done() []Done {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.done)
}
