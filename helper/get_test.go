// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

// What clients write to stdin: clients.md 0.1.
var clientKeys = []string{
	"127.0.0.1:5055",                           // docker, buildx, oras, helm, skopeo
	"127.0.0.1:5055/test/img",                  // crane, ko, cosign, werf
	"127.0.0.1:5055/w/p",                       // werf
	"http://127.0.0.1:5055",                    // regctl
	"https://index.docker.io/v1/",              // docker, oras, helm, regctl, ggcr
	"index.docker.io/library/alpine",           // crane, ko, cosign
	"index.docker.io/alice/p",                  // werf cleanup
	"index.docker.io",                          // werf cr login
	"docker.io",                                // skopeo, podman, buildah
	"registry-1.docker.io",                     // oras
	"https://index.docker.io/v1/refresh-token", // docker logout
	"https://index.docker.io/v1/access-token",  // docker
	"ghcr.io", "ghcr.io/alice/p/x", // docker; ggcr
	"https://ghcr.io", "https://ghcr.io/", "GHCR.IO", // older configs
	"registry.example.com:5000/v2/",
	"[::1]:5000",
}

func TestEveryClientsKeyReachesTheAgentAndComesBackUnchanged(t *testing.T) {
	r := newRig(t).agent()
	for _, key := range clientKeys {
		got := r.run("get", key)
		want, err := json.Marshal(credentials.Credentials{ServerURL: key, Username: "u", Secret: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		if got != (result{0, string(want) + "\n", ""}) {
			t.Errorf("%s: %+v", key, got)
		}
		if last := r.gets[len(r.gets)-1]; last.Key != key {
			t.Errorf("asked for %q, the agent read %q", key, last.Key)
		}
	}
	if len(r.gets) != len(clientKeys) {
		t.Errorf("%d requests for %d keys", len(r.gets), len(clientKeys))
	}
}

func TestTheAgentLearnsWhoAsks(t *testing.T) {
	r := newRig(t).agent()
	t.Setenv("REGMINT_CONFIG", "/etc/other.toml")
	r.run("get", "ghcr.io")
	q := r.gets[0]
	if q.PID != os.Getppid() || q.Client == "" || q.Config != "/etc/other.toml" || q.Version != api.BuildVersion || q.Soft || q.Account != "" {
		t.Errorf("%+v", q)
	}
	if !slices.Equal(q.Env, api.CallerEnv(nil)) {
		t.Errorf("env %q", q.Env)
	}
}

func TestNotFoundIsExactAndOnStdoutAlone(t *testing.T) { // H9
	r := newRig(t).agent()
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Message: "no account"}
	}
	wantNotFound(t, r.run("get", "unknown.example"))
}

func TestAFailureIsOneLineThatStartsWithTheHostOnBothStreams(t *testing.T) { // H10, H11
	r := newRig(t).agent()
	for _, tc := range []struct{ message, want string }{
		{"reg.example: no answer within 10s; run: regmint status reg.example", "reg.example: no answer within 10s; run: regmint status reg.example"},
		{"docker.io: denied", "docker.io: denied"},
		{"helper: denied", "reg.example: helper: denied"},
		{"AWS_PROFILE is not set", "reg.example: AWS_PROFILE is not set"},
		{"", "reg.example: failed: denied"},
		{"reg.example: \x1b[2J\nsecond", `reg.example: \x1b[2J\x0asecond`},
		{"reg.example: " + strings.Repeat("long ", 100), "reg.example: long"},
	} {
		r.onGet = func(api.GetRequest) api.GetResponse {
			return api.GetResponse{Outcome: api.Failed, Kind: "denied", Message: tc.message}
		}
		wantFailure(t, r.run("get", "https://reg.example/v1/"), tc.want)
	}
}

func TestAnUnknownOutcomeIsAFailure(t *testing.T) { // H84
	r := newRig(t).agent()
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: "later", Secret: "s3cret"}
	}
	wantFailure(t, r.run("get", "reg.example"), "reg.example: ")
}

func TestACredentialThatCannotBeOneIsAFailure(t *testing.T) {
	r := newRig(t).agent()
	for name, resp := range map[string]api.GetResponse{
		"no user name":             {Secret: "s"},
		"no secret":                {Username: "u"},
		"NUL in the secret":        {Username: "u", Secret: "a\x00b"},
		"line end in the username": {Username: "u\n", Secret: "s"},
	} {
		t.Run(name, func(t *testing.T) {
			resp.Outcome = api.OK
			r.onGet = func(api.GetRequest) api.GetResponse { return resp }
			wantFailure(t, r.run("get", "reg.example"), "reg.example: the agent's answer is not usable")
		})
	}
}

