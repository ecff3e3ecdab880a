// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// SetBackend puts a real registry behind /v2/: requests go there unchecked, and
// it must trust /token (TokenURL, CertBundle or JWKS). Clients then see one
// host and port, which ggcr and oras ask of a realm on loopback.
func (s *Server) SetBackend(base string) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	if u.Host == "" {
		return errors.New("the backend is no URL")
	}
	s.backend.Store(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(u)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		ErrorLog:  s.log,
		Transport: &http.Transport{DisableCompression: true},
	})
	return nil
}

// serveRegistry checks the login and mends what pkg/registry leaves out.
func (s *Server) serveRegistry(w http.ResponseWriter, r *http.Request, c *call) {
	if p := s.backend.Load(); p != nil {
		p.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	rt := &c.route
	if rt.kind == "" && strings.Trim(r.URL.Path, "/") != "v2" {
		writeError(w, http.StatusNotFound, "UNSUPPORTED", "the operation is unsupported", nil)
		return
	}
	if rt.repository != "" && !validName.MatchString(rt.repository) {
		writeError(w, http.StatusBadRequest, "NAME_INVALID", "invalid repository name", nil)
		return
	}
	if !s.authorize(w, r, c) {
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), repositoryKey{}, rt.repository))
	switch {
	case rt.kind == "":
		writeJSON(w, http.StatusOK, struct{}{})
	case rt.kind == "_catalog":
		s.catalog(w, r)
	case rt.mount != "" && s.store.mount(rt.mount, rt.from, rt.repository):
		w.Header().Set("Location", "/v2/"+rt.repository+"/blobs/"+rt.mount)
		w.Header().Set("Docker-Content-Digest", rt.mount)
		w.WriteHeader(http.StatusCreated)
	case rt.kind == "uploads" && r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case rt.kind == "manifests" && r.Method == http.MethodDelete:
		s.deleteManifest(w, r, rt)
	default:
		if rt.kind == "tags" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		s.inner.ServeHTTP(w, r)
	}
}

// internal asks pkg/registry without a client.
func (s *Server) internal(method, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	s.inner.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec
}

// deleteManifest removes, with a digest, the tags that point at it too.
func (s *Server) deleteManifest(w http.ResponseWriter, r *http.Request, rt *route) {
	base := "/v2/" + rt.repository
	var tags struct{ Tags []string }
	if strings.Contains(rt.ref, ":") {
		_ = json.Unmarshal(s.internal(http.MethodGet, base+"/tags/list").Body.Bytes(), &tags)
	}
	for _, tag := range tags.Tags {
		if s.internal(http.MethodHead, base+"/manifests/"+tag).Header().Get("Docker-Content-Digest") == rt.ref {
			s.internal(http.MethodDelete, base+"/manifests/"+tag)
		}
	}
	s.inner.ServeHTTP(w, r)
}

// catalog sorts and pages; pkg/registry does neither.
func (s *Server) catalog(w http.ResponseWriter, r *http.Request) {
	list := struct {
		Repositories []string `json:"repositories"`
	}{}
	_ = json.Unmarshal(s.internal(http.MethodGet, "/v2/_catalog").Body.Bytes(), &list)
	slices.Sort(list.Repositories)
	last := r.URL.Query().Get("last")
	out := slices.DeleteFunc(list.Repositories, func(n string) bool { return n <= last && last != "" })
	if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil && n > 0 && n < len(out) {
		out = out[:n]
		q := url.Values{"n": {strconv.Itoa(n)}, "last": {out[n-1]}}
		w.Header().Set("Link", "</v2/_catalog?"+q.Encode()+`>; rel="next"`)
	}
	if out == nil {
		out = []string{}
	}
	list.Repositories = out
	writeJSON(w, http.StatusOK, list)
}

// repositoryKey carries the repository to the blob store, since pkg/registry
// names it differently for each method.
type repositoryKey struct{}

func repositoryOf(ctx context.Context) string {
	name, _ := ctx.Value(repositoryKey{}).(string)
	return name
}

// blobStore keeps blobs once and knows which repository has which: a blob of
// another repository is unknown until it is mounted.
type blobStore struct {
	mu    sync.Mutex
	data  map[v1.Hash][]byte
	repos map[string]map[v1.Hash]bool
}

func newBlobStore() *blobStore {
	return &blobStore{data: map[v1.Hash][]byte{}, repos: map[string]map[v1.Hash]bool{}}
}

type blobReader struct{ *bytes.Reader }

func (blobReader) Close() error { return nil }

func (b *blobStore) find(ctx context.Context, h v1.Hash) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.repos[repositoryOf(ctx)][h] {
		return nil, registry.ErrNotFound
	}
	return b.data[h], nil
}

// Get implements registry.BlobHandler.
func (b *blobStore) Get(ctx context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	data, err := b.find(ctx, h)
	if err != nil {
		return nil, err
	}
	return blobReader{bytes.NewReader(data)}, nil
}

// Stat implements registry.BlobStatHandler.
func (b *blobStore) Stat(ctx context.Context, _ string, h v1.Hash) (int64, error) {
	data, err := b.find(ctx, h)
	return int64(len(data)), err
}

// Put implements registry.BlobPutHandler; the reader verifies the digest.
func (b *blobStore) Put(ctx context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	data, err := io.ReadAll(rc)
	if err = errors.Join(err, rc.Close()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[h] = data
	b.link(repositoryOf(ctx), h)
	return nil
}

// Delete implements registry.BlobDeleteHandler.
func (b *blobStore) Delete(ctx context.Context, _ string, h v1.Hash) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := repositoryOf(ctx)
	if !b.repos[name][h] {
		return registry.ErrNotFound
	}
	delete(b.repos[name], h)
	return nil
}

func (b *blobStore) link(repository string, h v1.Hash) {
	if b.repos[repository] == nil {
		b.repos[repository] = map[v1.Hash]bool{}
	}
	b.repos[repository][h] = true
}

// mount links a blob of one repository into another.
func (b *blobStore) mount(digest, from, to string) bool {
	h, err := v1.NewHash(digest)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.repos[from][h] {
		return false
	}
	b.link(to, h)
	return true
}
