// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func (w *world) journal() string { return filepath.Join(w.home, "state", "install.json") }

func (w *world) options(hosts ...string) InstallOptions {
	if err := os.MkdirAll(filepath.Dir(w.journal()), 0o700); err != nil {
		w.t.Fatal(err)
	}
	return InstallOptions{Caller: w.caller(), Hosts: hosts, JournalPath: w.journal(), HelperDir: w.bin}
}

// install plans and applies.
func (w *world) install(o InstallOptions) *Plan {
	w.t.Helper()
	p, err := Install(o)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Apply(); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) uninstall() UninstallReport {
	w.t.Helper()
	r, err := Uninstall(w.journal())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) configPath() string { return filepath.Join(w.home, ".docker", "config.json") }

// shapes are config.json files as people have them; "absent" is none.
var shapes = map[string]string{
	"absent":           "absent",
	"empty object":     "{}",
	"empty, newline":   "{}\n",
	"empty, spaced":    "{ \n }\n",
	"docker's own":     "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {},\n\t\t\"https://index.docker.io/v1/\": {}\n\t},\n\t\"credsStore\": \"desktop\",\n\t\"currentContext\": \"desktop-linux\"\n}",
	"two spaces":       "{\n  \"credsStore\": \"desktop\",\n  \"x\": {\"b\":1,\"a\":2}\n}\n",
	"one line":         `{"auths":{"plain.example.com":{"auth":"dTpw"}},"credHelpers":{"gcr.io":"gcloud"}}`,
	"one line, store":  `{"credsStore":"desktop"}`,
	"windows":          "{\r\n  \"credHelpers\": {\r\n    \"gcr.io\": \"gcloud\",\r\n    \"ghcr.io\": \"gcloud\"\r\n  }\r\n}\r\n",
	"odd space":        "\n\n {\"a\" : 1 ,\n\n \"credHelpers\" : { } , \"z\":[ ] }  \n\n",
	"nulls":            `{"auths": null, "credsStore": null, "credHelpers": null}`,
	"other case":       "{\n\t\"CredsStore\": \"desktop\",\n\t\"CREDHELPERS\": {\"ghcr.io\": \"gcloud\"}\n}\n",
	"hub by long key":  "{\n\t\"credHelpers\": {\n\t\t\"https://index.docker.io/v1/\": \"pass\"\n\t}\n}\n",
	"escapes":          "{\"\\u0061uths\": {}, \"h\\u00e9\": \"\\ud83d\\ude00\", \"credsStore\": \"desk\\u0074op\"}",
	"already ours":     "{\n\t\"credsStore\": \"regmint\",\n\t\"credHelpers\": {\"ghcr.io\": \"regmint-work\"}\n}",
	"empty store":      "{\n\t\"credsStore\": \"\",\n\t\"auths\": {\"plain.example.com\": {\"auth\": \"dTpw\"}}\n}\n",
	"exempted by hand": "{\n\t\"credsStore\": \"desktop\",\n\t\"auths\": {\"plain.example.com\": {\"auth\": \"dTpw\"}},\n\t\"credHelpers\": {\"plain.example.com\": \"\"}\n}\n",
}

func TestInstallAndUninstallLeaveTheFileByteForByte(t *testing.T) {
	t.Parallel()
	for name, text := range shapes {
		for _, all := range []bool{false, true} {
			for _, hosts := range [][]string{nil, {"ghcr.io"}, {"a.example.com:5000", "ghcr.io"}, {HubHost, "plain.example.com"}} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, all, len(hosts)), func(t *testing.T) {
					w := newWorld(t)
					for _, h := range []string{"desktop", "gcloud", "pass"} {
						w.program("docker-credential-" + h)
					}
					if text != "absent" {
						w.config(text)
					}
					o := w.options(hosts...)
					o.All = all
					o.Containers = all
					before := tree(t, w.home)
					p := w.install(o)
					if len(p.Changes) > 0 && !exists(w.journal()) {
						t.Fatal("no journal")
					}
					if exists(w.configPath()) {
						checkInstalled(t, w, text, hosts, all)
					}
					again, err := Install(o)
					if err != nil || len(again.Changes) > 0 {
						t.Errorf("a second plan: %v %v", again.Changes, err)
					}
					r := w.uninstall()
					if len(r.Left) > 0 || len(r.Restored) != len(p.Changes) {
						t.Errorf("report %+v for %+v", r, p.Changes)
					}
					os.Remove(w.journal() + ".lock")
					if after := tree(t, w.home); !slices.Equal(after, before) {
						t.Errorf("the home was %q and is %q", before, after)
					}
					if text != "absent" && read(t, w.configPath()) != text {
						t.Errorf("was %q, is %q", text, read(t, w.configPath()))
					}
				})
			}
		}
	}
}

