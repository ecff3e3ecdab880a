// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// BenchmarkWarmGet is a get from memory: in the core, and over a kept-alive
// connection.
func BenchmarkWarmGet(b *testing.B) {
	dir, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	paths := api.Paths{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}
	if err := paths.Ensure(); err != nil {
		b.Fatal(err)
	}
	cfg := &config.Config{Accounts: []providers.Account{account("a", "reg.example")}}
	cfg.Agent.AllowRoot = true
	log := slog.New(slog.DiscardHandler)
	a, err := New(Options{Paths: paths, Log: log, Core: CoreOptions{
		Providers: []providers.Provider{&testProvider{name: "generic", life: time.Hour}},
		Load:      func(bool) (*config.Config, error) { return cfg, nil },
		Store:     func(*config.Config) (store.Store, error) { return mapStore{}, nil },
		Log:       log,
	}})
	if err != nil {
		b.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	a.o.Ready = func() { close(ready) }
	ctx, stop := context.WithCancel(b.Context())
	go func() { _ = a.Run(ctx); close(ended) }()
	<-ready
	defer func() { stop(); <-ended }()
	req := &api.GetRequest{Key: "reg.example"}
	b.Run("core", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r := a.core.Get(b.Context(), nil, req); r.Outcome != api.OK {
				b.Fatalf("%+v", r)
			}
		}
	})
	b.Run("socket", func(b *testing.B) {
		b.ReportAllocs()
		c, err := api.Dial(b.Context(), paths.MainSocket())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		for b.Loop() {
			if r, err := c.Get(b.Context(), req); err != nil || r.Outcome != api.OK {
				b.Fatalf("%+v %v", r, err)
			}
		}
	})
}
