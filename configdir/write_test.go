// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const richConfig = `{
  "auths": {
    "https://index.docker.io/v1/": {},
    "ghcr.io": {},
    "quay.io": {},
    "plain.example.com": {"auth": "` + "dXNlcjpwYXNz" + `", "email": "a@b"}
  },
  "HttpHeaders": {"X-Team": "a<b>"},
  "proxies": { "default" : {"httpsProxy": "http://proxy:3128"} },
  "credsStore": "desktop",
  "credHelpers": {
    "gcr.io": "gcloud",
    "https://old.example.com": "gcloud",
    "https://index.docker.io/v1/": "pass",
    "work.example.com": "regmint-work"
  },
  "currentContext": "remote",
  "x-unknown": [1.50, 1e3, {"b": 1, "a": 2}],
  "detachKeys": "ctrl-e,e"
}
`

func TestGeneratedFiles(t *testing.T) {
	skipWindows(t, "paths in golden files")
	static := map[string]StaticLogin{"ghcr.io": {Username: "bot", Secret: "s3cr3t"}, HubHost: {Username: tokenUser, Secret: "tok"}}
	for _, c := range []struct {
		name   string
		config string
		hosts  []string
		change func(*Settings)
	}{
		{"bare", "", nil, nil},
		{"hosts", "", []string{"ghcr.io", HubHost, "reg.example.com:5000"}, nil},
		{"rich", richConfig, []string{"ghcr.io"}, nil},
		{"only", richConfig, []string{"ghcr.io"}, func(s *Settings) { s.Only = true }},
		{"behind", "", []string{"ghcr.io"}, func(s *Settings) {
			s.Behind = map[string]string{"*": "/x/docker-credential-desktop", "gcr.io": "/x/docker-credential-gcloud"}
		}},
		{"static", richConfig, []string{"quay.io"}, func(s *Settings) { s.Static = static }},
		{"mirrors", "", []string{HubHost}, func(s *Settings) {
			s.Mirrors = []Mirror{{Host: HubHost, Mirrors: []string{"mirror.example.com", `mirror-2.example.com/hub"x`}}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.program("docker-credential-desktop")
			if c.config != "" {
				w.config(c.config)
			}
			j := w.job()
			s := w.settings(j, c.hosts...)
			if c.change != nil {
				c.change(&s)
			}
			r := w.write(j, s)
			var b strings.Builder
			for _, p := range []string{"docker/config.json", "docker/regmint-job.json", "containers/auth.json", "registries.conf"} {
				fmt.Fprintf(&b, "== %s\n%s", p, read(t, filepath.Join(j.Root, p)))
			}
			fmt.Fprintf(&b, "== report\ncarried %q\nleft out %q\nnotes %q\n", r.Carried, r.LeftOut, r.Notes)
			golden(t, "write-"+c.name, b.String(), j.Root, "ROOT", j.ID, "JOB", w.home, "HOME")
			if got := read(t, filepath.Join(j.Root, "docker/config.json")); !json.Valid([]byte(got)) {
				t.Error("config.json is not valid JSON")
			}
		})
	}
}

// Rule 6: one credHelpers key with a scheme makes podman --remote refuse the
// whole file; and no config may be empty, or docker picks the keychain (H74).
func TestNoGeneratedHelperKeyHasASchemeAndNoConfigIsEmpty(t *testing.T) {
	w := newWorld(t)
	w.config(richConfig)
	for _, only := range []bool{false, true} {
		for _, hosts := range [][]string{nil, {HubHost}, {"a.example.com", "b.example.com:5000"}} {
			j := w.job()
			s := w.settings(j, hosts...)
			s.Only = only
			w.write(j, s)
			for _, p := range []string{"docker/config.json", "containers/auth.json"} {
				d, err := readDockerFile(filepath.Join(j.Root, p), os.Geteuid())
				if err != nil {
					t.Fatal(err)
				}
				for _, h := range d.helpers {
					if strings.Contains(h.key, "://") {
						t.Errorf("%s has the key %s", p, h.key)
					}
				}
				if p == "docker/config.json" && d.store != HelperName {
					t.Errorf("credsStore is %q", d.store)
				}
				if p == "containers/auth.json" && d.store != "" {
					t.Error("auth.json has a credsStore, which podman does not know")
				}
			}
		}
	}
}

