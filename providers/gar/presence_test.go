// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// GKE's metadata server needs some seconds to know a new pod; a laptop never
// gets one and must not pay for the question twice.
func TestAMetadataServerMayComeLateToAMachineOfGoogles(t *testing.T) {
	for _, tc := range []struct {
		product string
		late    bool
	}{
		{"Google Compute Engine\n", true},
		{"Google\n", true},
		{"20XW004AUS\n", false},
		{"", false}, // no such file
	} {
		var up atomic.Bool
		var asked atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if up.Load() {
				w.Header().Set("Metadata-Flavor", "Google")
			}
		}))
		t.Cleanup(server.Close)
		p := &presence{product: filepath.Join(t.TempDir(), "product_name")}
		if tc.product != "" {
			if err := os.WriteFile(p.product, []byte(tc.product), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		client, err := httpx.New(httpx.Config{})
		if err != nil {
			t.Fatal(err)
		}
		has := func() bool {
			there, err := p.has(t.Context(), server.URL, client, httpxtest.Host(t, "gcr.io"))
			if err != nil {
				t.Fatal(err)
			}
			return there
		}
		if has() {
			t.Error("there is none yet")
		}
		up.Store(true)
		if has() != tc.late {
			t.Errorf("%q: found late: %v", tc.product, !tc.late)
		}
		n := asked.Load()
		if has(); asked.Load() != n {
			t.Errorf("%q: asked again", tc.product)
		}
	}
}