func TestVariablesTheAgentMissesAreSentInASecondRound(t *testing.T) {
	r := newRig(t).agent()
	t.Setenv("MY_TOKEN", "abc")
	r.onGet = func(q api.GetRequest) api.GetResponse {
		if slices.Contains(q.Env, "MY_TOKEN=abc") && slices.Contains(q.Env, "NOT_SET") {
			return api.GetResponse{Outcome: api.OK, Username: "u", Secret: "s"}
		}
		return api.GetResponse{Outcome: api.NeedEnv, NeedEnv: []string{"MY_TOKEN", "NOT_SET"}}
	}
	if got := r.run("get", "ghcr.io"); got.code != 0 || len(r.gets) != 2 {
		t.Errorf("%+v after %d requests", got, len(r.gets))
	}
	r.gets = nil
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NeedEnv, NeedEnv: []string{"MY_TOKEN"}}
	}
	wantFailure(t, r.run("get", "ghcr.io"), "ghcr.io: ", "regmint agent restart")
	if len(r.gets) != 2 {
		t.Errorf("%d requests", len(r.gets))
	}
}

func TestTheNameOfALinkPicksAnAccountOrSoftFailures(t *testing.T) {
	r := newRig(t).agent()
	for _, tc := range []struct {
		name, env, account string
		soft               bool
	}{
		{"docker-credential-regmint", "", "", false},
		{"docker-credential-regmint", "fromenv", "fromenv", false},
		{"docker-credential-regmint-prod", "fromenv", "prod", false},
		{"docker-credential-regmint-prod.exe", "", "prod", false},
		{"docker-credential-regmint-soft", "", "", true},
		{"docker-credential-regmint-soft", "fromenv", "fromenv", true},
		{"docker-credential-regmint-a-b-soft", "", "a-b", true},
		{"something-else", "", "", false},
	} {
		t.Setenv("REGMINT_ACCOUNT", tc.env)
		r.gets = nil
		r.runAs(tc.name, "get", "ghcr.io")
		if q := r.gets[0]; q.Account != tc.account || q.Soft != tc.soft {
			t.Errorf("%+v: account %q, soft %v", tc, q.Account, q.Soft)
		}
	}
}

func TestASoftLinkTurnsEveryFailureOfAGetIntoNotFound(t *testing.T) {
	r := newRig(t)
	const soft = "docker-credential-regmint-soft"
	t.Setenv("REGMINT_AGENT", "require")
	wantNotFound(t, r.runAs(soft, "get", "ghcr.io"))
	wantNotFound(t, r.runAs(soft, "get", "a\nb"))
	if got := r.runAs(soft, "list", ""); got != (result{0, "{}\n", ""}) {
		t.Errorf("list: %+v", got)
	}
	wantFailure(t, r.runAs(soft, "store", `{"ServerURL":"h","Username":"u","Secret":"s"}`), "h: ")
	r.agent()
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.Failed, Message: "ghcr.io: denied"}
	}
	wantNotFound(t, r.runAs(soft, "get", "ghcr.io"))
}

