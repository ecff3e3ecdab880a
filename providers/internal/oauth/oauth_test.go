// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oauth"
)

const canary = "CNRYoauth0123456789abcdef0123456"

// server is an authorization server: a device login and refresh tokens that
// work once.
type server struct {
	mu        sync.Mutex
	answers   []string // to polls, in order; the last one stays
	status    int      // of errors
	refreshes int
	live      string // the refresh token that works
	killed    bool   // the family is dead
	hangUp    bool   // the answer to a refresh is lost
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Accept") != "application/json" || r.FormValue("client_id") != "app" {
		http.Error(w, "x=y", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fail := func(code string) {
		w.WriteHeader(s.status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"words about %s"}`, code, r.FormValue("device_code")+r.FormValue("refresh_token"))
	}
	switch {
	case r.URL.Path == "/device" && r.FormValue("scope") == "read write":
		_, _ = fmt.Fprintf(w, `{"device_code":%q,"user_code":"WDJB-MJHT","verification_uri":"https://as.example/device","expires_in":900,"interval":5}`, canary+"code")
	case r.URL.Path == "/device":
		fail("device_flow_disabled")
	case r.FormValue("grant_type") == "refresh_token":
		s.refreshes++
		if s.killed || r.FormValue("refresh_token") != s.live {
			s.killed = true
			fail("invalid_grant")
			return
		}
		s.live = fmt.Sprintf("%srefresh%d", canary, s.refreshes)
		if s.hangUp {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"%saccess%d","refresh_token":%q,"expires_in":7200,"token_type":"Bearer"}`, canary, s.refreshes, s.live)
	case r.FormValue("device_code") != canary+"code":
		fail("incorrect_device_code")
	default:
		a := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		if a != "" {
			fail(a)
			return
		}
		s.live = canary + "refresh0"
		_, _ = fmt.Fprintf(w, `{"access_token":"%saccess0","refresh_token":%q,"expires_in":28800,"refresh_token_expires_in":15811200,"scope":"read,write"}`, canary, s.live)
	}
}

type person struct {
	providers.LoginUI
	shown []providers.Device
}

func (p *person) Device(_ context.Context, d providers.Device) error {
	p.shown = append(p.shown, d)
	return nil
}

type world struct {
	*server
	c     oauth.Client
	d     providers.Deps
	waits []time.Duration
	now   time.Time
	mu    sync.Mutex
	kept  providers.Secret
	locks sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{server: &server{status: http.StatusBadRequest, answers: []string{""}}, now: time.Now()}
	ca := httpxtest.NewCA(t)
	s := ca.Server(t, w.server)
	deps, _ := httpxtest.Deps(t, nil)
	deps.Now = func() time.Time { return w.now }
	deps.Resolve = func(context.Context, providers.SecretRef) (providers.Secret, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.kept, nil
	}
	deps.Save = func(_ context.Context, _ providers.SecretRef, s providers.Secret) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.kept = s
		return nil
	}
	deps.Lock = func(context.Context, string) (func(), error) {
		w.locks.Lock()
		return w.locks.Unlock, nil
	}
	h, err := httpx.New(httpx.ConfigOf(providers.Account{CAFile: ca.File()}, deps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.CloseIdle)
	w.d = deps
	w.c = oauth.Client{
		HTTP: h, Host: httpxtest.Host(t, "reg.example"), Product: "Example", ClientID: "app", Scope: "read write",
		DeviceURL: s.URL + "/device", TokenURL: s.URL + "/token", Now: deps.Now,
		Pause: func(ctx context.Context, d time.Duration) bool {
			w.waits = append(w.waits, d)
			w.now = w.now.Add(d)
			return ctx.Err() == nil
		},
	}
	return w
}

