// SPDX-License-Identifier: Apache-2.0

package google

import (
	"net/http"
	"strings"
	"time"
)

// MetadataOptions describe a machine's metadata server.
type MetadataOptions struct {
	// Account is the service account of the machine; nil = none attached.
	Account *ServiceAccount
	// Scopes of the machine; nil = cloud-platform. GKE ignores them.
	Scopes []string
	// GKE makes it a GKE metadata server: tokens carry the scopes asked for,
	// and may come back with little life left.
	GKE bool
	// Life of a new token; 0 = 3599 s.
	Life time.Duration
	// RenewAt is what is left when the server replaces the token it caches;
	// 0 = 4 min. Until then the same token comes back with less life.
	RenewAt time.Duration
	// Project of the machine; "" = acme.
	Project string
}

// Metadata is a metadata server. Its requests and faults go by the name
// "metadata".
type Metadata struct {
	URL string // http://127.0.0.1:PORT
	g   *Google
}

// Metadata serves a machine's metadata until the cloud ends.
func (g *Google) Metadata(o MetadataOptions) *Metadata {
	m := &Metadata{g: g}
	m.URL = g.c.Plain("metadata", http.NotFoundHandler())
	return m
}

// Host is host:port, as GCE_METADATA_HOST wants it.
func (m *Metadata) Host() string { return strings.TrimPrefix(m.URL, "http://") }

// SetAccount changes the machine's account; nil detaches it.
func (m *Metadata) SetAccount(s *ServiceAccount) {}

// Minted counts the tokens made, against requests in Cloud.Requests.
func (m *Metadata) Minted() int { return 0 }