// M3: `werf ci-env` copies the directory and dies on a socket.
func TestTheDockerPartHoldsRegularFilesAlone(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	w.config(richConfig)
	w.file(".docker/contexts/meta/x/meta.json", "{}")
	w.file(".docker/cli-plugins/docker-buildx", "")
	j := w.job()
	w.write(j, w.settings(j, "ghcr.io"))
	for _, line := range tree(t, filepath.Join(j.Root, DockerDir)) {
		m, name, _ := strings.Cut(line, " ")
		switch {
		case m[0] == '-', name == ".":
		case m[0] == 'L' && name == "contexts":
		default:
			t.Errorf("%s is %s", name, m)
		}
		for _, prefix := range []string{"run", "machine", "desktop", "buildx", "scout", "mutagen", "cli-plugins"} {
			if strings.HasPrefix(name, prefix) {
				t.Errorf("werf leaves out %s", name)
			}
		}
	}
	if got, _ := os.Readlink(filepath.Join(j.Root, "docker/contexts")); got != filepath.Join(w.home, ".docker/contexts") {
		t.Errorf("contexts leads to %q", got)
	}
	var f struct {
		Dirs []string `json:"cliPluginsExtraDirs"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(j.Root, "docker/config.json"))), &f); err != nil || !slices.Equal(f.Dirs, []string{filepath.Join(w.home, ".docker/cli-plugins")}) {
		t.Errorf("plugins %v, %v", f.Dirs, err)
	}
}

func TestPluginDirectoriesOfThePersonComeFirst(t *testing.T) {
	skipWindows(t, "paths")
	for _, c := range []struct{ in, want string }{
		{`{"cliPluginsExtraDirs": ["/a"]}`, `["P", "/a"]`},
		{`{"cliPluginsExtraDirs": [ ]}`, `["P" ]`},
		{`{"cliPluginsExtraDirs": null}`, `["P"]`},
		{`{"CliPluginsExtraDirs": ["P"]}`, `["P"]`},
		{`{}`, `["P"]`},
	} {
		w := newWorld(t)
		w.file(".docker/cli-plugins/docker-buildx", "")
		p := filepath.Join(w.home, ".docker/cli-plugins")
		w.config(strings.ReplaceAll(c.in, "P\"", p+"\""))
		if strings.Contains(c.in, `"CliP`) {
			w.config(`{"CliPluginsExtraDirs": ["` + p + `"]}`)
		}
		j := w.job()
		w.write(j, w.settings(j))
		got, err := getPath([]byte(read(t, filepath.Join(j.Root, "docker/config.json"))), []string{"cliPluginsExtraDirs"})
		if want := strings.ReplaceAll(c.want, `"P"`, `"`+p+`"`); err != nil || string(got) != want {
			t.Errorf("%s: got %s (%v), want %s", c.in, got, err, want)
		}
	}
}

// H61: the person's malformed config.json is an error with its path; nothing
// is copied and the file is not touched.
func TestAMalformedConfigOfThePersonIsAnErrorWithItsPath(t *testing.T) {
	for name, text := range map[string]string{
		"0 bytes": "", "null": "null", "cut off": `{"auths": {"x": {"auth": "c2Vj`, "auths a list": `{"auths": []}`,
		"auths a string": `{"auths": "x"}`, "store a number": `{"credsStore": 3}`, "helpers a string": `{"credHelpers": "x"}`,
		"helper a list": `{"credHelpers": {"x": []}}`, "byte order mark": "\xef\xbb\xbf{}", "huge": `{"x": "` + strings.Repeat("a", maxConfig) + `"}`,
		"deep": `{"x": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", "two cases": `{"credsStore": "a", "CREDSSTORE": "b"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := w.config(text)
			j := w.job()
			_, err := j.Write(w.settings(j, "ghcr.io"))
			mustContain(t, err, path)
			if exists(filepath.Join(j.Root, "docker/config.json")) {
				t.Error("something was written")
			}
			if read(t, path) != text {
				t.Error("the file was touched")
			}
			_, err = ReadCarried(w.caller())
			mustContain(t, err, path)
		})
	}
}

