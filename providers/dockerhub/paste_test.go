// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// The login of a robot stays the robot's when it is renewed.
func TestATokenIsPastedWhereTheAccountLivesByOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for layer, write := range map[providers.Layer]bool{providers.LayerSaved: true, providers.LayerConfigured: false} {
		a := r.as("acme-bot", "of-yesterday")
		a.Layer = layer
		p := &person{token: r.bot.PAT(hub.RepoRead).Secret}
		res, err := login(t.Context(), providers.LoginRequest{Host: providers.DockerHub, Account: a, Deps: r.deps, UI: p}, nil)
		if err != nil || res.Write != write || res.Secret.Reveal() != p.token || res.Account.Username != "acme-bot" || res.Who != "acme-bot" || len(p.shown) != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		if q := strings.Join(p.asked, "|"); !strings.Contains(q, tokensPage) || write != strings.Contains(q, "with a code in the browser") {
			t.Errorf("asked %q", q)
		}
	}
	// A device login is no such account.
	p := &person{token: "unasked", decide: func(code string) error { return r.hub.Approve(code, r.bot) }}
	a := account(func(a *providers.Account) { a.Layer = providers.LayerSaved })
	res, err := login(t.Context(), providers.LoginRequest{Host: providers.DockerHub, Account: a, Deps: r.deps, UI: p}, r.pause)
	if err != nil || len(p.asked) != 0 || len(p.shown) != 1 || res.Secret.Reveal() == p.token {
		t.Errorf("%+v, asked %q, %v", res, p.asked, err)
	}
}
