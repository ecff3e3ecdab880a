// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The metadata server of Compute Engine, GKE and Cloud Run, by its address:
// metadata.google.internal is a name that anybody's resolver may know.
const metadataAddress = "http://169.254.169.254"

var flavor = http.Header{"Metadata-Flavor": {"Google"}}

// probeLimit bounds the question whether there is a metadata server.
const probeLimit = time.Second

func (s *source) metadataURL() string {
	return trimSlash(cmp.Or(s.plan.MetadataEndpoint, metadataAddress))
}

// presence remembers whether this machine has a metadata server: one question,
// of a second at most, for everybody.
type presence struct {
	mu    sync.Mutex
	asked bool
	there bool
	// product is the file that says what the machine is.
	product string
}

// productFile holds "Google Compute Engine" on Google's machines, in pods too.
const productFile = "/sys/class/dmi/id/product_name"

// has asks once. A caller that gave up says nothing about the machine: that is
// an error. On a machine of Google's no answer means not yet: GKE's server needs
// some seconds to know a new pod.
func (p *presence) has(ctx context.Context, base string, c *httpx.Client, h providers.Host) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked {
		return p.there, nil
	}
	probe, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	res, err := c.Do(probe, httpx.Request{Host: h, What: whatMetadata, URL: base + "/", Header: flavor, SameOrigin: true})
	if err != nil && ctx.Err() != nil {
		return false, err
	}
	p.there = res != nil && res.Header.Get("Metadata-Flavor") == "Google"
	product, _ := os.ReadFile(p.product)
	p.asked = p.there || !strings.HasPrefix(string(product), "Google")
	return p.there, nil
}

// metadata is the service account of the machine or pod.
type metadata struct {
	s       *source
	account string
}

// token asks for {"access_token":"…","expires_in":3599,"token_type":"Bearer"}.
// The server answers from its cache: what is left of a token is taken as it is.
// GKE and Cloud Run give the scopes that are asked for, Compute Engine those of
// the machine whatever is asked for, and none says which; so the token does not
// count as one for reading alone.
func (m *metadata) token(ctx context.Context, c call) (access, error) {
	w := m.s.wire(ctx, c.host, whatMetadata)
	q := url.Values{"scopes": {strings.Join(c.scopes, ",")}}
	res, err := w.do(httpx.Request{URL: m.s.metadataURL() + "/computeMetadata/v1/instance/service-accounts/" + m.account + "/token?" + q.Encode(), Header: flavor})
	if err != nil || w.fail != nil {
		return access{}, m.refused(w, w.explain(w.fail))
	}
	var out struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if json.Unmarshal(res.Body, &out) != nil || out.AccessToken == "" || httpx.HasBreak(out.AccessToken) {
		return access{}, w.unusable(errors.New("the answer holds no token"))
	}
	a := access{value: providers.NewSecret(out.AccessToken), who: "the machine's service account", origin: "metadata server"}
	if m.account != "default" {
		a.who, a.origin = m.account, m.account+" of the metadata server"
	}
	if out.ExpiresIn != "" {
		n, err := out.ExpiresIn.Int64()
		if err != nil {
			return access{}, w.unusable(errors.New("the answer's expires_in is no whole number"))
		}
		a.life = max(time.Duration(min(n, int64(maxLifetime/time.Second)*2))*time.Second, time.Nanosecond)
	}
	return a, nil
}
