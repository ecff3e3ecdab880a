// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// identified is an account of a connection whose identity token is a variable's.
func (r *rig) identified(con *hub.Connection, audience string, edit ...func(*Options)) providers.Account {
	r.t.Helper()
	ref, err := oidc.ParseRef("env:ID_TOKEN")
	if err != nil {
		r.t.Fatal(err)
	}
	r.secrets["env:ID_TOKEN"] = r.cloud.Issuer(fakecloud.GitHubIssuer).Sign(subject, audience, map[string]any{"exp": r.cloud.Now().Add(24 * time.Hour).Unix()})
	return r.connected(con, append([]func(*Options){func(o *Options) { o.WebIdentity = ref }}, edit...)...)
}

// H54: a clock that is hours off does not end tokens: their times are read as
// distances.
func TestAClockThatIsHoursOffEndsNoToken(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		r := newRig(t)
		r.deps.Now = func() time.Time { return r.cloud.Now().Add(off) }
		con := r.acme.Connect(hub.Connection{Subject: "*", Scope: hub.RepoWrite})
		c := r.works(r.open(r.identified(con, identityURL)), "acme/app=push")
		if c.Life().Round(time.Minute) != 5*time.Minute {
			t.Errorf("%s off: a token of %s", off, c.Life())
		}
		r.runner(subject) // its identity tokens live for minutes
		r.works(r.open(r.connected(con)), "acme/app=push")
		n, err := r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret)).MintNative(t.Context(), request(t))
		if err != nil || n.Life().Round(time.Minute) != 10*time.Minute {
			t.Errorf("%s off: a token of the API of %s, %v", off, n.Life(), err)
		}
		r.hub.LimitAPI(0, r.cloud.Now().Add(7*time.Minute))
		_, err = r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret)).MintNative(t.Context(), request(t))
		if e, ok := errors.AsType[*providers.Error](err); !ok || e.RetryAfter.Round(time.Minute) != 7*time.Minute {
			t.Errorf("%s off: %v", off, err)
		}
	}
}

// An identity token for somebody else is not shown to Docker.
func TestAnIdentityTokenForSomebodyElseStaysHere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "*", Scope: hub.RepoWrite})
	_, err := r.open(r.identified(con, "https://sts.example")).Mint(t.Context(), request(t))
	r.fails(err, providers.Misconfigured, "https://sts.example")
	if n := r.calls(hub.IdentityHost, "/"); n != 0 {
		t.Errorf("%d requests", n)
	}
	// Where the account wants that audience, Docker refuses it.
	_, err = r.open(r.identified(con, "https://sts.example", func(o *Options) { o.Audience = "https://sts.example" })).Mint(t.Context(), request(t))
	r.fails(err, providers.Denied, "HTTP 401", "GitHub Actions")
}

func TestABusyExchangeIsNotStormed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "*", Scope: hub.RepoWrite})
	s := r.open(r.identified(con, identityURL))
	r.cloud.Inject(fakecloud.Fault{Host: hub.IdentityHost, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"90"}}})
	_, err := s.Mint(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "OIDC service of Docker", "not before")
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.RetryAfter != 90*time.Second {
		t.Errorf("%+v", err)
	}
	if n := r.calls(hub.IdentityHost, "/"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestALifeIsWhatTheExchangeSays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.connected(r.acme.Connect(hub.Connection{Subject: "*"}), func(o *Options) { o.TokenLife = providers.Duration(time.Hour) }))
	for said, want := range map[string]time.Duration{
		`300`: 5 * time.Minute, `"300"`: 5 * time.Minute, `null`: time.Hour, `"soon"`: time.Hour, `86400`: 24 * time.Hour, `0`: 0, `-300`: -time.Second,
	} {
		got, life, err := s.exchanged(providers.DockerHub, &httpx.Response{Body: []byte(`{"access_token":"opaque","expires_in":` + said + `}`)}, providers.Secret{})
		if err != nil || got.secret.Reveal() != "opaque" || life != want {
			t.Errorf("%s: %s %v", said, life, err)
		}
	}
	for _, body := range []string{`{}`, `{"access_token":""}`, `{"access_token":"a b"}`, `{"access_token":1}`, `[]`, `null`, `"x"`, `{"access_token":"` + strings.Repeat("a", 65<<10) + `"}`} {
		if _, _, err := s.exchanged(providers.DockerHub, &httpx.Response{Body: []byte(body)}, providers.Secret{}); providers.KindOf(err) != providers.Unavailable || err == nil {
			t.Errorf("%.30s: %v", body, err)
		}
	}
	// What it says of itself wins where that is sooner, and no life is longer than
	// what was asked for.
	now := time.Unix(1_800_000_000, 0)
	token := func(exp int64) answer {
		claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, exp))
		return answer{providers.NewSecret("e30." + claims + ".x"), http.Header{}}
	}
	for exp, want := range map[int64]time.Duration{now.Unix() + 60: time.Minute, now.Unix() + 900: 5 * time.Minute, now.Unix() * 1000: 5 * time.Minute} {
		if got := token(exp).ends(now, 5*time.Minute).Sub(now); got != want {
			t.Errorf("exp %d: %s", exp, got)
		}
	}
	r.hub.Set(func(o *hub.Options) { o.FederatedLife = 24 * time.Hour })
	if c := r.works(r.open(r.identified(r.acme.Connect(hub.Connection{Subject: "*"}), identityURL))); c.Life() != 5*time.Minute {
		t.Errorf("a token that lives longer than asked for: %s", c.Life())
	}
	// A token that is over on arrival is none.
	r = newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "*"})
	for _, n := range []string{"0", "-1"} {
		r.cloud.ClearFaults()
		r.cloud.Inject(fakecloud.Fault{Host: hub.IdentityHost, Status: http.StatusOK, Body: `{"access_token":"opaque","expires_in":` + n + `}`})
		_, err := r.open(r.identified(con, identityURL)).Mint(t.Context(), request(t))
		r.fails(err, providers.Unavailable, "expired already")
	}
}
