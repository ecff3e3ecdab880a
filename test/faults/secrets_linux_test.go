// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

// hunt looks for secrets, in whole or in part, as they are or encoded.
type hunt map[string]string // what to look for → whose it is

func (h hunt) add(name, secret string) {
	const window = 16 // a shorter piece proves nothing
	for i := 0; i+window <= len(secret); i += 4 {
		h[secret[i:i+window]] = name
	}
	h[hex.EncodeToString([]byte(secret))] = name + " in hex"
	for pad := range 3 { // whatever stands before it
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", pad) + secret))
		h[enc[4:len(enc)-4]] = name + " in base64"
	}
}

// find names the secrets in text.
func (h hunt) find(text string) string {
	for needle, name := range h {
		if strings.Contains(text, needle) {
			return name
		}
	}
	return ""
}

// canary is a secret that is easy to find.
func canary(name string) string {
	return "CNRY" + name + fmt.Sprintf("%032x", len(name)*7919) + name
}

// everything is a person's and a CI job's day, without a secret on a command
// line: they come from files and the environment.
const everything = `
exec 2>said
regmint login "$VAULT" -u ann --password-stdin <in/password
docker-credential-regmint store <in/store.json
printf %s "$VAULT" | docker-credential-regmint get | cat >/dev/null
printf stored.example | docker-credential-regmint get | cat >/dev/null
docker-credential-regmint list
regmint get "$VAULT" --format bare | cat >/dev/null
regmint get "$MINT" --format env | cat >/dev/null
regmint run -- client "$MINT" team/app
regmint run --config in/job.toml -r jobs.example -- sh -c 'docker-credential-regmint store <in/store.json; printf jobs.example | docker-credential-regmint get | cat >/dev/null; regmint status'
regmint run -q -r "$STATIC" --only --static -- sh -c 'regmint status --format json'
printf %s "$TOKEN" | docker-credential-regmint get | cat >/dev/null
for host in "$BROKEN" "$ECHO" "$GONE"; do
	printf %s "$host" | docker-credential-regmint get
	regmint get "$host"
	regmint run -r "$host" -- client "$host" team/app
done
regmint login "$VAULT" -u ann --password-stdin <in/wrong
regmint status; regmint status --recent; regmint status --format json; regmint refresh --all
printf stored.example | docker-credential-regmint erase
regmint logout "$VAULT"
regmint agent stop --force
exit 0
`

// day is everything's surroundings and what must not be found in them.
type day struct {
	*world
	secrets hunt // of the person and of the registries
	static  hunt // those that --static writes into the job's files
	mints   []*fakeregistry.Server
	fixed   *fakeregistry.Server
}

func newDay(t *testing.T) *day {
	t.Helper()
	d := &day{world: newWorld(t), secrets: hunt{}, static: hunt{}}
	know := func(name string) string {
		s := canary(name)
		d.secrets.add(name, s)
		return s
	}
	d.write("in/password", know("password"))
	d.write("in/wrong", know("wrong"))
	d.write("in/store.json", storeLogin("stored.example", "u", know("stored")))
	d.write("in/job.toml", "[[account]]\nname = \"j\"\nprovider = \"generic\"\nhosts = [\"jobs.example\"]\nusername = \"u\"\npassword = \"file:"+
		d.write("in/job-secret", know("jobsecret"))+"\"\n")
	client := "file:" + d.write("in/client", know("client"))
	d.env["CI_JOB_TOKEN"] = know("token")

	vault := startRegistry(t, fakeregistry.Options{Users: []fakeregistry.User{{Name: "ann", Password: canary("password")}}})
	d.env["VAULT"] = vault.Host()
	var accounts []string
	serve := func(name, id, reference string) *fakeregistry.Server {
		reg := startRegistry(t, fakeregistry.Options{Issue: fakeregistry.IssueOptions{Clients: []fakeregistry.Client{
			{ID: "client", Secret: canary("client"), User: "ci-bot"}, {ID: "token", Secret: canary("token"), User: "ci-bot"},
		}}})
		d.env[name] = reg.Host()
		accounts = append(accounts, mintedWith(reg, strings.ToLower(name), id, reference))
		return reg
	}
	d.mints = []*fakeregistry.Server{serve("MINT", "client", client), serve("TOKEN", "token", "env:CI_JOB_TOKEN")}
	d.fixed = serve("STATIC", "client", client)
	serve("BROKEN", "client", client).Inject(fakeregistry.Fault{Path: "/issue", Status: 500, Body: "internal error for " + canary("client")})
	serve("ECHO", "client", client).Inject(fakeregistry.Fault{
		Path: "/issue", Status: 401, Body: `{"error":"invalid_client","error_description":"no client has the secret ` + canary("client") + `"}`,
	})
	_ = serve("GONE", "client", client).Close()
	d.configure(accounts...)
	return d
}

// learn adds what the registries have issued so far.
func (d *day) learn() {
	for i, reg := range d.mints {
		for _, s := range reg.Secrets() {
			d.secrets.add(fmt.Sprint("what registry ", i, " issued"), s)
		}
	}
	for _, s := range d.fixed.Secrets() {
		d.static.add("what --static writes", s)
	}
}

// where is the target of a descriptor in strace's own words.
var where = regexp.MustCompile(`^(?:\d+ +)?(write|pwrite64|writev|sendto|sendmsg)\((\d+)<(.*?)>, `)