// checkInstalled: valid JSON, nothing else changed, docker would ask us.
func checkInstalled(t *testing.T, w *world, was string, hosts []string, all bool) {
	t.Helper()
	now := read(t, w.configPath())
	if !json.Valid([]byte(now)) {
		t.Fatalf("not valid JSON: %s", now)
	}
	for _, h := range hosts {
		if ok, why := WouldAsk(w.configPath(), h); !ok {
			t.Errorf("%s: %s", h, why)
		}
	}
	if ok, why := WouldAsk(w.configPath(), "any.example.org"); all && !ok {
		t.Errorf("any host: %s", why)
	}
	if strings.Contains(was, "{") {
		sameButHelpers(t, []byte(was), []byte(now))
	}
	d, err := readDockerFile(w.configPath(), os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range d.helpers {
		if strings.Contains(h.key, "://") && !strings.Contains(was, h.key) {
			t.Errorf("the key %s is ours", h.key)
		}
	}
}

// sameButHelpers: the same keys in the same order with the same text, but for
// credsStore and credHelpers.
func sameButHelpers(t *testing.T, was, now []byte) {
	t.Helper()
	rest := func(text []byte) []string {
		o, err := parseObject(text)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, m := range o.members {
			if !strings.EqualFold(m.key, keyStore) && !strings.EqualFold(m.key, keyHelpers) {
				out = append(out, m.key+"="+string(m.rawValue))
			}
		}
		return out
	}
	if a, b := rest(was), rest(now); !slices.Equal(a, b) {
		t.Errorf("other keys were %q and are %q", a, b)
	}
}

// The promise of install: every login that works goes on working, because what
// answered before stands behind us.
func TestEveryFormerAnswerStandsBehindUs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		all          bool
		hosts        []string
		programs     string
		behind       map[string]string // value: helper name or "auths"
		plain        []string
		wants        []string // in the file afterwards
	}{
		{"credsStore, all", `{"credsStore": "desktop"}`, true, []string{"ghcr.io"}, "desktop", map[string]string{"*": "desktop"}, nil, nil},
		{"credsStore, one host", `{"credsStore": "desktop"}`, false, []string{"ghcr.io"}, "desktop", map[string]string{"ghcr.io": "desktop"}, nil, []string{`"credsStore": "desktop"`}},
		{"credHelpers for our host", `{"credHelpers": {"gcr.io": "gcloud"}}`, false, []string{"gcr.io"}, "gcloud", map[string]string{"gcr.io": "gcloud"}, nil, nil},
		{"credHelpers for another", `{"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}}`, true, []string{"ghcr.io"}, "desktop gcloud", map[string]string{"*": "desktop"}, nil, []string{`"gcr.io": "gcloud"`}},
		{"plain auths, all", `{"auths": {"a.example.com": {"auth": "dTpw"}, "b.example.com": {"auth": "dTpw"}}}`, true, nil, "", map[string]string{"*": "auths"}, []string{"a.example.com", "b.example.com"}, nil},
		{"plain auths, one host", `{"auths": {"a.example.com": {"auth": "dTpw"}, "b.example.com": {"auth": "dTpw"}}}`, false, []string{"b.example.com", "c.example.com"}, "", map[string]string{"b.example.com": "auths"}, []string{"b.example.com"}, nil},
		{"plain auths that docker ignores", `{"credsStore": "desktop", "auths": {"a.example.com": {"auth": "dTpw"}}}`, true, []string{"a.example.com"}, "desktop", map[string]string{"*": "desktop"}, nil, nil},
		{"exempted by hand", `{"credsStore": "desktop", "auths": {"a.example.com": {"auth": "dTpw"}}, "credHelpers": {"a.example.com": ""}}`, true, nil, "desktop", map[string]string{"*": "desktop"}, nil, []string{`"a.example.com": ""`}},
		{"exempted, but asked for", `{"credsStore": "desktop", "auths": {"a.example.com": {"auth": "dTpw"}}, "credHelpers": {"a.example.com": ""}}`, true, []string{"a.example.com"}, "desktop", map[string]string{"*": "desktop", "a.example.com": "auths"}, []string{"a.example.com"}, nil},
		{"Hub by its long key", `{"credHelpers": {"https://index.docker.io/v1/": "pass"}}`, false, []string{HubHost}, "pass", map[string]string{HubHost: "pass"}, nil, []string{`"credsStore": "regmint"`}},
		{"Hub in auths", `{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}`, false, []string{HubHost}, "", map[string]string{"*": "auths"}, []string{HubHost}, nil},
		{"ours already", `{"credsStore": "regmint", "auths": {"a.example.com": {"auth": "dTpw"}}}`, true, []string{"a.example.com"}, "", map[string]string{}, nil, nil},
		{"a helper that is gone", `{"credsStore": "gone"}`, true, nil, "", map[string]string{}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for _, p := range strings.Fields(c.programs) {
				w.program("docker-credential-" + p)
			}
			w.config(c.config)
			o := w.options(c.hosts...)
			o.All = c.all
			p := w.install(o)
			want := map[string]string{}
			for h, v := range c.behind {
				want[h] = filepath.Join(w.bin, "docker-credential-"+v+exeSuffix)
				if v == "auths" {
					want[h] = AuthsPrefix + w.configPath()
				}
			}
			if !maps.Equal(p.Behind, want) {
				t.Errorf("behind %v, want %v", p.Behind, want)
			}
			var plain []string
			for _, l := range p.PlainAuths {
				plain = append(plain, l.Host)
				if v, ok := p.Behind[l.Host]; !ok && p.Behind["*"] == "" {
					t.Errorf("%s has nothing behind (%s)", l.Host, v)
				}
				if got, ok, err := ReadAuth(w.configPath(), l.Host); err != nil || !ok || got.Secret != l.Secret {
					t.Errorf("%s cannot be read any more: %v %v", l.Host, ok, err)
				}
			}
			if !slices.Equal(plain, c.plain) {
				t.Errorf("plain %q, want %q", plain, c.plain)
			}
			for _, s := range c.wants {
				if got := read(t, w.configPath()); !strings.Contains(got, s) {
					t.Errorf("%s is not in %s", s, got)
				}
			}
		})
	}
}

