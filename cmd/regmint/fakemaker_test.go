// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/regmint/regmint/providers"
)

// fakeMaker is a product that makes a robot for each job: a file robots/JOB in
// HOME. While robots.down is there it does not answer.
type fakeMaker struct{}

func (fakeMaker) Name() string              { return "maker" }
func (fakeMaker) Match(providers.Host) bool { return false }
func (fakeMaker) Env() []string             { return nil }
func (fakeMaker) Options() any              { return &struct{}{} }

func (fakeMaker) Open(_ providers.Account, d providers.Deps) (providers.Source, error) {
	return &makerSource{d}, nil
}

type makerSource struct{ d providers.Deps }

func (s *makerSource) robot(job string) string {
	return filepath.Join(s.d.Home, "robots", filepath.Base(job))
}

func (s *makerSource) Key(r providers.Request) string { return r.Job }

func (s *makerSource) Mint(_ context.Context, r providers.Request) (providers.Credential, error) {
	c := providers.Credential{Username: "robot", Secret: providers.NewSecret("robot-of-" + r.Job), IssuedAt: s.d.Now()}
	return c, os.WriteFile(s.robot(r.Job), nil, 0o600)
}

func (s *makerSource) Revoke(ctx context.Context, r providers.Request, _ providers.Credential) error {
	return s.Sweep(ctx, r)
}

func (s *makerSource) Sweep(_ context.Context, r providers.Request) error {
	if _, err := os.Lstat(filepath.Join(s.d.Home, "robots.down")); err == nil {
		return &providers.Error{Kind: providers.Unavailable, Host: r.Host, Err: errors.New("the product does not answer")}
	}
	if err := os.Remove(s.robot(r.Job)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
