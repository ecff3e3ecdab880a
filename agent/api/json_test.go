// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var getSeeds = []GetRequest{
	{},
	{Key: "ghcr.io"},
	{Key: "https://index.docker.io/v1/", Account: "prod", Soft: true, Env: []string{"A=b", "C"}, PID: 7, Client: "docker", Config: "/c.toml", Refresh: true, Native: true, Version: "v1.2.3"},
	{Key: "\"\\\n\r\t\b\f\x00\x1b\x7f<>&\u2028\u2029é😀\xff", Env: []string{"", "=", "\xf0\x9f"}, PID: -1},
}

func FuzzGetRequestJSON(f *testing.F) {
	for _, s := range getSeeds {
		f.Add(s.Key, s.Account, strings.Join(s.Env, "\x01"), s.PID, s.Client, s.Config, s.Version, s.Soft)
	}
	f.Fuzz(func(t *testing.T, key, account, env string, pid int, client, config, version string, soft bool) {
		r := &GetRequest{Key: key, Account: account, Soft: soft, PID: pid, Client: client, Config: config, Version: version, Refresh: !soft, Native: soft}
		if env != "" {
			r.Env = strings.Split(env, "\x01")
		}
		got := appendGet(nil, r)
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("ours %q\nencoding/json %q", got, want)
		}
	})
}

func TestGetRequestIsWrittenAsEncodingJSONDoes(t *testing.T) {
	for _, r := range getSeeds {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendGet(nil, &r); !bytes.Equal(got, want) {
			t.Errorf("ours %q, encoding/json %q", got, want)
		}
	}
}

var answerSeeds = []string{
	`{"outcome":"ok","username":"u","secret":"s\n\u00e9\ud83d\ude00","account":"a","issued_at":1,"expires_at":-2,"wider":true,"need_env":["A","B"],"behind":"/x","version":"v","native_env":["A=1","B=\u00e9"]}`,
	` { "outcome" : "not_found" , "later" : [1,{"a":[true,null,-1.5e+3]},"x"] } `,
	`{}`, `{"wider":null,"issued_at":0}`, `{"need_env":[]}`,
}

var refusedAnswers = map[string]string{
	"nothing":                   ``,
	"null":                      `null`,
	"array":                     `[]`,
	"two objects":               `{}{}`,
	"trailing comma":            `{"outcome":"ok",}`,
	"trailing comma in array":   `{"need_env":["a",]}`,
	"no colon":                  `{"outcome" "ok"}`,
	"truncated":                 `{"outcome":"ok"`,
	"truncated string":          `{"outcome":"ok`,
	"truncated escape":          `{"outcome":"\`,
	"raw newline in a string":   "{\"secret\":\"a\nb\"}",
	"unknown escape":            `{"secret":"\x41"}`,
	"short unicode escape":      `{"secret":"\u00e"}`,
	"lone surrogate":            `{"secret":"\ud800"}`,
	"reversed surrogates":       `{"secret":"\ude00\ud83d"}`,
	"invalid UTF-8":             "{\"secret\":\"\xff\"}",
	"invalid UTF-8 in a skip":   "{\"x\":\"\xff\"}",
	"duplicate field":           `{"secret":"a","secret":"b"}`,
	"duplicate field after nul": `{"secret":null,"secret":"b"}`,
	"field in another case":     `{"Secret":"a"}`,
	"Kelvin sign":               "{\"\u212aind\":\"a\"}",
	"number for a string":       `{"secret":1}`,
	"string for a number":       `{"issued_at":"1"}`,
	"fraction":                  `{"issued_at":1.5}`,
	"huge number":               `{"issued_at":1e400}`,
	"too large":                 `{"issued_at":9223372036854775808}`,
	"leading zero":              `{"issued_at":01}`,
	"plus":                      `{"issued_at":+1}`,
	"bare minus":                `{"issued_at":-}`,
	"string for a bool":         `{"wider":"true"}`,
	"null in an array":          `{"need_env":[null]}`,
	"null in native_env":        `{"native_env":[null]}`,
	"two native_env":            `{"native_env":["A=1"],"native_env":["A=2"]}`,
	"misspelt null":             `{"x":nul}`,
	"control byte between":      "{\x01}",
	"deep nesting":              `{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
}

func TestAnswersThatTwoReadersCouldTakeDifferentlyAreRefused(t *testing.T) { // H85
	for name, text := range refusedAnswers {
		t.Run(name, func(t *testing.T) {
			var r GetResponse
			if err := parseGet([]byte(text), &r); err == nil {
				t.Errorf("accepted as %+v", r)
			}
		})
	}
}

func TestAnswersAreReadAsEncodingJSONDoes(t *testing.T) {
	for _, text := range answerSeeds {
		var got, want GetResponse
		if err := parseGet([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("ours %+v, encoding/json %+v", got, want)
		}
	}
}

func FuzzGetResponseJSON(f *testing.F) {
	for _, s := range answerSeeds {
		f.Add([]byte(s))
	}
	for _, s := range refusedAnswers {
		if len(s) < 1000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, theirs GetResponse
		ourErr := parseGet(data, &ours)
		theirErr := json.Unmarshal(data, &theirs)
		if ourErr == nil {
			if theirErr != nil {
				t.Fatalf("accepted %q, encoding/json: %v", data, theirErr)
			}
			if !reflect.DeepEqual(ours, theirs) {
				t.Fatalf("%q: ours %+v, encoding/json %+v", data, ours, theirs)
			}
			return
		}
		// What our own agent writes must come back whatever it holds.
		if theirErr != nil || !utf8.Valid(data) {
			return
		}
		again, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		var back GetResponse
		if err := parseGet(again, &back); err != nil {
			t.Fatalf("refused our agent's %q: %v", again, err)
		}
	})
}

func TestDockerCredentialRoundTripsAnyText(t *testing.T) {
	in := Login{ServerURL: "https://index.docker.io/v1/", Username: `ü"\`, Secret: "line\nline\t<&>\u2028😀\x7f"}
	out := AppendDockerCredential(nil, in)
	var theirs struct{ ServerURL, Username, Secret string }
	if err := json.Unmarshal(out, &theirs); err != nil || theirs.Secret != in.Secret || theirs.Username != in.Username {
		t.Fatalf("%q: %+v, %v", out, theirs, err)
	}
	want, err := json.Marshal(theirs)
	if err != nil || string(out) != string(want)+"\n" {
		t.Errorf("ours %q, encoding/json %q, %v", out, want, err)
	}
	back, err := ParseDockerCredential(out)
	if err != nil || !reflect.DeepEqual(back, in) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestCleanLineShowsWhatATerminalWouldObey(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                 "plain",
		"a\x1b[31mb":            `a\x1b[31mb`,
		"\n\r\x00\x7f":          `\x0a\x0d\x00\x7f`,
		"\u0085":                `\u0085`,
		"\u2028\u202e\ufeff":    `\u2028\u202e\ufeff`,
		"\xff":                  `\xff`,
		"\U000e0041":            `\U000e0041`,
		"ünïcode 😀":             "ünïcode 😀",
		strings.Repeat("x", 20): strings.Repeat("x", 20),
		strings.Repeat("x", 21): strings.Repeat("x", 19) + "…",
		"\u00ad":                `\u00ad`,
	} {
		if got := CleanLine(in, 20); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanLine(f *testing.F) {
	f.Add("a\x1b\u202e\xff😀", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + (limit&0x7fffffff)%200
		got := CleanLine(s, limit)
		if n := utf8.RuneCountInString(got); n > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, IsControl) {
			t.Fatalf("%q, %d: %q", s, limit, got)
		}
	})
}
