// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"time"
)

// Tenant is a directory of identities.
type Tenant struct {
	ID          string
	Domain      string
	Environment Environment
	az          *Azure
	principals  []*Principal // at home here, and guests
}

// Tenant makes a directory with a new id. Its domain ("contoso.onmicrosoft.com",
// "" = none) names it in addresses as well.
func (a *Azure) Tenant(e Environment, domain string) *Tenant {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &Tenant{ID: guid(), Domain: domain, Environment: e, az: a}
	a.tenants = append(a.tenants, t)
	return t
}

type kind int

const (
	kindApp kind = iota
	kindUser
	kindManaged
)

// Principal is an application, a user or a managed identity.
type Principal struct {
	Tenant     *Tenant // at home
	Name       string  // of a user: the user principal name
	ClientID   string  // application id; "" for users
	ObjectID   string  // in the home tenant
	ResourceID string  // of a user-assigned managed identity

	kind       kind
	secrets    []secret
	certs      []*x509.Certificate
	federated  []Federation
	elsewhere  map[*Tenant]string // object ids in other tenants
	disabled   bool
	notBefore  time.Time // refresh tokens from before are revoked
	interactAt string    // AADSTS code that each refresh answers
}

type secret struct {
	value   string
	expires time.Time
}

// Federation lets tokens of another issuer stand for an application.
type Federation struct {
	Issuer   string
	Subject  string
	Audience string // "" = api://AzureADTokenExchange
}

// Certificate is one of an application's certificates with its key.
type Certificate struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey
	PEM  []byte // both
}

func (t *Tenant) add(p *Principal) *Principal {
	t.az.mu.Lock()
	defer t.az.mu.Unlock()
	p.Tenant, p.ObjectID, p.elsewhere = t, guid(), map[*Tenant]string{}
	t.principals = append(t.principals, p)
	return p
}

// App makes an application with its service principal.
func (t *Tenant) App(name string) *Principal {
	return t.add(&Principal{Name: name, ClientID: guid(), kind: kindApp})
}

// User makes a user.
func (t *Tenant) User(name string) *Principal { return t.add(&Principal{Name: name, kind: kindUser}) }

// ManagedIdentity makes an identity for machines: it is a machine's own
// (system-assigned) or a user-assigned one by what Machine is told.
func (t *Tenant) ManagedIdentity(name string) *Principal {
	return t.add(&Principal{
		Name: name, ClientID: guid(), kind: kindManaged,
		ResourceID: "/subscriptions/" + guid() + "/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name,
	})
}

// Invite makes p of another tenant a guest (a multi-tenant application: gives
// it a service principal) here.
func (t *Tenant) Invite(p *Principal) {
	t.az.mu.Lock()
	defer t.az.mu.Unlock()
	if p.Tenant != t && p.elsewhere[t] == "" {
		p.elsewhere[t] = guid()
		t.principals = append(t.principals, p)
	}
}

// objectID is p's object in t; "" where it is unknown there. Callers hold mu.
func (p *Principal) objectID(t *Tenant) string {
	if p.Tenant == t {
		return p.ObjectID
	}
	return p.elsewhere[t]
}

// AddSecret makes a client secret that lives for d (0 = two years).
func (p *Principal) AddSecret(d time.Duration) string {
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	if d == 0 {
		d = 2 * 365 * 24 * time.Hour
	}
	s := secret{rand.Text()[:3] + "8Q~" + rand.Text(), p.Tenant.az.Cloud.Now().Add(d)}
	p.secrets = append(p.secrets, s)
	return s.value
}

// AddCertificate makes a certificate with which the application signs.
func (p *Principal) AddCertificate() Certificate {
	c := NewCertificate(p.Name)
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	p.certs = append(p.certs, c.Cert)
	return c
}

// NewCertificate makes a certificate that no application has.
func NewCertificate(name string) Certificate {
	key := newKey()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}}, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return Certificate{Cert: cert, Key: key, PEM: append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)}
}

// Federate adds a federated credential.
func (p *Principal) Federate(f Federation) {
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	if f.Audience == "" {
		f.Audience = "api://AzureADTokenExchange"
	}
	p.federated = append(p.federated, f)
}

// Disable makes every sign-in of p fail.
func (p *Principal) Disable() {
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	p.disabled = true
}

// SignOut revokes the refresh tokens that p has.
func (p *Principal) SignOut() {
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	p.notBefore = p.Tenant.az.Cloud.Now()
}

// DemandMFA makes refresh tokens of p answer AADSTS50076 (on), as after a
// change of a Conditional Access policy.
func (p *Principal) DemandMFA(on bool) {
	p.Tenant.az.mu.Lock()
	defer p.Tenant.az.mu.Unlock()
	p.interactAt = ""
	if on {
		p.interactAt = "50076"
	}
}

// tenant finds a directory by id or domain. Callers hold mu.
func (a *Azure) tenant(e Environment, name string) *Tenant {
	for _, t := range a.tenants {
		if t.Environment.Authority == e.Authority && (strings.EqualFold(t.ID, name) || t.Domain != "" && strings.EqualFold(t.Domain, name)) {
			return t
		}
	}
	return nil
}

// client finds an application or user-assigned identity. Callers hold mu.
func (t *Tenant) client(id string) *Principal {
	for _, p := range t.principals {
		if p.ClientID != "" && strings.EqualFold(p.ClientID, id) {
			return p
		}
	}
	return nil
}
