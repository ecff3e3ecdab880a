// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// registriesOf writes a job and returns its registries.conf as text and model.
func (w *world) registriesOf(change func(*Settings)) (string, map[string]any, Report) {
	w.t.Helper()
	j := w.job()
	s := w.settings(j, "ghcr.io")
	if change != nil {
		change(&s)
	}
	r := w.write(j, s)
	if r.RegistriesConf == "" {
		return "", nil, r
	}
	text := read(w.t, r.RegistriesConf)
	conf := map[string]any{}
	if err := toml.Unmarshal([]byte(text), &conf); err != nil {
		w.t.Fatal(err)
	}
	return text, conf, r
}

func TestRegistriesConfIsThePersonsWithOursAdded(t *testing.T) {
	w := newWorld(t)
	w.file(filepath.Join(w.root, "etc/containers/registries.conf"), `
# a comment
unqualified-search-registries = ["registry.fedoraproject.org", "docker.io"]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json", "ecr-login"]

[[registry]]
prefix = "internal.example.com/ns"
location = "reg.example.com:5000/ns"
insecure = true
[[registry.mirror]]
location = "mirror.example.com"
pull-from-mirror = "digest-only"

[[registry]]
location = "blocked.example.com"
blocked = true

[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
`)
	w.file(filepath.Join(w.root, "etc/containers/registries.conf.d/10-a.conf"), "[aliases]\n\"alpine\" = \"docker.io/library/alpine\"\n")
	w.file(filepath.Join(w.root, "etc/containers/registries.conf.d/ignored.txt"), "not toml [")
	w.file(".config/containers/registries.conf.d/20-b.conf", "short-name-mode = \"permissive\"\n[[registry]]\nprefix = \"blocked.example.com\"\nlocation = \"open.example.com\"\n")
	text, conf, r := w.registriesOf(func(s *Settings) {
		s.Mirrors = []Mirror{{"internal.example.com/ns", []string{"first.example.com"}}, {HubHost, []string{"hub.example.com"}}}
	})
	golden(t, "registries-merged.toml", text)
	if len(r.Notes) != 0 || conf["short-name-mode"] != "permissive" {
		t.Errorf("notes %q, %v", r.Notes, conf)
	}
}

func TestTheFirstRegistriesConfThatExistsCounts(t *testing.T) {
	w := newWorld(t)
	search := func() string {
		_, conf, _ := w.registriesOf(nil)
		return fmt.Sprint(conf[keySearch])
	}
	line := func(name string) string { return "unqualified-search-registries = [\"" + name + "\"]\n" }
	if got := search(); got != "<nil>" {
		t.Errorf("none: %s", got)
	}
	w.file(filepath.Join(w.root, "usr/share/containers/registries.conf"), line("vendor"))
	if got := search(); got != "[vendor]" {
		t.Errorf("vendor: %s", got)
	}
	w.file(filepath.Join(w.root, "etc/containers/registries.conf"), line("system"))
	if got := search(); got != "[system]" {
		t.Errorf("system: %s", got)
	}
	w.file(filepath.Join(w.root, "etc/containers/registries.conf.d/x.conf"), line("dropin"))
	if got := search(); got != "[dropin]" {
		t.Errorf("drop-in: %s", got)
	}
	w.file(".config/containers/registries.conf", line("user"))
	if got := search(); got != "[user]" {
		t.Errorf("the person's own file switches the system's drop-ins off: %s", got)
	}
	w.env["CONTAINERS_REGISTRIES_CONF"] = w.file("env.conf", line("env"))
	if got := search(); got != "[dropin]" {
		t.Errorf("by variable, with drop-ins: %s", got)
	}
}

func TestVersion1OfRegistriesConfIsReadAsVersion2(t *testing.T) {
	w := newWorld(t)
	path := w.file(filepath.Join(w.root, "etc/containers/registries.conf"), `
[registries.search]
registries = ["docker.io", "quay.io"]
[registries.insecure]
registries = ["reg.local:5000", "both.local"]
[registries.block]
registries = ["both.local"]
`)
	text, _, _ := w.registriesOf(nil)
	golden(t, "registries-v1.toml", text)
	w.file(path, read(t, path)+"[[registry]]\nlocation = \"x\"\n")
	if _, _, r := w.registriesOf(nil); r.RegistriesConf != "" || len(r.Notes) != 1 {
		t.Errorf("a mixture, which no tool reads, was read: %q", r.Notes)
	}
}

