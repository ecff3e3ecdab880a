// SPDX-License-Identifier: Apache-2.0

package google

import "net/http"

// Repository is a repository of images, and who may do what in it.
type Repository struct {
	// Resource is its name in IAM: projects/P/locations/L/repositories/R.
	Resource string
	g        *Google
	readers  map[string]bool
	writers  map[string]bool
	admins   map[string]bool
}

// Repository makes a repository, named as in an image reference:
// "LOCATION-docker.pkg.dev/PROJECT/REPOSITORY" or "gcr.io/PROJECT". The same
// resource gives the same one. Nobody may do anything in it yet.
func (g *Google) Repository(name string) *Repository { return nil }

// Readers gives roles/artifactregistry.reader; "allUsers" makes it public.
func (r *Repository) Readers(members ...string) *Repository { return r }

// Writers gives roles/artifactregistry.writer, which cannot delete.
func (r *Repository) Writers(members ...string) *Repository { return r }

// Admins gives roles/artifactregistry.repoAdmin.
func (r *Repository) Admins(members ...string) *Repository { return r }

func (g *Google) serveRegistry(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
