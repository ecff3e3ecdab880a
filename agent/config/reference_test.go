// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

// GOLDEN_UPDATE=1 writes docs/configuration.md anew (make golden).
func TestReferenceInDocsIsUpToDate(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	want := Reference(nil)
	if os.Getenv("GOLDEN_UPDATE") != "" {
		must(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), []byte(want)) {
		t.Errorf("%s is out of date; run: make golden", path)
	}
}

func TestReferenceNamesEveryKeyAndVariable(t *testing.T) {
	text := Reference(products())
	for _, typ := range []reflect.Type{
		reflect.TypeFor[providers.Account](), reflect.TypeFor[Agent](), reflect.TypeFor[Policy](),
		reflect.TypeFor[providers.Network](), reflect.TypeFor[Docker](), reflect.TypeFor[Mirror](), reflect.TypeFor[cloudOptions](), reflect.TypeFor[appOptions](),
	} {
		for _, f := range fieldsOf(typ) {
			if !strings.Contains(text, "| `"+f.key+"` | ") {
				t.Errorf("%s is missing", f.key)
			}
			if f.tag.Get("doc") == "" {
				t.Errorf("%s.%s has no doc tag", typ, f.key)
			}
		}
	}
	for _, v := range Vars(products()) {
		if !strings.Contains(text, "| `"+v.Name+"` | ") {
			t.Errorf("%s is missing", v.Name)
		}
	}
	if OptionsReference(products()[2]) != "" || !strings.Contains(OptionsReference(products()[0]), "role_arn") {
		t.Error("options of one provider")
	}
}

// The example of the reference is one the loader takes.
func TestExampleOfTheReferenceLoads(t *testing.T) {
	_, rest, _ := strings.Cut(referenceIntro, "```toml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok || text == "" {
		t.Fatal("no example")
	}
	c := newLayers(t).user(strings.ReplaceAll(text, `"ecr"`, `"cloud"`)).ok()
	if len(c.Accounts) != 2 {
		t.Errorf("%+v", c.Accounts)
	}
}

func TestSchemaIsJSONAndKnowsEveryKey(t *testing.T) {
	data, err := Schema(products())
	must(t, err)
	var s struct {
		Additional *bool `json:"additionalProperties"`
		Properties map[string]struct {
			Properties map[string]any `json:"properties"`
			Items      struct {
				Properties map[string]any `json:"properties"`
				AllOf      []struct {
					If   map[string]any `json:"if"`
					Then struct {
						Properties map[string]any `json:"properties"`
						Additional *bool          `json:"additionalProperties"`
					} `json:"then"`
				} `json:"allOf"`
			} `json:"items"`
		} `json:"properties"`
	}
	must(t, json.Unmarshal(data, &s))
	if s.Additional == nil || *s.Additional {
		t.Error("unknown tables pass")
	}
	for _, key := range tables["user"] {
		if _, ok := s.Properties[key]; !ok {
			t.Errorf("%s is missing", key)
		}
	}
	account := s.Properties["account"].Items
	if len(account.AllOf) != 3 {
		t.Fatalf("%d providers", len(account.AllOf))
	}
	cloud := account.AllOf[0].Then
	for _, key := range []string{"role_arn", "hosts", "password", "rotate_to"} {
		if _, ok := cloud.Properties[key]; !ok {
			t.Errorf("%s is missing for cloud", key)
		}
	}
	if _, ok := cloud.Properties["app_id"]; ok || cloud.Additional == nil || *cloud.Additional {
		t.Error("keys of another provider pass")
	}
	if again, _ := Schema(products()); !bytes.Equal(again, data) {
		t.Error("the schema changes from call to call")
	}
}
