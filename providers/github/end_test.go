// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// GitHub ends nothing for a program on a person's machine: it is said where the
// person does.
func TestALogoutSaysWhatLivesOnAtGitHub(t *testing.T) {
	pair := func(access string) string {
		b, err := json.Marshal(map[string]string{"access_token": access, "issuer": "https://github.com/login/oauth/access_token", "client_id": "Iv1.app"})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, x := range []struct {
		host, secret, want string
		options            *github.Options
	}{
		{"ghcr.io", pair("gho_x"), "https://github.com/settings/connections/applications/Iv1.app", &github.Options{ClientID: "Iv1.app"}},
		{"ghcr.io", pair("ghu_x"), "https://github.com/settings/apps/authorizations", &github.Options{ClientID: "Iv1.app"}},
		{"ghcr.io", "ghp_" + strings.Repeat("x", 36), "https://github.com/settings/tokens", &github.Options{}},
		{"containers.octo.ghe.com", "ghp_" + strings.Repeat("x", 36), "https://octo.ghe.com/settings/tokens", &github.Options{}},
		{"containers.github.corp.example", "ghp_" + strings.Repeat("x", 36), "https://github.corp.example/settings/tokens", nil},
		{"ghcr.io", "", "gh auth logout -h github.com", &github.Options{GH: true}},
		{"ghcr.io", "a password", "", &github.Options{}},
		{"ghcr.io", "", "", nil},
	} {
		a := providers.Account{Name: "work", Options: x.options}
		got := github.New().EndLogin(t.Context(), providers.EndRequest{Host: httpxtest.Host(t, x.host), Account: a, Secret: providers.NewSecret(x.secret)})
		if got.What != "" || !strings.HasSuffix(got.Left, x.want) || (got.Left == "") != (x.want == "") {
			t.Errorf("%s %.4s: %+v", x.host, x.secret, got)
		}
	}
}
