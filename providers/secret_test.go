// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"
	"time"
)

const canary = "CNRYsecret0123456789abcdef"

// leaks reports whether text holds the canary in any dress.
func leaks(text string) bool {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	for _, form := range []string{
		canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)),
		canary[:16], strings.Trim(strings.ReplaceAll(bytesOf(canary), " ", ""), "[]"),
	} {
		if strings.Contains(text, strings.ToLower(form)) {
			return true
		}
	}
	return false
}

// bytesOf is how %d shows a string.
func bytesOf(s string) string { return fmt.Sprintf("%d", []byte(s)) }

type (
	shown  struct{ S Secret }
	hidden struct{ s Secret }
	deep   struct {
		Name string
		in   struct {
			list []hidden
			ptr  *hidden
			any  any
			kv   map[string]Secret
		}
	}
)

type secretError struct{ s Secret }

func (e secretError) Error() string { return fmt.Sprintf("refused %v", e.s) }

// dresses are the ways a secret sits in other values.
func dresses() map[string]any {
	s := NewSecret(canary)
	h := hidden{s}
	d := deep{Name: "x"}
	d.in.list, d.in.ptr, d.in.any, d.in.kv = []hidden{h}, &h, s, map[string]Secret{"k": s}
	return map[string]any{
		"value": s, "pointer": &s, "exported": shown{s}, "pointer to exported": &shown{s}, "unexported": h, "pointer to unexported": &h,
		"slice": []Secret{s}, "array": [1]Secret{s}, "map": map[string]Secret{"k": s}, "map key": map[Secret]int{s: 1}, "interface": []any{s, &s}, "deep": d, "pointer to deep": &d,
		"credential": Credential{Username: "u", Secret: s, ExpiresAt: time.Unix(1, 0)}, "pointer to credential": &Credential{Secret: s},
		"error": secretError{s}, "wrapped": fmt.Errorf("mint: %w", &Error{Kind: Denied, Err: fmt.Errorf("%v %s %q %#v %+v", s, s, s, shown{s}, h)}),
		"joined": errors.Join(secretError{s}),
	}
}

func TestSecretIsRedactedInEveryVerb(t *testing.T) {
	flags := []string{"", "+", "#", "-", " ", "0", "20", ".3", "+#"}
	for name, v := range dresses() {
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, f := range flags {
				format := "%" + f + string(verb)
				if got := fmt.Sprintf(format, v); leaks(got) || leaks(fmt.Sprintf(format+"%!%*d", v, v, v)) {
					t.Errorf("%s with %s: %s", name, format, got)
				}
			}
		}
		for _, got := range []string{fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("x: %v", v).Error()} {
			if leaks(got) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	if got := fmt.Sprintf("%s %v %q %x %d %#v", NewSecret(canary), NewSecret(canary), NewSecret(canary), NewSecret(canary), NewSecret(canary), NewSecret(canary)); got != strings.TrimSpace(strings.Repeat(" [redacted]", 6)) {
		t.Error(got)
	}
}

func TestSecretIsRedactedInLogs(t *testing.T) {
	var out bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	for name, v := range dresses() {
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, opts), slog.NewJSONHandler(&out, opts)} {
			l := slog.New(h).With("with", v).WithGroup("g")
			l.Debug("x", "attr", v)
			l.Error("x", slog.Any("any", v), slog.Group("group", "in", v))
		}
		log.New(&out, "", 0).Print(v)
		if leaks(out.String()) {
			t.Errorf("%s: %s", name, out.String())
		}
		if out.Len() == 0 {
			t.Errorf("%s: nothing was logged", name)
		}
		out.Reset()
	}
}

func TestSecretIsRedactedInEncodings(t *testing.T) {
	for name, v := range dresses() {
		var out bytes.Buffer
		_ = json.NewEncoder(&out).Encode(v)
		_ = xml.NewEncoder(&out).Encode(v)
		_ = gob.NewEncoder(&out).Encode(v)
		if tmpl, err := template.New("").Parse("{{.}} {{printf `%v` .}}"); err != nil || tmpl.Execute(&out, v) != nil {
			t.Errorf("%s: template failed", name)
		}
		if leaks(out.String()) {
			t.Errorf("%s: %s", name, out.String())
		}
	}
	b, err := json.Marshal(map[string]any{"a": NewSecret(canary), "b": shown{NewSecret(canary)}})
	if err != nil || string(b) != `{"a":"[redacted]","b":{"S":"[redacted]"}}` {
		t.Errorf("%s, %v", b, err)
	}
}

// TestSecretIsRedactedInAPanic needs a process of its own: the runtime prints
// the value of a panic without fmt.
func TestSecretIsRedactedInAPanic(t *testing.T) {
	all := dresses()
	if name := flag.Arg(0); name != "" {
		panic(all[name])
	}
	for name := range all {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSecretIsRedactedInAPanic$", name)
		cmd.Env = []string{}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: ") {
			t.Fatalf("%s: no panic: %v\n%s", name, err, out)
		}
		if leaks(string(out)) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestSecretValue(t *testing.T) {
	s := NewSecret(canary)
	if s.Reveal() != canary || s.IsZero() {
		t.Error("the secret is lost")
	}
	if !s.Equal(NewSecret(canary)) || s.Equal(NewSecret(canary+"x")) || s.Equal(Secret{}) || !(Secret{}).Equal(NewSecret("")) {
		t.Error("Equal compares something else")
	}
	if !NewSecret("").IsZero() || (Secret{}).Reveal() != "" {
		t.Error("the empty secret is something")
	}
	if !leaks("x " + hex.EncodeToString([]byte(canary))) {
		t.Error("the check cannot fail")
	}
}
