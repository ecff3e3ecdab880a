// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// KeyForm is how a token names the key it was signed with.
type KeyForm int

// The forms. Distribution 2.x takes both with auth.token.rootcertbundle;
// distribution 3.x takes x5c with it, and the kid with auth.token.jwks.
const (
	KeyX5C KeyForm = iota // the certificate in the header
	KeyID                 // only the kid, in the form libtrust gives it
)

// signer is a key that signs JWTs, and its self-signed certificate.
type signer struct {
	key  *ecdsa.PrivateKey
	cert []byte // DER
	kid  string
}

func newSigner() (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := template("fakeregistry token signer", x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign)
	tmpl.IsCA = true
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	kid, err := libtrustID(key.Public())
	return &signer{key: key, cert: cert, kid: kid}, err
}

// libtrustID is the key id of libtrust: the first 240 bits of the SHA-256 of
// the public key in base32, in groups of four.
func libtrustID(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	text := []byte(base32.StdEncoding.EncodeToString(sum[:30]))
	var groups []string
	for g := range slices.Chunk(text, 4) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, ":"), nil
}

func (k *signer) sign(form KeyForm, claims jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"] = k.kid
	if form == KeyX5C {
		t.Header["x5c"] = []string{base64.StdEncoding.EncodeToString(k.cert)}
	}
	return t.SignedString(k.key)
}

// CertBundle is the certificate of the token server's key in PEM: the file for
// auth.token.rootcertbundle of a distribution registry.
func (s *Server) CertBundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.signer.cert})
}

// KeySet is a JSON Web Key Set.
type KeySet struct {
	Keys []map[string]string `json:"keys"`
}

// JWKS is the token server's public key: the file for auth.token.jwks.
func (s *Server) JWKS() KeySet { return s.signer.keySet() }

// AssertionJWKS is the public key of the identity provider that SignAssertion
// plays.
func (s *Server) AssertionJWKS() KeySet { return s.assertion.keySet() }

func (k *signer) keySet() KeySet {
	point, err := k.key.PublicKey.Bytes() // 4 || X || Y
	if err != nil {
		return KeySet{}
	}
	enc := base64.RawURLEncoding.EncodeToString
	return KeySet{Keys: []map[string]string{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": k.kid, "x": enc(point[1:33]), "y": enc(point[33:]),
	}}}
}

// CA is a throw-away certificate authority.
type CA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewCA makes one. Its key never leaves memory.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := template("fakeregistry throw-away CA", x509.KeyUsageCertSign)
	tmpl.IsCA = true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{key: key, cert: cert}, err
}

// PEM is the CA's certificate.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// certificate makes a server certificate for names and addresses.
func (c *CA) certificate(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := template("fakeregistry", x509.KeyUsageDigitalSignature)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// template is what all certificates share: a day of life.
func template(name string, usage x509.KeyUsage) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: usage, BasicConstraintsValid: true,
	}
}
