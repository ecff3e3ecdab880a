// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

// image pushes something to acme/app.
func (w *world) image() {
	w.t.Helper()
	send := func(method, to, auth, body string) string {
		q, err := http.NewRequestWithContext(w.t.Context(), method, "https://ghcr.io"+to, strings.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		if q.Header.Set("Authorization", auth); auth == "" {
			q.SetBasicAuth("jane", w.jane.Classic(fake.WritePackages).Secret)
		}
		res, err := w.c.Client().Do(q)
		if err != nil {
			w.t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode > 299 {
			w.t.Fatalf("%s: %d %s %v", to, res.StatusCode, b, err)
		}
		return string(b)
	}
	var t struct{ Token string }
	if err := json.Unmarshal([]byte(send("GET", "/token?service=ghcr.io&scope=repository:acme/app:pull,push", "", "")), &t); err != nil {
		w.t.Fatal(err)
	}
	send("PUT", "/v2/acme/app/manifests/1", "Bearer "+t.Token, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`)
}

// The bearers of ghcr.io are opaque, and a list of tags proves no push.
func TestACheckOfAPushOpensAnUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.image()
	w.g.Package("acme/app").Link("acme/app", fake.Write)
	for level, want := range map[fake.Level]bool{fake.Read: false, fake.Write: true} {
		job := w.g.Job("acme/app", w.jane, level)
		w.ambient(job.Env()...)
		s := w.open(&github.Options{}, "")
		c := w.mint(s)
		if err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), c); err != nil {
			t.Errorf("%s pulls: %v", level, err)
		}
		err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=push"), c)
		if want && err != nil {
			t.Errorf("%s pushes: %v", level, err)
		}
		if !want {
			w.refused(err, providers.Denied, "no right to push acme/app", "write_package", "packages: write")
		}
	}
	w.edit = nil
	pat := w.jane.Classic(fake.WritePackages)
	s := w.open(&github.Options{}, pat.Secret)
	if err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/new=push"), w.mint(s)); err != nil {
		t.Errorf("the first push makes the package: %v", err)
	}
	w.c.Inject(fakecloud.Fault{Host: "ghcr.io", Path: "/v2/acme/app/blobs", Status: http.StatusServiceUnavailable})
	err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=push"), w.mint(s))
	w.refused(err, providers.Unavailable, "HTTP 503")
}

// github.repository of a workflow has the owner's spelling.
func TestNamesOfWorkflowsAreAskedForInLowerCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.Package("acme/app")
	s := w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Secret)
	if err := s.(providers.Verifier).Verify(t.Context(), w.request("Acme/App=push"), w.mint(s)); err != nil {
		t.Error(err)
	}
}

func TestDeletingIsAskedOfTheAPIAndNotOfTheRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.image()
	s, _ := w.minter() // whose pulls the registry denies
	if err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=delete"), w.mint(s)); err != nil {
		t.Error(err)
	}
	if i := slices.IndexFunc(w.c.Requests(), func(r fakecloud.Request) bool { return strings.Contains(r.Query, "delete") }); i >= 0 {
		t.Errorf("%+v", w.c.Requests()[i])
	}
	s = w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Secret)
	err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=delete"), w.mint(s))
	w.refused(err, providers.Denied, "no scope delete:packages")
	s = w.open(&github.Options{}, w.jane.Classic(fake.WritePackages, fake.DeletePackages).Secret)
	if err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=delete"), w.mint(s)); err != nil {
		t.Error(err)
	}
}

func TestADeadTokenOfAJobOrAnAppIsNoLackOfRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, _ := w.minter()
	c := w.mint(app)
	if err := app.(providers.Revoker).Revoke(t.Context(), w.request(), c); err != nil {
		t.Fatal(err)
	}
	err := app.(providers.Verifier).Verify(t.Context(), w.request(), c)
	w.refused(err, providers.LoginRequired, "token of the App is not valid any more", "run: regmint refresh ghcr.io")
	job := w.g.Job("acme/app", w.jane, fake.Write)
	w.ambient(job.Env()...)
	s := w.open(&github.Options{}, "")
	c = w.mint(s)
	job.End()
	err = s.(providers.Verifier).Verify(t.Context(), w.request(), c)
	w.refused(err, providers.LoginRequired, "GITHUB_TOKEN is not valid any more", "its job is over")
}