// One credHelpers line ends docker's own choice of a keychain: without
// credsStore every login in it would be lost.
func TestTheKeychainDockerPicksByItselfIsKept(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("docker's choice differs by system; run on Linux")
	}
	for _, config := range []string{"absent", `{"auths": {}}`, `{"detachKeys": "ctrl-x"}`} {
		for _, store := range []string{"pass", "secretservice"} {
			w := newWorld(t)
			program := w.program("docker-credential-" + store)
			if store == "pass" {
				w.program("pass")
			}
			if config != "absent" {
				w.config(config)
			}
			p := w.install(w.options("ghcr.io"))
			if got := read(t, w.configPath()); !strings.Contains(got, `"credsStore": "`+store+`"`) {
				t.Errorf("%s: %s", store, got)
			}
			if p.Behind["ghcr.io"] != program {
				t.Errorf("behind %v", p.Behind)
			}
			o := w.options("ghcr.io")
			o.All = true
			if p = w.install(o); p.Behind["*"] != program {
				t.Errorf("then all: behind %v", p.Behind)
			}
			w.uninstall()
			if config == "absent" && exists(w.configPath()) || config != "absent" && read(t, w.configPath()) != config {
				t.Error("not as it was")
			}
		}
	}
}

func TestInstallRefusesWhatDockerCannotRead(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{", `{"auths": []}`, `{"credHelpers": {"a": 1}}`, `{"a": 1, "a": 2}`, "\xef\xbb\xbf{}", `{"credsStore": "a/b"}`} {
		w := newWorld(t)
		path := w.config(text)
		o := w.options("ghcr.io")
		o.All = true
		_, err := Install(o)
		mustContain(t, err, path, "malformed")
		if read(t, path) != text || exists(w.journal()) || len(tree(t, filepath.Dir(path))) != 2 {
			t.Errorf("%q: something was written", text)
		}
	}
}

