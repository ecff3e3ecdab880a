// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers/internal/oidc"
)

func TestReferencesRoundTripAndNameWhatTheyRead(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct{ env, files []string }{
		"github":                     {env: []string{"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}},
		"gitlab":                     {env: []string{"GITLAB_OIDC_TOKEN"}},
		"gitlab:QUAY_TOKEN":          {env: []string{"QUAY_TOKEN"}},
		"gitlab:/builds/acme.token":  {files: []string{"/builds/acme.token"}},
		"env:MY_TOKEN":               {env: []string{"MY_TOKEN"}},
		"kubernetes":                 {files: []string{"/var/run/secrets/kubernetes.io/serviceaccount/token"}},
		"kubernetes:/run/aws/token":  {files: []string{"/run/aws/token"}},
		"bitbucket":                  {env: []string{"BITBUCKET_STEP_OIDC_TOKEN"}},
		"circleci":                   {env: []string{"CIRCLE_OIDC_TOKEN_V2"}},
		"circleci:CIRCLE_OIDC_TOKEN": {env: []string{"CIRCLE_OIDC_TOKEN"}},
		"buildkite":                  {env: []string{"BUILDKITE_AGENT_ACCESS_TOKEN", "BUILDKITE_JOB_ID"}},
		"exec:/usr/bin/token":        {},
	} {
		if runtime.GOOS == "windows" && strings.Contains(s, ":/") {
			continue
		}
		r := mustRef(t, s)
		text, err := r.MarshalText()
		if string(text) != s || err != nil || !slices.Equal(r.EnvRefs(), want.env) || !slices.Equal(r.Watches(), want.files) || r.IsZero() || r.MarshalExec() != nil {
			t.Errorf("%s: %s, %q, %q, %q", s, r, r.EnvRefs(), r.Watches(), r.MarshalExec())
		}
	}
	for s, want := range map[string]string{
		"":                        "an identity token is github, gitlab, kubernetes",
		"gitlub":                  "an identity token is github, gitlab, kubernetes",
		"gitlab:":                 "gitlab: needs the name of a variable or the absolute path of a file",
		"gitlab:MY-TOKEN":         "gitlab: needs the name of a variable",
		"gitlab:relative/path":    "gitlab: needs the name of a variable",
		"kubernetes:TOKEN":        "kubernetes: needs the absolute path of a file",
		"circleci:1ST":            "circleci: needs the name of a variable",
		"github:TOKEN":            "github takes nothing after it",
		"buildkite:https://x.com": "buildkite takes nothing after it",
		"literal-token":           "an identity token is github",
		"file:relative":           "file: needs an absolute path",
		"exec:relative":           "exec: needs an absolute path",
		"eyJhbGci.eyJ.x":          "an identity token is github",
		"env:":                    "a reference",
		"env:A B":                 "env: needs the name of a variable",
		"https://token.example/":  "a reference",
	} {
		if r, err := oidc.ParseRef(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%q was read as %+v, %v", s, r, err)
		}
	}
}

func TestAProgramKeepsItsArguments(t *testing.T) {
	t.Parallel()
	argv := []string{"/usr/bin/token", "--audience", "a b", ""}
	if runtime.GOOS == "windows" {
		argv[0] = `C:\token.exe`
	}
	var r oidc.Ref
	if err := r.UnmarshalExec(argv); err != nil || !slices.Equal(r.MarshalExec(), argv) || !slices.Equal(r.Refs[0].Args, argv[1:]) {
		t.Errorf("%v, %q", err, r.MarshalExec())
	}
	for _, bad := range [][]string{nil, {"token"}, {""}} {
		if err := r.UnmarshalExec(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestAmbientIsTheFirstIdentityWhoseVariablesAreComplete(t *testing.T) {
	t.Parallel()
	everything := map[string]string{}
	for _, n := range oidc.EnvNames() {
		everything[n] = "x"
	}
	// Taking away what was chosen leaves the next one.
	for _, want := range []string{"github", "gitlab", "bitbucket", "circleci", "circleci:CIRCLE_OIDC_TOKEN", "buildkite"} {
		r, ok := oidc.Ambient(everything)
		if !ok || r.String() != want || len(r.EnvRefs()) == 0 {
			t.Fatalf("%s, %v, want %s", r, ok, want)
		}
		everything[r.EnvRefs()[0]] = "" // set and empty is not set
	}
	if r, ok := oidc.Ambient(everything); ok {
		t.Errorf("half an identity was taken: %s", r)
	}
	if r, ok := oidc.Ambient(nil); ok {
		t.Errorf("%s out of nothing", r)
	}
	r, _ := oidc.Ambient(map[string]string{"BITBUCKET_STEP_OIDC_TOKEN": "x"})
	r.Refs[0].Value = "changed"
	if r, _ := oidc.Ambient(map[string]string{"BITBUCKET_STEP_OIDC_TOKEN": "x"}); r.String() != "bitbucket" {
		t.Errorf("the table was changed: %s", r)
	}
}

// DESIGN: a caller's variables select an identity, never where a secret of the
// machine goes. GitHub's URL gets nothing but the token that came with it.
func TestEnvNamesNoEndpointThatASecretOfOthersGoesTo(t *testing.T) {
	t.Parallel()
	for i, n := range oidc.EnvNames() {
		if slices.Contains(oidc.EnvNames()[:i], n) {
			t.Errorf("%s comes twice", n)
		}
		if n != oidc.GitHubURL && (strings.Contains(n, "URL") || strings.Contains(n, "ENDPOINT") || strings.Contains(n, "PATH")) {
			t.Errorf("%s", n)
		}
	}
}
