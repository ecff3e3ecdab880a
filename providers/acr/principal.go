// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/pkcs12"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

var errWaited = errors.New("another request for an Entra token did not end in time")

// forHost is err as the failure of another host's request.
func forHost(err error, h providers.Host) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Host == h {
		return err
	}
	out := *e
	out.Host = h
	return &out
}

func parseInt(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

// application is a service principal: a client with a secret, a certificate or
// an identity token that it trusts. Each is the client credentials grant with
// another proof.
type application struct {
	s              *source
	tenant, client string
	// prove adds the proof to the form.
	prove func(ctx context.Context, h providers.Host, g *grant) error
}

func (a *application) stamp() string { return "" }

func (a *application) token(ctx context.Context, h providers.Host, audience string) (entraToken, error) {
	g := grant{tenant: a.tenant, client: a.client, form: url.Values{"grant_type": {"client_credentials"}, "scope": {audience + "/.default"}}}
	if err := a.prove(ctx, h, &g); err != nil {
		return entraToken{}, err
	}
	return a.s.ask(ctx, h, g)
}

func (s *source) withSecret(tenant, client string, read func(context.Context, providers.Host) (providers.Secret, error), ref string) identity {
	return &application{s, tenant, client, func(ctx context.Context, h providers.Host, g *grant) error {
		secret, err := read(ctx, h)
		if err != nil {
			return err
		}
		g.form.Set("client_secret", secret.Reveal())
		g.secrets, g.words.ref = []providers.Secret{secret}, ref
		return nil
	}}
}

// assertionType is urn:ietf:params:oauth:client-assertion-type:jwt-bearer of
// RFC 7523 section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (g *grant) assert(jwt providers.Secret) {
	g.form.Set("client_assertion_type", assertionType)
	g.form.Set("client_assertion", jwt.Reveal())
	g.secrets, g.words.assertion = []providers.Secret{jwt}, jwt
}

// withWebIdentity fetches the identity token anew for every request.
func (s *source) withWebIdentity(tenant, client string, ref oidc.Ref) identity {
	return &application{s, tenant, client, func(ctx context.Context, h providers.Host, g *grant) error {
		jwt, err := oidc.Token(ctx, oidc.Config{Ref: ref, Audience: s.plan.WebIdentityAudience, Host: h, Deps: s.deps, HTTP: s.http})
		if err != nil {
			return err
		}
		g.assert(jwt)
		g.words.ref = ref.String()
		return nil
	}}
}

func (s *source) withCertificate(tenant, client string, read func(context.Context, providers.Host) (*certificate, error), ref string) identity {
	return &application{s, tenant, client, func(ctx context.Context, h providers.Host, g *grant) error {
		c, err := read(ctx, h)
		if err != nil {
			return err
		}
		jwt, err := c.assertion(s.authority(h)+"/"+tenant+"/oauth2/v2.0/token", client, s.plan.SendChain, s.deps.Now())
		if err != nil {
			return s.fail(h, providers.Misconfigured, fmt.Errorf("certificate %s: %w", ref, err))
		}
		g.assert(providers.NewSecret(jwt))
		g.words.ref = ref
		return nil
	}}
}

func (s *source) fail(h providers.Host, k providers.Kind, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Err: err}
}

// certificate is a private key with its certificate first.
type certificate struct {
	chain []*x509.Certificate
	key   *rsa.PrivateKey
}

// assertion is the signed JWT of the client credentials grant with a
// certificate: PS256, the certificate named by its SHA-256 thumbprint, 10
// minutes (learn.microsoft.com/entra/identity-platform/certificate-credentials).
func (c *certificate) assertion(audience, client string, chain bool, now time.Time) (string, error) {
	if end := c.chain[0].NotAfter; now.After(end) {
		return "", fmt.Errorf("it expired at %s", end.UTC().Format(time.RFC3339))
	}
	thumb := sha256.Sum256(c.chain[0].Raw)
	head := map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumb[:])}
	if chain {
		var x5c []string
		for _, e := range c.chain {
			x5c = append(x5c, base64.StdEncoding.EncodeToString(e.Raw))
		}
		head["x5c"] = x5c
	}
	body := map[string]any{
		"aud": audience, "iss": client, "sub": client, "jti": rand.Text(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
	h, err := json.Marshal(head)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", errors.New("the key cannot sign")
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// maxCertificate bounds the file of a certificate, in bytes.
const maxCertificate = 256 << 10

// certificateFile reads a file of PEM blocks or a PKCS#12 container.
func certificateFile(path, password string) (*certificate, error) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	if err != nil {
		return nil, pathCause(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathCause(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err != nil {
		return nil, pathCause(err)
	}
	if len(b) > maxCertificate {
		return nil, errors.New("is larger than 256 KiB")
	}
	return parseCertificate(b, password)
}

func pathCause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// parseCertificate errors repeat nothing of b.
func parseCertificate(b []byte, password string) (*certificate, error) {
	blocks := pemBlocks(b)
	if len(blocks) == 0 {
		var err error
		if blocks, err = pkcs12.ToPEM(b, password); err != nil {
			if errors.Is(err, pkcs12.ErrIncorrectPassword) {
				return nil, errors.New("the password of the PKCS#12 file is wrong")
			}
			return nil, errors.New("is neither PEM nor a PKCS#12 file of a kind that can be read: convert it to PEM")
		}
	}
	c := &certificate{}
	for _, block := range blocks {
		switch block.Type {
		case "CERTIFICATE":
			crt, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, errors.New("holds a certificate that cannot be read")
			}
			c.chain = append(c.chain, crt)
		case "PRIVATE KEY", "RSA PRIVATE KEY":
			key, err := rsaKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			c.key = key
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("holds an encrypted key: only PKCS#12 files may have a password")
		}
	}
	return c, c.order()
}

func pemBlocks(b []byte) []*pem.Block {
	var out []*pem.Block
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return out
		}
		out, b = append(out, block), rest
	}
}

func rsaKey(der []byte) (*rsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		k, err = x509.ParsePKCS1PrivateKey(der)
	}
	if err != nil {
		return nil, errors.New("holds a private key that cannot be read")
	}
	key, ok := k.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is no RSA key: Entra takes no others")
	}
	return key, nil
}

// order puts the key's own certificate first.
func (c *certificate) order() error {
	if c.key == nil || len(c.chain) == 0 {
		return errors.New("needs a certificate and its private key")
	}
	for i, crt := range c.chain {
		if pub, ok := crt.PublicKey.(*rsa.PublicKey); ok && pub.Equal(&c.key.PublicKey) {
			c.chain[0], c.chain[i] = c.chain[i], c.chain[0]
			return nil
		}
	}
	return errors.New("the private key does not belong to the certificate")
}

// secretOf reads a reference as httpx.Resolve does.
func (s *source) secretOf(ref providers.SecretRef) func(context.Context, providers.Host) (providers.Secret, error) {
	return func(ctx context.Context, h providers.Host) (providers.Secret, error) {
		return httpx.Resolve(ctx, s.deps, h, ref)
	}
}
