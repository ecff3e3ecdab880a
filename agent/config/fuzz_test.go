// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzTOML: no text makes the loader panic or complain in a way unfit for
// people, and what it takes as a machine file reads back as it was.
func FuzzTOML(f *testing.F) {
	for _, s := range []string{
		"", "# c\n", "\xef\xbb\xbfx=1", "[agent]\nstore = \"file\"\n", lockedSystem,
		"[[account]]\nhosts = [\"ghcr.io\"]\npassword = { exec = [\"/bin/x\", \"a\"] }\naccess = \"push,delete\"\n",
		"[[account]]\nprovider = \"app\"\nhosts = [\"*.app.example/a\", \"localhost:5000\"]\nplain_http = false\ninner = { life = \"14d\" }\nscopes = ['''a\nb''']\n",
		"[[account]]\nhosts = [\"r.cloud.example\"]\ntags = { \"a b\" = \"\\u0001\" }\n[[account]]\nhosts = [\"r.cloud.example\"]\n",
		"[docker]\nbehind.\"*\" = \"x\"\n[realms]\n\"a.example\" = [\"b.example\", \"b.example:443\"]\n",
		"account = [{hosts = [\"a.example\"]}]\n", "a.b.c = 1\n[a.d]\n", "[[a.b]]\n[a.b.c]\n[[a.b]]\n", "x = [[[[{a = [1]}]]]]", "agent = {store = 1979-05-27}",
	} {
		f.Add(s)
	}
	saved := SavedFile{Path: "regmint.toml", Providers: products()}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := LoadText(TextOptions{Name: "fuzz.toml", Text: text, Providers: products()}); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "fuzz.toml") || strings.ContainsAny(line, "\r\x00\x1b") {
					t.Errorf("unfit for people: %q", line)
				}
			}
		} else if c == nil {
			t.Error("neither configuration nor error")
		}
		s, err := saved.parse([]byte(text))
		if err != nil {
			return
		}
		once, err := s.render()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := saved.parse(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if twice, err := again.render(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%v\n%s\n%s", err, once, twice)
		}
	})
}