// Rule 2: whatever the agent does, the call ends and says why.
func TestAnAgentThatMisbehavesEndsInAFailure(t *testing.T) {
	answer := func(c net.Conn, s string) {
		_, _ = c.Read(make([]byte, 64<<10))
		_, _ = io.WriteString(c, s)
	}
	for name, handle := range map[string]func(c net.Conn){
		"closes":      func(net.Conn) {},
		"half-closes": func(c net.Conn) { _ = c.(*net.UnixConn).CloseWrite(); _, _ = io.Copy(io.Discard, c) },
		"garbage":     func(c net.Conn) { answer(c, "\x00\x01\x02\r\n\r\n") },
		"huge":        func(c net.Conn) { answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n") },
		"truncated":   func(c net.Conn) { answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}") },
		"refuses":     func(c net.Conn) { answer(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") },
		"empty":       func(c net.Conn) { answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.program("regmint", "0\n--\n{}\n--\n") // direct mode would succeed
			r.raw(handle)
			wantFailure(t, r.run("get", "ghcr.io"), "ghcr.io: ")
			if p := r.played(); len(p) != 0 {
				t.Errorf("minted without the agent although one answered: %v", p)
			}
		})
	}
}

func TestAHungAgentIsGivenUpOn(t *testing.T) {
	r := newRig(t)
	r.raw(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := &call{verb: "get", in: strings.NewReader("ghcr.io"), out: io.Discard, err: io.Discard, end: time.Now().Add(50 * time.Millisecond)}
	var out, errs strings.Builder
	c.out, c.err = &out, &errs
	code := c.get(api.Until(c.end))
	wantFailure(t, result{code, out.String(), errs.String()}, "ghcr.io: no answer within 10s")
}

func TestInAJobOnlyItsSocketIsAsked(t *testing.T) {
	r := newRig(t).agent()
	job := filepath.Join(r.dir, "j")
	for _, dir := range []string{job, filepath.Join(job, "docker")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(job, "s")
	write := func(name, format string, args ...any) {
		if err := os.WriteFile(filepath.Join(job, name), fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("docker/regmint-job.json", `{"schema":1,"job":"abc","socket":"%s"}`, socket)
	t.Setenv("DOCKER_CONFIG", filepath.Join(job, "docker"))
	t.Setenv("REGMINT_CONFIG", "/c.toml")
	r.program("regmint", "0\n--\n{}\n--\n")

	for _, mode := range []string{"", "off", "auto"} { // over, and not to be left
		t.Setenv("REGMINT_AGENT", mode)
		for _, verb := range []string{"get", "erase"} {
			wantFailure(t, r.run(verb, "ghcr.io"), "ghcr.io: ", "the job has ended")
		}
		wantFailure(t, r.run("list", ""), "", "the job has ended")
	}
	write("job.json", `{"job":"abc","closed":"%s","reason":"ttl"}`, time.Now().Format(time.RFC3339))
	wantFailure(t, r.run("get", "ghcr.io"), "ghcr.io: this job was closed at ", "(ttl)")
	if len(r.requests) != 0 || len(r.played()) != 0 {
		t.Errorf("the main agent was asked %q, programs ran %v", r.requests, r.played())
	}

	write("job.json", `{"job":"abc"}`)
	inside := &rig{t: t, dir: r.dir, onGet: r.onGet}
	inside.serve(socket)
	if got := r.run("get", "ghcr.io"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if len(inside.gets) != 1 || inside.gets[0].Config != "" || len(r.requests) != 0 {
		t.Errorf("the job's agent was asked %+v, the main agent %q", inside.gets, r.requests)
	}
	t.Setenv("REGMINT_SOCKET", "@abstract")
	wantFailure(t, r.run("get", "ghcr.io"), "ghcr.io: REGMINT_SOCKET")
	t.Setenv("REGMINT_SOCKET", filepath.Join(r.dir, "none", "s"))
	wantFailure(t, r.run("get", "ghcr.io"), "ghcr.io: no agent is running at ")
	if len(r.requests) != 0 {
		t.Errorf("the main agent was asked %q", r.requests)
	}
}

func TestListIsAnObjectNeverNull(t *testing.T) { // H22
	r := newRig(t).agent()
	stdin := &failingReader{}
	for _, entries := range []map[string]string{nil, {}, {"https://index.docker.io/v1/": "u", "b": "v", "a": "<w>"}} {
		r.onList = func() api.ListResponse { return api.ListResponse{Outcome: api.OK, Entries: entries} }
		var out, errs strings.Builder
		r.settle()
		code := Main([]string{program, "list"}, stdin, &out, &errs)
		r.settle()
		var got map[string]string
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got == nil || code != 0 || errs.Len() > 0 || len(entries) > 0 && !reflect.DeepEqual(got, entries) {
			t.Errorf("%d %q %q", code, out.String(), errs.String())
		}
	}
	if stdin.read {
		t.Error("list read stdin: some callers never close it")
	}
	r.onList = func() api.ListResponse { return api.ListResponse{Outcome: api.Failed, Message: "the store is locked"} }
	wantFailure(t, r.run("list", ""), "the store is locked")
}

type failingReader struct{ read bool }

func (f *failingReader) Read([]byte) (int, error) {
	f.read = true
	return 0, io.EOF
}

func TestUnderSudoTheUsersAgentIsAskedNext(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if runtime.GOOS == "windows" {
		t.Skip("no sudo")
	}
	r := newRig(t).agent()
	former := r.program("former", "1\n--\n"+notFoundLine+"\n--\n")
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: former}
	}
	dir, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	user := &rig{t: t, dir: dir, onGet: func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.OK, Username: "alice", Secret: "s"}
	}, onList: func() api.ListResponse {
		return api.ListResponse{Outcome: api.OK, Entries: map[string]string{"ghcr.io": "alice", "other": "alice"}, Behind: []string{"/bin/sh"}}
	}}
	run := filepath.Join(dir, "regmint")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	user.serve(filepath.Join(run, "agent.sock"))
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("SUDO_UID", "12345")
	wantNotFound(t, r.run("get", "ghcr.io")) // the directory is not that user's
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROOTS_OWN", "canary")
	user.onGet = func(q api.GetRequest) api.GetResponse {
		if slices.Contains(q.Env, "ROOTS_OWN") {
			return api.GetResponse{Outcome: api.OK, Username: "alice", Secret: "s"}
		}
		return api.GetResponse{Outcome: api.NeedEnv, NeedEnv: []string{"ROOTS_OWN"}}
	}
	if got := r.run("get", "ghcr.io"); got.code != 0 || !strings.Contains(got.out, `"alice"`) {
		t.Errorf("%+v", got)
	}
	if asked := fmt.Sprint(user.gets); strings.Contains(asked, "canary") {
		t.Errorf("a user's agent learnt root's environment: %s", asked)
	}
	if got := r.run("list", ""); got.out != `{"ghcr.io":"u","other":"alice"}`+"\n" {
		t.Errorf("list: %+v", got)
	}
	formers := user.program("formerofuser", formerCredential)
	user.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: formers}
	}
	wantNotFound(t, r.run("get", "ghcr.io"))
	if len(user.played()) != 0 {
		t.Error("root ran a program that a user's agent named")
	}
}
