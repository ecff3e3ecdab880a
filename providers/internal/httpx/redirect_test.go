// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// seen records what a server got.
type seen struct {
	mu   sync.Mutex
	reqs []string // "METHOD path auth body"
}

func (s *seen) add(r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reqs = append(s.reqs, strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Authorization") + r.Header.Get("X-Vault-Token"), string(b)}, " "))
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.reqs...)
}

// hops answers /N with a redirect to the Nth target, and 200 elsewhere.
func hops(s *seen, code *int, targets *[]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		if n := strings.TrimPrefix(r.URL.Path, "/"); len(n) == 1 && n[0] >= '0' && int(n[0]-'0') < len(*targets) {
			w.Header().Set("Location", (*targets)[n[0]-'0'])
			w.WriteHeader(*code)
		}
	})
}

type rig struct {
	client       *httpx.Client
	a, b, plain  *httptest.Server
	onA, onB, on seen
	code         int
	targets      []string
}

func newRig(t *testing.T) *rig {
	r := &rig{}
	ca := httpxtest.NewCA(t)
	r.a = ca.Server(t, hops(&r.onA, &r.code, &r.targets), "127.0.0.1", "localhost")
	r.b = ca.Server(t, hops(&r.onB, &r.code, &r.targets), "127.0.0.1", "localhost")
	r.plain = httpxtest.Plain(t, hops(&r.on, &r.code, &r.targets))
	deps, _ := httpxtest.Deps(t, nil)
	c, err := httpx.New(httpx.ConfigOf(providers.Account{CAFile: ca.File()}, deps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	r.client = c
	return r
}

func (r *rig) do(t *testing.T, method string, same bool) error {
	var body []byte
	if method == http.MethodPost {
		body = []byte("password=" + canary)
	}
	_, err := r.client.Do(t.Context(), httpx.Request{
		Method: method, URL: r.a.URL + "/0", Body: body, SameOrigin: same,
		Header: http.Header{"Authorization": {"Bearer " + canary}, "X-Vault-Token": {canary}},
	})
	return err
}

// H46, T1/2b: a credential is seen by its exact origin only.
func TestRedirectsCarryCredentialsToTheExactOriginOnly(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 302, 303, 307, 308} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			t.Parallel()
			t.Run("same origin, absolute and relative", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{"/1", r.a.URL + "/end"}
				if err := r.do(t, "GET", true); err != nil {
					t.Fatal(err)
				}
				if got := r.onA.all(); len(got) != 3 || !strings.Contains(got[2], "GET /end Bearer "+canary) {
					t.Errorf("got %q", got)
				}
			})
			t.Run("another port gets the request without credentials", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{r.b.URL + "/end"}
				if err := r.do(t, "GET", false); err != nil {
					t.Fatal(err)
				}
				if got := r.onB.all(); len(got) != 1 || strings.Contains(got[0], canary) {
					t.Errorf("got %q", got)
				}
			})
			t.Run("another name of the same server is another origin", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{strings.Replace(r.a.URL, "127.0.0.1", "localhost", 1) + "/end"}
				if err := r.do(t, "GET", false); err != nil {
					t.Fatal(err)
				}
				if got := r.onA.all(); len(got) != 2 || strings.Contains(got[1], canary) {
					t.Errorf("got %q", got)
				}
			})
			t.Run("a to b to a comes back without credentials", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{r.b.URL + "/1", r.a.URL + "/end"}
				if err := r.do(t, "GET", false); err != nil {
					t.Fatal(err)
				}
				if got := r.onA.all(); len(got) != 2 || strings.Contains(got[1], canary) {
					t.Errorf("got %q", got)
				}
			})
			t.Run("a POST never leaves its origin", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{r.b.URL + "/end"}
				if err := r.do(t, "POST", false); err == nil || !strings.Contains(err.Error(), "redirect to another origin (") {
					t.Errorf("got %v", err)
				}
				if got := r.onB.all(); len(got) != 0 {
					t.Errorf("the other origin got %q", got)
				}
			})
			t.Run("a POST inside its origin keeps its body for 307 and 308 only", func(t *testing.T) {
				r := newRig(t)
				r.code, r.targets = code, []string{"/end"}
				if err := r.do(t, "POST", true); err != nil {
					t.Fatal(err)
				}
				if got := r.onA.all(); len(got) != 2 || strings.Contains(got[1], "password=") != (code >= 307) {
					t.Errorf("got %q", got)
				}
			})
			t.Run("refused targets are not asked", func(t *testing.T) { refusedTargets(t, code) })
		})
	}
}

func refusedTargets(t *testing.T, code int) {
	for name, target := range map[string]func(*rig) string{
		"https to http":          func(r *rig) string { return r.plain.URL + "/end" },
		"userinfo":               func(r *rig) string { return strings.Replace(r.b.URL, "://", "://user:pw@", 1) },
		"another scheme":         func(*rig) string { return "ftp://127.0.0.1/" },
		"no URL":                 func(*rig) string { return "https://%zz" },
		"another origin, strict": func(r *rig) string { return r.b.URL },
	} {
		r := newRig(t)
		r.code, r.targets = code, []string{target(r)}
		if err := r.do(t, "GET", strings.Contains(name, "strict")); err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: got %v", name, err)
		}
		if n := len(r.onB.all()) + len(r.on.all()); n != 0 {
			t.Errorf("%s: %d requests arrived", name, n)
		}
	}
}

func TestAtMostFiveRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{5: true, 6: false} {
		r := newRig(t)
		r.code = 302
		for i := range n {
			r.targets = append(r.targets, "/"+string(rune('1'+i)))
		}
		if err := r.do(t, "GET", false); (err == nil) != ok {
			t.Errorf("%d redirects: %v", n, err)
		}
		if got := len(r.onA.all()); got != 6 {
			t.Errorf("%d redirects: %d requests", n, got)
		}
	}
}

// The word of a public registry leads to no inner address.
func TestRedirectToALoopbackAddressNeedsALoopbackOrigin(t *testing.T) {
	t.Parallel()
	if err := httpx.PolicyLike(httpxAddr("203.0.113.7")).Check(httpxAddr("127.0.0.1")); err == nil {
		t.Error("public to loopback passed")
	}
	if err := httpx.PolicyLike(httpxAddr("127.0.0.1")).Check(httpxAddr("127.0.0.1")); err != nil {
		t.Error(err)
	}
}
