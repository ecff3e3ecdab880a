// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// appSource is an account that lives by the private key of a GitHub App. Each
// job gets tokens of its own.
type appSource struct {
	*source
	sealer atomic.Pointer[cipher.AEAD] // of the private key that was read last
	skew   atomic.Int64                // how much GitHub's clock is ahead, where ours was refused
}

// Key implements providers.Source.
func (s *appSource) Key(r providers.Request) string {
	q := s.question(r.Grants)
	return fmt.Sprintf("app %q owner %q level %q repositories %q", r.Job, q.owners, q.level, q.repositories)
}

// Mint implements providers.Source.
func (s *appSource) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	at, err := s.site(r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	return s.installationToken(ctx, r.Host, at, s.question(r.Grants))
}

// try mints to see whether it can be done; who says as whom.
func (s *appSource) try(ctx context.Context, r providers.Request) (who string, err error) {
	at, err := s.site(r.Host)
	if err != nil {
		return "", err
	}
	return s.tryQuestion(ctx, r.Host, at, s.question(r.Grants))
}

func (s *appSource) tryQuestion(ctx context.Context, h providers.Host, at site, q question) (who string, err error) {
	c, err := s.installationToken(ctx, h, at, q)
	if err != nil {
		return "", err
	}
	if err := s.drop(ctx, h, at, c.Secret); err != nil { // it ends within the hour
		s.deps.Log.Debug("a token that was made to try is not dropped", "err", httpx.Printable(err.Error(), 200))
	}
	return c.Origin, nil
}

// Revoke implements providers.Revoker.
func (s *appSource) Revoke(ctx context.Context, r providers.Request, c providers.Credential) error {
	at, err := s.site(r.Host)
	if err != nil {
		return err
	}
	return s.drop(ctx, r.Host, at, c.Secret)
}

// Lives implements providers.Sealer.
func (*appSource) Lives() time.Duration { return appLife }

// Seal implements providers.Sealer: GitHub lists no installation tokens and
// revokes one with itself alone, so what is written down is the token, encrypted
// with a key that follows from the App's private key.
func (s *appSource) Seal(ctx context.Context, r providers.Request, c providers.Credential) (string, error) {
	a, err := s.aead(ctx, r.Host)
	if err != nil {
		return "", err
	}
	b := a.Seal(nil, nil, []byte(c.Secret.Reveal()), sealedFor(r)) //nolint:gosec // it makes the nonce itself
	return base64.StdEncoding.EncodeToString(b), nil
}

// Unseal implements providers.Sealer.
func (s *appSource) Unseal(ctx context.Context, r providers.Request, sealed string) (providers.Credential, error) {
	a, err := s.aead(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err == nil {
		b, err = a.Open(nil, nil, b, sealedFor(r))
	}
	if err != nil {
		return providers.Credential{}, s.fail(r.Host, providers.Misconfigured, "it ends by itself within the hour", errors.New("a job's token was made with another private key"))
	}
	return providers.Credential{Username: anyUser, Secret: providers.NewSecret(string(b))}, nil
}

// sealedFor binds what is sealed to its entry.
func sealedFor(r providers.Request) []byte { return []byte(r.Host.String() + " " + r.Job) }

// aead encrypts for the journal. The key was read for the mint a moment ago.
func (s *appSource) aead(ctx context.Context, h providers.Host) (cipher.AEAD, error) {
	if a := s.sealer.Load(); a != nil {
		return *a, nil
	}
	if _, err := s.key(ctx, h); err != nil {
		return nil, err
	}
	return *s.sealer.Load(), nil
}

// remember derives the journal's key from the App's.
func (s *appSource) remember(key *rsa.PrivateKey) error {
	secret, err := hkdf.Key(sha256.New, x509.MarshalPKCS1PrivateKey(key), nil, "regmint: tokens of jobs", 32)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return err
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return err
	}
	s.sealer.Store(&a)
	return nil
}
