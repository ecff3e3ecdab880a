// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"testing"

	"github.com/regmint/regmint/providers"
)

func TestAListMayBeOneTextWithoutBrackets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{`role = "a"`: {"a"}, `role = ["a", "b"]`: {"a", "b"}, `role = 1`: nil, `role = [1]`: nil} {
		doc, problem := parse("config.toml", "config.toml", []byte(text))
		if problem != nil {
			t.Fatal(problem)
		}
		var got struct {
			Role providers.Strings `toml:"role"`
		}
		d := &decoder{doc: doc}
		d.strict(doc.root, reflect.ValueOf(&got).Elem(), "")
		if !slices.Equal(got.Role, want) && want != nil || (len(d.problems) > 0) != (want == nil) {
			t.Errorf("%s: %q, %v", text, got.Role, d.problems)
		}
	}
	if s := typeSchema(reflect.TypeFor[providers.Strings](), ""); len(s.OneOf) != 2 {
		t.Errorf("schema %+v", s)
	}
}
