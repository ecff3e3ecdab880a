// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// benchSource answers after an API round trip.
type benchSource struct{ latency time.Duration }

func (benchSource) Key(providers.Request) string { return "" }

func (s benchSource) Mint(context.Context, providers.Request) (providers.Credential, error) {
	time.Sleep(s.latency)
	now := time.Now()
	return providers.Credential{Username: "u", Secret: providers.NewSecret("s"), IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
}

func benchRequests(b *testing.B, m *Minter, n int) []Request {
	b.Helper()
	out := make([]Request, n)
	for i := range out {
		out[i] = Request{
			ID:     ID{Account: "configured/prod", Env: fmt.Sprintf("%064d", i), Host: providers.DockerHub, Grants: "acme/app=push"},
			Source: benchSource{},
		}
		if _, err := m.Get(b.Context(), out[i]); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

func BenchmarkWarmGet(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			m := New(b.Context(), Config{})
			reqs := benchRequests(b, m, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				if _, err := m.Get(b.Context(), reqs[i]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWarmGetParallel(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			m := New(b.Context(), Config{})
			reqs := benchRequests(b, m, n)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				i := 0
				for pb.Next() {
					i = (i + 7919) % n
					if _, err := m.Get(b.Context(), reqs[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkColdBurst is 200 callers on one cold key; less the 10 ms of the
// answer, it is the cost of the flight.
func BenchmarkColdBurst(b *testing.B) {
	m := New(b.Context(), Config{})
	r := Request{ID: ID{Account: "a", Host: providers.DockerHub}, Source: benchSource{10 * time.Millisecond}}
	for b.Loop() {
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if _, err := m.Get(b.Context(), r); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		m.Drop(all)
	}
	s := m.Stats()
	b.ReportMetric(float64(s.Mints)/float64(b.N), "mints/burst")
}
