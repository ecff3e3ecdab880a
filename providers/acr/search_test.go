// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// A host whose identity was not found in time must not go anonymous.
func TestASearchThatIsCutShortIsNoAbsence(t *testing.T) {
	r := newRig(t)
	r.runs(func(context.Context, providers.Command) ([]byte, error) { return nil, fs.ErrNotExist })
	left := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-left:
		case <-q.Context().Done():
		}
	}))
	defer hung.Close()
	defer close(left)
	s := r.open(Options{MetadataEndpoint: hung.URL}, ambientLayer)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Mint(ctx, providers.Request{Host: r.host})
	r.fails(err, providers.Unavailable, "did not end in time")
	if s.absent.known(s.plan.metadata, r.deps.Now()) {
		t.Error("the machine is taken for one without the service")
	}
}

// A node of a cluster often has several: that is no absence, and no choice of ours.
func TestSeveralManagedIdentitiesAreToBeChosenFrom(t *testing.T) {
	r := newRig(t)
	r.runs(func(context.Context, providers.Command) ([]byte, error) { return nil, fs.ErrNotExist })
	one, two := r.tenant.ManagedIdentity("one"), r.tenant.ManagedIdentity("two")
	r.reg.Assign(two, azure.AcrPull)
	node := r.az.Machine("node", nil, one, two)
	_, err := r.mint(r.open(Options{MetadataEndpoint: node.IMDS}, ambientLayer))
	r.fails(err, providers.Misconfigured, "several managed identities", "client_id")
	r.deps.Env = map[string]string{envClient: two.ClientID}
	r.works(r.open(Options{MetadataEndpoint: node.IMDS}, ambientLayer))
}
