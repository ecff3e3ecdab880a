// SPDX-License-Identifier: Apache-2.0

package aws

import "net/http"

func (a *AWS) oidc(w http.ResponseWriter, _ *http.Request, _ endpoint)   { w.WriteHeader(503) }
func (a *AWS) portal(w http.ResponseWriter, _ *http.Request, _ endpoint) { w.WriteHeader(503) }
func (m *Instance) ServeHTTP(w http.ResponseWriter, _ *http.Request)     { w.WriteHeader(503) }
func (e *Container) ServeHTTP(w http.ResponseWriter, _ *http.Request)    { w.WriteHeader(503) }