// A link stays a link and its file keeps its mode and owner (dotfiles).
func TestInstallFollowsTheLinkAndKeepsModeAndOwner(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	target := w.file("dotfiles/docker.json", "{}\n")
	if err := os.Chmod(target, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		chownAll(t, w.home)
	}
	if err := os.MkdirAll(filepath.Dir(w.configPath()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../dotfiles/docker.json", w.configPath()); err != nil {
		t.Fatal(err)
	}
	o := w.options("ghcr.io")
	if os.Geteuid() == 0 {
		_, err := Install(o) // root, and the file of uid 65534
		if !errors.Is(err, ErrForeign) {
			t.Fatalf("another user's file: %v", err)
		}
		o.Caller.UID = 65534 // under sudo
	}
	w.install(o)
	if got, _ := os.Readlink(w.configPath()); got != "../dotfiles/docker.json" {
		t.Errorf("the link leads to %q", got)
	}
	info, err := os.Stat(target)
	if err != nil || info.Mode().Perm() != 0o640 || !strings.Contains(read(t, target), "regmint") {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if uid, _, _ := ownerOf(info); os.Geteuid() == 0 && uid != 65534 {
		t.Errorf("the file belongs to uid %d now", uid)
	}
	if os.Geteuid() != 0 {
		w.uninstall()
		if read(t, target) != "{}\n" {
			t.Error("not as it was")
		}
	}
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	_, err = Install(o)
	mustContain(t, err, w.configPath(), "link")
}

func TestUninstallLeavesWhatOthersChangedAndNamesIt(t *testing.T) {
	w := newWorld(t)
	w.program("docker-credential-desktop")
	w.config("{\n\t\"credsStore\": \"desktop\",\n\t\"credHelpers\": {\n\t\t\"gcr.io\": \"gcloud\"\n\t}\n}\n")
	o := w.options("ghcr.io", "quay.io")
	o.All = true
	w.install(o)
	// docker login, in docker's layout, and the person's own hand.
	w.config("{\n\t\"auths\": {\n\t\t\"new.example.com\": {}\n\t},\n\t\"credsStore\": \"regmint\",\n\t\"credHelpers\": {\n\t\t\"gcr.io\": \"gcloud\",\n\t\t\"ghcr.io\": \"mine\",\n\t\t\"quay.io\": \"regmint\"\n\t}\n}")
	r := w.uninstall()
	want := "{\n\t\"auths\": {\n\t\t\"new.example.com\": {}\n\t},\n\t\"credsStore\": \"desktop\",\n\t\"credHelpers\": {\n\t\t\"gcr.io\": \"gcloud\",\n\t\t\"ghcr.io\": \"mine\"\n\t}\n}"
	if got := read(t, w.configPath()); got != want {
		t.Errorf("got %s", got)
	}
	if len(r.Left) != 1 || !slices.Equal(r.Left[0].Key, []string{"credHelpers", "ghcr.io"}) || *r.Left[0].Before != `"mine"` || len(r.Restored) != 2 {
		t.Errorf("report %+v", r)
	}
	if exists(w.journal()) || exists(w.configPath()+backupSuffix) {
		t.Error("journal or backup is left")
	}
	if r := w.uninstall(); len(r.Restored) > 0 {
		t.Error("undone twice")
	}
}

func TestLoginsAddTheirHostsOneByOne(t *testing.T) {
	w := newWorld(t)
	was := "{\n\t\"credsStore\": \"desktop\"\n}"
	w.program("docker-credential-desktop")
	w.config(was)
	w.install(w.options("ghcr.io"))
	w.install(w.options("quay.io"))
	o := w.options("ghcr.io", "quay.io")
	o.All = true
	p := w.install(o)
	if p.Behind["*"] == "" {
		t.Errorf("behind %v", p.Behind)
	}
	w.uninstall()
	if got := read(t, w.configPath()); got != was {
		t.Errorf("got %q", got)
	}
	// Docker Desktop put another store in, in between: that is the newer past.
	w.install(o)
	w.config("{\n\t\"credsStore\": \"desktop.exe\",\n\t\"credHelpers\": {\n\t\t\"ghcr.io\": \"regmint\",\n\t\t\"quay.io\": \"regmint\"\n\t}\n}")
	exe := w.program("docker-credential-desktop.exe")
	if p = w.install(o); p.Behind["*"] != exe {
		t.Errorf("behind %v", p.Behind)
	}
	w.uninstall()
	if got := read(t, w.configPath()); got != "{\n\t\"credsStore\": \"desktop.exe\"\n}" {
		t.Errorf("got %q", got)
	}
}

// Without the backup the keys are taken back one by one: the text is the same,
// but for the space inside an object that was empty.
func TestUninstallWithoutTheBackupGivesTheSameText(t *testing.T) {
	t.Parallel()
	for name, text := range shapes {
		if text == "absent" {
			continue
		}
		for _, all := range []bool{false, true} {
			w := newWorld(t)
			for _, h := range []string{"desktop", "gcloud", "pass"} {
				w.program("docker-credential-" + h)
			}
			w.config(text)
			o := w.options("a.example.com:5000", "ghcr.io", HubHost)
			o.All = all
			w.install(o)
			if err := os.Remove(w.configPath() + backupSuffix); err != nil && name != "already ours" {
				t.Fatal(name, err)
			}
			w.uninstall()
			got := read(t, w.configPath())
			squeeze := func(s string) string {
				for _, e := range []string{"{ \n }", "{ }"} {
					s = strings.ReplaceAll(s, e, "{}")
				}
				return s
			}
			want := squeeze(text)
			if name == "nulls" {
				want = strings.Replace(want, `"credHelpers": null`, `"credHelpers": {}`, 1)
			}
			if name == "hub by long key" {
				want = "{\n\t\"credHelpers\": {\n\t\t\"https://index.docker.io/v1/\": \"pass\"\n\t}\n}\n"
			}
			if got != want {
				t.Errorf("%s (all: %v): was %q, is %q", name, all, text, got)
			}
		}
	}
}

func TestUninstallOfAFileWeMadeKeepsWhatCameIntoIt(t *testing.T) {
	w := newWorld(t)
	w.install(w.options("ghcr.io"))
	w.config("{\n\t\"auths\": {},\n\t\"credHelpers\": {\n\t\t\"ghcr.io\": \"regmint\"\n\t}\n}")
	w.uninstall()
	if got := read(t, w.configPath()); got != "{\n\t\"auths\": {}\n}" {
		t.Errorf("got %q", got)
	}
	w.install(w.options("ghcr.io"))
	if err := os.Remove(w.configPath()); err != nil {
		t.Fatal(err)
	}
	if r := w.uninstall(); len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
	w.config("{}")
	w.install(w.options("ghcr.io"))
	w.config("{")
	_, err := Uninstall(w.journal())
	mustContain(t, err, w.configPath(), "malformed")
	if !exists(w.journal()) {
		t.Error("the journal is gone before its work was done")
	}
	w.config("{\"credHelpers\": {\"ghcr.io\": \"regmint\"}}")
	w.uninstall()
	if got := read(t, w.configPath()); got != "{}" {
		t.Errorf("got %q", got)
	}
}

func TestAChangeBetweenPlanAndApplyIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"absent", "{}"} {
		os.RemoveAll(filepath.Dir(w.configPath()))
		if text != "absent" {
			w.config(text)
		}
		p, err := Install(w.options("ghcr.io"))
		if err != nil {
			t.Fatal(err)
		}
		w.config(`{"auths": {"x": {"auth": "dTpw"}}}`)
		if err := p.Apply(); !errors.Is(err, ErrChanged) {
			t.Errorf("%v", err)
		}
		if got := read(t, w.configPath()); got != `{"auths": {"x": {"auth": "dTpw"}}}` {
			t.Errorf("got %s", got)
		}
	}
}

func TestAnExistingBackupIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	w.config("{}")
	old := w.file(".docker/config.json"+backupSuffix, "older")
	w.install(w.options("ghcr.io"))
	if read(t, old) != "older" || read(t, old+".1") != "{}" {
		t.Error("backups")
	}
	if m := mode(t, old+".1").Perm(); exeSuffix == "" && m != 0o600 {
		t.Errorf("mode %04o", m)
	}
	w.uninstall()
	if read(t, old) != "older" || exists(old+".1") {
		t.Error("backups after uninstall")
	}
}

func TestTheContainersDropIn(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Containers = true
	w.file(filepath.Join(w.root, "etc/containers/registries.conf"), "credential-helpers = [\"ecr-login\"]\n")
	later := w.file(".config/containers/registries.conf.d/99-mine.conf", "credential-helpers = [\"x\"]\n")
	path := filepath.Join(w.home, ".config/containers/registries.conf.d/50-regmint.conf")
	p := w.install(o)
	golden(t, "50-regmint.conf", read(t, path))
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], later) {
		t.Errorf("notes %q", p.Notes)
	}
	w.uninstall()
	if exists(path) || !exists(later) {
		t.Error("drop-in after uninstall")
	}
	// Somebody else's, and one that somebody changed.
	w.file(path, "mine")
	if _, err := Install(o); !errors.Is(err, ErrForeign) {
		t.Errorf("%v", err)
	}
	os.Remove(path)
	w.install(o)
	w.file(path, read(t, path)+"# my own addition\n")
	r := w.uninstall()
	if len(r.Left) != 1 || r.Left[0].File != path || !exists(path) {
		t.Errorf("%+v", r)
	}
}

