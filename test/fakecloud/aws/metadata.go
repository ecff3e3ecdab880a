// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	imdsToken    = "X-Aws-Ec2-Metadata-Token"
	imdsLife     = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	imdsRoles    = "/latest/meta-data/iam/security-credentials/"
	imdsInstance = "i-0a1b2c3d4e5f67890"
	// renewBefore is when new credentials come: 5 minutes before the end of the
	// old ones, says AWS.
	renewBefore = 5 * time.Minute
)

// ServeHTTP implements http.Handler.
func (m *Instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	off, far := m.off, m.far
	m.mu.Unlock()
	w.Header().Set("Server", "EC2ws")
	switch {
	case off:
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/latest/api/token":
		if far { // the packet dies on its way
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		m.token(w, r)
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !m.lets(r):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		m.answer(w, r.URL.Path)
	}
}

// token answers PUT; behind a proxy it does not.
func (m *Instance) token(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.Header.Get(imdsLife))
	switch {
	case r.Method != http.MethodPut:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.Header.Get("X-Forwarded-For") != "":
		w.WriteHeader(http.StatusForbidden)
	case err != nil || n < 1 || n > 21600:
		w.WriteHeader(http.StatusBadRequest)
	default:
		token := "AQAEA" + random(51)
		m.mu.Lock()
		m.tokens[token] = m.a.c.Now().Add(time.Duration(n) * time.Second)
		m.mu.Unlock()
		w.Header().Set(imdsLife, strconv.Itoa(n))
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(token))
	}
}

func (m *Instance) lets(r *http.Request) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	token := r.Header.Get(imdsToken)
	if token == "" {
		return m.v1
	}
	until, ok := m.tokens[token]
	return ok && m.a.c.Now().Before(until)
}

func (m *Instance) answer(w http.ResponseWriter, path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := func(s string) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(s))
	}
	switch {
	case path == "/latest/meta-data/placement/region":
		text(m.region)
	case path == "/latest/meta-data/instance-id":
		text(imdsInstance)
	case path == "/latest/dynamic/instance-identity/document":
		account := ""
		if m.role != nil {
			account = m.role.account
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]string{"accountId": account, "region": m.region, "instanceId": imdsInstance})
	case m.role == nil:
		w.WriteHeader(http.StatusNotFound)
	case path == imdsRoles || path == strings.TrimSuffix(imdsRoles, "/"):
		text(m.role.name())
	case path == imdsRoles+m.role.name():
		m.keys = m.a.renew(m.role, m.keys, m.life, imdsInstance, "imds")
		fakecloud.WriteJSON(w, http.StatusOK, map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": iso(m.keys.Expires.Add(-m.life)), "Expiration": iso(m.keys.Expires),
			"AccessKeyId": m.keys.AccessKeyID, "SecretAccessKey": m.keys.SecretAccessKey, "Token": m.keys.SessionToken,
		})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// renew gives the keys that are in use, or new ones when those end soon.
func (a *AWS) renew(role *Role, k Keys, life time.Duration, session, via string) Keys {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := min(renewBefore, life/4)
	if k.AccessKeyID != "" && a.c.Now().Add(before).Before(k.Expires) {
		return k
	}
	n := a.newSession(role, session, life, nil, "")
	a.assumed = append(a.assumed, Assumed{Time: n.made, By: session, Via: via, Role: role.arn, Session: session, Duration: life, Keys: n.Keys})
	return n.Keys
}

// ServeHTTP implements http.Handler.
func (e *Container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	no := func(status int, code, text string) {
		fakecloud.WriteJSON(w, status, map[string]any{"code": code, "message": text, "HTTPErrorCode": status})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.Method != http.MethodGet:
		no(http.StatusMethodNotAllowed, "MethodNotAllowed", "only GET")
		return
	case r.URL.Path == "/v1/credentials" && r.Header.Get("Authorization") != e.token:
		no(http.StatusUnauthorized, "AccessDeniedException", "the authorization token is missing or not valid")
		return
	case r.URL.Path != "/v1/credentials" && r.URL.Path != e.RelativeURI:
		no(http.StatusBadRequest, "InvalidIdInRequest", "CredentialsV2Request: Credentials not found")
		return
	}
	e.keys = e.a.renew(e.role, e.keys, e.life, "task", "container")
	fakecloud.WriteJSON(w, http.StatusOK, map[string]string{
		"AccessKeyId": e.keys.AccessKeyID, "SecretAccessKey": e.keys.SecretAccessKey, "Token": e.keys.SessionToken,
		"Expiration": iso(e.keys.Expires), "RoleArn": e.role.arn, "AccountId": e.role.account,
	})
}
