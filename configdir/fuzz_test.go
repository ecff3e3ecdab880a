// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// others are the members that are not about logins, as key=text.
func others(t *testing.T, text []byte) []string {
	t.Helper()
	o, err := parseObject(text)
	if err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	var out []string
	for _, m := range o.members {
		if !slices.ContainsFunc(authKeys, func(k string) bool { return strings.EqualFold(k, m.key) }) {
			out = append(out, m.key+"="+string(m.rawValue))
		}
	}
	return out
}

// FuzzDockerConfig: whatever a config.json holds, generating a job's from it
// and editing it keep every other key, its text and the order; edits are
// undone; and what is refused is refused in words on one line.
func FuzzDockerConfig(f *testing.F) {
	for _, s := range shapes {
		f.Add([]byte(s))
	}
	f.Add([]byte(richConfig))
	for _, s := range []string{"", "null", "[]", "{", `{"a":1,"a":2}`, "\xef\xbb\xbf{}", `{"auths":[]}`, `{"credsStore":3}`, "{\"\xff\":1}", `{"a":{"a":{"a":{}}}}`, `{"\u0000":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &dockerFile{}
		if err := d.parse(text); err != nil {
			if !errors.Is(err, ErrMalformed) || strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Fatalf("refused as %q", err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("not JSON, and not refused: %q", text)
		}
		fuzzGenerate(t, text, d)
		fuzzEdit(t, text)
	})
}

func fuzzGenerate(t *testing.T, text []byte, d *dockerFile) {
	s := Settings{Hosts: []string{"ghcr.io", HubHost}}
	out, err := dockerConfig(s, d, collect(s.Caller, d, s.mine(), s))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := others(t, text), others(t, out); !slices.Equal(a, b) {
		t.Fatalf("other keys were %q and are %q", a, b)
	}
	g := &dockerFile{}
	if err := g.parse(out); err != nil {
		t.Fatalf("the generated file is refused: %v", err)
	}
	if g.store != HelperName {
		t.Fatalf("credsStore %q", g.store)
	}
	for _, p := range g.helpers {
		if strings.Contains(p.key, "://") || p.value == "" {
			t.Fatalf("credHelpers %q: %q", p.key, p.value)
		}
	}
	for _, e := range g.auths {
		if hostOf(e.key) == HubHost || hostOf(e.key) == "ghcr.io" {
			t.Fatalf("an auths entry of a host of ours: %q", e.key)
		}
	}
}

func fuzzEdit(t *testing.T, text []byte) {
	now := text
	type undo struct {
		path   []string
		before []byte
	}
	var undos []undo
	for _, path := range [][]string{{keyStore}, {keyHelpers, "ghcr.io"}, {keyHelpers, "docker.io"}} {
		before, err := getPath(now, path)
		if err != nil {
			t.Fatal(err)
		}
		undos = append(undos, undo{path, before})
		if now, err = setPath(now, path, []byte(`"regmint"`)); err != nil {
			t.Fatal(err)
		}
	}
	if !json.Valid(now) {
		t.Fatalf("not JSON any more: %q", now)
	}
	if a, b := others(t, text), others(t, now); !slices.Equal(a, b) {
		t.Fatalf("other keys were %q and are %q", a, b)
	}
	e := &dockerFile{}
	if err := e.parse(now); err != nil || e.store != HelperName {
		t.Fatalf("%v %q: %q", err, e.store, now)
	}
	was := &dockerFile{}
	if err := was.parse(text); err != nil {
		t.Fatal(err)
	}
	for _, u := range slices.Backward(undos) {
		var err error
		if now, err = setPath(now, u.path, u.before); err != nil {
			t.Fatal(err)
		}
	}
	back := &dockerFile{}
	if err := back.parse(now); err != nil || back.store != was.store || !reflect.DeepEqual(back.helpers, was.helpers) {
		t.Fatalf("%v: helpers were %v and are %v", err, was.helpers, back.helpers)
	}
	if a, b := others(t, text), others(t, now); !slices.Equal(a, b) {
		t.Fatalf("after undoing, other keys were %q and are %q", a, b)
	}
	if len(was.helpers) > 0 && !bytes.Equal(now, text) {
		t.Fatalf("was %q, is %q", text, now)
	}
}

// FuzzRegistriesConf: what is read is written anew without loss, with us first.
func FuzzRegistriesConf(f *testing.F) {
	for _, s := range []string{
		"", "unqualified-search-registries = [\"docker.io\"]\n", "[[registry]]\nprefix = \"*.example.com\"\n[[registry.mirror]]\nlocation = \"m\"\n",
		"[registries.search]\nregistries = [\"a\"]\n[registries.block]\nregistries = [\"b\", 3]\n", "credential-helpers = [\"regmint\", \"x\"]\n",
		"registry = 3\n", "[[registry]]\nlocation = \"docker.io\"\nmirror = 3\n", "x = 2026-11-21T10:00:00Z\ny = [1, [2.5, inf], {a = \"b\"}]\n", "a = '''\n''\\'''\n", "\"a\\u0000\" = \"\\u001b\"\n", "[aliases]\n\"a\" = \"b\"\n",
		"x = nan\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		conf, err := parseRegistries([]byte(text), true)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Fatalf("refused as %q", err)
			}
			return
		}
		keysBefore := slices.Collect(maps.Keys(conf))
		addMirrors(conf, []Mirror{{HubHost, []string{"m.example.com"}}})
		conf[keyCredUsers] = credentialHelpers(conf, Settings{})
		mergeRegistries(conf, map[string]any{"short-name-mode": "enforcing"})
		out, err := marshalRegistries(conf)
		if err != nil {
			return // said, and the person's file stays in effect
		}
		back, err := parseRegistries(out, false)
		if err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		for _, k := range keysBefore {
			if _, ok := back[k]; !ok {
				t.Fatalf("%q is lost", k)
			}
		}
		if h := list(back[keyCredUsers]); len(h) < 2 || h[0] != any(HelperName) || !slices.Contains(h, any(authFileHelper)) {
			t.Fatalf("helpers %v", h)
		}
		if !strings.Contains(fmt.Sprint(back[keyRegistry]), "m.example.com") {
			t.Fatalf("the mirror is lost: %v", back[keyRegistry])
		}
	})
}

// FuzzDockerAuthConfig: a login read from the variable is one that docker would
// read too, and no error shows what the value was.
func FuzzDockerAuthConfig(f *testing.F) {
	for _, s := range []string{"", "{}", `{"auths":{"x":{"auth":"dTpw"}}}`, `{"AUTHS":{"x":{"auth":"dTpw"}}}`, `{"auths":{"x":{"auth":"dQ=="}}}`, `{"auths":{"x":{"auth":"dTpw","a":1}}}`, `{"auths":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		logins, err := ParseDockerAuthConfig(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Fatalf("%q", err)
			}
			return
		}
		var env struct {
			Auths map[string]struct {
				Auth string `json:"auth"`
			} `json:"auths"`
		}
		if strings.TrimSpace(s) == "" {
			return
		}
		dec := json.NewDecoder(strings.NewReader(s))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&env); err != nil || len(env.Auths) != len(logins) {
			t.Fatalf("docker reads %d of %d: %v", len(env.Auths), len(logins), err)
		}
		for _, l := range logins {
			if l.Username == "" || l.Secret == "" || strings.ContainsAny(l.Username+string(l.Secret), "\r\n\x00") {
				t.Fatalf("%q", l.Key)
			}
		}
	})
}
