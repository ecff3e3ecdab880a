// SPDX-License-Identifier: Apache-2.0

package google

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// GoogleIssuer signs the identity tokens of the metadata server.
const GoogleIssuer = "https://accounts.google.com"

// MetadataOptions describe a machine's metadata server.
type MetadataOptions struct {
	// Account is the service account of the machine; nil = none attached.
	Account *ServiceAccount
	// Scopes of the machine; nil = cloud-platform. A machine's tokens carry
	// these whatever is asked for, a GKE workload's carry what is asked for.
	Scopes []string
	// GKE makes it a GKE metadata server.
	GKE bool
	// Life of a new token; 0 = 3599 s.
	Life time.Duration
	// RenewAt is what is left when the server replaces the token it caches;
	// 0 = 4 min. Until then the same token comes back with less life; with a
	// Life that is not above it every request gets a new one.
	RenewAt time.Duration
	// Project of the machine; "" = acme.
	Project string
}

// Metadata is a metadata server. Its requests and faults go by the name
// "metadata".
type Metadata struct {
	URL string // http://127.0.0.1:PORT
	g   *Google

	mu     sync.Mutex
	o      MetadataOptions
	cache  map[string]*token // by account and scopes
	minted int
}

// Metadata serves a machine's metadata until the cloud ends.
func (g *Google) Metadata(o MetadataOptions) *Metadata {
	if o.Scopes == nil {
		o.Scopes = []string{ScopeCloudPlatform}
	}
	if o.Life == 0 {
		o.Life = 3599 * time.Second
	}
	if o.RenewAt == 0 {
		o.RenewAt = 4 * time.Minute
	}
	if o.Project == "" {
		o.Project = "acme"
	}
	g.c.Issuer(GoogleIssuer)
	m := &Metadata{g: g, o: o, cache: map[string]*token{}}
	m.URL = g.c.Plain("metadata", m)
	return m
}

// Host is host:port, as GCE_METADATA_HOST wants it.
func (m *Metadata) Host() string { return strings.TrimPrefix(m.URL, "http://") }

// SetAccount changes the machine's account; nil detaches it.
func (m *Metadata) SetAccount(s *ServiceAccount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o.Account = s
}

// SetLife changes Life and RenewAt and forgets the cached tokens.
func (m *Metadata) SetLife(life, renewAt time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o.Life, m.o.RenewAt = life, renewAt
	clear(m.cache)
}

// Minted counts the tokens made; Cloud.Requests counts those asked for.
func (m *Metadata) Minted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.minted
}

// ServeHTTP is the metadata server.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server := "Metadata Server for VM"
	if m.o.GKE {
		server = "GKE Metadata Server"
	}
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Server", server)
	if r.URL.Path == "/" {
		plain(w, "computeMetadata/\n")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/computeMetadata/v1/")
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "Request is forwarded.", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case path == "project/project-id":
		plain(w, m.o.Project)
	case path == "project/numeric-project-id":
		plain(w, "123456789012")
	case path == "universe/universe-domain", path == "universe/universe_domain":
		plain(w, "googleapis.com")
	case path == "instance/service-accounts/" || strings.HasPrefix(path, "instance/service-accounts/"):
		m.accounts(w, r, strings.TrimPrefix(path, "instance/service-accounts/"))
	default:
		http.NotFound(w, r)
	}
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/text")
	_, _ = fmt.Fprint(w, text)
}

// accounts answers below instance/service-accounts/.
func (m *Metadata) accounts(w http.ResponseWriter, r *http.Request, path string) {
	m.mu.Lock()
	s := m.o.Account
	m.mu.Unlock()
	if path == "" {
		if s != nil {
			plain(w, "default/\n"+s.Email+"/\n")
		}
		return
	}
	name, what, _ := strings.Cut(path, "/")
	if s == nil || name != "default" && name != s.Email {
		http.NotFound(w, r)
		return
	}
	switch what {
	case "", "email":
		plain(w, s.Email)
	case "scopes":
		plain(w, strings.Join(m.o.Scopes, "\n")+"\n")
	case "identity":
		aud := r.URL.Query().Get("audience")
		if aud == "" {
			http.Error(w, "non-empty audience parameter required", http.StatusBadRequest)
			return
		}
		plain(w, m.g.c.Issuer(GoogleIssuer).Sign(numeric(s.Email), aud, map[string]any{"email": s.Email, "email_verified": true, "azp": numeric(s.Email)}))
	case "token":
		m.token(w, r, s)
	default:
		http.NotFound(w, r)
	}
}

// token answers from the cache while more than RenewAt is left.
func (m *Metadata) token(w http.ResponseWriter, r *http.Request, s *ServiceAccount) {
	m.g.mu.Lock()
	disabled := s.disabled
	m.g.mu.Unlock()
	if disabled {
		http.Error(w, `{"error":"Service account is disabled"}`, http.StatusForbidden)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	scopes := m.o.Scopes
	if asked := r.URL.Query().Get("scopes"); asked != "" && m.o.GKE {
		scopes = strings.Split(asked, ",")
	}
	id := s.Email + " " + strings.Join(scopes, " ")
	t := m.cache[id]
	now := m.g.c.Now()
	if t == nil || t.expires.Sub(now) <= m.o.RenewAt || !t.expires.After(now) {
		t = m.g.issue(s.token(scopes), "ya29.m.", m.o.Life)
		m.cache[id] = t
		m.minted++
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"access_token": t.value, "expires_in": m.g.left(t), "token_type": "Bearer"})
}
