// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

func TestABrokenDockerConfigurationEndsTheJobBeforeItsCommand(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.own(ann)
	for name, text := range map[string]string{
		"not JSON": "{", "empty": "", "a list": "[]", "auths a list": `{"auths": []}`, "two objects": "{}{}", "helper with a path": `{"credsStore": "../evil"}`,
	} {
		path := w.write(".docker/config.json", text)
		w.own(ann)
		r := w.run(cmd("regmint", "run", "--", "touch", w.path("ran")))
		if r.code != 125 || !strings.Contains(r.err, ".docker/config.json") || w.exists("ran") {
			t.Errorf("%s: exit %d: %s", name, r.code, r.err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%s: the file is another one: %s", name, b)
		}
		w.clean()
	}
	for _, mode := range []os.FileMode{0o000, 0o700} {
		if err := os.Chmod(w.path(".docker"), mode); err != nil {
			t.Fatal(err)
		}
		if mode == 0o700 {
			if err := os.Chmod(w.path(".docker", "config.json"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if r := w.run(cmd("regmint", "run", "--", "true")); r.code != 125 || !strings.Contains(r.err, "permission denied") || !strings.Contains(r.err, ".docker") {
			t.Errorf("not readable: exit %d: %s", r.code, r.err)
		}
		w.clean()
	}
}

// config is docker's configuration as the command of a job has it.
type dockerConfig struct {
	Auths       map[string]struct{ Auth string }
	CredsStore  string
	CredHelpers map[string]string
}

func (w *world) dockerConfig(text string) dockerConfig {
	w.t.Helper()
	var c dockerConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return c
}

func basic(user, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
}

// kaniko and its like read one directory and run no helper of ours.
func TestADirectoryOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	for _, made := range []bool{false, true} {
		dir := w.path("kaniko", ".docker")
		if made {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		r := w.run(cmd("regmint", "run", "-q", "-r", reg.Host(), "--dir", "kaniko/.docker", "--", "sh", "-c",
			`echo $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json >seen; test -L $(command -v docker-credential-regmint) && echo link; cd /; client "$1" team/app`, "sh", reg.Host()))
		if r.code != 0 || r.out != dir+"\nci-bot\n" {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
		if c := w.dockerConfig(w.read("seen")); c.CredHelpers[reg.Host()] != "regmint" {
			t.Errorf("config.json:\n%s", w.read("seen"))
		}
		entries, err := os.ReadDir(dir)
		if made && (err != nil || len(entries) > 0) || !made && !os.IsNotExist(err) {
			t.Errorf("made before: %t; afterwards there are %v (%v)", made, entries, err)
		}
		w.clean()
	}
	// A directory of somebody's files is none for us.
	w.write("taken/config.json", "{}")
	if r := w.run(cmd("regmint", "run", "--dir", "taken", "--", "true")); r.code != 125 || w.read("taken/config.json") != "{}" {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	w.clean()
}

// accepts reports that a registry takes a password now.
func accepts(reg *fakeregistry.Server, user, secret string) bool {
	req, err := http.NewRequest(http.MethodGet, reg.URL()+"/v2/", nil)
	if err != nil {
		return false
	}
	req.SetBasicAuth(user, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// --static writes passwords for tools that run no helper, renews them, and puts
// them back where another tool has written over them.
func TestStaticPasswordsAreRenewedAndPutBack(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{Issue: fakeregistry.IssueOptions{Life: 12 * time.Second}}, "ci")
	w.configure(w.minted(reg, "ci"))
	s := w.start(cmd("regmint", "run", "-q", "-r", reg.Host(), "--static", "--", "sh", "-c", answers+`
		echo "$DOCKER_CONFIG/config.json" >where; echo "$REGISTRY_AUTH_FILE" >>where
		await 1; await 2`))
	entry := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		var c dockerConfig
		if json.Unmarshal(b, &c) != nil {
			return "" // it is being written by the test
		}
		return c.Auths[reg.Host()].Auth
	}
	// Whatever is in the file must work at that moment.
	works := func(file string) bool {
		raw, err := base64.StdEncoding.DecodeString(entry(file))
		user, secret, _ := strings.Cut(string(raw), ":")
		return err == nil && user == "ci-bot" && accepts(reg, user, secret)
	}
	var files []string
	w.await("1", func() {
		files = strings.Fields(w.read("where"))
		first := entry(files[0])
		raw, _ := base64.StdEncoding.DecodeString(first)
		user, secret, _ := strings.Cut(string(raw), ":")
		w.eventually("the first password has died", func() bool {
			for _, f := range files {
				if !works(f) {
					t.Fatalf("%s has %s, which the registry refuses", f, entry(f))
				}
			}
			return !accepts(reg, user, secret)
		})
		for _, f := range files {
			if entry(f) == first {
				t.Errorf("%s was not renewed", f)
			}
		}
	})
	w.await("2", func() {
		for _, f := range files {
			text := `{"auths": {"` + reg.Host() + `": {"auth": "` + basic("other", "tool") + `"}, "their.example": {"auth": "` + basic("a", "b") + `"}}, "kept": [1]}`
			if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			w.eventually("the entry is back", func() bool { return works(f) })
			b, _ := os.ReadFile(f)
			if !strings.Contains(string(b), "their.example") || !strings.Contains(string(b), `"kept"`) {
				t.Errorf("what the other tool wrote is lost:\n%s", b)
			}
		}
	})
	s.ends(0)
	w.clean()
	if r := w.run(cmd("regmint", "run", "--static", "-r", "nobody.example", "--", "true")); r.code != 125 || !strings.Contains(r.err, "nobody.example") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestOnlyLeavesOthersNotFound(t *testing.T) {
	w := newWorld(t)
	reg, other := issuer(t, fakeregistry.Options{}, "ci"), issuer(t, fakeregistry.Options{}, "two")
	w.configure(w.minted(reg, "ci"), w.minted(other, "two"))
	w.write(".docker/config.json", `{"auths": {"plain.example": {"auth": "`+basic("p", "q")+`"}}}`)
	r := w.run(cmd("regmint", "run", "-q", "--only", "-r", reg.Host(), "--", "sh", "-c", answers+
		`get "$1"; for h in "$2" plain.example carried.example; do get $h; done; docker-credential-regmint list; regmint status --format json >status; cat $DOCKER_CONFIG/config.json >config`,
		"sh", reg.Host(), other.Host()).with(`DOCKER_AUTH_CONFIG={"auths":{"carried.example":{"auth":"` + basic("c", "d") + `"}}}`))
	want := strings.Repeat(notFound+"\n", 3)
	if r.code != 0 || !strings.Contains(r.out, "ci-bot") || !strings.Contains(r.out, want) {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	for _, host := range []string{other.Host(), "plain.example", "carried.example"} {
		if strings.Contains(w.read("status")+w.read("config"), host) || strings.Contains(r.out, `"`+host) {
			t.Errorf("%s is known in the job:\n%s%s%s", host, w.read("status"), w.read("config"), r.out)
		}
	}
	// Not even a command that knows the account's name gets further.
	r = w.run(cmd("regmint", "run", "-q", "--only", "-r", reg.Host(), "--", "sh", "-c",
		`printf %s "$1" | REGMINT_ACCOUNT=two docker-credential-regmint get; regmint run -q --account two -- client "$1" team/app; DOCKER_CONFIG=/nowhere client "$1" team/app`, "sh", other.Host()))
	if strings.Contains(r.out, "two-bot") || len(other.Stats().Issued) > 0 {
		t.Errorf("a password was made: %s%s", r.out, r.err)
	}
}

func TestWhatTheCallerHadGoesOnWorking(t *testing.T) {
	w := newWorld(t)
	// A helper of another house, for hosts that are nobody's and for one by name.
	for _, name := range []string{"docker-credential-theirs", "docker-credential-named"} {
		path := w.write("bin/"+name, "#!/bin/sh\nread host\ncase $1 in get) printf '{\"ServerURL\":\"%s\",\"Username\":\""+name+"\",\"Secret\":\"x\"}' \"$host\";; list) echo '{}';; esac\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write(".docker/config.json", fmt.Sprintf(`{"auths": {"plain.example": {"auth": %q}}, "credsStore": "theirs", "credHelpers": {"named.example": "named"}, "HttpHeaders": {"X": "y"}}`, basic("p", "q")))
	r := w.run(cmd("regmint", "run", "--", "sh", "-c", answers+
		`for h in plain.example carried.example named.example any.example; do get $h; done; cat $DOCKER_CONFIG/config.json >config; echo ${DOCKER_AUTH_CONFIG-unset}`).
		with(`DOCKER_AUTH_CONFIG={"auths":{"carried.example":{"auth":"` + basic("c", "d") + `"}}}`))
	want := `{"ServerURL":"carried.example","Username":"c","Secret":"d"}
{"ServerURL":"named.example","Username":"docker-credential-named","Secret":"x"}
{"ServerURL":"any.example","Username":"docker-credential-theirs","Secret":"x"}
`
	got := strings.ReplaceAll(r.out, "\n\n", "\n")
	if r.code != 0 || !strings.Contains(got, want) || !strings.HasSuffix(got, "\nunset\n") {
		t.Errorf("exit %d: got\n%swant\n%s\n%s", r.code, got, want, r.err)
	}
	if !strings.Contains(w.read("config"), `"HttpHeaders"`) {
		t.Errorf("config.json:\n%s", w.read("config"))
	}
	for _, host := range []string{"plain.example", "named.example"} {
		if !strings.Contains(r.err, host) {
			t.Errorf("%s is not named: %s", host, r.err)
		}
	}
}
