// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStaticEntriesAreRewrittenAndNothingElse(t *testing.T) {
	want := map[string]*StaticLogin{"ghcr.io": {"bot", "new"}, HubHost: {"hub", "h"}, "gone.example.com": nil}
	in := "{\n  \"auths\": {\n    \"ghcr.io\": {\"auth\": \"Ym90Om9sZA==\"},\n    \"other.example.com\": {\"auth\": \"eDp5\"},\n    \"gone.example.com\": {}\n  },\n  \"x\": [1, 2]\n}\n"
	out, changed, err := RewriteStatic([]byte(in), want, false)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	exp := "{\n  \"auths\": {\n    \"ghcr.io\": {\"auth\": \"Ym90Om5ldw==\"},\n    \"other.example.com\": {\"auth\": \"eDp5\"},\n    \"https://index.docker.io/v1/\": {\"auth\": \"aHViOmg=\"}\n  },\n  \"x\": [1, 2]\n}\n"
	if string(out) != exp {
		t.Errorf("got\n%s", out)
	}
	again, changed, err := RewriteStatic(out, want, false)
	if err != nil || changed || string(again) != string(out) {
		t.Errorf("a second time: %v %v", changed, err)
	}
	// Docker's own layout of the same entries is no change.
	docker := "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"Ym90Om5ldw==\"\n\t\t},\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"aHViOmg=\"\n\t\t}\n\t}\n}"
	if _, changed, err = RewriteStatic([]byte(docker), want, false); err != nil || changed {
		t.Errorf("docker's layout: %v %v", changed, err)
	}
	if out, _, err = RewriteStatic(nil, map[string]*StaticLogin{HubHost: {"hub", "h"}}, true); err != nil || !strings.Contains(string(out), `"docker.io"`) {
		t.Errorf("for podman: %s %v", out, err)
	}
}

func TestStaticEntriesAreNeverWrittenIntoAFileThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"{", "null", `{"auths": []}`, `{"auths": "x"}`} {
		path := w.file("config.json", text)
		_, err := RewriteStaticFile(path, map[string]*StaticLogin{"ghcr.io": {"a", "b"}}, false)
		mustContain(t, err, path)
		if read(t, path) != text {
			t.Errorf("%q was touched", text)
		}
	}
}

func TestStaticEntriesComeBackAfterAnotherToolOverwroteThem(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.home, "config.json")
	want := map[string]*StaticLogin{"ghcr.io": {"bot", "s"}}
	if changed, err := RewriteStaticFile(path, want, false); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if m := mode(t, path).Perm(); m != 0o600 && exeSuffix == "" {
		t.Errorf("mode %04o", m)
	}
	if changed, err := RewriteStaticFile(path, want, false); err != nil || changed {
		t.Fatal("again", changed, err)
	}
	w.file("config.json", `{"auths": {"x": {"auth": "eDp5"}}}`) // docker login with what it had read before
	if changed, err := RewriteStaticFile(path, want, false); err != nil || !changed {
		t.Fatal("put back", changed, err)
	}
	for host, secret := range map[string]string{"ghcr.io": "s", "x": "y"} {
		if l, ok, err := ReadAuth(path, host); err != nil || !ok || string(l.Secret) != secret {
			t.Errorf("%s: %v %v", host, ok, err)
		}
	}
	if exeSuffix != "" {
		return
	}
	victim := w.file("victim.json", `{"a": 1}`)
	os.Remove(path)
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	if _, err := RewriteStaticFile(path, want, false); err != nil {
		t.Fatal(err)
	}
	if read(t, victim) != `{"a": 1}` || !mode(t, path).IsRegular() {
		t.Error("a link was followed")
	}
}

