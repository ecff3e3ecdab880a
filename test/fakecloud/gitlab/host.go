// SPDX-License-Identifier: Apache-2.0

package gitlab

import "net/http"

func (g *GitLab) serveHost(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func (g *GitLab) serveRegistry(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