func TestThePlanReadsLikeAPlan(t *testing.T) {
	skipWindows(t, "paths in a golden file")
	w := newWorld(t)
	w.program("docker-credential-desktop")
	w.config("{\"credsStore\": \"desktop\", \"credHelpers\": {\"https://index.docker.io/v1/\": \"gone\", \"quay.io\": \"desktop\"}}")
	o := w.options("ghcr.io", HubHost, "quay.io")
	o.Containers = true
	o.HelperDir = filepath.Join(w.home, "elsewhere")
	p, err := Install(o)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.Print(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "plan.txt", b.String(), w.home, "HOME", w.bin, "BIN")
	if exists(w.journal()) || len(tree(t, filepath.Dir(w.configPath()))) != 2 {
		t.Error("a plan wrote something")
	}
}

func TestWouldAskFollowsDockersRule(t *testing.T) {
	w := newWorld(t)
	path := w.configPath()
	for _, c := range []struct {
		config, host string
		want         bool
		why          string
	}{
		{"absent", "ghcr.io", false, "does not exist"},
		{"{}", "ghcr.io", false, "neither"},
		{"{", "ghcr.io", false, "malformed"},
		{`{"credsStore": "desktop"}`, "ghcr.io", false, "credsStore=desktop"},
		{`{"credsStore": "regmint"}`, "ghcr.io", true, "credsStore=regmint"},
		{`{"credsStore": "regmint-work"}`, "ghcr.io", true, ""},
		{`{"credsStore": "regmintx"}`, "ghcr.io", false, ""},
		{`{"credsStore": "regmint", "credHelpers": {"ghcr.io": "gh"}}`, "ghcr.io", false, `credHelpers["ghcr.io"]=gh`},
		{`{"credsStore": "regmint", "credHelpers": {"ghcr.io": ""}}`, "ghcr.io", false, "empty value"},
		{`{"credsStore": "desktop", "credHelpers": {"ghcr.io": "regmint"}}`, "ghcr.io", true, ""},
		{`{"credHelpers": {"docker.io": "regmint", "index.docker.io": "regmint"}}`, HubHost, false, "https://index.docker.io/v1/"},
		{`{"credHelpers": {"https://index.docker.io/v1/": "regmint"}}`, HubHost, true, ""},
	} {
		os.RemoveAll(filepath.Dir(path))
		if c.config != "absent" {
			w.config(c.config)
		}
		ok, why := WouldAsk(path, c.host)
		if ok != c.want || !strings.Contains(why, c.why) || !strings.Contains(why, path) {
			t.Errorf("%s for %s: %v, %s", c.config, c.host, ok, why)
		}
	}
}
