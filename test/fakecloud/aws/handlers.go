// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"time"
)

type registryToken struct{}

type blobLink struct{ until time.Time }

func (a *AWS) sts(w http.ResponseWriter, _ *http.Request, _ endpoint)       { w.WriteHeader(503) }
func (a *AWS) ecr(w http.ResponseWriter, _ *http.Request, _ endpoint)       { w.WriteHeader(503) }
func (a *AWS) ecrPublic(w http.ResponseWriter, _ *http.Request, _ endpoint) { w.WriteHeader(503) }
func (a *AWS) oidc(w http.ResponseWriter, _ *http.Request, _ endpoint)      { w.WriteHeader(503) }
func (a *AWS) portal(w http.ResponseWriter, _ *http.Request, _ endpoint)    { w.WriteHeader(503) }
func (a *AWS) blob(w http.ResponseWriter, _ *http.Request, _ endpoint)      { w.WriteHeader(503) }
func (a *AWS) serveRegistry(w http.ResponseWriter, _ *http.Request)         { w.WriteHeader(503) }
func (a *AWS) servePublic(w http.ResponseWriter, _ *http.Request)           { w.WriteHeader(503) }
func (m *Instance) ServeHTTP(w http.ResponseWriter, _ *http.Request)        { w.WriteHeader(503) }
func (e *Container) ServeHTTP(w http.ResponseWriter, _ *http.Request)       { w.WriteHeader(503) }
func (a *AWS) repoKey(endpoint, string) (repoKey, bool)                     { return repoKey{}, false }
