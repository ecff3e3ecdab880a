// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
	busy      int    // status of refreshes that are refused for now; 0: none are
	life      string // expires_in of what is refreshed; 7200 unless set
	interval  string // of device codes; 5 unless set
	page      string // verification_uri; one of https unless set
	keeps     bool   // the refresh token works on, and none is sent
	during    func() // happens while a refresh is under way
	code      string // error code in place of the one an answer has
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
		status := s.status
		if n, err := strconv.Atoi(code); err == nil { // a server that is busy
			status, code = n, "too_many_requests"
			w.Header().Set("Retry-After", "37")
		}
		if s.code != "" {
			code = s.code
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"words about %s"}`, code, r.FormValue("device_code")+r.FormValue("refresh_token"))
	}
	switch {
	case r.URL.Path == "/device" && r.FormValue("scope") == "read write":
		_, _ = fmt.Fprintf(w, `{"device_code":%q,"user_code":"WDJB-MJHT","verification_uri":%q,"expires_in":900,"interval":%s}`, canary+"code", cmp.Or(s.page, "https://as.example/device"), cmp.Or(s.interval, "5"))
	case r.URL.Path == "/device":
		fail("device_flow_disabled")
	case r.FormValue("grant_type") == "refresh_token":
		s.refreshes++
		if s.during != nil {
			s.during()
		}
		if s.busy != 0 {
			fail(strconv.Itoa(s.busy))
			return
		}
		if s.killed || r.FormValue("refresh_token") != s.live {
			s.killed = true
			fail("invalid_grant")
			return
		}
		if s.keeps {
			_, _ = fmt.Fprintf(w, `{"access_token":"%saccess%d","expires_in":7200}`, canary, s.refreshes)
			return
		}
		s.live = fmt.Sprintf("%srefresh%d", canary, s.refreshes)
		if s.hangUp {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"%saccess%d","refresh_token":%q,"expires_in":%s,"token_type":"Bearer"}`, canary, s.refreshes, s.live, cmp.Or(s.life, "7200"))
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

// Errors come with status 400 from most, with 200 from GitHub, and slow_down with
// 429 from Auth0.
func TestDeviceLoginWaitsSlowsDownAndEnds(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusTooManyRequests} {
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
		"unknown_application":   {providers.Denied, "Example: unknown_application"},
		"server_error":          {providers.Unavailable, "Example: server_error"}, // for ever
	} {
		w := newWorld(t)
		w.answers = []string{answer}
		_, err := w.c.Device(t.Context(), &person{}, "Example")
		if providers.KindOf(err) != want.kind || !strings.Contains(fmt.Sprint(err), want.text) || strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("%s: %v", answer, err)
		}
		var waited time.Duration
		for _, d := range w.waits {
			waited += d
		}
		if waited > 15*time.Minute {
			t.Errorf("%s: waited %s for a code of 15 minutes", answer, waited)
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

// A server that is busy or down says nothing about the login: it is asked less
// often, and not before it wants to be.
func TestDeviceLoginOutlivesAServerThatIsBusy(t *testing.T) {
	w := newWorld(t)
	w.answers = []string{"503", "503", "authorization_pending", "429", ""}
	if _, err := w.c.Device(t.Context(), &person{}, "Example"); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{5e9, 42e9, 65e9, 5e9, 42e9}; !slices.Equal(w.waits, want) {
		t.Errorf("waited %v", w.waits)
	}
}

func TestNobodyIsSentToAPageThatIsNotSafe(t *testing.T) {
	for _, page := range []string{"http://as.example/device", "javascript:alert(1)", "file:///etc/passwd", "https://jane:pw@as.example/", "//as.example", "as.example"} {
		w := newWorld(t)
		w.page = page
		p := &person{}
		if _, err := w.c.Device(t.Context(), p, "Example"); err == nil || len(p.shown) != 0 {
			t.Errorf("%s: shown %+v, %v", page, p.shown, err)
		}
	}
}

func TestADeviceLoginAsksNoMoreOftenThanItIsTold(t *testing.T) {
	for interval, want := range map[string]time.Duration{"120": time.Minute, "0": 5 * time.Second, "-1": 5 * time.Second, `"7"`: 7 * time.Second, "null": 5 * time.Second} {
		w := newWorld(t)
		w.interval = interval
		if _, err := w.c.Device(t.Context(), &person{}, "Example"); err != nil || !slices.Equal(w.waits, []time.Duration{want}) {
			t.Errorf("interval %s: waited %v, %v", interval, w.waits, err)
		}
	}
}

func TestSecondsAreReadOnlyWhereTheyAreSome(t *testing.T) {
	for _, c := range []struct {
		in   any
		want time.Duration
		ok   bool
	}{
		{json.Number("300"), 5 * time.Minute, true},
		{"300", 5 * time.Minute, true},
		{json.Number("1.5"), 1500 * time.Millisecond, true},
		{json.Number("0"), 0, true},
		{json.Number("-5"), -time.Second, true},
		{json.Number("1e300"), 0, false},
		{json.Number("1e999"), 0, false},
		{"NaN", 0, false},
		{"Inf", 0, false},
		{"5 minutes", 0, false},
		{"", 0, false},
		{nil, 0, false},
		{true, 0, false},
	} {
		if got, ok := oauth.Seconds(c.in); got != c.want || ok != c.ok {
			t.Errorf("%v: %v %v", c.in, got, ok)
		}
	}
}
