// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestEditingAJSONObjectKeepsEverythingElse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		path     []string
		value    string // "" = remove
		want     string
	}{
		{"docker's own layout", "{\n\t\"auths\": {},\n\t\"x\": 1\n}", []string{"credsStore"}, `"r"`, "{\n\t\"auths\": {},\n\t\"x\": 1,\n\t\"credsStore\": \"r\"\n}"},
		{"four spaces and a final newline", "{\n    \"x\" : [1,2 ]\n}\n", []string{"credHelpers", "h"}, `"r"`, "{\n    \"x\" : [1,2 ],\n    \"credHelpers\" : {\n        \"h\": \"r\"\n    }\n}\n"},
		{"one line", `{"a":1, "b":2}`, []string{"c"}, `3`, `{"a":1, "b":2, "c":3}`},
		{"one line, nested", `{"a": 1}`, []string{"credHelpers", "h"}, `"r"`, `{"a": 1,"credHelpers": {"h": "r"}}`},
		{"empty", `{}`, []string{"c"}, `3`, "{\n\t\"c\": 3\n}"},
		{"empty nested", "{\n\t\"credHelpers\": {}\n}", []string{"credHelpers", "h"}, `"r"`, "{\n\t\"credHelpers\": {\n\t\t\"h\": \"r\"\n\t}\n}"},
		{"in place", `{"credsStore": "desktop" , "b":2}`, []string{"credsStore"}, `"r"`, `{"credsStore": "r" , "b":2}`},
		{"in other letter case", `{"CredsStore": "desktop"}`, []string{"credsStore"}, `"r"`, `{"CredsStore": "r"}`},
		{"null where an object belongs", `{"credHelpers": null}`, []string{"credHelpers", "h"}, `"r"`, `{"credHelpers": {"h": "r"}}`},
		{"windows line ends", "{\r\n  \"a\": 1\r\n}\r\n", []string{"b"}, `2`, "{\r\n  \"a\": 1,\r\n  \"b\": 2\r\n}\r\n"},
		{"remove the first", "{\n\t\"a\": 1,\n\t\"b\": 2\n}", []string{"a"}, "", "{\n\t\"b\": 2\n}"},
		{"remove the middle", `{"a":1, "b":2, "c":3}`, []string{"b"}, "", `{"a":1, "c":3}`},
		{"remove the last", "{\n\t\"a\": 1,\n\t\"b\": 2\n}\n", []string{"b"}, "", "{\n\t\"a\": 1\n}\n"},
		{"remove the only", "{\n\t\"a\": 1\n}\n", []string{"a"}, "", "{}\n"},
		{"remove what is absent", `{"a":1}`, []string{"b", "c"}, "", `{"a":1}`},
		{"keys with escapes", `{"a\u0062": 1, "c\"}": {"k": "}"}}`, []string{"c\"}", "k"}, `2`, `{"a\u0062": 1, "c\"}": {"k": 2}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v []byte
			if c.value != "" {
				v = []byte(c.value)
			}
			got, err := setPath([]byte(c.in), c.path, v)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if !json.Valid(got) {
				t.Error("not valid JSON any more")
			}
			back, err := getPath(got, c.path)
			if err != nil || string(back) != c.value || (back == nil) != (v == nil) {
				t.Errorf("reads back as %q, %v", back, err)
			}
		})
	}
}

func TestAddingAKeyAndRemovingItIsNothing(t *testing.T) {
	for _, in := range []string{
		"{\n\t\"auths\": {}\n}", "{\"a\":1}", "{ \"a\" : 1 , \"b\" : {\"c\":[1, 2]} }\n", "{\n  \"a\": 1,\n\n  \"b\": 2\n\n}",
		"\n {\r\n\"a\":\t1}\r\n\r\n", "{\"credHelpers\": {\"gcr.io\": \"gcloud\"}}", "{\n    \"credHelpers\": {\n        \"gcr.io\": \"gcloud\"\n    }\n}\n",
	} {
		for _, path := range [][]string{{"credsStore"}, {"credHelpers", "ghcr.io"}} {
			with, err := setPath([]byte(in), path, []byte(`"regmint"`))
			if err != nil {
				t.Fatal(err)
			}
			out, err := setPath(with, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(path) == 2 {
				if raw, _ := getPath(out, path[:1]); string(raw) == "{}" || strings.Join(strings.Fields(string(raw)), "") == "{}" {
					out, _ = setPath(out, path[:1], nil)
				}
			}
			if string(out) != in {
				t.Errorf("%q with %v and without is %q", in, path, out)
			}
		}
	}
}

// H61: what no tool could read is refused in words, and the words never show
// what stands there.
func TestMalformedJSONIsRefusedInWords(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	for name, c := range map[string]struct{ in, says string }{
		"0 bytes":       {"", "empty"},
		"white space":   {" \n\t", "empty"},
		"null":          {"null", "not null"},
		"a list":        {"[]", "not an array"},
		"a number":      {"42", "not a number"},
		"cut off":       {`{"auths": {"ghcr.io": {"auth": "c2VjcmV0`, "line 1"},
		"line 3":        {"{\n\"a\": 1,\n s3cr3t }", "line 3"},
		"two values":    {`{"a":1} {"b":2}`, "line 1"},
		"byte order":    {"\xef\xbb\xbf{}", "byte order mark"},
		"twice a key":   {`{"a":1,"b":2,"a":3}`, `"a"`},
		"deep":          {deep, "not valid JSON"},
		"a comment":     {"{ // hello\n}", "line 1"},
		"trailing":      {`{"a":1,}`, "line 1"},
		"escaped twice": {`{"a":1,"\u0061":3}`, `"a"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseObject([]byte(c.in))
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("err = %v", err)
			}
			mustContain(t, err, c.says)
			if strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "c2Vj") {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
}