// "Never ours alone": what cannot be read stays in effect as it is.
func TestARegistriesConfThatCannotBeReadStaysInEffect(t *testing.T) {
	w := newWorld(t)
	_, _, before := w.registriesOf(nil)
	if before.RegistriesConf == "" {
		t.Fatal("none written")
	}
	path := w.file(filepath.Join(w.root, "etc/containers/registries.conf"), "a = 1\nsecret = [\n")
	j := w.job()
	s := w.settings(j)
	r := w.write(j, s)
	set, _ := j.Env(s, r)
	if _, ok := set["CONTAINERS_REGISTRIES_CONF"]; ok || r.RegistriesConf != "" || exists(filepath.Join(j.Root, "registries.conf")) {
		t.Error("ours is in effect alone")
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], path) || !strings.Contains(r.Notes[0], "line") {
		t.Errorf("notes %q", r.Notes)
	}
}

// Older clients read drop-ins on top of the file that the variable names.
func TestADropInThatOverrulesUsIsPointedOut(t *testing.T) {
	w := newWorld(t)
	path := w.file(filepath.Join(w.root, "etc/containers/registries.conf.d/10-x.conf"), "credential-helpers = [\"ecr-login\"]\n")
	if _, _, r := w.registriesOf(nil); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], path) {
		t.Errorf("notes %q", r.Notes)
	}
	w.file(path, "credential-helpers = [\"regmint\", \"ecr-login\"]\n")
	if _, _, r := w.registriesOf(nil); len(r.Notes) != 0 {
		t.Errorf("notes %q", r.Notes)
	}
}

func TestOnlyLeavesOtherHelpersOutOfRegistriesConf(t *testing.T) {
	w := newWorld(t)
	w.file(filepath.Join(w.root, "etc/containers/registries.conf"), "credential-helpers = [\"ecr-login\", \"regmint\"]\n")
	_, conf, _ := w.registriesOf(nil)
	if got := fmt.Sprint(conf[keyCredUsers]); got != "[regmint containers-auth.json ecr-login]" {
		t.Errorf("helpers %s", got)
	}
	_, conf, _ = w.registriesOf(func(s *Settings) { s.Only = true })
	if got := fmt.Sprint(conf[keyCredUsers]); got != "[regmint containers-auth.json]" {
		t.Errorf("--only: helpers %s", got)
	}
}

// H66: mirrors come back from the file as they went in, or are refused.
func TestMirrorsAreEscapedAndComeBack(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("mirror-%d.example.com", i))
	}
	w := newWorld(t)
	for _, mirrors := range [][]string{{`a"b'c`, `'''x"""`, "a/../b", `back\slash`, "日本.example.com"}, many} {
		_, conf, _ := w.registriesOf(func(s *Settings) { s.Mirrors = []Mirror{{HubHost, mirrors}} })
		var got []string
		for _, m := range list(list(conf["registry"])[0].(map[string]any)["mirror"]) {
			got = append(got, m.(map[string]any)["location"].(string))
		}
		if !reflect.DeepEqual(got, mirrors) {
			t.Errorf("came back as %.200q", got)
		}
	}
	for _, bad := range []string{"", "a\nb", "a\x00b", "a b", "https://a", "a\u2028b"} {
		j := w.job()
		s := w.settings(j)
		s.Mirrors = []Mirror{{HubHost, []string{bad}}}
		if _, err := j.Write(s); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// H65: what cannot be read is unknown, never guessed.
func TestTheEnginesMirrorsAreUnknownWhereDaemonJSONCannotBeRead(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.root, "etc/docker/daemon.json")
	if m, err := ReadDaemonMirrors(w.caller()); err != nil || m.Known || m.Path != path {
		t.Errorf("absent: %+v %v", m, err)
	}
	w.file(path, `{"registry-mirrors": ["https://m.example.com", "https://n.example.com/hub/"], "insecure-registries": ["reg.local:5000"], "x": 1}`)
	m, err := ReadDaemonMirrors(w.caller())
	if err != nil || !m.Known || !reflect.DeepEqual(m.Mirrors, []string{"https://m.example.com", "https://n.example.com/hub/"}) || !reflect.DeepEqual(m.Insecure, []string{"reg.local:5000"}) {
		t.Errorf("%+v %v", m, err)
	}
	for _, text := range []string{"", "{", `{"registry-mirrors": "x"}`, `{"registry-mirrors": [3]}`, "null"} {
		w.file(path, text)
		m, err := ReadDaemonMirrors(w.caller())
		if m.Known || len(m.Mirrors) > 0 {
			t.Errorf("%q: guessed %+v", text, m)
		}
		mustContain(t, err, path)
		if read(t, path) != text {
			t.Error("written")
		}
	}
	if os.Geteuid() == 0 {
		t.Log("an unreadable file is not tried as root")
		return
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if m, err := ReadDaemonMirrors(w.caller()); m.Known || err == nil {
		t.Errorf("unreadable: %+v %v", m, err)
	}
}