func TestNoSecretLeavesByAnotherWay(t *testing.T) {
	needStrace(t)
	for _, level := range []string{"info", "debug"} {
		t.Run(level, func(t *testing.T) { traced(t, level) })
	}
}

// needStrace skips where nothing can be traced.
func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed: apt-get install strace")
	}
	if out, err := exec.Command("strace", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("nothing can be traced here (%s); run the tests outside of a container, or with: docker run --cap-add SYS_PTRACE", strings.TrimSpace(string(out)))
	}
}

func traced(t *testing.T, level string) {
	d := newDay(t)
	d.env["REGMINT_LOG"] = level
	d.write("everything", everything)
	r := d.run(cmd("strace", "-f", "-qq", "-yy", "-s", "1048576", "-e", "trace=execve,execveat,openat,creat,write,pwrite64,writev,sendto,sendmsg",
		"-o", d.path("in", "trace"), "sh", "everything"))
	if r.code != 0 {
		t.Fatalf("exit %d: %s%s\n%s", r.code, r.out, r.err, d.read("said"))
	}
	d.learn()
	f, err := os.Open(d.path("in", "trace"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	calls, sent := 0, 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		calls++
		who := d.secrets.find(line)
		fixed := d.static.find(line)
		if who == "" && fixed == "" {
			continue
		}
		m := where.FindStringSubmatch(line)
		switch {
		case m == nil: // an argument, a file name
			t.Errorf("%s%s is in %.300s", who, fixed, line)
		case m[2] == "2":
			t.Errorf("%s%s is on stderr: %.300s", who, fixed, line)
		case strings.HasPrefix(m[3], "TCP:"), strings.HasPrefix(m[3], "UNIX"), strings.HasPrefix(m[3], "pipe:"), strings.HasPrefix(m[3], "/dev/null"):
			sent++ // to the registry, between our processes, to the client
		case who == "" && strings.HasPrefix(m[3], d.paths().JobsDir()+"/"):
			sent++ // that is what --static is for
		default:
			t.Errorf("%s%s is written to %s: %.300s", who, fixed, m[3], line)
		}
	}
	if sent < 50 { // else nothing was looked at
		t.Errorf("only %d of %d calls have a secret where it belongs:\n%s", sent, calls, d.read("said"))
	}
	t.Logf("%d system calls, %d with a secret where it belongs", calls, sent)
	d.scan(r.out)
	if said := d.read("said"); d.secrets.find(said) != "" || !strings.Contains(said, "500") {
		t.Errorf("said:\n%s", said)
	}
}

// scan looks through everything that was written and said.
func (d *day) scan(said string) {
	d.t.Helper()
	if who := d.secrets.find(said); who != "" {
		d.t.Errorf("%s is on stdout:\n%s", who, said)
	}
	files := 0
	err := filepath.WalkDir(d.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (path == d.path("in") || path == d.path("bin")) {
			return fs.SkipDir
		}
		if !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // a temporary file of who writes just now
			return nil
		}
		files++
		if who := d.secrets.find(string(b)); who != "" {
			d.t.Errorf("%s is in %s", who, path)
		}
		return err
	})
	if err != nil {
		d.t.Error(err)
	}
	if files < 5 {
		d.t.Errorf("only %d files were looked at", files)
	}
}

func TestNoSecretIsInFilesOrProcessesOfARunningJob(t *testing.T) {
	d := newDay(t)
	d.must(cmd("regmint", "login", d.env["VAULT"], "-u", "ann", "--password-stdin").in(canary("password")))
	s := d.start(script(answers + `docker-credential-regmint store <in/store.json; client "$MINT" team/app; get "$TOKEN" >/dev/null; get "$VAULT" >/dev/null; await 1`))
	d.await("1", func() {
		d.learn()
		d.scan("")
		seen := 0
		for _, p := range d.processes() {
			seen++
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
			if err == nil && !strings.Contains(p.command, "agent run") {
				env = []byte(strings.ReplaceAll(string(env), d.env["CI_JOB_TOKEN"], "")) // the person's own
			}
			if who := d.secrets.find(string(line) + string(env)); who != "" {
				t.Errorf("%s is in the arguments or the environment of %s", who, p.command)
			}
		}
		if seen < 3 { // agent, wrapper, command
			t.Errorf("only %d processes were looked at", seen)
		}
	})
	s.ends(0)
	d.clean()
	d.scan(s.output() + s.errors())
}

func TestAnAgentsMemoryIsClosedToItsOwnUser(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.own(ann)
	pid := w.agent()
	for _, name := range []string{"environ", "mem", "maps", "io", "syscall"} {
		file := fmt.Sprintf("/proc/%d/%s", pid, name)
		if r := w.run(cmd("head", "-c1", file)); r.code == 0 || !strings.Contains(r.err, "ermission denied") {
			t.Errorf("%s: exit %d: %s%s", file, r.code, r.out, r.err)
		}
	}
	if _, err := exec.LookPath("strace"); err == nil {
		if r := w.run(cmd("strace", "-p", fmt.Sprint(pid), "-o", "/dev/null")); r.code == 0 || !strings.Contains(r.err, "not permitted") {
			t.Errorf("strace: exit %d: %s", r.code, r.err)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("core dumps are possible: %v\n%s", err, limits)
	}
}
