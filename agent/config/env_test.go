// SPDX-License-Identifier: Apache-2.0

package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// homeEnv is an environment with a home directory and more.
func homeEnv(home string, more ...string) Env {
	m := map[string]string{"HOME": home, "USERPROFILE": home}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return MapEnv(m)
}

func unixOnly(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the XDG paths of Linux")
	}
}

func TestPathsFollowXDG(t *testing.T) {
	unixOnly(t)
	home := t.TempDir()
	for name, c := range map[string]struct {
		env  Env
		want string
	}{
		"home":              {homeEnv(home), filepath.Join(home, ".config", "regmint")},
		"XDG":               {homeEnv(home, "XDG_CONFIG_HOME", "/x"), "/x/regmint"},
		"XDG relative: H92": {homeEnv(home, "XDG_CONFIG_HOME", "x"), filepath.Join(home, ".config", "regmint")},
	} {
		p, err := c.env.Paths("")
		if err != nil || p.User != filepath.Join(c.want, "config.toml") || p.Saved != filepath.Join(c.want, "config.d", "regmint.toml") || p.Required {
			t.Errorf("%s: %+v %v", name, p, err)
		}
		if p.System != "/etc/regmint/config.toml" {
			t.Errorf("system file %s", p.System)
		}
	}
	// H92: a relative HOME is no home; the passwd entry's is taken, if any.
	if got := homeEnv("relative").Home(); got != "" && !filepath.IsAbs(got) {
		t.Errorf("home %q", got)
	}
}

func TestNamedFileBringsItsOwnMachineFile(t *testing.T) {
	dir := t.TempDir()
	named := filepath.Join(dir, "other.toml")
	want := filepath.Join(dir, "config.d", "regmint.toml")
	p, err := homeEnv(dir, "REGMINT_CONFIG", named).Paths("")
	if err != nil || p.User != named || p.Saved != want || !p.Required {
		t.Errorf("%+v %v", p, err)
	}
	p, err = homeEnv(dir, "REGMINT_CONFIG", "relative.toml").Paths(named)
	if err != nil || p.User != named {
		t.Errorf("the flag does not win: %+v %v", p, err)
	}
	if _, err := homeEnv(dir, "REGMINT_CONFIG", "x\x1b.toml").Paths(""); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a relative REGMINT_CONFIG: %v", err)
	}
	t.Chdir(dir)
	p, err = homeEnv(dir).Paths("rel.toml")
	if err != nil || !filepath.IsAbs(p.User) || filepath.Base(p.User) != "rel.toml" {
		t.Errorf("%+v %v", p, err)
	}
}

func TestSecondConfigurationDirectoryIsNamed(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	write(t, filepath.Join(b, "config.toml"), "")
	if p := choose(Paths{}, []string{a, b}); p.User != filepath.Join(b, "config.toml") || len(p.Warnings) != 0 {
		t.Errorf("%+v", p)
	}
	write(t, filepath.Join(a, "config.d", "regmint.toml"), "")
	if p := choose(Paths{}, []string{a, b}); p.User != filepath.Join(a, "config.toml") || len(p.Warnings) != 1 {
		t.Errorf("%+v", p)
	}
	if p := choose(Paths{System: "s"}, nil); p.User != "" || p.System != "s" {
		t.Errorf("%+v", p)
	}
}

func TestOwnVariablesAreJudged(t *testing.T) {
	env := func(kv ...string) Env { return homeEnv("/h", kv...) }
	if m, err := env().AgentMode(); m != "auto" || err != nil {
		t.Errorf("%q %v", m, err)
	}
	if m, err := env("REGMINT_AGENT", "off").AgentMode(); m != "off" || err != nil {
		t.Errorf("%q %v", m, err)
	}
	if _, err := env("REGMINT_AGENT", "no\n").AgentMode(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if l, err := env("REGMINT_LOG", "debug").LogLevel(); l != slog.LevelDebug || err != nil {
		t.Errorf("%v %v", l, err)
	}
	if l, err := env().LogLevel(); l != slog.LevelInfo || err != nil {
		t.Errorf("%v %v", l, err)
	}
	if env("REGMINT_ACCOUNT", "x").Account() != "x" {
		t.Error("account")
	}
}

func TestTableNamesEachVariableOnceInAKnownGroup(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Vars(products()) {
		if seen[v.Name] || v.Meaning == "" || v.Expects == "" {
			t.Errorf("%+v", v)
		}
		seen[v.Name] = true
		known := false
		for _, g := range Groups() {
			known = known || g == v.Group
		}
		if !known {
			t.Errorf("%s is in no group", v.Name)
		}
		if v.Name == "CLOUD_TOKEN" && (!v.Sensitive || v.Meaning != "read by cloud, app") {
			t.Errorf("%+v", v)
		}
	}
	for _, name := range []string{"REGMINT_CONFIG", "REGMINT_RUNTIME_DIR", "REGMINT_STATE_DIR", "REGMINT_SOCKET", "REGMINT_ACCOUNT", "REGMINT_AGENT", "REGMINT_LOG", "CLOUD_TOKEN"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// The table is the one place that names them all: config vars and the docs come
// from it.
func TestEveryVariableOfTheCodeIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, v := range Vars(nil) {
		known[v.Name] = true
	}
	name := regexp.MustCompile(`"(REGMINT_[A-Z_]+)[="]`)
	found := 0
	for _, room := range []string{"cmd", "helper", "agent", "configdir", "providers"} {
		must(t, filepath.WalkDir(filepath.Join("..", "..", room), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			for _, m := range name.FindAllStringSubmatch(string(data), -1) {
				found++
				if !known[m[1]] {
					t.Errorf("%s uses %s, which agent/config/env.go does not know", path, m[1])
				}
			}
			return err
		}))
	}
	if found == 0 {
		t.Error("nothing was looked at")
	}
}

func TestProcessIsTheRealEnvironment(t *testing.T) {
	t.Setenv("REGMINT_ACCOUNT", "real")
	if Process().Account() != "real" || len(Environ()) != len(os.Environ()) {
		t.Error("not the process's environment")
	}
}
