// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

// Machine is a virtual machine or an App Service with managed identities.
type Machine struct {
	// IMDS is the plain http base URL of the instance metadata service:
	// stands for http://169.254.169.254.
	IMDS string
	// IdentityEndpoint and IdentityHeader are what App Service sets as
	// IDENTITY_ENDPOINT and IDENTITY_HEADER.
	IdentityEndpoint string
	IdentityHeader   string

	az       *Azure
	system   *Principal // nil: none
	assigned []*Principal
}

// Machine serves the identity endpoints of a machine. system is its own
// identity (nil: none). Requests are recorded as NAME (IMDS) and NAME-app.
func (a *Azure) Machine(name string, system *Principal, assigned ...*Principal) *Machine {
	m := &Machine{az: a, system: system, assigned: assigned, IdentityHeader: guid()}
	m.serve(name)
	return m
}

// Deny takes every identity from the machine: IMDS answers as on a machine
// that was given none.
func (m *Machine) Deny() {
	m.az.mu.Lock()
	defer m.az.mu.Unlock()
	m.system, m.assigned = nil, nil
}

func (m *Machine) serve(name string) {
	imds := http.NewServeMux()
	imds.HandleFunc("GET /metadata/identity/oauth2/token", m.imdsToken)
	m.IMDS = m.az.Cloud.Plain(name, imds)
	app := http.NewServeMux()
	app.HandleFunc("GET /msi/token", m.appToken)
	m.IdentityEndpoint = m.az.Cloud.Plain(name+"-app", app) + "/msi/token"
}

// imdsToken is the instance metadata service: the header proves that the
// caller can set headers, and a forwarded request is refused.
func (m *Machine) imdsToken(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
		imdsFail(w, "invalid_request", "Required metadata header not specified")
	case r.Header.Get("X-Forwarded-For") != "":
		imdsFail(w, "invalid_request", "Request contains a header that is not allowed: X-Forwarded-For")
	case q.Get("api-version") == "":
		imdsFail(w, "invalid_request", "Required query variable 'api-version' is missing")
	case q.Get("api-version") < "2018-02-01":
		imdsFail(w, "invalid_request", "Invalid api-version")
	case q.Get("resource") == "":
		imdsFail(w, "invalid_request", "Required query variable 'resource' is missing")
	default:
		m.answer(w, r, "object_id", "msi_res_id")
	}
}

func imdsFail(w http.ResponseWriter, code, text string) {
	fakecloud.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": text})
}

// appToken is the identity endpoint of App Service.
func (m *Machine) appToken(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case r.Header.Get("X-IDENTITY-HEADER") != m.IdentityHeader:
		fakecloud.WriteJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": "Unauthorized. The secret header is missing or wrong."})
	case q.Get("api-version") != "2019-08-01" || q.Get("resource") == "":
		fakecloud.WriteJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "Bad request: api-version=2019-08-01 and resource are required."})
	default:
		m.answer(w, r, "object_id", "mi_res_id")
	}
}

// answer picks the identity: the one that is named, else the machine's own,
// else the only one assigned.
func (m *Machine) answer(w http.ResponseWriter, r *http.Request, object, resourceID string) {
	m.az.mu.Lock()
	p, why := m.pick(r.URL.Query(), object, resourceID)
	m.az.mu.Unlock()
	if p == nil {
		imdsFail(w, "invalid_request", why)
		return
	}
	resource, refused := resourceOf(r.URL.Query().Get("resource")+defaultSuffix, p.Tenant, p.Tenant.Environment)
	if refused != nil {
		imdsFail(w, refused.code, "AADSTS"+strconv.Itoa(refused.aadsts)+": "+refused.text)
		return
	}
	life := m.az.lives().MachineLife
	now := m.az.Cloud.Now()
	token := m.az.accessToken(answer{who: p, tenant: p.Tenant, resource: resource, client: p.ClientID}, life)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]string{
		"access_token": token, "client_id": p.ClientID, "resource": resource, "token_type": "Bearer",
		"expires_in": strconv.Itoa(seconds(life)), "ext_expires_in": strconv.Itoa(seconds(life)),
		"expires_on": strconv.FormatInt(now.Add(life).Unix(), 10), "not_before": strconv.FormatInt(now.Unix(), 10),
	})
}

// pick chooses by client id, object id or resource id; the names of the last
// two parameters differ between services. Callers hold mu.
func (m *Machine) pick(q url.Values, object, resourceID string) (*Principal, string) {
	client, oid, res := q.Get("client_id"), q.Get(object), q.Get(resourceID)
	if client+oid+res == "" {
		switch {
		case m.system != nil:
			return m.system, ""
		case len(m.assigned) == 1:
			return m.assigned[0], ""
		case len(m.assigned) > 1:
			return nil, "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
		}
		return nil, "Identity not found"
	}
	all := m.assigned
	if m.system != nil {
		all = append([]*Principal{m.system}, m.assigned...)
	}
	for _, p := range all {
		if strings.EqualFold(client, p.ClientID) || strings.EqualFold(oid, p.ObjectID) || p != m.system && strings.EqualFold(res, p.ResourceID) {
			return p, ""
		}
	}
	return nil, "Identity not found"
}
