// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

func TestAccountsThatCannotWorkSayWhy(t *testing.T) {
	t.Parallel()
	job := gitlab.Identity{}
	if err := job.UnmarshalText([]byte("job")); err != nil || (&gitlab.Options{Identity: job}).EnvRefs()[0] != "CI_JOB_TOKEN" {
		t.Fatal(err)
	}
	if err := (&gitlab.Identity{}).UnmarshalText([]byte("pat")); err == nil {
		t.Error("an unknown identity")
	}
	secret := providers.SecretRef{Scheme: "file", Value: "/x"}
	for name, tt := range map[string]struct {
		o    gitlab.Options
		edit func(*providers.Account)
		want string
	}{
		"nothing":              {want: "nothing says who logs in"},
		"two identities":       {o: gitlab.Options{Glab: true, ClientID: "x"}, want: "do not go together"},
		"a password and glab":  {o: gitlab.Options{Glab: true}, edit: func(a *providers.Account) { a.Password = secret }, want: "password does not go with glab"},
		"a file for a login":   {o: gitlab.Options{ClientID: "x"}, edit: func(a *providers.Account) { a.Password = secret }, want: "keyring:NAME"},
		"project and group":    {o: gitlab.Options{Project: "a", Group: "b", Glab: true}, want: "project and group"},
		"a job for a job":      {o: gitlab.Options{Project: "a", Identity: job}, want: "with a token of a person"},
		"a project with dots":  {o: gitlab.Options{Project: "../x", Glab: true}, want: "project is an id"},
		"a project with query": {o: gitlab.Options{Project: "a?b", Glab: true}, want: "project is an id"},
		"a role alone":         {o: gitlab.Options{AccessLevel: "owner", Glab: true}, want: "set project or group"},
		"an unknown role":      {o: gitlab.Options{AccessLevel: "king", Project: "a", Glab: true}, want: "access_level is"},
		"odd scopes":           {o: gitlab.Options{Scopes: providers.Strings{"a b"}, ClientID: "x"}, want: "no scope"},
		"scopes alone":         {o: gitlab.Options{Scopes: providers.Strings{"api"}, Glab: true}, want: "set project, group or client_id"},
		"http":                 {o: gitlab.Options{URL: "http://gitlab.example", Glab: true}, want: "http takes plain_http = true"},
		"a URL with a user":    {o: gitlab.Options{URL: "https://u:p@gitlab.example", Glab: true}, want: "url is no absolute URL"},
		"a relative glab":      {o: gitlab.Options{Glab: true, GlabPath: "glab"}, want: "absolute path"},
		"rotation of glab":     {o: gitlab.Options{Glab: true}, edit: func(a *providers.Account) { a.Rotate = providers.Duration(time.Hour) }, want: "rotate has no meaning"},
		"an endpoint":          {o: gitlab.Options{Glab: true}, edit: func(a *providers.Account) { a.Endpoint = "https://x.example" }, want: "set url"},
		"an odd owner":         {o: gitlab.Options{Glab: true, TokenOwner: "projects/../1"}, want: "token_owner is"},
	} {
		d, _ := httpxtest.Deps(t, nil)
		a := providers.Account{Name: "x", Options: &tt.o, Layer: providers.LayerConfigured}
		if tt.edit != nil {
			tt.edit(&a)
		}
		_, err := gitlab.New().Open(a, d)
		if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, _ := httpxtest.Deps(t, nil)
	a := providers.Account{Name: "x", Options: &gitlab.Options{URL: "http://gitlab.lab.example", Glab: true}, PlainHTTP: true}
	if _, err := gitlab.New().Open(a, d); err != nil {
		t.Errorf("plain http that is wanted: %v", err)
	}
}
