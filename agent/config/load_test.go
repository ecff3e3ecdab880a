// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestNoFileAtAllGivesDefaults(t *testing.T) {
	c := newLayers(t).ok()
	if c.Agent.Store != "auto" || !c.Agent.AllowRoot || time.Duration(c.Agent.IdleExit) != 4*time.Hour {
		t.Errorf("defaults: %+v", c.Agent)
	}
	if len(c.Accounts) != 0 || len(c.Files) != 0 || len(c.Warnings) != 0 {
		t.Errorf("not empty: %+v", c)
	}
	if len(c.Watches) != 3 {
		t.Errorf("a file that appears later must be noticed; watched: %v", c.Watches)
	}
}

func TestDefaultTagsTellTheTruth(t *testing.T) {
	c := newLayers(t).ok()
	for _, f := range fieldsOf(reflect.TypeFor[Agent]()) {
		got := fmt.Sprint(reflect.ValueOf(c.Agent).FieldByIndex(f.index).Interface())
		if d, ok := reflect.ValueOf(c.Agent).FieldByIndex(f.index).Interface().(providers.Duration); ok {
			got = strings.TrimSuffix(time.Duration(d).String(), "0m0s")
		}
		if want, ok := f.tag.Lookup("default"); ok && got != want {
			t.Errorf("%s is %s, its tag says %s", f.key, got, want)
		}
	}
}

func TestNamedFileMustExist(t *testing.T) {
	p := newLayers(t).paths()
	p.Required = true
	c, err := Load(LoadOptions{Paths: p, Providers: products()})
	wantText(t, problemsOf(t, c, err)[0].String(), p.User, "no such file")
}

func TestAccountIsReadWithItsOptions(t *testing.T) {
	c := newLayers(t).user(`
# comment
[[account]]
name = "prod"
provider = "cloud"
hosts = ["r.cloud.example", "*.eu.cloud.example", "r.cloud.example/team"]
role_arn = "arn:x"
web_identity = "github"
tags = { "a.b" = "c" }
access = "push,delete"
repositories = ["team/app", "team/web"]
narrow = "require"
on_failure = "anonymous"
realm_hosts = ["AUTH.example.com"]
expires_in = "14d"
no_proxy = "a,b"
`).ok()
	a := account(t, c, "prod")
	if a.Source != "config.toml:3" || a.Layer != providers.LayerConfigured {
		t.Errorf("source %q layer %v", a.Source, a.Layer)
	}
	want := &cloudOptions{RoleARN: "arn:x", WebIdentity: "github", Tags: map[string]string{"a.b": "c"}}
	if !reflect.DeepEqual(a.Options, want) {
		t.Errorf("options %+v", a.Options)
	}
	both := providers.Push | providers.Delete
	if !slices.Equal(a.Grants, []providers.Grant{{Repository: "team/app", Access: both}, {Repository: "team/web", Access: both}}) {
		t.Errorf("grants %v", a.Grants)
	}
	if a.Narrow != providers.NarrowRequire || a.OnFailure != providers.OnFailureAnonymous || time.Duration(a.ExpiresIn) != 14*24*time.Hour {
		t.Errorf("%+v", a)
	}
	if !slices.Equal(a.RealmHosts, []string{"auth.example.com"}) || len(a.Hosts) != 3 {
		t.Errorf("hosts %v realms %v", a.Hosts, a.RealmHosts)
	}
}

func TestGrantsFollowAccessAndRepositories(t *testing.T) {
	c := newLayers(t).user(`
[[account]]
name = "all"
hosts = ["a.example"]
[[account]]
name = "pull"
hosts = ["b.example"]
access = "pull"
[[account]]
name = "repo"
hosts = ["c.example"]
repositories = ["x"]
`).ok()
	if g := account(t, c, "all").Grants; g != nil {
		t.Errorf("an account without limits has grants %v", g)
	}
	if g := account(t, c, "pull").Grants; !slices.Equal(g, []providers.Grant{{Access: providers.Pull}}) {
		t.Errorf("access alone: %v", g)
	}
	if g := account(t, c, "repo").Grants; !slices.Equal(g, []providers.Grant{{Repository: "x"}}) {
		t.Errorf("repositories alone: %v", g)
	}
}

