// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/dockerhub"
	"github.com/regmint/regmint/test/fakecloud"
	fakehub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// A build of an hour, by a clock of its own, with tokens of five minutes:
// whenever it asks it gets one that Docker Hub takes and that is not older than
// a minute, since BuildKit keeps what it gets for nearly five.
func TestAnHourOfFiveMinuteTokens(t *testing.T) {
	t.Parallel()
	c := fakecloud.Start(t)
	hub := fakehub.New(c, fakehub.Options{})
	acme := hub.Org("acme")
	hub.Repository("acme/app", fakehub.Private)
	con := acme.Connect(fakehub.Connection{Subject: "repo:acme/app:*", Scope: fakehub.RepoWrite})
	run := c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	env := map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL": run.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": run.Token,
		"DOCKERHUB_OIDC_CONNECTIONID": con.ID, "DOCKERHUB_ORGANIZATION": "acme",
	}
	src, err := dockerhub.New().Open(providers.Account{Name: "docker.io", Provider: "dockerhub", Layer: providers.LayerAmbient}, providers.Deps{
		Env: env, Log: slog.New(slog.DiscardHandler), Now: c.Now,
		Network: providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"},
		Resolve: func(context.Context, providers.SecretRef) (providers.Secret, error) {
			return providers.Secret{}, errors.New("there is no secret here")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var passed atomic.Int64 // of the hour
	m := minter.New(ctx, minter.Config{Now: func() (time.Time, time.Duration) { return c.Now(), time.Duration(passed.Load()) }})
	ask := minter.Request{
		ID: minter.ID{Account: "docker.io", Host: providers.DockerHub}, Source: src, Request: providers.Request{Host: providers.DockerHub},
	}
	push := providers.Request{Host: providers.DockerHub, Grants: []providers.Grant{{Repository: "acme/app", Access: providers.Push}}}
	const step = 20 * time.Second
	seen := map[string]time.Duration{} // when a token was first seen
	for range int(time.Hour / step) {
		now := time.Duration(passed.Load())
		cred, err := m.Get(ctx, ask)
		if err != nil {
			t.Fatalf("after %s: %v", now, err)
		}
		if first, known := seen[cred.Secret.Reveal()]; !known {
			seen[cred.Secret.Reveal()] = now
		} else if now-first > time.Minute {
			t.Errorf("after %s: a token that is %s old", now, now-first)
		}
		if err := src.(providers.Verifier).Verify(ctx, push, cred); err != nil {
			t.Fatalf("after %s: %v", now, err)
		}
		c.Advance(step)
		passed.Add(int64(step))
	}
	if n := hub.Counts().Federated; len(seen) < 12 || n > int(time.Hour/(30*time.Second)) {
		t.Errorf("%d tokens used, %d made", len(seen), n)
	}
}
