// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// Keyring is the part of a store.Store that a Resolver reads.
type Keyring interface {
	Get(ctx context.Context, name string) (providers.Secret, error)
}

// Resolver reads secret references. Its fields are fixed at construction; it
// is safe for concurrent use.
type Resolver struct {
	// Env looks up env: references, in the caller's environment.
	Env func(name string) (string, bool)
	// Keyring answers keyring: references.
	Keyring Keyring
	// Resolved, when not nil, answers env:, file: and exec: references by
	// RefKey instead of the machine: a job's own configuration.
	Resolved map[string]string
	// ExecEnv is the environment of exec: programs, NAME=value: see ExecEnv().
	ExecEnv []string
	// ExecTimeout bounds an exec: program; 0 means 10 s.
	ExecTimeout time.Duration
}

// Resolve reads ref. Errors are *providers.Error and never hold the secret.
// The text may not be empty or hold NUL; line ends are taken off its end and
// refused inside, but for PEM blocks, JSON objects and age identities.
func (r Resolver) Resolve(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
	text, err := r.read(ctx, ref)
	if err != nil {
		return providers.Secret{}, refError(ref, err)
	}
	if err := checkSecret(text); err != nil {
		return providers.Secret{}, misconfigured("%s: %w", ref, err)
	}
	return providers.NewSecret(text), nil
}

func (r Resolver) read(ctx context.Context, ref providers.SecretRef) (string, error) {
	if ref.Scheme == "keyring" {
		if r.Keyring == nil {
			return "", misconfigured("%s: there is no keyring here", ref)
		}
		s, err := r.Keyring.Get(ctx, ref.Value)
		return s.Reveal(), err
	}
	if r.Resolved != nil {
		text, ok := r.Resolved[RefKey(ref)]
		if !ok {
			return "", misconfigured("%s was not resolved when the job was opened", ref)
		}
		return text, nil
	}
	switch ref.Scheme {
	case "env":
		if r.Env != nil {
			if text, ok := r.Env(ref.Value); ok && text != "" {
				return text, nil
			}
		}
		return "", &providers.Error{
			Kind: providers.Misconfigured, Err: fmt.Errorf("variable %s is not set", clean(ref.Value)),
			Hint: "set it where the client runs",
		}
	case "file":
		data, _, err := readRegular(ref.Value, maxSecretFile)
		if err != nil {
			return "", misconfigured("%s: %w", ref, err)
		}
		return trimEnd(string(data)), nil
	case "exec":
		return r.exec(ctx, ref)
	}
	return "", misconfigured("no secret is configured")
}

// trimEnd takes one line end off.
func trimEnd(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return strings.TrimSuffix(s, "\r")
}

// checkSecret refuses what no password can be. A line end inside would let a
// secret add lines to somebody's protocol; key material has several lines by
// its nature and never travels as it is.
func checkSecret(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case strings.ContainsRune(s, 0):
		return errors.New("has a NUL byte in it")
	case strings.ContainsAny(s, "\r\n") && !keyMaterial(s):
		return errors.New("has a line end inside")
	}
	return nil
}

// keyMaterial reports a PEM block, a JSON object or an age identity.
func keyMaterial(s string) bool {
	return strings.HasPrefix(s, "-----BEGIN ") || strings.HasPrefix(strings.TrimSpace(s), "{") ||
		strings.HasPrefix(s, "AGE-SECRET-KEY-") || strings.HasPrefix(s, "#") && strings.Contains(s, "\nAGE-SECRET-KEY-")
}

func misconfigured(format string, args ...any) error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf(format, args...)}
}

// refError leaves *providers.Error as it is and words the rest.
func refError(ref providers.SecretRef, err error) error {
	if _, ok := errors.AsType[*providers.Error](err); ok {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s did not answer in time", ref)}
	}
	return &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s: %w", ref, err)}
}