func TestProviderIsKnownByTheFirstHost(t *testing.T) {
	for host, want := range map[string]string{
		`"r.cloud.example"`:                    "cloud",
		`"*.app.example", "r.cloud.example/x"`: "cloud",
		`"*.cloud.example"`:                    "generic",
		`"r.other.example"`:                    "generic",
	} {
		c := newLayers(t).user("[[account]]\nhosts = [" + host + "]\n").ok()
		if got := c.Accounts[0].Provider; got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestHTTPIsImpliedForLoopbackAlone(t *testing.T) {
	for text, want := range map[string]bool{
		`hosts = ["localhost:5000"]`:                          true,
		`hosts = ["127.0.0.1:5000", "[::1]:5000/x"]`:          true,
		`hosts = ["localhost:5000", "reg.example"]`:           false,
		`hosts = ["*.localhost"]`:                             false,
		`hosts = ["localhost:5000"]` + "\nplain_http = false": false,
		`hosts = ["reg.example"]` + "\nplain_http = true":     true,
	} {
		c := newLayers(t).user("[[account]]\n" + text + "\n").ok()
		if got := c.Accounts[0].PlainHTTP; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestAccountsWithoutNameGetOneFitForAFileName(t *testing.T) {
	c := newLayers(t).user(`
[[account]]
hosts = ["reg.example:5000/team"]
[[account]]
hosts = ["*.cloud.example"]
[[account]]
hosts = ["*.cloud.example", "x.example"]
`).ok()
	var names []string
	for _, a := range c.Accounts {
		names = append(names, a.Name)
		if err := CheckAccountName(a.Name); err != nil {
			t.Errorf("%q: %v", a.Name, err)
		}
	}
	if want := []string{"generic-reg.example-5000-team", "generic-any.cloud.example", "generic-any.cloud.example-2"}; !slices.Equal(names, want) {
		t.Errorf("names %q", names)
	}
}

func TestMadeUpNamesGiveWayToWrittenOnes(t *testing.T) {
	c := newLayers(t).user("[[account]]\nhosts = [\"a.example\"]\n[[account]]\nname = \"generic-a.example\"\nhosts = [\"b.example\"]\n").ok()
	if c.Accounts[0].Name != "generic-a.example-2" || c.Accounts[1].Name != "generic-a.example" {
		t.Errorf("%q %q", c.Accounts[0].Name, c.Accounts[1].Name)
	}
	unnamed := "[[account]]\nhosts = [\"a.example\"]\nusername = "
	for _, l := range []layers{
		newLayers(t).system(unnamed + "\"s\"\n").user(unnamed + "\"u\"\n"),
		newLayers(t).system(unnamed + "\"s\"\n").user("[[account]]\nname = \"Generic-A.example\"\nhosts = [\"a.example\"]\nusername = \"u\"\n"),
		newLayers(t).system("[[account]]\nname = \"generic-a.example\"\nhosts = [\"a.example\"]\nusername = \"s\"\n").user(unnamed + "\"u\"\n"),
	} {
		if c := l.ok(); len(c.Accounts) != 1 || c.Accounts[0].Username != "u" {
			t.Errorf("the user's account does not replace the system's: %+v", c.Accounts)
		}
	}
}

func TestLayersAreReadInOrder(t *testing.T) {
	c := newLayers(t).
		system("[agent]\nstore = \"file\"\nallow_root = false\n[network]\nhttps_proxy = \"http://sys:1\"\nno_proxy = \"sys\"\n[[mirror]]\nhost = \"docker.io\"\nmirrors = [\"sys.example\"]\n[[account]]\nname = \"corp\"\nhosts = [\"corp.example\"]\nusername = \"sys\"\n").
		saved("[docker]\nbehind = { \"*\" = \"desktop\", \"gcr.io\" = \"gcloud\", \"quay.io\" = \"pass\" }\n[[account]]\nname = \"login\"\nhosts = [\"ghcr.io\"]\nusername = \"me\"\n").
		user("[agent]\nstore = \"memory\"\n[network]\nno_proxy = \"user\"\n[docker]\nbehind = { \"gcr.io\" = \"\", \"quay.io\" = \"secretservice\" }\n[[mirror]]\nhost = \"index.docker.io\"\nmirrors = [\"user.example/hub\"]\n[[account]]\nname = \"corp\"\nhosts = [\"corp.example\"]\nusername = \"user\"\n").
		ok()
	if c.Agent.Store != "memory" || c.Agent.AllowRoot {
		t.Errorf("agent %+v", c.Agent)
	}
	if c.Network.HTTPSProxy != "http://sys:1" || c.Network.NoProxy != "user" {
		t.Errorf("network %+v", c.Network)
	}
	if want := map[string]string{"*": "desktop", "quay.io": "secretservice"}; !reflect.DeepEqual(c.Docker.Behind, want) {
		t.Errorf("behind %v", c.Docker.Behind)
	}
	if len(c.Mirrors) != 1 || c.Mirrors[0].Mirrors[0] != "user.example/hub" || c.Mirrors[0].Host != providers.DockerHub {
		t.Errorf("mirrors %+v", c.Mirrors)
	}
	if a := account(t, c, "corp"); a.Username != "user" || len(c.Accounts) != 2 {
		t.Errorf("the user's account does not replace the system's: %+v", c.Accounts)
	}
	if a := account(t, c, "login"); a.Layer != providers.LayerSaved || a.Source != "regmint.toml:3" {
		t.Errorf("saved account %+v", a)
	}
	if len(c.Files) != 3 {
		t.Errorf("files %v", c.Files)
	}
}

func TestSystemAccountsNameTheirWholePath(t *testing.T) {
	l := newLayers(t).system("[[account]]\nhosts = [\"a.example\"]\n")
	if got, want := l.ok().Accounts[0].Source, l.paths().System+":1"; got != want {
		t.Errorf("source %q, want %q", got, want)
	}
}

func TestAcceptedRealmsReachEveryAccountOfTheHost(t *testing.T) {
	c := newLayers(t).
		saved("[realms]\n\"reg.example\" = [\"auth.example\"]\n").
		user("[[account]]\nhosts = [\"reg.example/team\"]\nrealm_hosts = [\"own.example\"]\n[[account]]\nhosts = [\"other.example\"]\n").ok()
	if got := c.Accounts[0].RealmHosts; !slices.Equal(got, []string{"own.example", "auth.example"}) {
		t.Errorf("realms %v", got)
	}
	if got := c.Accounts[1].RealmHosts; len(got) != 0 {
		t.Errorf("another host got realms %v", got)
	}
	if !slices.Equal(c.Realms["reg.example"], []string{"auth.example"}) {
		t.Errorf("ambient accounts find nothing: %v", c.Realms)
	}
}

func TestMachineFileTakesMachineSettingsAlone(t *testing.T) {
	l := newLayers(t).saved("[agent]\nstore = \"file\"\n")
	wantText(t, l.fails().Error(), "regmint.toml:1:2", "does not belong", "config.toml")
	wantText(t, userFails(t, "[realms]\n\"a.example\" = [\"b.example\"]\n").Error(), "realm_hosts")
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	ps := userFails(t, `
[agent]
stroe = "file"
allow_root = "yes"
[[account]]
hosts = "ghcr.io"
pasword = "env:X"
[[account]]
provider = "clod"
hosts = ["a.example"]
[mirors]
`)
	if len(ps) != 6 {
		t.Errorf("%d problems, want 6:\n%v", len(ps), ps)
	}
	for i := 1; i < len(ps); i++ {
		if ps[i].Line < ps[i-1].Line {
			t.Errorf("not in the order of the file:\n%v", ps)
		}
	}
	wantText(t, ps.Error(),
		`config.toml:3:1: unknown key "agent.stroe"; did you mean "store"?`,
		`config.toml:4:14: agent.allow_root must be a boolean, not a string; write true or false without quotes`,
		`config.toml:6:9: account.hosts must be an array, not a string; write hosts = ["…"]`,
		`config.toml:7:1: unknown key "account.pasword"; did you mean "password"?`,
		`config.toml:9:12: there is no provider "clod"; did you mean "cloud"?`,
		`config.toml:11:2: unknown key "mirors"; did you mean "mirror"?`)
}

func TestKeyOfAnotherProviderSaysSo(t *testing.T) {
	ps := userFails(t, "[[account]]\nhosts = [\"a.example\"]\nrole_arn = \"x\"\n")
	wantText(t, ps.Error(), ":3:1:", `"role_arn" is a key of provider cloud; this account's provider is generic`)
	ps = userFails(t, "[[account]]\nhosts = [\"r.app.example\"]\nrole_arn = \"x\"\n")
	wantText(t, ps.Error(), "this account's provider is app")
}

func TestLenientLoadWarnsOfUnknownKeys(t *testing.T) {
	l := newLayers(t).user("[agent]\nfuture = 1\nstore = \"file\"\n[[account]]\nhosts = [\"a.example\"]\nfuture = 2\n[future]\nx = 1\n")
	c, err := Load(LoadOptions{Paths: l.paths(), Providers: products(), Lenient: true})
	if err != nil || len(c.Warnings) != 3 || c.Agent.Store != "file" || len(c.Accounts) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	wantText(t, strings.Join(c.Warnings, "\n"), "agent.future", "account.future", `"future"`)
	if _, err := l.load(); err == nil {
		t.Error("a strict load took unknown keys")
	}
	l.user("[agent]\nstore = \"nowhere\"\n")
	if _, err := Load(LoadOptions{Paths: l.paths(), Providers: products(), Lenient: true}); err == nil {
		t.Error("lenient took a wrong value")
	}
}

// H57: every kind of broken file is an error with its place.
func TestBrokenFileIsRefusedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":        {"x = 1\n", `config.toml:1:1: unknown key "x"`},
		"wrong type":         {"[agent]\nstore = 1\n", "config.toml:2:9: agent.store must be a string, not an integer"},
		"duplicate key":      {"[agent]\nstore = \"file\"\nstore = \"file\"\n", "config.toml:3:1: key store is already defined"},
		"duplicate table":    {"[agent]\n[agent]\n", "config.toml:2:2: table agent already exists"},
		"lone CR":            {"[agent]\rstore = 1\n", "config.toml:1:8"},
		"control character":  {"[agent]\nstore = \"a\x01\"\n", "config.toml:2:11"},
		"NUL":                {"[agent]\nstore = \"a\x00\"\n", "config.toml:2:11"},
		"not UTF-8":          {"[agent]\nstore = \"\xff\"\n", "config.toml:2:10: the file is not UTF-8"},
		"UTF-16":             {"\xff\xfe[\x00", "UTF-16"},
		"YAML":               {"a: &a [*a]\n", "config.toml:1:2"},
		"unquoted":           {"[[account]]\nhosts = [\"a.example\"]\npassword = hunter2\n", `text needs quotes`},
		"account as a table": {"[account]\nhosts = [\"a.example\"]\n", "write [[account]]"},
		"table as a value":   {"agent = 1\n", "agent must be a table, not an integer"},
		"array of values":    {"account = [1]\n", "write [[account]]"},
		"deep nesting":       {"x = " + strings.Repeat("[", 1<<20-10), "nested"},
		"10 MiB":             {strings.Repeat("#\n", 5<<20), "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			ps := userFails(t, c.text)
			wantText(t, ps.Error(), c.want)
			if strings.Contains(ps.Error(), "hunter2") {
				t.Error("repeats a value")
			}
		})
	}
}

// H57: what is odd and harmless is read.
func TestTabsCRLFAndBOMAreRead(t *testing.T) {
	for name, text := range map[string]string{
		"tab":  "[agent]\n\tstore\t=\t\"file\"\n",
		"CRLF": "[agent]\r\nstore = \"file\"\r\n",
		"BOM":  "\xef\xbb\xbf[agent]\nstore = \"file\"\n",
	} {
		if c := newLayers(t).user(text).ok(); c.Agent.Store != "file" {
			t.Errorf("%s: %+v", name, c.Agent)
		}
	}
	ps := userFails(t, "\xef\xbb\xbfstroe = 1\n")
	if ps[0].Line != 1 || ps[0].Col != 1 {
		t.Errorf("a BOM moves the column: %v", ps)
	}
}

// H59, H60.
func TestLiteralSecretIsRefusedAndNeverRepeated(t *testing.T) {
	const secret = "hunter2-very-secret"
	for name, text := range map[string]string{
		"literal":            `password = "` + secret + `"`,
		"literal with colon": `password = "x:` + secret + `"`,
		"integer":            `password = 471147114711471`,
		"list":               `password = ["` + secret + `"]`,
		"relative exec":      `password = "exec:` + secret + `"`,
		"relative exec argv": `password = { exec = ["` + secret + `", "a"] }`,
		"relative file":      `password = "file:` + secret + `"`,
		"empty argv":         `password = { exec = [] }`,
		"exec as string":     `password = { exec = "/bin/` + secret + `" }`,
		"other table":        `password = { literal = "` + secret + `" }`,
		"control character":  `password = "env:A\u0001` + secret + `"`,
		"NUL argument":       `password = { exec = ["/bin/x", "\u0000` + secret + `"] }`,
		"not a variable":     `password = "env:` + secret + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			ps := userFails(t, "[[account]]\nhosts = [\"a.example\"]\n"+text+"\n")
			if strings.Contains(ps.Error(), secret) || strings.Contains(ps.Error(), "471147114711471") {
				t.Errorf("repeats the secret: %v", ps)
			}
			if ps[0].Line != 3 {
				t.Errorf("wrong place: %v", ps)
			}
		})
	}
}

