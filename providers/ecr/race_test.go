// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
)

// Other tools write the same file while AWS is asked for a new token.
func TestWhatOtherToolsDoToALoginDuringItsRenewalCounts(t *testing.T) {
	t.Parallel()
	good := func(w http.ResponseWriter) {
		fakecloud.WriteJSON(w, 200, map[string]any{"accessToken": "fresh", "tokenType": "Bearer", "expiresIn": 3600, "refreshToken": "next"})
	}
	refused := func(w http.ResponseWriter) {
		w.Header().Set("X-Amzn-Errortype", "InvalidGrantException")
		fakecloud.WriteJSON(w, 400, map[string]string{"error": "invalid_grant"})
	}
	for name, tc := range map[string]struct {
		meanwhile func(p *person, file string)
		answer    func(http.ResponseWriter)
		token     string // what enters, "" for an error
		left      bool   // the file is there
	}{
		"another login, ours renewed": {func(p *person, _ string) { p.login("corp", time.Now().Add(time.Hour), "joe's") }, good, "old-token", true},
		"another login, ours refused": {func(p *person, _ string) { p.login("corp", time.Now().Add(time.Hour), "joe's") }, refused, "old-token", true},
		"a logout, ours renewed":      {func(_ *person, file string) { _ = os.Remove(file) }, good, "", false},
		"a logout, ours refused":      {func(_ *person, file string) { _ = os.Remove(file) }, refused, "", false},
		"nothing, ours renewed":       {func(*person, string) {}, good, "fresh", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			p := c.person(t, nil)
			p.file(".aws/config", ssoConfig)
			file := p.login("corp", time.Now().Add(-time.Minute), "refresh-"+canary)
			c.when("/token", func(w http.ResponseWriter, _ *http.Request) { tc.meanwhile(p, file); tc.answer(w) })
			_, err := mint(t, p.configured(&Options{Profile: "dev"}), hostOne)
			if tc.token == "" {
				wants(t, err, providers.LoginRequired, "run: regmint login")
			} else if calls := c.all("/federation/credentials"); err != nil || calls[0].Body != tc.token {
				t.Errorf("%v %+v", err, calls)
			}
			if _, err := os.Stat(file); (err == nil) != tc.left {
				t.Errorf("the file: %v", err)
			}
			if b, _ := os.ReadFile(file); strings.Contains(tc.token, "old") && !strings.Contains(string(b), "joe's") {
				t.Error("the other login is gone")
			}
		})
	}
}

// The address of the metadata service belongs to other clouds and captive
// portals too.
func TestTheMetadataServiceOfAnotherCloudIsNoIdentity(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"Google": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		},
		"Azure": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"Bad request"}`, http.StatusBadRequest)
		},
		"no PUT":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) },
		"OpenStack": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"captive portal": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>\n<body>log in</body>\n</html>"))
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://portal.example/", http.StatusFound)
		},
	} {
		c := start(t)
		s := c.person(t, nil).account(providers.Account{Name: "ecr:x", Provider: "ecr", Options: &Options{MetadataEndpoint: c.Plain("imds", h)}, Layer: providers.LayerAmbient})
		_, err := mint(t, s, hostOne)
		t.Run(name, func(t *testing.T) { wants(t, err, providers.NoAccount, "no AWS identity here") })
		before := len(c.Requests())
		if _, err = mint(t, s, hostOne); providers.KindOf(err) != providers.NoAccount || len(c.Requests()) != before {
			t.Errorf("%s: asked again: %v", name, err)
		}
	}
}

// Whatever AWS calls its refusal, nothing it repeats of a request is shown.
func TestNoRefusalRepeatsASecret(t *testing.T) {
	t.Parallel()
	c := start(t)
	o := keys(t)
	o.RoleARN = []string{roleCI}
	p := c.person(t, secrets())
	echo := "User: arn:aws:iam::1:user/" + canary + " is not authorized to perform: ecr:" + canary + " on resource: arn:" + canary + "\x1b[31m"
	for _, codes := range [][]string{codesBusy, codesDenied, codesExpired, codesUnknown, codesSigned, {"InvalidIdentityToken", "IDPRejectedClaim", "ValidationError", "Odd" + canary, canary, ""}} {
		for _, code := range codes {
			c.when(ecrToken, fault(400, code, echo))
			_, err := mint(t, p.configured(keys(t)), hostOne)
			if err == nil {
				t.Errorf("%s: minted", code)
			}
			c.when("AssumeRole", refusal(400, code, strings.ReplaceAll(echo, "\x1b", "")))
			if code == "IDPCommunicationError" || code == "PriorRequestNotComplete" {
				continue // the SDK tries those again
			}
			if _, err = mint(t, p.configured(o), hostOne); err == nil {
				t.Errorf("%s: assumed", code)
			}
		}
	}
	if l := httpxtest.Leaks(p.log.String(), canary); len(l) > 0 {
		t.Errorf("a secret in the log: %s", p.log)
	}
}
