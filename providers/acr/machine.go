// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The versions of the two services that know a managed identity: the instance
// metadata service of virtual machines, and the endpoint that App Service,
// Functions and Container Apps give to an application.
const (
	imdsPath    = "/metadata/identity/oauth2/token"
	imdsVersion = "2018-02-01"
	appVersion  = "2019-08-01"
)

// probeTime is how long a machine gets to show that it is one of Azure's.
const probeTime = time.Second

// absence remembers what this machine has not, for all sources: nobody waits
// twice for a service that is not there.
type absence struct {
	mu    sync.Mutex
	until map[string]time.Time
	busy  map[string]chan struct{}
}

func (a *absence) known(what string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[what])
}

func (a *absence) remember(what string, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil {
		a.until = map[string]time.Time{}
	}
	a.until[what] = until
}

// alone lets one caller at a time find out about what.
func (a *absence) alone(ctx context.Context, what string) (done func(), ok bool) {
	a.mu.Lock()
	if a.busy == nil {
		a.busy = map[string]chan struct{}{}
	}
	gate := a.busy[what]
	if gate == nil {
		gate = make(chan struct{}, 1)
		a.busy[what] = gate
	}
	a.mu.Unlock()
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, true
	case <-ctx.Done():
		return nil, false
	}
}

// absentFor is how long a machine without a metadata service is left alone.
const absentFor = time.Hour

// managed is the identity of the machine, or one assigned to it.
type managed struct {
	s                        *source
	client, object, resource string
}

func (m *managed) stamp() string { return "" }

// there reports whether the machine has Azure's metadata service. A request
// without the header Metadata is one that the service refuses with 400, and
// that those of other clouds under the same address answer otherwise.
func (m *managed) there(ctx context.Context, h providers.Host) bool {
	s := m.s
	done, ok := s.absent.alone(ctx, s.plan.metadata)
	if !ok {
		return false
	}
	defer done()
	if s.absent.known(s.plan.metadata, s.deps.Now()) {
		return false
	}
	probe, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	res, _ := s.http.Do(probe, httpx.Request{Host: h, What: "managed identity", URL: s.plan.metadata + imdsPath, SameOrigin: true})
	if res != nil && (res.Status == http.StatusBadRequest || res.Status == http.StatusTooManyRequests || res.Status >= 500) {
		return true
	}
	if ctx.Err() == nil { // else the caller left, and nothing was found out
		s.absent.remember(s.plan.metadata, s.deps.Now().Add(absentFor))
	}
	return false
}

func (m *managed) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	q, err := m.request(ctx, h, audience)
	if err != nil {
		return entraToken{}, err
	}
	asked := m.s.deps.Now()
	res, err := m.s.http.Do(ctx, q)
	if err != nil {
		return entraToken{}, m.explain(h, res, err)
	}
	t, err := m.s.readToken(h, res, asked, q.Secrets)
	t.via = "managed identity"
	return t, err
}

func (m *managed) request(ctx context.Context, h providers.Host, audience string) (httpx.Request, error) {
	s := m.s
	req := httpx.Request{Host: h, What: "managed identity", SameOrigin: true, Unauthorized: providers.Misconfigured}
	q, at, resource := url.Values{"resource": {audience}}, s.plan.metadata+imdsPath, "msi_res_id"
	if s.plan.MetadataHeader.IsZero() {
		q.Set("api-version", imdsVersion)
		req.Header = http.Header{"Metadata": {"true"}}
	} else {
		secret, err := s.secretOf(s.plan.MetadataHeader)(ctx, h)
		if err != nil {
			return req, err
		}
		at, resource = s.plan.metadata, "mi_res_id"
		q.Set("api-version", appVersion)
		req.Header = http.Header{"X-Identity-Header": {secret.Reveal()}}
		req.Secrets = []providers.Secret{secret}
	}
	for k, v := range map[string]string{"client_id": m.client, "object_id": m.object, resource: m.resource} {
		if v != "" {
			q.Set(k, v)
		}
	}
	req.URL = at + "?" + q.Encode()
	return req, nil
}

// noIdentity marks a machine that has the service but no identity.
type noIdentity struct{ text string }

func (e *noIdentity) Error() string { return e.text }

// explain words a refusal. The service answers 400 where the identity that is
// asked for is not assigned, and 404 or 410 while it is being changed.
func (m *managed) explain(h providers.Host, res *httpx.Response, err error) error {
	if res == nil {
		e, ok := errors.AsType[*providers.Error](err)
		if !ok {
			return err
		}
		out := *e
		out.Hint = "is this a machine of Azure? if not, set identity"
		return &out
	}
	switch res.Status {
	case http.StatusBadRequest:
		// "Multiple user assigned identities exist, please specify the clientId …":
		// there are some, and none of them is the machine's own.
		if se, ok := errors.AsType[*httpx.StatusError](err); ok && strings.HasPrefix(se.Message, "Multiple user assigned identities") {
			return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: errors.New("this machine has several managed identities"), Hint: "say which by client_id, or AZURE_CLIENT_ID"}
		}
		text, hint := "this machine has no managed identity", "assign it one"
		if id := m.client + m.object + m.resource; id != "" {
			text, hint = "the managed identity "+httpx.Printable(id, 160)+" is not assigned to this machine", "assign it, or correct its id"
		}
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: &noIdentity{text}, Hint: hint}
	case http.StatusNotFound, http.StatusGone:
		e, _ := errors.AsType[*providers.Error](err)
		out := *e
		out.Kind = providers.Unavailable
		return &out
	}
	return err
}
