// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/all"
)

// testApp is an app on buffers with surroundings of its own.
func testApp(t *testing.T) (a *app, out, errs *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	env := map[string]string{
		"HOME": dir, "USERPROFILE": dir, "APPDATA": filepath.Join(dir, "roaming"),
		"XDG_CONFIG_HOME": filepath.Join(dir, "config"), "DOCKER_CONFIG": filepath.Join(dir, "docker"),
	}
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	a = newApp(Streams{In: strings.NewReader(""), Out: out, Err: errs})
	a.env = config.MapEnv(env)
	a.environ = func() []string { return nil }
	a.isTerminal = func(any) bool { return false }
	a.executable = func() (string, error) { return filepath.Join(dir, "bin", "regmint"), nil }
	a.paths = func() (api.Paths, error) {
		return api.Paths{Runtime: filepath.Join(dir, "r"), State: filepath.Join(dir, "s")}, nil
	}
	a.findJob = func() (api.JobRef, bool, error) { return api.JobRef{}, false, nil }
	return a, out, errs
}

func TestExitCodes(t *testing.T) {
	kind := func(k providers.Kind) error { return &providers.Error{Kind: k, Err: errors.New("x")} }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{kind(providers.Unavailable), 1},
		{kind(providers.Misconfigured), 2},
		{config.Problems{{Msg: "x"}}, 2},
		{usage("", "x"), 2},
		{kind(providers.LoginRequired), 4},
		{agentError(api.ErrNoAgent), 5},
		{kind(providers.NoAccount), 6},
		{outcomeError(api.NotFound, "", ""), 6},
		{outcomeError(api.Failed, "denied", "x"), 7},
		{outcomeError(api.Failed, "of tomorrow", "x"), 1},
		{kind(providers.Denied), 7},
		{fmt.Errorf("wrapped: %w", kind(providers.Denied)), 7},
		{&exitStatus{code: 130}, 130},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorsAreOneLineAndOneHint(t *testing.T) {
	ghcr, err := providers.ParseHost("ghcr.io")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"plain":     {errors.New("it broke"), "regmint: it broke\n"},
		"with hint": {&providers.Error{Kind: providers.Denied, Host: ghcr, Err: errors.New("no"), Hint: "run: x"}, "regmint: ghcr.io: no\nregmint: hint: run: x\n"},
		"of the agent": {
			outcomeError(api.Failed, "login_required", "ghcr.io: no saved secret; run: regmint login ghcr.io"),
			"regmint: ghcr.io: no saved secret\nregmint: hint: run: regmint login ghcr.io\n",
		},
		"without hint in it": {outcomeError(api.Failed, "denied", "ghcr.io: this; that"), "regmint: ghcr.io: this; that\n"},
		"silent":             {&exitStatus{code: 3}, ""},
		"problems": {
			config.Problems{{File: "f", Line: 2, Col: 1, Msg: "a", Hint: "b"}, {File: "f", Line: 3, Col: 4, Msg: "c"}},
			"regmint: f:2:1: a; b\nregmint: f:3:4: c\n",
		},
		"hostile": {errors.New(hostile), `regmint: a\x1b[31mb\x0dc\u202ed` + "\n"},
	} {
		a, out, errs := testApp(t)
		a.report(c.err)
		if errs.String() != c.want || out.Len() > 0 {
			t.Errorf("%s: stderr %q, stdout %q, want %q", name, errs, out, c.want)
		}
	}
}