func TestSecretReferencesAreReadInBothForms(t *testing.T) {
	c := newLayers(t).user(`
[[account]]
hosts = ["r.app.example"]
password = { exec = ["/usr/bin/pass", "show", "a b;c"] }
private_key = "file:/k.pem"
inner = { token = "env:TOKEN", life = "1h" }
scopes = ["a"]
app_id = 0x10
strict = true
rotate_to = "exec:/bin/put"
`).ok()
	a := c.Accounts[0]
	if a.Password.Value != "/usr/bin/pass" || !slices.Equal(a.Password.Args, []string{"show", "a b;c"}) {
		t.Errorf("password %+v", a.Password)
	}
	o := a.Options.(*appOptions)
	if o.AppID != 16 || o.Key.Value != "/k.pem" || o.Inner.Token.Value != "TOKEN" || o.Strict == nil || !*o.Strict {
		t.Errorf("options %+v", o)
	}
	if got := EnvNames(c.Accounts); !slices.Equal(got, []string{"TOKEN"}) {
		t.Errorf("env names %v", got)
	}
	if got := SecretFiles(a); !slices.Equal(got, []string{"/k.pem"}) {
		t.Errorf("files %v", got)
	}
	if got := SecretRefs(a); len(got) != 3 {
		t.Errorf("refs %v", got)
	}
}

