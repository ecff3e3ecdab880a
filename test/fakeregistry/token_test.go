// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func access1(name string, actions ...string) grantClaim {
	return grantClaim{"repository", name, actions}
}

// claimsOf reads a token that the server made.
func claimsOf(t testing.TB, s *Server, token string) *tokenClaims {
	t.Helper()
	c, err := s.verify(token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTokenSaysNoMoreThanTheUserMay(t *testing.T) {
	s := start(t, Options{Mode: Token, Users: []User{
		{Name: "root", Password: "pw"},
		{Name: "team", Password: "pw", Grants: []Grant{{"team/*", []string{"pull"}}, {"team/app", []string{"push"}}}},
	}})
	for _, tt := range []struct {
		user, query string
		want        []grantClaim
	}{
		{"root", "", []grantClaim{}},
		{"root", "scope=repository:a/b:pull,push", []grantClaim{access1("a/b", "pull", "push")}},
		{"root", "scope=repository:a:pull&scope=repository:b:push", []grantClaim{access1("a", "pull"), access1("b", "push")}},
		{"root", "scope=repository:a:pull%20repository:b:push", []grantClaim{access1("a", "pull"), access1("b", "push")}},
		{"root", "scope=repository:a:*", []grantClaim{access1("a", "pull", "push", "delete")}},
		{"root", "scope=repository(plugin):a:pull", []grantClaim{access1("a", "pull")}},
		{"root", "scope=repository:host:5000/a:pull", []grantClaim{access1("host:5000/a", "pull")}},
		{"root", "scope=registry:catalog:*", []grantClaim{{"registry", "catalog", []string{"*"}}}},
		{"root", "scope=repository:a:fly", []grantClaim{access1("a", "fly")}}, // everything is everything
		{"root", "scope=garbage&scope=a:b&scope=", []grantClaim{}},
		{"team", "scope=repository:team/app:pull,push,delete", []grantClaim{access1("team/app", "pull", "push")}},
		{"team", "scope=repository:team/other:pull,push", []grantClaim{access1("team/other", "pull")}},
		{"team", "scope=repository:team:pull", []grantClaim{}},
		{"team", "scope=repository:teamwork/app:pull", []grantClaim{}},
		{"team", "scope=registry:catalog:*", []grantClaim{}},
		{"team", "scope=repository:team/app:*", []grantClaim{access1("team/app", "pull", "push")}},
	} {
		resp := getToken(t, s, tt.user, "pw", "service=fakeregistry&"+tt.query)
		var a tokenAnswer
		if err := json.Unmarshal([]byte(resp.Body), &a); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %s, %v", tt.user, tt.query, resp.Status, err)
			continue
		}
		c := claimsOf(t, s, a.Token)
		if !reflect.DeepEqual(c.Access, tt.want) || c.Subject != tt.user {
			t.Errorf("%s %s: %q %+v", tt.user, tt.query, c.Subject, c.Access)
		}
		if _, err := time.Parse(time.RFC3339, a.IssuedAt); err != nil || a.ExpiresIn == nil || *a.ExpiresIn != 300 || a.RefreshToken != "" {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

func TestTokenClaimsAreThoseOfTheReferenceServer(t *testing.T) {
	s := start(t, Options{Mode: Token, Users: []User{{Name: "alice", Password: "pw"}}, Service: "reg.example", Issuer: "iss", TokenLife: 90 * time.Second})
	resp := getToken(t, s, "alice", "pw", "service=reg.example&scope=repository:a:pull")
	var a tokenAnswer
	if err := json.Unmarshal([]byte(resp.Body), &a); err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	token, _, err := jwt.NewParser().ParseUnverified(a.Token, claims)
	if err != nil {
		t.Fatal(err)
	}
	if token.Header["typ"] != "JWT" || token.Header["alg"] != "ES256" || token.Header["kid"] != s.signer.kid || token.Header["x5c"] == nil {
		t.Errorf("header %v", token.Header)
	}
	for _, k := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"} {
		if claims[k] == nil || claims[k] == "" {
			t.Errorf("%s is missing", k)
		}
	}
	if claims["aud"] != "reg.example" || claims["iss"] != "iss" || claims["exp"].(float64)-claims["iat"].(float64) != 90 || *a.ExpiresIn != 90 {
		t.Errorf("%v", claims)
	}
	if resp := getToken(t, s, "alice", "pw", "service=other"); resp.StatusCode == http.StatusOK {
		_ = json.Unmarshal([]byte(resp.Body), &a)
		if _, err := s.verify(a.Token); err == nil {
			t.Error("a token for another service is good here")
		}
	}
}

func TestTokenByForm(t *testing.T) {
	s := start(t, Options{Mode: Token, RefreshTokens: true, Users: []User{{Name: "alice", Password: "pw", Grants: []Grant{{"a", []string{"pull"}}}}}})
	form := func(kv ...string) url.Values {
		v := url.Values{"service": {"fakeregistry"}, "client_id": {"test"}, "grant_type": {"password"}, "username": {"alice"}, "password": {"pw"}}
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == "" {
				v.Del(kv[i])
			} else {
				v.Set(kv[i], kv[i+1])
			}
		}
		return v
	}
	ask := func(v url.Values) (tokenAnswer, int) {
		resp := postForm(t, s, s.TokenURL(), v)
		var a tokenAnswer
		_ = json.Unmarshal([]byte(resp.Body), &a)
		return a, resp.StatusCode
	}
	a, code := ask(form("scope", "repository:a:pull,push repository:b:pull", "access_type", "offline"))
	if code != http.StatusOK || a.Token != "" || a.Scope != "repository:a:pull" || a.RefreshToken == "" {
		t.Fatalf("%d %+v", code, a)
	}
	if c := claimsOf(t, s, a.AccessToken); !reflect.DeepEqual(c.Access, []grantClaim{access1("a", "pull")}) || c.Subject != "alice" {
		t.Errorf("%+v", c)
	}
	refresh := form("grant_type", "refresh_token", "refresh_token", a.RefreshToken, "username", "", "password", "", "scope", "repository:a:pull")
	b, code := ask(refresh)
	if code != http.StatusOK || b.RefreshToken != a.RefreshToken || claimsOf(t, s, b.AccessToken).Subject != "alice" {
		t.Errorf("refresh: %d %+v", code, b)
	}
	for name, v := range map[string]url.Values{
		"400 no service": form("service", ""), "400 no client": form("client_id", ""), "400 no grant": form("grant_type", ""), "400 other grant": form("grant_type", "client_credentials"),
		"401 wrong password": form("password", "wrong"), "401 no password": form("password", ""), "401 unknown refresh token": form("grant_type", "refresh_token", "refresh_token", "x"),
	} {
		if _, code := ask(v); !strings.HasPrefix(name, http.StatusText(code)) && name[:3] != map[int]string{400: "400", 401: "401"}[code] {
			t.Errorf("%s: %d", name, code)
		}
	}
	s.Revoke("alice")
	if _, code := ask(refresh); code != http.StatusUnauthorized {
		t.Errorf("refresh after the password was revoked: %d", code)
	}
	// A GET that asks for offline access gets a refresh token too.
	s.AddUser(User{Name: "alice", Password: "new"})
	var c tokenAnswer
	_ = json.Unmarshal([]byte(getToken(t, s, "alice", "new", "service=fakeregistry&offline_token=true&client_id=docker").Body), &c)
	if c.RefreshToken == "" {
		t.Error("no refresh token")
	}
}

func TestTokenFormIsAbsentAsOnRealProducts(t *testing.T) {
	for _, code := range []int{400, 401, 404, 405} {
		s := start(t, Options{Mode: Token, TokenPOST: code, Users: []User{{Name: "alice", Password: "pw"}}})
		resp := postForm(t, s, s.TokenURL(), url.Values{
			"service": {"fakeregistry"}, "client_id": {"test"}, "grant_type": {"password"}, "username": {"alice"}, "password": {"pw"},
		})
		if resp.StatusCode != code {
			t.Errorf("%s, want %d", resp.Status, code)
		}
		if resp := getToken(t, s, "alice", "pw", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("GET: %s", resp.Status)
		}
		if n := s.Stats().Tokens["alice"]; n != 1 {
			t.Errorf("%d tokens", n)
		}
	}
}

func TestTokenAnswerMayLeaveOutItsLife(t *testing.T) {
	s := start(t, Options{Mode: Token, OmitExpiresIn: true, Users: []User{{Name: "alice", Password: "pw"}}})
	var a tokenAnswer
	if err := json.Unmarshal([]byte(getToken(t, s, "alice", "pw", "").Body), &a); err != nil || a.ExpiresIn != nil || a.Token == "" {
		t.Errorf("%+v, %v", a, err)
	}
}
