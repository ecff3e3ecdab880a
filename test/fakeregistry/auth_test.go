// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// request makes one with the login that the mode wants; in Token mode it
// fetches a token for exactly what the request needs.
func request(t testing.TB, s *Server, user, password, method, path, content string) *http.Request {
	t.Helper()
	target := path
	if !strings.Contains(target, "://") {
		target = s.URL() + path
	}
	var in io.Reader
	if content != "" {
		in = strings.NewReader(content)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, in)
	if err != nil {
		t.Fatal(err)
	}
	if user == "" {
		return req
	}
	if rt, ok := parseRoute(req); ok && s.opt.Mode == Token {
		req.Header.Set("Authorization", "Bearer "+fetch(t, s, user, password, scopeOf(rt.needs)))
	} else {
		req.SetBasicAuth(user, password)
	}
	return req
}

// reply is an answer, read to its end.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
	Body       string
}

func do(t testing.TB, s *Server, req *http.Request) reply {
	t.Helper()
	resp, err := client(s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Status, resp.Header, string(b)}
}

func raw(t testing.TB, s *Server, user, password, method, path, content string) reply {
	t.Helper()
	return do(t, s, request(t, s, user, password, method, path, content))
}

type tokenAnswer struct {
	Token        string `json:"token"`
	AccessToken  string `json:"access_token"`
	ExpiresIn    *int   `json:"expires_in"`
	IssuedAt     string `json:"issued_at"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

// fetch gets a Bearer token by the GET form.
func fetch(t testing.TB, s *Server, user, password, scope string) string {
	t.Helper()
	resp := getToken(t, s, user, password, "service=fakeregistry&scope="+url.QueryEscape(scope))
	var a tokenAnswer
	if err := json.Unmarshal([]byte(resp.Body), &a); err != nil || a.Token == "" || a.Token != a.AccessToken {
		t.Fatalf("%s: %+v, %v", resp.Status, a, err)
	}
	return a.Token
}

func getToken(t testing.TB, s *Server, user, password, query string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.TokenURL()+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return do(t, s, req)
}

func postForm(t testing.TB, s *Server, target string, form url.Values) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, s, req)
}

func TestChallengeIsThatOfTheDistributionRegistry(t *testing.T) {
	everyMode(t, Options{Users: []User{{Name: "alice", Password: "pw"}}}, func(t *testing.T, s *Server) {
		for path, scope := range map[string]string{
			"GET /v2/": "", "GET /v2": "", "GET /v2/_catalog": "registry:catalog:*",
			"GET /v2/a/b/manifests/latest": "repository:a/b:pull", "HEAD /v2/a/b/blobs/sha256:00": "repository:a/b:pull",
			"PUT /v2/a/b/manifests/latest": "repository:a/b:pull,push", "POST /v2/a/b/blobs/uploads/": "repository:a/b:pull,push",
			"POST /v2/a/blobs/uploads/?mount=sha256:00&from=b/c": "repository:a:pull,push repository:b/c:pull",
			"DELETE /v2/a/b/manifests/latest":                    "repository:a/b:delete", "GET /v2/a/b/tags/list": "repository:a/b:pull",
			"GET /v2/blobs/uploads/manifests/latest": "repository:blobs/uploads:pull",
		} {
			method, target, _ := strings.Cut(path, " ")
			resp := raw(t, s, "", "", method, target, "")
			want := `Basic realm="fakeregistry"`
			if s.opt.Mode == Token {
				want = fmt.Sprintf(`Bearer realm="%s/token",service="fakeregistry"`, s.URL())
				if scope != "" {
					want += fmt.Sprintf(`,scope="%s"`, scope)
				}
			}
			if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusUnauthorized || got != want {
				t.Errorf("%s: %s %s; want %s", path, resp.Status, got, want)
			}
			if got := resp.Header.Get("Docker-Distribution-Api-Version"); got != "registry/2.0" {
				t.Errorf("%s: version %q", path, got)
			}
			if method != http.MethodHead && !strings.HasPrefix(resp.Body, `{"errors":[{"code":"UNAUTHORIZED",`) {
				t.Errorf("%s: no envelope", path)
			}
		}
		if n := s.Stats().AuthFailures[""]; n != 0 {
			t.Errorf("%d challenges count as failures", n)
		}
	})
}

func TestLoginIsChecked(t *testing.T) {
	now := time.Now()
	users := []User{
		{Name: "alice", Password: "a:b$c"}, // a colon in a password is legal
		{Name: "robot$x+y", Password: "pw"},
		{Name: "short", Password: "pw", ExpiresAt: now.Add(time.Minute)},
		{Name: "none", Password: "pw", Grants: []Grant{}},
	}
	everyMode(t, Options{Users: users}, func(t *testing.T, s *Server) {
		login := func(user, password string) int {
			req := request(t, s, "", "", http.MethodGet, "/v2/", "")
			if s.opt.Mode == Basic {
				req.SetBasicAuth(user, password)
				return do(t, s, req).StatusCode
			}
			resp := getToken(t, s, user, password, "service=fakeregistry&account="+url.QueryEscape(user)+"&client_id=docker&offline_token=true")
			if resp.StatusCode != http.StatusOK {
				return resp.StatusCode
			}
			var a tokenAnswer
			_ = json.Unmarshal([]byte(resp.Body), &a)
			req.Header.Set("Authorization", "Bearer "+a.Token)
			return do(t, s, req).StatusCode
		}
		for _, tt := range []struct {
			user, password string
			want           int
		}{
			{"alice", "a:b$c", 200},
			{"robot$x+y", "pw", 200},
			{"short", "pw", 200},
			{"none", "pw", 200},
			{"alice", "wrong", 401},
			{"alice", "", 401},
			{"alice", "a:b$c ", 401},
			{"Alice", "a:b$c", 401},
			{"nobody", "pw", 401},
			{"robot", "pw", 401},
		} {
			if got := login(tt.user, tt.password); got != tt.want {
				t.Errorf("%s with %q: %d", tt.user, tt.password, got)
			}
		}
		if n := s.Stats().AuthFailures["alice"]; n != 3 {
			t.Errorf("%d failures of alice", n)
		}
		s.Advance(2 * time.Minute)
		if got := login("short", "pw"); got != 401 {
			t.Errorf("expired password: %d", got)
		}
		s.Disable("alice")
		if got := login("alice", "a:b$c"); got != 401 {
			t.Errorf("disabled: %d", got)
		}
		s.Enable("alice")
		if got := login("alice", "a:b$c"); got != 200 {
			t.Errorf("enabled: %d", got)
		}
		s.Revoke("alice")
		if got := login("alice", "a:b$c"); got != 401 {
			t.Errorf("revoked: %d", got)
		}
		s.AddUser(User{Name: "alice", Password: "new"})
		if got := login("alice", "new"); got != 200 {
			t.Errorf("new password: %d", got)
		}
	})
}

func TestGrantsBoundWhatGGCRMayDo(t *testing.T) {
	users := []User{
		{Name: "root", Password: "pw"},
		{Name: "reader", Password: "pw", Grants: []Grant{{"team/app", []string{"pull"}}}},
		{Name: "team", Password: "pw", Grants: []Grant{{"team/*", []string{"pull", "push"}}}},
		{Name: "login", Password: "pw", Grants: []Grant{}},
	}
	everyMode(t, Options{Users: users}, func(t *testing.T, s *Server) {
		refused := http.StatusForbidden
		if s.opt.Mode == Token {
			refused = http.StatusUnauthorized
		}
		tag := ref(t, s, "team/app:v1")
		if err := remote.Write(tag, image(t), as(t, s, "root", "pw")...); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			user, password string
			pull, push     int
		}{
			{"reader", "pw", 0, refused},
			{"team", "pw", 0, 0},
			{"login", "pw", refused, refused},
			{"reader", "wrong", http.StatusUnauthorized, http.StatusUnauthorized},
			{"", "", http.StatusUnauthorized, http.StatusUnauthorized},
		} {
			_, pull := remote.Image(tag, as(t, s, tt.user, tt.password)...)
			push := remote.Write(tag, image(t), as(t, s, tt.user, tt.password)...)
			if (pull == nil) != (tt.pull == 0) || status(pull) != tt.pull {
				t.Errorf("pull as %q: %v", tt.user, pull)
			}
			if (push == nil) != (tt.push == 0) || status(push) != tt.push {
				t.Errorf("push as %q: %v", tt.user, push)
			}
		}
		if _, err := remote.Image(ref(t, s, "teamwork/app:v1"), as(t, s, "team", "pw")...); status(err) != refused {
			t.Errorf("a repository beside the granted ones: %v", err)
		}
		if err := remote.Delete(tag, as(t, s, "team", "pw")...); status(err) != refused {
			t.Errorf("delete without the right: %v", err)
		}
		st := s.Stats()
		if got := st.Who("team/app", "push"); !slices.Equal(got, []string{"root", "team"}) {
			t.Errorf("pushed by %q", got)
		}
		if st.Denied["reader"] == 0 || st.AuthFailures["reader"] == 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAnonymousReadsWhatIsPublic(t *testing.T) {
	o := Options{Users: []User{{Name: "root", Password: "pw"}}, Anonymous: []Grant{{"public/*", []string{"pull"}}}}
	everyMode(t, o, func(t *testing.T, s *Server) {
		for _, r := range []string{"public/app", "private/app"} {
			if err := remote.Write(ref(t, s, r), image(t), as(t, s, "root", "pw")...); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := remote.Image(ref(t, s, "public/app"), as(t, s, "", "")...); err != nil {
			t.Error(err)
		}
		if _, err := remote.Image(ref(t, s, "private/app"), as(t, s, "", "")...); status(err) != http.StatusUnauthorized {
			t.Errorf("%v", err)
		}
		if err := remote.Write(ref(t, s, "public/app"), image(t), as(t, s, "", "")...); status(err) != http.StatusUnauthorized {
			t.Errorf("%v", err)
		}
		// A bad login beats anonymous access, as on real registries.
		if _, err := remote.Image(ref(t, s, "public/app"), as(t, s, "root", "wrong")...); status(err) != http.StatusUnauthorized {
			t.Errorf("%v", err)
		}
		st := s.Stats()
		if pull, push := st.Who("public/app", "pull"), st.Who("public/app", "push"); !slices.Equal(pull, []string{""}) || !slices.Equal(push, []string{"root"}) {
			t.Errorf("pulled by %q, pushed by %q", pull, push)
		}
	})
}

func TestBearerTokenIsVerified(t *testing.T) {
	s := start(t, Options{Mode: Token, TokenLife: time.Minute})
	other, err := newSigner()
	if err != nil {
		t.Fatal(err)
	}
	granted := []access{{"repository", "a/b", "pull"}}
	forge := func(k *signer, change func(c *tokenClaims)) string {
		c := s.claims("alice", "fakeregistry", granted)
		change(c)
		token, err := k.sign(KeyX5C, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	same := func(*tokenClaims) {}
	good := forge(s.signer, same)
	impostor := &signer{key: other.key, cert: s.signer.cert, kid: s.signer.kid}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, s.claims("alice", "fakeregistry", granted)).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	now := s.now()
	for _, tt := range []struct{ name, token, reason string }{
		{"good", good, ""},
		{"signed by another key", forge(other, same), "invalid_token"},
		{"signed by another key under our name", forge(impostor, same), "invalid_token"},
		{"alg none", none, "invalid_token"},
		{"changed", good[:len(good)-8] + "AAAAAAAA", "invalid_token"},
		{"garbage", "garbage", "invalid_token"},
		{"wrong aud", forge(s.signer, func(c *tokenClaims) { c.Audience = "other" }), "invalid_token"},
		{"wrong iss", forge(s.signer, func(c *tokenClaims) { c.Issuer = "other" }), "invalid_token"},
		{"expired", forge(s.signer, func(c *tokenClaims) { c.Expires = now.Add(-2 * time.Second).Unix() }), "invalid_token"},
		{"without expiry", forge(s.signer, func(c *tokenClaims) { c.Expires = 0 }), "invalid_token"},
		{"not yet valid", forge(s.signer, func(c *tokenClaims) { c.NotBefore = now.Add(time.Minute).Unix() }), "invalid_token"},
		{"without access", forge(s.signer, func(c *tokenClaims) { c.Access = nil }), "insufficient_scope"},
		{"other repository", forge(s.signer, func(c *tokenClaims) { c.Access[0].Name = "a/bc" }), "insufficient_scope"},
		{"other action", forge(s.signer, func(c *tokenClaims) { c.Access[0].Actions = []string{"push"} }), "insufficient_scope"},
		{"other type", forge(s.signer, func(c *tokenClaims) { c.Access[0].Type = "registry" }), "insufficient_scope"},
	} {
		req := request(t, s, "", "", http.MethodGet, "/v2/a/b/tags/list", "")
		req.Header.Set("Authorization", "Bearer "+tt.token)
		resp := do(t, s, req)
		challenge := resp.Header.Get("WWW-Authenticate")
		if tt.reason == "" && resp.StatusCode != http.StatusNotFound { // no such repository: authorised
			t.Errorf("%s: %s %s", tt.name, resp.Status, challenge)
		}
		if tt.reason != "" && (resp.StatusCode != http.StatusUnauthorized || !strings.HasSuffix(challenge, `,scope="repository:a/b:pull",error="`+tt.reason+`"`)) {
			t.Errorf("%s: %s %s", tt.name, resp.Status, challenge)
		}
	}
	s.Advance(61 * time.Second)
	req := request(t, s, "", "", http.MethodGet, "/v2/", "")
	req.Header.Set("Authorization", "Bearer "+good)
	if resp := do(t, s, req); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after its life: %s", resp.Status)
	}
	req.Header.Set("Authorization", "Basic YWxpY2U6cHc=")
	if resp := do(t, s, req); resp.StatusCode != http.StatusUnauthorized || s.Stats().AuthFailures["alice"] == 0 {
		t.Errorf("Basic at a Bearer registry: %s", resp.Status)
	}
}