// No flag takes a secret: every process can read a command line, and shells
// remember it. -p is known only to say so.
func TestNoFlagTakesASecret(t *testing.T) {
	a, _, _ := testApp(t)
	var walk func(c *cobra.Command)
	flags := 0
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			flags++
			for _, word := range []string{"password", "token", "secret", "passphrase"} {
				if !strings.Contains(f.Name, word) || f.Value.Type() == "bool" || f.Hidden && f.Name == "password" {
					continue
				}
				t.Errorf("%s --%s takes a value", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.rootCmd())
	if flags < 20 {
		t.Fatalf("only %d flags seen", flags)
	}
	for _, args := range [][]string{{"login", "-p", "x"}, {"login", "-px"}, {"login", "ghcr.io", "--password", "x"}, {"login", "--password=x", "a", "b"}} {
		a, _, errs := testApp(t)
		if code := a.main(t.Context(), args); code != exitUsage || !strings.Contains(errs.String(), "use --password-stdin") {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
}

// The helper and others send the variables of this table; one that is missing
// costs a second question for each get.
func TestEnvNamesAreThoseOfAllProviders(t *testing.T) {
	names := []string{}
	for _, p := range all.List() {
		names = append(names, p.Env()...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if !slices.Equal(names, api.EnvNames) {
		t.Errorf("agent/api.EnvNames must be %q, it is %q", names, api.EnvNames)
	}
}

func TestEveryCommandHasHelpAndNoneTouchesAnythingForIt(t *testing.T) {
	a, _, _ := testApp(t)
	var paths [][]string
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		paths = append(paths, path)
		for _, sub := range c.Commands() {
			walk(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	walk(a.rootCmd(), nil)
	if len(paths) < 30 {
		t.Fatalf("only %d commands", len(paths))
	}
	for _, path := range paths {
		a, out, errs := testApp(t)
		a.paths = func() (api.Paths, error) {
			t.Errorf("%q --help asks for directories", path)
			return api.Paths{}, io.EOF
		}
		if code := a.main(t.Context(), append(path, "--help")); code != 0 || out.Len() == 0 || errs.Len() > 0 {
			t.Errorf("%q --help: exit code %d, stdout %q, stderr %q", path, code, out, errs)
		}
	}
}

func TestPromptsNeedATerminal(t *testing.T) {
	a, _, errs := testApp(t)
	a.in = strings.NewReader("ann\nsecret\n")
	if code := a.main(t.Context(), []string{"login", "registry.invalid"}); code != exitUsage {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if strings.Contains(errs.String(), "Username") {
		t.Errorf("asked without a terminal: %s", errs)
	}
}

func TestAnInterruptEndsAPrompt(t *testing.T) {
	a, _, _ := testApp(t)
	r, w := io.Pipe()
	defer w.Close()
	a.in = r
	a.isTerminal = func(any) bool { return true }
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := a.ask(ctx, "who? "); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestConfirmAsksUntilItUnderstands(t *testing.T) {
	for answer, want := range map[string]bool{"\n": true, "y\n": true, "YES\n": true, "n\n": false, "what\nno\n": false} {
		a, _, _ := testApp(t)
		a.in = strings.NewReader(answer)
		got, err := a.confirm(t.Context(), "well?", true)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", answer, got, err)
		}
	}
	a, _, _ := testApp(t)
	if ok, err := a.confirm(t.Context(), "well?", true); ok || err == nil {
		t.Errorf("the end of input means %v, %v", ok, err)
	}
}

func TestReadLineLeavesWhatFollows(t *testing.T) {
	r := strings.NewReader("one\r\ntwo\nthree")
	for _, want := range []string{"one", "two", "three"} {
		if got, err := readLine(r); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := readLine(r); !errors.Is(err, io.EOF) {
		t.Errorf("err = %v", err)
	}
	if _, err := readLine(strings.NewReader(strings.Repeat("x", maxLine+2))); err == nil {
		t.Error("an endless line is read")
	}
}

// H17: a secret is taken as it is or refused, never cut or mended.
func TestSecretsOnStdin(t *testing.T) {
	for in, want := range map[string]string{
		"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", "pw\n\n": "pw\n", " pw ": " pw ", "\n": "",
		`$'"\%#=!`: `$'"\%#=!`,
	} {
		got, err := readSecret(strings.NewReader(in))
		if got != want || err != nil {
			t.Errorf("%q is read as %q, %v", in, got, err)
		}
	}
	if _, err := readSecret(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("more than 64 KiB are read")
	}
	key := "{\n \"private_key\": \"-----BEGIN\"\n}"
	for s, ok := range map[string]bool{"": false, "a\nb": false, "a\rb": false, "a\x00b": false, "a b": true, key: true, "-----BEGIN KEY-----\nx": true} {
		if err := checkSecret(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestShellQuoteIsOneWord(t *testing.T) {
	for s, want := range map[string]string{"": "''", "a": "'a'", "it's": `'it'\''s'`, "$(x)`y`\\": "'$(x)`y`\\'"} {
		if got := shellQuote(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

func TestVersionOfTheAgentIsNamedOnce(t *testing.T) {
	a, _, errs := testApp(t)
	a.sawVersion(api.BuildVersion)
	a.sawVersion("")
	if errs.Len() > 0 {
		t.Errorf("said %s", errs)
	}
	a.sawVersion("v9.9.9\x1b[2J")
	a.sawVersion("v9.9.9\x1b[2J")
	if got := errs.String(); strings.Count(got, "v9.9.9") != 1 || strings.Contains(got, "\x1b") || !strings.Contains(got, "regmint agent restart") {
		t.Errorf("said %q", got)
	}
}

func TestColoursNeedATerminalAndLeave(t *testing.T) {
	for _, c := range []struct {
		term bool
		env  map[string]string
		want bool
	}{
		{true, map[string]string{"TERM": "xterm"}, true},
		{true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{true, map[string]string{"TERM": "dumb"}, false},
		{false, map[string]string{"TERM": "xterm"}, false},
	} {
		a, _, _ := testApp(t)
		a.isTerminal = func(any) bool { return c.term }
		a.env = config.MapEnv(c.env)
		if got := a.colour(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestHelpersKeptBehindAreNamedForPeople(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of unix")
	}
	for _, c := range []struct{ host, helper, want string }{
		{"*", "/usr/bin/docker-credential-desktop", "everything else with desktop"},
		{"gcr.io", "/opt/docker-credential-gcloud", "gcr.io with gcloud"},
		{"ghcr.io", configdir.AuthsPrefix + "/home/a/.docker/config.json", "ghcr.io in /home/a/.docker/config.json"},
	} {
		if got := behindText(c.host, c.helper); got != c.want {
			t.Errorf("%q", got)
		}
	}
}

func TestSummaryNamesTheFirstFew(t *testing.T) {
	for want, keys := range map[string][]string{
		"written":               {""},
		"a, b":                  {"b", "a", "a"},
		"a, b, c, d and 2 more": {"f", "e", "d", "c", "b", "a"},
	} {
		if got := summary(keys); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
