// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDurationReadsDays(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "12h": 12 * time.Hour, "14d": 14 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute, "0": 0,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || time.Duration(d) != want {
			t.Errorf("%q: %v, %v", in, time.Duration(d), err)
		}
		text, _ := d.MarshalText()
		var again Duration
		if err := again.UnmarshalText(text); err != nil || again != d {
			t.Errorf("%q: %s reads back as %v, %v", in, text, again, err)
		}
	}
	for _, in := range []string{"", "d", "1.5d", "-1d", "+1d", " 1d", "1 d", "01d", "40000d", "-1s", "14", "1dd", "1d12h", "1w"} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err == nil || !strings.Contains(err.Error(), "write 90s") {
			t.Errorf("%q: %v, %v", in, d, err)
		}
	}
}

func TestSecretReference(t *testing.T) {
	abs, err := filepath.Abs("pw")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]SecretRef{
		"keyring:ghcr.io":     {Scheme: "keyring", Value: "ghcr.io"},
		"keyring:reg.io:5000": {Scheme: "keyring", Value: "reg.io:5000"},
		"env:REG_PASSWORD":    {Scheme: "env", Value: "REG_PASSWORD"},
		"file:" + abs:         {Scheme: "file", Value: abs},
		"exec:" + abs:         {Scheme: "exec", Value: abs},
	} {
		var r SecretRef
		if err := r.UnmarshalText([]byte(in)); err != nil || !reflect.DeepEqual(r, want) || r.IsZero() {
			t.Errorf("%q: %+v, %v", in, r, err)
		}
		if text, _ := r.MarshalText(); string(text) != in {
			t.Errorf("%q prints as %q", in, text)
		}
	}
	for _, in := range []string{"", "hunter2", "https://hunter2", "keyring:", "env:", "file:hunter2", "exec:hunter2", "pass:hunter2", "env:hunter2\n", "Env:hunter2", ":hunter2"} {
		r, err := ParseSecretRef(in)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %+v, %v", in, r, err)
		}
	}
}

func TestSecretProgramKeepsItsArguments(t *testing.T) {
	abs, err := filepath.Abs("vault")
	if err != nil {
		t.Fatal(err)
	}
	r, err := ExecRef([]string{abs, "read", "-field", "pw"})
	if err != nil || r.Value != abs || !reflect.DeepEqual(r.Args, []string{"read", "-field", "pw"}) || strings.Contains(r.String(), "read") {
		t.Errorf("%+v, %v", r, err)
	}
	for _, argv := range [][]string{nil, {""}, {"vault"}} {
		if r, err := ExecRef(argv); err == nil {
			t.Errorf("%q: %+v", argv, r)
		}
	}
}

func TestEnvRefsNamesTheVariables(t *testing.T) {
	a := Account{Password: SecretRef{Scheme: "env", Value: "PW"}, RotateTo: SecretRef{Scheme: "env", Value: "NEW"}}
	if got := a.EnvRefs(); !reflect.DeepEqual(got, []string{"PW", "NEW"}) {
		t.Errorf("%q", got)
	}
	if got := (Account{Password: SecretRef{Scheme: "keyring", Value: "PW"}}).EnvRefs(); got != nil {
		t.Errorf("%q", got)
	}
}

func TestEveryAccountKeyIsDocumented(t *testing.T) {
	for f := range reflect.TypeFor[Account]().Fields() {
		key := f.Tag.Get("toml")
		if key == "" || key != "-" && f.Tag.Get("doc") == "" {
			t.Errorf("%s: toml %q, doc %q", f.Name, key, f.Tag.Get("doc"))
		}
	}
}

func TestCredentialLife(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	if got := (Credential{IssuedAt: now, ExpiresAt: now.Add(time.Hour)}).Life(); got != time.Hour {
		t.Error(got)
	}
	if got := (Credential{IssuedAt: now}).Life(); got != 0 {
		t.Errorf("without an expiry: %v", got)
	}
}
