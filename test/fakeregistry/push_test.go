// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// start runs a server for the test.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client trusts the server's CA and knows no proxy.
func client(s *Server) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

// as are ggcr's options for a login; "" = anonymous. ggcr does not retry.
func as(t testing.TB, s *Server, user, password string) []remote.Option {
	t.Helper()
	auth := authn.Anonymous
	if user != "" {
		auth = &authn.Basic{Username: user, Password: password}
	}
	return []remote.Option{
		remote.WithAuth(auth), remote.WithTransport(client(s).Transport), remote.WithContext(t.Context()),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes(),
	}
}

func ref(t testing.TB, s *Server, repository string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func image(t testing.TB) v1.Image {
	t.Helper()
	img, err := random.Image(2048, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digest(t testing.TB, img partial.WithRawManifest) v1.Hash {
	t.Helper()
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// status is what the registry answered to a call of ggcr's.
func status(err error) int {
	if te, ok := errors.AsType[*transport.Error](err); ok {
		return te.StatusCode
	}
	return 0
}

// everyMode runs f against both modes, over http and https.
func everyMode(t *testing.T, o Options, f func(t *testing.T, s *Server)) {
	for _, mode := range []Mode{Basic, Token} {
		for _, https := range []bool{false, true} {
			o.Mode, o.TLS = mode, https
			t.Run(fmt.Sprintf("mode=%d/tls=%v", mode, https), func(t *testing.T) { f(t, start(t, o)) })
		}
	}
}

func TestImageGoesInAndComesOut(t *testing.T) {
	everyMode(t, Options{Users: []User{{Name: "alice", Password: "pw"}}}, func(t *testing.T, s *Server) {
		img, opts := image(t), as(t, s, "alice", "pw")
		tag := ref(t, s, "team/deep/app:v1")
		if err := remote.Write(tag, img, opts...); err != nil {
			t.Fatal(err)
		}
		got, err := remote.Image(tag, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if digest(t, got) != digest(t, img) {
			t.Error("another image came out")
		}
		layers, err := got.Layers()
		if err != nil || len(layers) != 2 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		for _, l := range layers {
			rc, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := new(bytes.Buffer).ReadFrom(rc); err != nil { // verifies the digest
				t.Error(err)
			}
			_ = rc.Close()
		}
		if d, err := remote.Head(tag, opts...); err != nil || d.Digest != digest(t, img) {
			t.Errorf("HEAD: %v, %v", d, err)
		}
		if err := remote.Tag(tag.Context().Tag("v2"), img, opts...); err != nil {
			t.Error(err)
		}
		if tags, err := remote.List(tag.Context(), opts...); err != nil || !slices.Equal(tags, []string{"v1", "v2"}) {
			t.Errorf("tags %q, %v", tags, err)
		}
		if err := remote.Write(ref(t, s, "another/app:v1"), img, opts...); err != nil {
			t.Error(err)
		}
		if repos, err := remote.Catalog(t.Context(), tag.Context().Registry, opts...); err != nil || !slices.Equal(repos, []string{"another/app", "team/deep/app"}) {
			t.Errorf("catalog %q, %v", repos, err)
		}
		if err := remote.Delete(tag.Context().Digest(digest(t, img).String()), opts...); err != nil {
			t.Error(err)
		}
		if tags, err := remote.List(tag.Context(), opts...); err != nil || len(tags) != 0 {
			t.Errorf("tags of a deleted digest: %q, %v", tags, err)
		}
		st := s.Stats()
		for action, want := range map[string]string{"pull": "[alice]", "push": "[alice]", "delete": "[alice]"} {
			if got := fmt.Sprint(st.Who("team/deep/app", action)); got != want {
				t.Errorf("%s by %s", action, got)
			}
		}
		if st.AuthFailures["alice"] != 0 || st.Denied["alice"] != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestCatalogIsPaged(t *testing.T) {
	s := start(t, Options{Users: []User{{Name: "alice", Password: "pw"}, {Name: "bob", Password: "pw", Grants: []Grant{{"team/*", []string{"pull"}}}}}})
	opts := as(t, s, "alice", "pw")
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("r%d", i))
		if err := remote.Write(ref(t, s, want[i]), image(t), opts...); err != nil {
			t.Fatal(err)
		}
	}
	reg := ref(t, s, "x").Context().Registry
	got, err := remote.Catalog(t.Context(), reg, append(opts, remote.WithPageSize(3))...)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if n := s.Stats().Count("/v2/_catalog", "alice"); n != 3 {
		t.Errorf("%d pages", n)
	}
	if _, err := remote.Catalog(t.Context(), reg, as(t, s, "bob", "pw")...); status(err) != http.StatusForbidden {
		t.Errorf("a user with some repositories lists all: %v", err)
	}
}

func TestLayerIsMountedOnlyByWhoMayReadItsSource(t *testing.T) {
	users := []User{
		{Name: "both", Password: "pw"},
		{Name: "blind", Password: "pw", Grants: []Grant{{"to/*", []string{"pull", "push"}}}},
	}
	everyMode(t, Options{Users: users}, func(t *testing.T, s *Server) {
		img := image(t)
		if err := remote.Write(ref(t, s, "from/app"), img, as(t, s, "both", "pw")...); err != nil {
			t.Fatal(err)
		}
		mountable, err := remote.Image(ref(t, s, "from/app"), as(t, s, "both", "pw")...)
		if err != nil {
			t.Fatal(err)
		}
		s.ResetStats()
		if err := remote.Write(ref(t, s, "to/mounted"), mountable, as(t, s, "both", "pw")...); err != nil {
			t.Fatal(err)
		}
		// Two layers and a configuration; only the latter is uploaded.
		uses := s.Stats().Uses
		if n := uses[Use{"from/app", "both", "pull"}]; n != 0 {
			t.Errorf("layers were read %d times", n)
		}
		got, err := remote.Image(ref(t, s, "to/mounted"), as(t, s, "both", "pw")...)
		if err != nil {
			t.Fatal(err)
		}
		layers, _ := got.Layers()
		if rc, err := layers[0].Compressed(); err != nil {
			t.Errorf("the mounted layer is missing: %v", err)
		} else {
			_ = rc.Close()
		}
		layerDigest, _ := layers[0].Digest()
		resp := raw(t, s, "blind", "pw", http.MethodHead, "/v2/to/other/blobs/"+layerDigest.String(), "")
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("a blob of another repository: %d", resp.StatusCode)
		}
		mount := "/v2/to/other/blobs/uploads/?mount=" + layerDigest.String() + "&from=from/app"
		resp = raw(t, s, "blind", "pw", http.MethodPost, mount, "")
		if s.opt.Mode == Basic && resp.StatusCode != http.StatusAccepted {
			t.Errorf("mount without a right: %d", resp.StatusCode)
		}
		if s.opt.Mode == Token && (resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "insufficient_scope")) {
			t.Errorf("mount without a right: %d %s", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
		if resp := raw(t, s, "both", "pw", http.MethodPost, mount, ""); resp.StatusCode != http.StatusCreated || resp.Header.Get("Docker-Content-Digest") != layerDigest.String() {
			t.Errorf("mount: %d %v", resp.StatusCode, resp.Header)
		}
	})
}

// TestUploadInChunks follows docker's and containerd's order of requests.
func TestUploadInChunks(t *testing.T) {
	everyMode(t, Options{Users: []User{{Name: "alice", Password: "pw"}}}, func(t *testing.T, s *Server) {
		h, _, _ := v1.SHA256(strings.NewReader("hello world"))
		resp := raw(t, s, "alice", "pw", http.MethodPost, "/v2/a/b/blobs/uploads/", "")
		if resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp.Status)
		}
		for i, chunk := range []string{"hello ", "world"} {
			req := request(t, s, "alice", "pw", http.MethodPatch, resp.Header.Get("Location"), chunk)
			req.Header.Set("Content-Type", "application/octet-stream")
			req.Header.Set("Content-Range", []string{"0-5", "6-10"}[i])
			resp = do(t, s, req)
			if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Range") != []string{"0-5", "0-10"}[i] {
				t.Fatal(resp.Status, resp.Header)
			}
		}
		resp = raw(t, s, "alice", "pw", http.MethodPut, resp.Header.Get("Location")+"?digest="+h.String(), "")
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Docker-Content-Digest") != h.String() {
			t.Fatal(resp.Status, resp.Header)
		}
		if resp := raw(t, s, "alice", "pw", http.MethodGet, "/v2/a/b/blobs/"+h.String(), ""); resp.StatusCode != http.StatusOK || resp.Body != "hello world" {
			t.Error(resp.Status)
		}
		if resp := raw(t, s, "alice", "pw", http.MethodPut, "/v2/a/b/blobs/uploads/1?digest="+h.String(), "other bytes"); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("wrong digest: %s", resp.Status)
		}
		if resp := raw(t, s, "alice", "pw", http.MethodDelete, "/v2/a/b/blobs/uploads/1", ""); resp.StatusCode != http.StatusNoContent {
			t.Errorf("cancel: %s", resp.Status)
		}
	})
}

func TestManyUsersAtOnceAreToldApart(t *testing.T) {
	const n = 16
	var users []User
	for i := range n {
		repo := fmt.Sprintf("job%d/*", i)
		users = append(users, User{Name: fmt.Sprintf("u%d", i), Password: newSecret("t"), Grants: []Grant{{repo, []string{"pull", "push"}}}})
	}
	for _, mode := range []Mode{Basic, Token} {
		s := start(t, Options{Mode: mode, Users: users})
		var wg sync.WaitGroup
		for i, u := range users {
			wg.Go(func() {
				if err := remote.Write(ref(t, s, fmt.Sprintf("job%d/app", i)), image(t), as(t, s, u.Name, u.Password)...); err != nil {
					t.Error(err)
				}
				err := remote.Write(ref(t, s, fmt.Sprintf("job%d/app", (i+1)%n)), image(t), as(t, s, u.Name, u.Password)...)
				if status(err) != http.StatusForbidden && status(err) != http.StatusUnauthorized {
					t.Errorf("push to another's repository: %v", err)
				}
			})
		}
		wg.Wait()
		st := s.Stats()
		for i := range n {
			if got := st.Who(fmt.Sprintf("job%d/app", i), "push"); !slices.Equal(got, []string{fmt.Sprintf("u%d", i)}) {
				t.Errorf("job%d was pushed by %q", i, got)
			}
		}
	}
}

func TestCloseEndsAHangingRequest(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(Fault{Hang: true})
	failed := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/v2/", nil)
		resp, err := client(s).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	for s.Stats().Faults == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil || ctx.Err() != nil {
		t.Errorf("%v", err)
	}
}