func TestAuthsAreFoundAsDockerFindsThem(t *testing.T) {
	w := newWorld(t)
	path := w.config(`{"auths": {
		"https://index.docker.io/v1/": {"auth": "aHViOjE="},
		"https://index.docker.io/v1/access-token": {"auth": "aHViOm5ldmVy"},
		"https://legacy.example.com/v1/": {"auth": "bDox"},
		"REG.example.com:5000": {"auth": "cjox"},
		"exact.example.com": {"auth": "ZTox"},
		"https://exact.example.com": {"auth": "ZToy"},
		"quay.io/ns": {"auth": "cTox"},
		"empty.example.com": {},
		"broken.example.com": {"auth": "%"}
	}}`)
	for host, user := range map[string]string{HubHost: "hub", "legacy.example.com": "l", "reg.example.com:5000": "r", "exact.example.com": "e"} {
		l, ok, err := ReadAuth(path, host)
		if err != nil || !ok || l.Username != user || string(l.Secret) != "1" {
			t.Errorf("%s: %+v %v %v", host, l, ok, err)
		}
	}
	for _, host := range []string{"quay.io", "empty.example.com", "example.com", "xexact.example.com", "reg.example.com"} {
		if l, ok, err := ReadAuth(path, host); err != nil || ok {
			t.Errorf("%s: %+v %v %v", host, l, ok, err)
		}
	}
	// Rule 3: the tokens of docker's web login are never the Hub's credential.
	only := w.file("only.json", `{"auths": {"https://index.docker.io/v1/access-token": {"auth": "YTox"}, "https://index.docker.io/v1/refresh-token": {"auth": "YTox"}}}`)
	if l, ok, err := ReadAuth(only, HubHost); err != nil || ok {
		t.Errorf("%+v %v %v", l, ok, err)
	}
	if l, _, err := ReadAuths(only); err != nil || len(l) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	_, _, err := ReadAuth(path, "broken.example.com")
	mustContain(t, err, path, "broken.example.com")
	if _, ok, err := ReadAuth(filepath.Join(w.home, "absent"), HubHost); ok || err != nil {
		t.Errorf("absent: %v %v", ok, err)
	}
	_, _, err = ReadAuth(w.file("bad.json", "{"), HubHost)
	mustContain(t, err, "bad.json", "malformed")
}

// A tool that writes in place empties the file first.
func TestAFileThatWasJustEmptiedIsLeftToWhoWritesIt(t *testing.T) {
	w := newWorld(t)
	path := w.file("config.json", "")
	want := map[string]*StaticLogin{"ghcr.io": {"bot", "s"}}
	if changed, err := RewriteStaticFile(path, want, false); changed || !errors.Is(err, ErrBusy) {
		t.Errorf("%v %v", changed, err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if changed, err := RewriteStaticFile(path, want, false); !changed || err != nil {
		t.Errorf("nobody writes it: %v %v", changed, err)
	}
}

func TestWhatAnotherToolWritesMeanwhileIsNotLost(t *testing.T) {
	want := map[string]*StaticLogin{"ghcr.io": {"bot", "s"}}
	const before, theirs = `{"auths": {}, "a": 1}`, `{"auths": {"x": {"auth": "eDp5"}}}`
	for name, write := range map[string]func(w *world) error{
		"in place": func(w *world) error { return os.WriteFile(filepath.Join(w.home, "config.json"), []byte(theirs), 0o600) },
		"by a rename": func(w *world) error {
			return os.Rename(w.file("new.json", theirs), filepath.Join(w.home, "config.json"))
		},
		"where there was none": func(w *world) error { return os.WriteFile(filepath.Join(w.home, "config.json"), []byte(theirs), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := filepath.Join(w.home, "config.json")
			if name != "where there was none" {
				w.file("config.json", before)
			}
			changed, err := rewriteStaticFile(path, want, false, func(op, _ string) error {
				if op == "create" { // ours was read, and is not written yet
					return write(w)
				}
				return nil
			})
			if changed || !errors.Is(err, ErrBusy) {
				t.Errorf("%v %v", changed, err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != theirs {
				t.Errorf("the file holds %s %v", b, err)
			}
			if left, _ := filepath.Glob(filepath.Join(w.home, ".*.tmp")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if changed, err := RewriteStaticFile(path, want, false); err != nil || !changed {
				t.Fatal("again", changed, err)
			}
			for host, secret := range map[string]string{"ghcr.io": "s", "x": "y"} {
				if l, ok, err := ReadAuth(path, host); err != nil || !ok || string(l.Secret) != secret {
					t.Errorf("%s: %v %v", host, ok, err)
				}
			}
		})
	}
}
