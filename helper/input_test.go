// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

func TestKeysThatAnotherReaderTakesForAnotherHostAreRefused(t *testing.T) { // H1-H4, H7, H8
	r := newRig(t).agent()
	for name, tc := range map[string]struct{ input, want string }{
		"H1 empty":               {"", "no credentials server URL"},
		"H1 a line end":          {"\n", "no credentials server URL"},
		"H1 blanks":              {"  ", "no credentials server URL"},
		"H2 line end inside":     {"good.example.com\n.evil.example", `invalid server address: control character at byte 16: good.example.com\x0a.evil.example`},
		"H3 CRLF inside":         {"a\r\nb", `control character at byte 1: a\x0d\x0ab`},
		"H3 lone CR":             {"a\rb", `control character at byte 1: a\x0db`},
		"H3 two line ends":       {"a\n\n", `control character at byte 1: a\x0a`},
		"H4 NUL":                 {"a\x00b", `control character at byte 1: a\x00b`},
		"H4 ESC":                 {"a\x1b[31mb", `a\x1b[31mb`},
		"H4 DEL":                 {"a\x7f", `a\x7f`},
		"H4 NEL":                 {"a\u0085b", `a\u0085b`},
		"H4 line separator":      {"a\u2028b", `a\u2028b`},
		"H4 bidi override":       {"a\u202eb", `a\u202eb`},
		"H4 bidi isolate":        {"a\u2066b", `a\u2066b`},
		"H4 byte order mark":     {"\ufeffa", `\ufeffa`},
		"H7 invalid UTF-8":       {"a\xffb", `invalid server address: not UTF-8 at byte 1: a\xffb`},
		"H8 user and password":   {"https://user:pw@reg.example", "it holds a user name or password: https://***@reg.example"},
		"H8 without a scheme":    {"user:pw@reg.example/x", "***@reg.example/x"},
		"H8 password with @":     {"https://u:p@w@reg.example", "https://***@reg.example"},
		"H8 password as a query": {"https://u@reg.example/?token=pw", "https://***@reg.example/?***"},
	} {
		for _, verb := range []string{"get", "erase"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				got := r.run(verb, tc.input)
				wantFailure(t, got, "", tc.want)
				if strings.Contains(got.out, "pw") || strings.Contains(got.out, "p@w") {
					t.Errorf("%q shows the password", got.out)
				}
			})
		}
	}
	if len(r.requests) != 0 {
		t.Errorf("the agent was asked: %q", r.requests)
	}
}

func TestOneLineEndAfterTheKeyIsTrimmed(t *testing.T) { // H3
	r := newRig(t).agent()
	for _, end := range []string{"", "\n", "\r", "\r\n"} {
		if got := r.run("get", "ghcr.io"+end); got.code != 0 || !strings.Contains(got.out, `"ServerURL":"ghcr.io"`) {
			t.Errorf("%q: %+v", end, got)
		}
	}
}

func TestInputIsReadToALimit(t *testing.T) { // H5
	r := newRig(t).agent()
	for _, size := range []int64{maxInput + 1, 1 << 20, 1 << 40} {
		for _, verb := range []string{"get", "store", "erase"} {
			var out, errs bytes.Buffer
			code := Main([]string{program, verb}, io.LimitReader(endless{}, size), &out, &errs)
			wantFailure(t, result{code, out.String(), errs.String()}, "input is longer than 64 KiB")
		}
	}
	if len(r.requests) != 0 {
		t.Errorf("the agent was asked: %q", r.requests)
	}
	if got := r.run("get", strings.Repeat("a", maxInput)); got.code != 0 {
		t.Errorf("64 KiB: %+v", got)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'y'
	}
	return len(b), nil
}

func TestInputThatNeverEndsIsGivenUpOn(t *testing.T) { // H6
	newRig(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.WriteString(a, "ghcr.io") }()
		start := time.Now()
		var out, errs bytes.Buffer
		code := Main([]string{program, "get"}, b, &out, &errs)
		wantFailure(t, result{code, out.String(), errs.String()}, "no input within 5s")
		if d := time.Since(start); d != stdinLimit {
			t.Errorf("waited %v", d)
		}
		_, _ = a.Close(), b.Close()
	})
}

