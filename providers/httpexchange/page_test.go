// SPDX-License-Identifier: Apache-2.0

package httpexchange_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/httpexchange"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// Every example of the page is an account that opens as it stands.
func TestExamplesOfThePageOpen(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/registries/http-exchange.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```")
	opened := 0
	for i := 1; i < len(parts); i += 2 {
		text, ok := strings.CutPrefix(parts[i], "toml\n")
		if !ok {
			continue
		}
		if !strings.Contains(text, "[[account]]") {
			text = "[[account]]\nname = \"recipe\"\n" + text
		}
		var file struct {
			Account []struct {
				providers.Account
				httpexchange.Options
			}
		}
		if err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&file); err != nil || len(file.Account) != 1 {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		a := file.Account[0].Account
		a.Options = &file.Account[0].Options
		deps, _ := httpxtest.Deps(t, nil)
		if _, err := httpexchange.New().Open(a, deps); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
		opened++
	}
	if opened < 4 {
		t.Errorf("only %d examples were found", opened)
	}
}
