// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/all"
)

const registriesIntro = "<!-- Generated from the options of the providers by `make gen`; edit the tags there. -->\n" + `# Registries

The products that regmint knows, with the keys that each adds to [those of every account](../configuration.md#account).
` + "`regmint providers` prints them too, `regmint providers HOST` says which one answers for a host.\n" +
	"[Identity tokens](../identity-tokens.md) of CI systems and clusters are taken wherever a key asks for one.\n"

// registriesReference is docs/registries/README.md; title gives the heading of
// a provider's page.
func registriesReference(list []providers.Provider, title func(name string) string) string {
	var b strings.Builder
	b.WriteString(registriesIntro)
	for _, p := range list {
		fmt.Fprintf(&b, "\n## %s\n\n[%s](%s.md)\n\n", p.Name(), title(p.Name()), p.Name())
		if keys := config.OptionsReference(p); keys != "" {
			b.WriteString(keys)
		} else {
			b.WriteString("No keys of its own.\n")
		}
		if env := p.Env(); len(env) > 0 {
			b.WriteString("\nIdentity recognised from: `" + strings.Join(env, "`, `") + "`.\n")
		}
	}
	return b.String()
}

// GOLDEN_UPDATE=1 writes the page anew (make gen).
func TestEveryProviderHasAPageAndItsKeysAreInTheDocs(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "registries")
	page := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	title := func(name string) string {
		first, _, _ := strings.Cut(page(name+".md"), "\n")
		heading, ok := strings.CutPrefix(first, "# "+name+": ")
		if !ok {
			t.Errorf("docs/registries/%s.md begins with %q, want the heading \"# %s: …\"", name, first, name)
		}
		return heading
	}
	list := all.List()
	want := registriesReference(list, title)
	if os.Getenv("GOLDEN_UPDATE") != "" {
		if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if page("README.md") != want {
		t.Error("docs/registries/README.md is out of date; run: make gen")
	}
	for _, p := range list {
		for _, key := range optionKeys(p) {
			if !strings.Contains(page(p.Name()+".md"), "`"+key+"`") && !strings.Contains(page(p.Name()+".md"), "\n"+key+" ") {
				t.Errorf("docs/registries/%s.md does not speak of %s", p.Name(), key)
			}
		}
	}
}