func TestUsage(t *testing.T) { // H13
	r := newRig(t)
	const usage = "Usage: docker-credential-regmint <store|get|erase|list|version>\n"
	for _, args := range [][]string{{program}, {program, "GET"}, {program, "gets"}, {program, ""}, {program, "get", "list"}} {
		var out, errs bytes.Buffer
		if code := Main(args, strings.NewReader(""), &out, &errs); code != 1 || out.String() != usage || errs.Len() > 0 {
			t.Errorf("%q: %d %q %q", args, code, out.String(), errs.String())
		}
	}
	for _, arg := range []string{"--help", "-h"} {
		if got := r.run(arg, ""); got != (result{0, usage, ""}) {
			t.Errorf("%s: %+v", arg, got)
		}
	}
	for _, arg := range []string{"version", "--version", "-v"} {
		if got := r.run(arg, ""); got != (result{0, "docker-credential-regmint (github.com/regmint/regmint) " + api.BuildVersion + "\n", ""}) {
			t.Errorf("%s: %+v", arg, got)
		}
	}
}

func TestLoginsThatCannotBeOneAreRefused(t *testing.T) { // H14-H17
	r := newRig(t).agent()
	for name, tc := range map[string]struct{ input, want string }{
		"H14 no server":          {`{"ServerURL":"","Username":"u","Secret":"s"}`, "no credentials server URL"},
		"H14 no user":            {`{"ServerURL":"h","Username":"","Secret":"s"}`, "no credentials username"},
		"H14 no secret":          {`{"ServerURL":"h","Username":"u","Secret":""}`, "no credentials secret"},
		"H14 nothing":            {`{}`, "no credentials server URL"},
		"H15 truncated":          {`{"ServerURL":"h","Username":"u","Secret":"s"`, "invalid JSON at byte 44"},
		"H15 two objects":        {`{"ServerURL":"h","Username":"u","Secret":"s"}{}`, "invalid JSON at byte 45"},
		"H15 array":              {`[]`, "invalid JSON at byte 0"},
		"H15 null":               {`null`, "invalid JSON at byte 0"},
		"H15 empty":              {``, "invalid JSON at byte 0"},
		"H15 deep":               {`{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, "invalid JSON at byte"},
		"H15 number for a name":  {`{"ServerURL":1}`, "invalid JSON at byte 13"},
		"H15 long number":        {`{"ServerURL":` + strings.Repeat("1", 60000) + `}`, "invalid JSON at byte 13"},
		"H16 duplicate":          {`{"ServerURL":"h","serverurl":"evil","Username":"u","Secret":"s"}`, "duplicate field"},
		"H16 duplicate secret":   {`{"ServerURL":"h","Username":"u","Secret":"s","SECRET":"t"}`, "duplicate field"},
		"H17 raw line end":       {"{\"ServerURL\":\"h\",\"Username\":\"u\",\"Secret\":\"x\ny\"}", "invalid JSON at byte"},
		"H17 NUL":                {`{"ServerURL":"h","Username":"u","Secret":"x\u0000y"}`, "NUL"},
		"line end in the server": {`{"ServerURL":"h\n.evil","Username":"u","Secret":"s"}`, "control character at byte 1"},
		"line end in the user":   {`{"ServerURL":"h","Username":"u\n","Secret":"s"}`, "control character"},
		"user in the server":     {`{"ServerURL":"https://u:pw@h","Username":"u","Secret":"s"}`, "https://***@h"},
		"invalid UTF-8":          {"{\"ServerURL\":\"h\",\"Username\":\"u\",\"Secret\":\"\xff\"}", "invalid JSON at byte"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, r.run("store", tc.input), "", tc.want)
		})
	}
	if len(r.requests) != 0 {
		t.Errorf("the agent was asked: %q", r.requests)
	}
}

func TestStoreAndEraseReachTheAgentUnchanged(t *testing.T) {
	r := newRig(t).agent()
	want := []api.Login{}
	for _, secret := range []string{"s3cret", "a b\tc", "{\n\"private_key\": \"x\\n\"\n}", "日本語<&>", strings.Repeat("x", 60000)} {
		in, err := json.Marshal(credentials.Credentials{ServerURL: "https://index.docker.io/v1/", Username: "_json_key", Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		wantSilent(t, r.runAs("docker-credential-regmint-prod", "store", string(in)+"\n"))
		want = append(want, api.Login{ServerURL: "https://index.docker.io/v1/", Username: "_json_key", Secret: secret, Account: "prod"})
	}
	wantSilent(t, r.run("erase", "http://127.0.0.1:5055\n"))
	want = append(want, api.Login{ServerURL: "http://127.0.0.1:5055"})
	for i, w := range want {
		if g := r.logins[i]; g.ServerURL != w.ServerURL || g.Username != w.Username || g.Secret != w.Secret || g.Account != w.Account {
			t.Errorf("the agent read %+v, want %+v", g, w)
		}
	}
	r.onLogin = func(path string, _ api.Login) api.Reply {
		return api.Reply{Outcome: api.Failed, Message: "docker.io: account hub of config.toml:3 owns this host"}
	}
	wantFailure(t, r.run("store", `{"ServerURL":"docker.io","Username":"u","Secret":"s"}`), "docker.io: account hub of config.toml:3")
	r.onLogin = func(string, api.Login) api.Reply { return api.Reply{Outcome: api.NotFound} }
	wantSilent(t, r.run("erase", "unknown.example")) // H20
	wantFailure(t, r.run("store", `{"ServerURL":"h","Username":"u","Secret":"s"}`), "h: the login was not kept")
}

func TestALoginIsSentAgainWithWhatTheAgentMisses(t *testing.T) {
	r := newRig(t).agent()
	t.Setenv("MY_TOKEN", "abc")
	r.onLogin = func(_ string, l api.Login) api.Reply {
		for _, kv := range l.Env {
			if kv == "MY_TOKEN=abc" {
				return api.Reply{Outcome: api.OK}
			}
		}
		return api.Reply{Outcome: api.NeedEnv, NeedEnv: []string{"MY_TOKEN"}}
	}
	wantSilent(t, r.run("store", `{"ServerURL":"h","Username":"u","Secret":"s"}`))
	wantSilent(t, r.run("erase", "h"))
	r.onLogin = func(string, api.Login) api.Reply { return api.Reply{Outcome: api.NeedEnv, NeedEnv: []string{"X"}} }
	wantFailure(t, r.run("erase", "h"), "h: ", "regmint agent restart")
}

func FuzzHelperStdin(f *testing.F) {
	for _, k := range clientKeys {
		f.Add("get", k)
	}
	f.Add("store", `{"ServerURL":"h","Username":"u","Secret":"s"}`)
	f.Add("store", `{"serverurl":"h","Username":"u\u0000","Secret":"s"}{}`)
	f.Add("erase", "a\r\n")
	f.Add("get", "https://u:p@h?x#\u202e\xff")
	f.Fuzz(func(t *testing.T, verb, input string) {
		var key string
		var err error
		switch verb {
		case "store":
			var l api.Login
			l, err = parseLogin([]byte(input))
			var theirs credentials.Credentials
			if err == nil {
				if jerr := json.Unmarshal([]byte(input), &theirs); jerr != nil || theirs.ServerURL != l.ServerURL || theirs.Username != l.Username || theirs.Secret != l.Secret {
					t.Fatalf("%q: ours %+v, docker's %+v, %v", input, l, theirs, jerr)
				}
			}
			key = l.ServerURL
		default:
			key = trimLine(input)
			err = checkKey(key)
		}
		if err == nil {
			if key == "" || !utf8.ValidString(key) || strings.ContainsFunc(key, api.IsControl) || strings.Contains(key, "@") {
				t.Fatalf("accepted %q", key)
			}
			if strings.ContainsFunc(hostOf(key), api.IsControl) {
				t.Fatalf("host of %q", key)
			}
			return
		}
		line := api.CleanLine(err.Error(), maxLine)
		if line == "" || strings.ContainsFunc(line, api.IsControl) || utf8.RuneCountInString(line) > maxLine {
			t.Fatalf("%q: %q", input, line)
		}
	})
}
