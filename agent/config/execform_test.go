// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

// tokenRef is an option with a text and a table form, as the identity tokens of
// the providers are.
type tokenRef struct {
	Kind string
	Refs []providers.SecretRef
}

func (r *tokenRef) UnmarshalText(b []byte) error {
	if string(b) == "ci" {
		*r = tokenRef{Kind: "ci", Refs: []providers.SecretRef{{Scheme: "env", Value: "CI_TOKEN"}}}
		return nil
	}
	return errors.New("ci or a program")
}

func (r tokenRef) MarshalText() ([]byte, error) { return []byte(r.Kind), nil }

func (r *tokenRef) UnmarshalExec(argv []string) error {
	ref, err := providers.ExecRef(argv)
	*r = tokenRef{Kind: "program", Refs: []providers.SecretRef{ref}}
	return err
}

func (r tokenRef) MarshalExec() []string {
	if r.Kind != "program" {
		return nil
	}
	return append([]string{r.Refs[0].Value}, r.Refs[0].Args...)
}

type tokenOptions struct {
	Token tokenRef            `toml:"identity_token" doc:"identity token"`
	By    map[string]tokenRef `toml:"by" doc:"identity tokens by name"`
}

func loadToken(t *testing.T, text string) (providers.Account, error) {
	t.Helper()
	p := product{name: "token", opts: func() any { return new(tokenOptions) }}
	l := newLayers(t).user("[[account]]\nprovider = \"token\"\nhosts = [\"r.example\"]\n" + text)
	c, err := Load(LoadOptions{Paths: l.paths(), Providers: []providers.Provider{p}})
	if err != nil {
		return providers.Account{}, err
	}
	return c.Accounts[0], nil
}

func TestAnIdentityTokenMayBeAProgramWithArguments(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "get token")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '%s|' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	argv := []string{program, "--audience", "a b;c", ""}
	quoted, err := execLiteral(argv)
	if err != nil {
		t.Fatal(err)
	}
	a, err := loadToken(t, "identity_token = "+quoted+"\nby = { x = "+quoted+", y = \"ci\" }\n")
	if err != nil {
		t.Fatal(err)
	}
	o := a.Options.(*tokenOptions)
	for _, r := range []tokenRef{o.Token, o.By["x"]} {
		if !slices.Equal(r.MarshalExec(), argv) {
			t.Errorf("read as %q", r.MarshalExec())
		}
	}
	// It is a reference like any other: a job's own is resolved by its wrapper,
	// and what regmint writes reads back the same.
	refs := SecretRefs(a)
	if len(refs) != 2 || refs[0].Scheme != "exec" || len(refs[0].Args) != 3 {
		t.Errorf("references %+v", refs)
	}
	if os.PathSeparator == '/' {
		s, err := Resolver{}.Resolve(context.Background(), refs[0])
		if err != nil || s.Reveal() != "--audience|a b;c||" {
			t.Errorf("resolved to %q, %v", s.Reveal(), err)
		}
	}
	saved := &Saved{Accounts: []providers.Account{a}}
	text, err := saved.render()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "identity_token = "+quoted) || !strings.Contains(string(text), `y = "ci"`) {
		t.Errorf("written as\n%s", text)
	}
}

func TestABadProgramOfAnIdentityTokenIsNamedWithoutItsText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`identity_token = { exec = ["get-token"] }`:                         "identity_token: exec: needs an absolute path",
		`identity_token = { exec = [] }`:                                    "identity_token: exec needs a program",
		`identity_token = { exec = "/bin/x" }`:                              "identity_token.exec must be an array, not a string",
		`identity_token = { run = ["/bin/x"] }`:                             `unknown key "account.identity_token.run"`,
		`identity_token = ["/bin/x"]`:                                       "identity_token must be a string, not an array",
		`identity_token = { exec = ["/bin/x", "` + "\\u0000" + `s3cr3t"] }`: "identity_token: exec: NUL in an argument",
		`identity_token = "other"`:                                          "identity_token: ci or a program",
	} {
		_, err := loadToken(t, text+"\n")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSchemaAndReferenceKnowBothFormsOfAnIdentityToken(t *testing.T) {
	t.Parallel()
	p := product{name: "token", opts: func() any { return new(tokenOptions) }}
	text, err := Schema([]providers.Provider{p})
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), `"identity_token": {`)
	if !found {
		t.Fatal("no identity_token in the schema")
	}
	if head := after[:min(len(after), 700)]; !strings.Contains(head, `"oneOf"`) || !strings.Contains(head, `"exec"`) {
		t.Errorf("schema %s", head)
	}
	if table := OptionsReference(p); !strings.Contains(table, "| `identity_token` | reference |") {
		t.Errorf("reference\n%s", table)
	}
}