// H60: nothing is expanded, so that nothing can smuggle itself in.
func TestVariablesAreNotExpanded(t *testing.T) {
	t.Setenv("X", "evil\nexample")
	wantText(t, userFails(t, "[[account]]\nhosts = [\"${X}.example\"]\n").Error(), ":2:10:")
	c := newLayers(t).user("[[account]]\nhosts = [\"a.example\"]\nusername = \"${X}\"\n").ok()
	if c.Accounts[0].Username != "${X}" {
		t.Errorf("username %q", c.Accounts[0].Username)
	}
}

// H68.
func TestTwoDefaultsForOneHostNameBothLines(t *testing.T) {
	ps := userFails(t, `
[[account]]
name = "one"
hosts = ["docker.io"]
default = true
[[account]]
name = "two"
hosts = ["index.docker.io"]
default = true
`)
	wantText(t, ps.Error(), "config.toml:2", "config.toml:6", "one", "two")
	l := newLayers(t).system("[[account]]\nname = \"one\"\nhosts = [\"a.example\"]\ndefault = true\n").
		user("[[account]]\nname = \"two\"\nhosts = [\"a.example\"]\ndefault = true\n")
	wantText(t, l.fails().Error(), l.paths().System+":1", "config.toml:1")
}

func TestTwoAccountsOfOneNameNameBothLines(t *testing.T) {
	ps := userFails(t, "[[account]]\nname = \"Work\"\nhosts = [\"a.example\"]\n[[account]]\nname = \"work\"\nhosts = [\"b.example\"]\n")
	wantText(t, ps.Error(), "config.toml:1", "config.toml:4")
}