// Errors come with status 400 from most, with 200 from GitHub.
func TestDeviceLoginWaitsSlowsDownAndEnds(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
		w := newWorld(t)
		w.status = status
		w.answers = []string{"authorization_pending", "slow_down", "authorization_pending", ""}
		p := &person{}
		tok, err := w.c.Device(t.Context(), p, "Example")
		if err != nil || tok.Access.Reveal() != canary+"access0" || tok.Refresh.Reveal() != canary+"refresh0" {
			t.Fatalf("%d: %v", status, err)
		}
		if want := []time.Duration{5e9, 5e9, 10e9, 10e9}; !slices.Equal(w.waits, want) {
			t.Errorf("waited %v", w.waits)
		}
		if len(p.shown) != 1 || p.shown[0].Code != "WDJB-MJHT" || p.shown[0].URL != "https://as.example/device" {
			t.Errorf("shown %+v", p.shown)
		}
		if !slices.Equal(tok.Scopes, []string{"read", "write"}) || tok.ExpiresAt.Sub(w.now) != 8*time.Hour || tok.RefreshExpiresAt.IsZero() {
			t.Errorf("%+v", tok)
		}
	}
}

func TestDeviceLoginThatFailsSaysWhyAndShowsNoSecret(t *testing.T) {
	for answer, want := range map[string]struct {
		kind providers.Kind
		text string
	}{
		"expired_token":         {providers.LoginRequired, "nobody entered the code in time"},
		"access_denied":         {providers.Denied, "declined in the browser"},
		"authorization_pending": {providers.LoginRequired, "nobody entered the code in time"}, // for ever
		"server_error":          {providers.Denied, "Example: server_error"},
	} {
		w := newWorld(t)
		w.answers = []string{answer}
		_, err := w.c.Device(t.Context(), &person{}, "Example")
		if providers.KindOf(err) != want.kind || !strings.Contains(fmt.Sprint(err), want.text) || strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	w := newWorld(t)
	w.c.Scope = "none"
	if _, err := w.c.Device(t.Context(), &person{}, "Example"); !errors.Is(err, oauth.ErrUnsupported) {
		t.Errorf("disabled: %v", err)
	}
	w = newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.c.Pause = func(context.Context, time.Duration) bool { cancel(); return false }
	if _, err := w.c.Device(ctx, &person{}, "Example"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
}

func (w *world) login(t *testing.T) {
	t.Helper()
	tok, err := w.c.Device(t.Context(), &person{}, "Example")
	if err != nil {
		t.Fatal(err)
	}
	w.kept = w.c.Keep(tok, "jane").Secret()
}

func TestFiftyThatNeedAFreshTokenAreOneRefresh(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(7*time.Hour + 55*time.Minute)
	ref, _ := providers.ParseSecretRef("keyring:x")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := w.c.Fresh(t.Context(), w.d, ref, 0)
			if err != nil || p.Access != canary+"access1" || p.User != "jane" || !slices.Equal(p.Scopes, []string{"read", "write"}) {
				t.Errorf("%v %v", p.ExpiresAt, err)
			}
		})
	}
	wg.Wait()
	if w.refreshes != 1 || w.killed {
		t.Errorf("%d refreshes, family dead: %v", w.refreshes, w.killed)
	}
}

func TestPairThatCannotBeSavedIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	w.d.Save = func(context.Context, providers.SecretRef, providers.Secret) error { return errors.New("disk full") }
	ref, _ := providers.ParseSecretRef("keyring:x")
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err == nil || strings.Contains(p.Access, "access1") || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
}

func TestRefreshThatIsRefusedOrLostIsNotRepeated(t *testing.T) {
	ref, _ := providers.ParseSecretRef("keyring:x")
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	w.live = "another"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.LoginRequired || w.refreshes != 1 || strings.Contains(err.Error(), canary) {
		t.Errorf("refused: %v, %d refreshes", err, w.refreshes)
	}
	w = newWorld(t)
	w.login(t)
	w.hangUp = true
	w.now = w.now.Add(7*time.Hour + 55*time.Minute)
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access0" || w.refreshes != 1 {
		t.Errorf("lost while the old one lives: %v, %d refreshes", err, w.refreshes)
	}
	w = newWorld(t)
	w.login(t)
	w.now = w.now.Add(200 * 24 * time.Hour)
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.LoginRequired || w.refreshes != 0 {
		t.Errorf("past the refresh token's end: %v, %d refreshes", err, w.refreshes)
	}
}

func TestPairIsNotSentToAnotherServer(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	ref, _ := providers.ParseSecretRef("keyring:x")
	w.c.TokenURL += "/else"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("%v", err)
	}
	w.kept = providers.NewSecret("a password")
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("%v", err)
	}
}