// H62: docker gives the whole file up for one such entry; the job must not.
func TestABrokenAuthsEntryIsLeftOutWithAWarning(t *testing.T) {
	w := newWorld(t)
	enc := base64.StdEncoding.EncodeToString
	w.config(`{"auths": {
		"not-base64.example.com": {"auth": "%%%"},
		"no-colon.example.com": {"auth": "` + enc([]byte("nocolon")) + `"},
		"nul.example.com": {"auth": "` + enc([]byte("u:p\x00q")) + `"},
		"number.example.com": {"auth": 3},
		"trailing-nul.example.com": {"auth": "` + enc([]byte("u:p\x00\x00")) + `"},
		"good.example.com": {"auth": "` + enc([]byte("u:p:q")) + `"},
		"fields.example.com": {"username": "u", "password": "p"},
		"token.example.com": {"auth": "` + enc([]byte("u:")) + `", "identitytoken": "t"}
	}}`)
	logins, warnings, err := ReadAuths(filepath.Join(w.home, ".docker/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range logins {
		got = append(got, l.Host+" "+l.Username+" "+string(l.Secret))
	}
	want := []string{"trailing-nul.example.com u p", "good.example.com u p:q", "fields.example.com u p", "token.example.com <token> t"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if len(warnings) != 4 {
		t.Errorf("warnings %q", warnings)
	}
	j := w.job()
	r := w.write(j, w.settings(j))
	if !slices.Equal(r.Carried, []string{"fields.example.com", "good.example.com", "token.example.com", "trailing-nul.example.com"}) || len(r.Notes) != 4 {
		t.Errorf("carried %q, notes %q", r.Carried, r.Notes)
	}
	if s := strings.Join(append(warnings, r.Notes...), " "); strings.Contains(s, "nocolon") || strings.Contains(s, "%%%") {
		t.Errorf("a note shows a secret: %s", s)
	}
}

// H63: a helper's name becomes the name of a program.
func TestHelperNamesThatAreNoNamesAreRefused(t *testing.T) {
	for _, text := range []string{
		`{"credsStore": "../../evil"}`, `{"credHelpers": {"x": "a b;rm"}}`, `{"credHelpers": {"x": "a/b"}}`, `{"credsStore": "a\nb"}`,
		`{"credsStore": "` + strings.Repeat("a", 129) + `"}`, `{"credHelpers": {"x": "é"}}`,
	} {
		w := newWorld(t)
		path := w.config(text)
		j := w.job()
		_, err := j.Write(w.settings(j))
		mustContain(t, err, path, "no name of a credential helper")
		_, err = Install(InstallOptions{Caller: w.caller(), Hosts: []string{"ghcr.io"}, JournalPath: filepath.Join(w.home, "journal")})
		mustContain(t, err, path)
	}
}

// H64: links are followed for reading only, and to no other user's file.
func TestALinkedConfigIsReadAndNotWritten(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	target := w.file("dotfiles/docker.json", `{"detachKeys": "ctrl-x"}`)
	link := filepath.Join(w.home, ".docker", "config.json")
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	j := w.job()
	w.write(j, w.settings(j))
	if got := read(t, filepath.Join(j.Root, "docker/config.json")); !strings.Contains(got, "ctrl-x") {
		t.Errorf("not read: %s", got)
	}
	if !mode(t, filepath.Join(j.Root, "docker/config.json")).IsRegular() {
		t.Error("the job's config.json is not a regular file")
	}
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	if _, err := w.job().Write(w.settings(j)); err != nil {
		t.Errorf("dangling: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("the third part needs root: run as root to own a file as somebody else")
	}
	w.file("dotfiles/docker.json", `{}`)
	if err := os.Chown(target, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := w.job().Write(w.settings(j))
	if !errors.Is(err, ErrForeign) {
		t.Errorf("another user's file: %v", err)
	}
	mustContain(t, err, link, "uid 65534")
}

func TestAConfigThatIsNoRegularFileIsAnErrorAndNeverHangs(t *testing.T) {
	skipWindows(t, "no FIFOs")
	w := newWorld(t)
	path := filepath.Join(w.home, ".docker", "config.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() error{
		"fifo":      func() error { return mkfifo(path) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
		"device":    func() error { return os.Symlink("/dev/zero", path) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		j := w.job()
		_, err := j.Write(w.settings(j))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else {
			mustContain(t, err, path, "not a regular file")
		}
		os.Remove(path)
	}
}

func TestLinksForAccountsAndPortableCopies(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	j := w.job()
	s := w.settings(j, "ghcr.io")
	s.Links = []string{"work", "soft"}
	w.write(j, s)
	for _, n := range []string{"", "-work", "-soft"} {
		if got, _ := os.Readlink(filepath.Join(j.Root, "bin/docker-credential-regmint"+n)); got != w.helper() {
			t.Errorf("%q leads to %q", n, got)
		}
	}
	// The same job again, now for a container.
	s.Portable = true
	for range 2 {
		w.write(j, s)
		for _, n := range []string{"", "-work", "-soft"} {
			p := filepath.Join(j.Root, "bin/docker-credential-regmint"+n)
			if mode(t, p) != 0o700 || read(t, p) != read(t, w.helper()) {
				t.Errorf("%q is %s", n, mode(t, p))
			}
		}
	}
	for _, line := range tree(t, j.Root) {
		if strings.Contains(line, tempMark) {
			t.Errorf("left behind: %s", line)
		}
	}
	s.Links = []string{"../x"}
	_, err := j.Write(s)
	mustContain(t, err, "../x")
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	for says, change := range map[string]func(*Settings){
		"normal form":     func(s *Settings) { s.Hosts = []string{"https://ghcr.io"} },
		`"index.docker`:   func(s *Settings) { s.Hosts = []string{"index.docker.io"} },
		"no helper":       func(s *Settings) { s.Helper = filepath.Join(w.home, "no helper") },
		"not absolute":    func(s *Settings) { s.Helper = "docker-credential-regmint" },
		"not a program":   func(s *Settings) { s.Helper = w.home },
		"socket":          func(s *Settings) { s.Socket = "" },
		"without the sch": func(s *Settings) { s.Mirrors = []Mirror{{HubHost, []string{"https://m"}}} },
		"control char":    func(s *Settings) { s.Mirrors = []Mirror{{HubHost, []string{"a\nb"}}} },
		"colon":           func(s *Settings) { s.Static = map[string]StaticLogin{"x": {"a:b", "c"}} },
		"control":         func(s *Settings) { s.Static = map[string]StaticLogin{"x": {"a", "c\x00"}} },
	} {
		s := w.settings(j, "ghcr.io")
		change(&s)
		_, err := j.Write(s)
		mustContain(t, err, says)
	}
}

// H73 and rule 8: the variables a job's child gets, all of them and no others.
func TestTheEnvironmentOfAJob(t *testing.T) {
	skipWindows(t, "paths in a golden file")
	w := newWorld(t)
	w.env["DOCKER_AUTH_CONFIG"], w.env["WERF_DOCKER_CONFIG"], w.env["REGISTRY_AUTH_FILE"] = "{}", "/x", "/y"
	j := w.job()
	s := w.settings(j, "ghcr.io")
	r := w.write(j, s)
	set, unset := j.Env(s, r)
	var b strings.Builder
	for _, k := range slices.Sorted(keys(set)) {
		fmt.Fprintf(&b, "%s=%s\n", k, set[k])
	}
	fmt.Fprintf(&b, "unset %q\nrepointed %q\n", unset, r.Repointed)
	golden(t, "env", b.String(), j.Root, "ROOT", w.home, "HOME", w.bin, "BIN")
	for _, k := range []string{"DOCKER_CONFIG", "HELM_REGISTRY_CONFIG", "REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF"} {
		if !exists(set[k]) {
			t.Errorf("%s=%s does not exist", k, set[k])
		}
	}
	w.env["BUILDX_CONFIG"] = "/own"
	delete(w.env, "PATH")
	s.Caller = w.caller()
	set, _ = j.Env(s, r)
	if _, ok := set["BUILDX_CONFIG"]; ok {
		t.Error("a BUILDX_CONFIG of the person was overruled")
	}
	for _, dir := range filepath.SplitList(set["PATH"]) {
		if !filepath.IsAbs(dir) {
			t.Errorf("PATH %q names the working directory", set["PATH"])
		}
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestDirPutsTheDockerPartElsewhere(t *testing.T) {
	skipWindows(t, "modes")
	w := newWorld(t)
	dir := filepath.Join(w.home, "kaniko", ".docker")
	if err := os.MkdirAll(filepath.Join(dir, "lost+found"), 0o755); err != nil {
		t.Fatal(err)
	}
	j := w.job()
	s := w.settings(j, "ghcr.io")
	s.Dir = dir
	r := w.write(j, s)
	if r.DockerConfig != dir || mode(t, dir).Perm() != 0o700 || !exists(filepath.Join(dir, "config.json")) {
		t.Errorf("docker part in %s (%s)", r.DockerConfig, mode(t, dir))
	}
	if mode(t, filepath.Join(j.Root, "bin/docker-credential-regmint"))&os.ModeSymlink != 0 {
		t.Error("the helper is a link, which a container cannot follow")
	}
	w.write(j, s) // ours: again
	if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindRun, DockerDir: dir}); err != nil {
		t.Fatal(err)
	}
	other := w.job()
	s2 := w.settings(other, "ghcr.io")
	s2.Dir = dir
	if _, err := other.Write(s2); !errors.Is(err, ErrLocked) {
		t.Errorf("a live job's directory was taken: %v", err)
	}
	j.Close()
	if _, err := other.Write(s2); !errors.Is(err, ErrLocked) {
		t.Errorf("an open job's directory was taken: %v", err)
	}
	w.file(dir+"/of-somebody-else", "x")
	if err := Remove(j.Root); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); !slices.Equal(got, []string{"-rw-r--r-- of-somebody-else", "drwx------ .", "drwxr-xr-x lost+found"}) {
		t.Errorf("after removal: %q", got)
	}
	if _, err := other.Write(s2); !errors.Is(err, ErrForeign) {
		t.Errorf("a directory with other files was taken: %v", err)
	}
}

func TestASecretNeverShowsItself(t *testing.T) {
	l := Login{Host: "h", Username: "u", Secret: "s3cr3t"}
	j, _ := json.Marshal(l)
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "login", l, "secret", l.Secret)
	for _, s := range []string{fmt.Sprint(l), fmt.Sprintf("%+v %#v %q %x %s %d", l, l, l.Secret, l.Secret, l.Secret, l.Secret), string(j), b.String()} {
		if strings.Contains(s, "s3cr3t") || strings.Contains(s, fmt.Sprintf("%x", "s3cr3t")) {
			t.Errorf("%s", s)
		}
	}
	if string(l.Secret) != "s3cr3t" {
		t.Error("lost")
	}
}

func TestDockerAuthConfigIsReadAsStrictlyAsDockerDoes(t *testing.T) {
	enc := base64.StdEncoding.EncodeToString([]byte("robot$a+b:p:w"))
	logins, err := ParseDockerAuthConfig(`{"auths": {"https://index.docker.io/v1/": {"auth": "` + enc + `"}, "reg.example.com:5000": {"auth": "` + enc + `"}}}`)
	if err != nil || len(logins) != 2 || logins[0].Host != HubHost || logins[1].Host != "reg.example.com:5000" ||
		logins[0].Username != "robot$a+b" || string(logins[0].Secret) != "p:w" {
		t.Errorf("%+v %v", logins, err)
	}
	for _, empty := range []string{"", " \n", "{}", `{"auths": {}}`} {
		if l, err := ParseDockerAuthConfig(empty); err != nil || len(l) != 0 {
			t.Errorf("%q: %v %v", empty, l, err)
		}
	}
	for says, text := range map[string]string{
		`"credHelpers" has no`: `{"auths": {}, "credHelpers": {}}`,
		`"email" has no`:       `{"auths": {"x": {"auth": "` + enc + `", "email": "e"}}}`,
		"not base64":           `{"auths": {"x": {"auth": "%"}}}`,
		"no user name":         `{"auths": {"x": {}}}`,
		"line 1":               `{"auths": {"x": {"auth": "` + enc + `"}}} {}`,
		"not a string":         `{"auths": "x"}`,
		"twice":                `{"auths": {"x": {"auth": "` + enc + `"}, "x": {"auth": "` + enc + `"}}}`,
	} {
		_, err := ParseDockerAuthConfig(text)
		mustContain(t, err, "DOCKER_AUTH_CONFIG", says)
		if strings.Contains(err.Error(), enc) {
			t.Errorf("shows the secret: %v", err)
		}
	}
}

func TestACABundleHoldsTheSystemsCAsAndTheGivenOne(t *testing.T) {
	w := newWorld(t)
	system := w.file(filepath.Join(w.root, "etc/ssl/certs/ca-certificates.crt"), "# system bundle\nSYSTEM") // no final newline
	ca := w.file("ca.pem", "text before\n"+testCA+"-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n")
	j := w.job()
	s := w.settings(j)
	s.CAFile = ca
	r := w.write(j, s)
	if got := read(t, r.CABundle); got != read(t, system)+"\n"+testCA {
		t.Errorf("bundle:\n%s", got)
	}
	set, _ := j.Env(s, r)
	if set["SSL_CERT_FILE"] != r.CABundle {
		t.Error("SSL_CERT_FILE does not name it")
	}
	w.env["SSL_CERT_FILE"] = w.file("own.pem", "OWN\n")
	s.Caller = w.caller()
	if r = w.write(j, s); read(t, r.CABundle) != "OWN\n"+testCA {
		t.Error("the caller's SSL_CERT_FILE is not the base")
	}
	for text, says := range map[string]string{"": "no certificate", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n": "cannot be read"} {
		s.CAFile = w.file("bad.pem", text)
		_, err := j.Write(s)
		mustContain(t, err, s.CAFile, says)
	}
	s.CAFile = ""
	if r = w.write(j, s); r.CABundle != "" || exists(filepath.Join(j.Root, "ca.pem")) {
		t.Error("the bundle stays without --ca")
	}
}

func TestTheCallersOtherLoginsAreReadForTheJob(t *testing.T) {
	w := newWorld(t)
	desktop, pass := w.program("docker-credential-desktop"), w.program("docker-credential-pass")
	w.config(`{"auths": {"a.example.com": {"auth": "dTpw"}}, "credHelpers": {"https://index.docker.io/v1/": "pass", "gone.example.com": "gone", "x": "regmint"}}`)
	c, err := ReadCarried(w.caller())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Logins) != 1 || c.Logins[0].Host != "a.example.com" || len(c.Behind) != 1 || c.Behind[HubHost] != pass || len(c.Warnings) != 1 {
		t.Errorf("%+v", c)
	}
	// With a credsStore docker does not read the entry either.
	w.config(`{"auths": {"a.example.com": {"auth": "dTpw"}, "b.example.com": {"auth": "dTpw"}}, "credsStore": "desktop", "credHelpers": {"b.example.com": ""}}`)
	if c, err = ReadCarried(w.caller()); err != nil || len(c.Logins) != 1 || c.Logins[0].Host != "b.example.com" || c.Behind["*"] != desktop {
		t.Errorf("%+v %v", c, err)
	}
	// No config at all: docker looks for the keychain by itself.
	if err := os.Remove(filepath.Join(w.home, ".docker/config.json")); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		w.program("pass")
		if c, err = ReadCarried(w.caller()); err != nil || c.Behind["*"] != pass {
			t.Errorf("auto-detected: %+v %v", c, err)
		}
	}
}

func TestPodmansOwnLoginsStayInTheJob(t *testing.T) {
	w := newWorld(t)
	run := filepath.Join(w.env["XDG_RUNTIME_DIR"], "containers/auth.json")
	w.file(run, `{"auths": {"quay.io/ns": {"auth": "dTpw"}, "ghcr.io": {"auth": "dTpw"}, "same.example.com": {"auth": "MTox"}}}`)
	w.file(".config/containers/auth.json", `{"auths": {"same.example.com": {"auth": "Mjoy"}, "registry.example.com": {"auth": "dTpw"}}}`)
	j := w.job()
	r := w.write(j, w.settings(j, "ghcr.io"))
	d, err := readDockerFile(r.AuthFile, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range d.auths {
		got = append(got, e.key+" "+string(e.raw))
	}
	want := []string{`quay.io/ns {"auth": "dTpw"}`, `same.example.com {"auth": "MTox"}`, `registry.example.com {"auth": "dTpw"}`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// werf's Buildah mode knows no REGISTRY_AUTH_FILE: it is pointed out.
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], run) || !strings.Contains(r.Notes[0], "ghcr.io") {
		t.Errorf("notes %q", r.Notes)
	}
	w.env["REGISTRY_AUTH_FILE"] = w.file("mine.json", `{"auths": {"mine.example.com": {"auth": "dTpw"}}}`)
	j = w.job()
	r = w.write(j, w.settings(j, "ghcr.io"))
	if got := read(t, r.AuthFile); !strings.Contains(got, "mine.example.com") || strings.Contains(got, "quay.io") {
		t.Errorf("REGISTRY_AUTH_FILE is not read alone: %s", got)
	}
	w.file("mine.json", `{"auths": [`)
	if r = w.write(j, w.settings(j, "ghcr.io")); len(r.Notes) != 2 {
		t.Errorf("a malformed auth.json is not pointed out: %q", r.Notes)
	}
}

// A run inside a run inherits the outer job's files.
func TestANestedJobKeepsWhatTheOuterOneHas(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	w.config(richConfig)
	w.file(".docker/contexts/meta/x/meta.json", "{}")
	w.file(".docker/cli-plugins/docker-buildx", "")
	outer := w.job()
	s := w.settings(outer, "ghcr.io")
	set, _ := outer.Env(s, w.write(outer, s))
	for k, v := range set {
		w.env[k] = v
	}
	inner := w.job()
	s = w.settings(inner, "quay.io")
	r := w.write(inner, s)
	a, b := read(t, filepath.Join(outer.Root, "docker/config.json")), read(t, filepath.Join(inner.Root, "docker/config.json"))
	for _, key := range []string{"x-unknown", "proxies", "cliPluginsExtraDirs", "HttpHeaders"} {
		x, _ := getPath([]byte(a), []string{key})
		y, _ := getPath([]byte(b), []string{key})
		if string(x) != string(y) || x == nil {
			t.Errorf("%s: %s became %s", key, x, y)
		}
	}
	if got, _ := os.Readlink(filepath.Join(inner.Root, "docker/contexts")); got != filepath.Join(w.home, ".docker/contexts") {
		t.Errorf("contexts leads to %q", got)
	}
	if strings.Contains(b, "ghcr.io") {
		t.Error("the outer job's host, which its own config brings, is named by the inner one")
	}
	set, _ = inner.Env(s, r)
	if _, ok := set["BUILDX_CONFIG"]; ok {
		t.Error("BUILDX_CONFIG of the outer job is replaced")
	}
}