func TestWrongValuesAreRefused(t *testing.T) {
	head := "[[account]]\nhosts = [\"a.example\"]\n"
	for name, c := range map[string]struct{ text, want string }{
		"no hosts":              {"[[account]]\nname = \"x\"\n", "no hosts"},
		"empty hosts":           {"[[account]]\nhosts = []\n", "no hosts"},
		"host with scheme":      {"[[account]]\nhosts = [\"ftp://a\"]\n", ":2:10:"},
		"name with slash":       {head + "name = \"../x\"\n", "account.name"},
		"name soft":             {head + "name = \"soft\"\n", "soft"},
		"username newline":      {head + "username = \"a\\nb\"\n", "account.username"},
		"access":                {head + "access = \"write\"\n", "unknown access"},
		"narrow":                {head + "narrow = \"maybe\"\n", "valid values: prefer, require"},
		"on_failure":            {head + "on_failure = \"x\"\n", "valid values: error, anonymous"},
		"enum of a provider":    {"[[account]]\nhosts = [\"r.cloud.example\"]\nweb_identity = \"x\"\n", "valid values: github, gitlab"},
		"duration":              {head + "expires_in = \"soon\"\n", "invalid duration"},
		"repository":            {head + "repositories = [\"Team/../x\"]\n", "account.repositories"},
		"repository with tag":   {head + "repositories = [\"team/x=push\"]\n", "account.repositories"},
		"realm host":            {head + "realm_hosts = [\"https://x/y\"]\n", "account.realm_hosts"},
		"relative CA":           {head + "ca_file = \"ca.pem\"\n", "account.ca_file"},
		"proxy":                 {head + "https_proxy = \"proxy:3128\"\n", "account.https_proxy"},
		"login in the proxy":    {head + "https_proxy = \"http://u:hunter2@proxy:3128\"\n", "holds a login"},
		"login in the endpoint": {head + "endpoint = \"https://u:hunter2@x\"\n", "must not hold a login"},
		"http endpoint":         {head + "endpoint = \"http://api.example\"\n", "in the clear"},
		"endpoint query":        {head + "endpoint = \"https://api.example/?x=hunter2\"\n", "account.endpoint"},
		"rotate_to env":         {head + "rotate_to = \"env:X\"\n", "rotate_to must be a program"},
		"store_key keyring":     {"[agent]\nstore_key = \"keyring:x\"\n", "must be a file or a program"},
		"behind path":           {"[docker]\nbehind = { \"*\" = \"../../evil\" }\n", "a helper is a name"},
		"behind words":          {"[docker]\nbehind = { \"x.example\" = \"a b;rm\" }\n", "a helper is a name"},
		"behind itself":         {"[docker]\nbehind = { \"*\" = \"regmint\" }\n", "behind itself"},
		"behind its link":       {"[docker]\nbehind = { \"*\" = \"/usr/bin/docker-credential-regmint-soft\" }\n", "behind itself"},
		"behind host":           {"[docker]\nbehind = { \"a b\" = \"x\" }\n", "docker.behind"},
		"mirror without host":   {"[[mirror]]\nmirrors = [\"a.example\"]\n", "has no host"},
		"mirror without any":    {"[[mirror]]\nhost = \"docker.io\"\n", "has no mirrors"},
		"mirror wildcard":       {"[[mirror]]\nhost = \"docker.io\"\nmirrors = [\"*.example\"]\n", "without *"},
		"mirror twice":          {"[[mirror]]\nhost = \"docker.io\"\nmirrors = [\"a.example\"]\n[[mirror]]\nhost = \"docker.io\"\nmirrors = [\"b.example\"]\n", "config.toml:1 and config.toml:4"},
		"lock in user file":     {"[policy]\naccess = \"pull\"\nlock = [\"access\"]\n", "system file"},
	} {
		t.Run(name, func(t *testing.T) {
			ps := userFails(t, c.text)
			wantText(t, ps.Error(), c.want)
			if ps[0].Line == 0 || strings.Contains(ps.Error(), "hunter2") {
				t.Errorf("%v", ps)
			}
		})
	}
}

func TestHTTPEndpointIsTakenForLoopbackAndPlainHTTP(t *testing.T) {
	for _, text := range []string{
		"hosts = [\"a.example\"]\nendpoint = \"http://127.0.0.1:8080/api\"",
		"hosts = [\"a.example\"]\nendpoint = \"http://api.example\"\nplain_http = true",
		"hosts = [\"a.example\"]\nendpoint = \"https://api.example/v1\"",
	} {
		newLayers(t).user("[[account]]\n" + text + "\n").ok()
	}
}

// H57: only regular files are read, and none can hang the load.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, path string){
		"directory":    func(t *testing.T, path string) { must(t, os.MkdirAll(path, 0o700)) },
		"symlink loop": func(t *testing.T, path string) { must(t, os.Symlink(path, path)) },
		"device":       func(t *testing.T, path string) { must(t, os.Symlink(os.DevNull, path)) },
		"fifo":         func(t *testing.T, path string) { mkfifo(t, path) },
		"unreadable":   unreadable,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayers(t)
			must(t, os.MkdirAll(filepath.Dir(l.paths().User), 0o700))
			make(t, l.paths().User)
			ps := l.fails()
			wantText(t, ps.Error(), l.paths().User)
		})
	}
	t.Run("symlink to a regular file is read", func(t *testing.T) {
		l := newLayers(t)
		real := write(t, filepath.Join(l.dir, "dotfiles", "c.toml"), "[agent]\nstore = \"file\"\n")
		must(t, os.MkdirAll(filepath.Dir(l.paths().User), 0o700))
		must(t, os.Symlink(real, l.paths().User))
		if c := l.ok(); c.Agent.Store != "file" {
			t.Errorf("%+v", c.Agent)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
