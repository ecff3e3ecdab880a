// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/helper"
	"github.com/regmint/regmint/test/fakeregistry"
)

// scriptVersion makes a process of a script one of another version.
const scriptVersion = "SCRIPT_VERSION"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"regmint": func() {
			if v := os.Getenv(scriptVersion); v != "" {
				api.BuildVersion = v
			}
			main()
		},
		"docker-credential-regmint": func() {
			os.Exit(helper.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
		},
		// A helper as others make them: it knows one host, and says that there
		// is no login for the rest.
		"docker-credential-former": formerHelper,
	})
}

// scriptLimit bounds all scripts together.
const scriptLimit = 5 * time.Minute

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "test", "script"),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(scriptLimit),
		Setup:               setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": codeCmd, "registry": registryCmd, "expand": expandCmd, "kill-agent": killAgentCmd,
			"jq": jsonCmd, "no-secret": noSecretCmd, "mode": modeCmd, "wait-status": waitStatusCmd,
			"wait-agent": waitAgentCmd, "signal-agent": signalAgentCmd,
		},
	})
}

// setupScript gives a script surroundings of its own: nothing of this machine's
// logins, agents or configuration is visible in it.
func setupScript(e *testscript.Env) error {
	run, err := os.MkdirTemp("/tmp", "rm") // t.TempDir is too long for a socket
	if err != nil {
		return err
	}
	home := filepath.Join(e.WorkDir, "home")
	for k, v := range map[string]string{
		"HOME": home, "REGMINT_RUNTIME_DIR": run, "REGMINT_STATE_DIR": filepath.Join(e.WorkDir, "state"),
		"XDG_CONFIG_HOME": filepath.Join(home, ".config"), "XDG_RUNTIME_DIR": "", "DOCKER_CONFIG": filepath.Join(home, ".docker"),
		"TERM": "dumb",
	} {
		e.Setenv(k, v)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	cfg := filepath.Join(home, ".config", "regmint", "config.toml")
	if _, err := os.Stat(cfg); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(cfg), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(cfg, []byte("[agent]\nstore = \"file\"\n"), 0o600); err != nil {
			return err
		}
	}
	e.Values[registriesKey{}] = map[string]*fakeregistry.Server{}
	vars := append([]string{}, e.Vars...)
	e.Defer(func() {
		stopScriptAgent(vars)
		_ = os.RemoveAll(run)
	})
	return nil
}

// stopScriptAgent ends the agent that a script has started.
func stopScriptAgent(vars []string) {
	exe, err := exec.LookPath("regmint")
	if err != nil {
		return
	}
	cmd := exec.Command(exe, "agent", "stop", "--force")
	cmd.Env = vars
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Run()
}

// codeCmd: code N COMMAND ARG... runs a command that exits with N.
func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

type registriesKey struct{}

// registryCmd: registry NAME starts one whose address is $NAME.
//
//	-token           Bearer tokens instead of Basic
//	-realm NAME      its token server goes by this name
//	-user NAME:PASS  a login
//	registry NAME revoke USER | add NAME:PASS | stop
func registryCmd(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: registry NAME ...")
	}
	running := ts.Value(registriesKey{}).(map[string]*fakeregistry.Server)
	if s := running[args[0]]; s != nil {
		changeRegistry(ts, s, args[1:])
		return
	}
	o := fakeregistry.Options{}
	for rest := args[1:]; len(rest) > 0; {
		flag := rest[0]
		rest = rest[1:]
		if flag == "-token" {
			o.Mode = fakeregistry.Token
			continue
		}
		if len(rest) == 0 {
			ts.Fatalf("registry: %s needs a value", flag)
		}
		switch flag {
		case "-user":
			o.Users = append(o.Users, scriptUser(ts, rest[0]))
		case "-realm":
			o.Addr = freeAddr(ts)
			_, port, err := net.SplitHostPort(o.Addr)
			ts.Check(err)
			o.Realm = "http://" + net.JoinHostPort(rest[0], port) + "/token"
		default:
			ts.Fatalf("registry: unknown flag %s", flag)
		}
		rest = rest[1:]
	}
	s, err := fakeregistry.Start(o)
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	running[args[0]] = s
	ts.Setenv(args[0], s.Host())
	_, port, err := net.SplitHostPort(s.Host())
	ts.Check(err)
	ts.Setenv(args[0]+"_PORT", port)
}

// freeAddr is an address nobody listens on.
func freeAddr(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().String()
}

func scriptUser(ts *testscript.TestScript, s string) fakeregistry.User {
	name, password, ok := strings.Cut(s, ":")
	if !ok {
		ts.Fatalf("registry: %s is not NAME:PASSWORD", s)
	}
	return fakeregistry.User{Name: name, Password: password}
}

func changeRegistry(ts *testscript.TestScript, s *fakeregistry.Server, args []string) {
	switch {
	case len(args) == 2 && args[0] == "revoke":
		s.Revoke(args[1])
	case len(args) == 2 && args[0] == "add":
		s.AddUser(scriptUser(ts, args[1]))
	case len(args) == 1 && args[0] == "stop":
		ts.Check(s.Close())
	default:
		ts.Fatalf("registry: what is %q?", args)
	}
}

// expandCmd: expand FILE... replaces ${NAME} in files that must exist.
func expandCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, f := range args {
		text := os.Expand(ts.ReadFile(f), func(name string) string {
			v := ts.Getenv(name)
			if v == "" {
				ts.Fatalf("expand %s: %s is not set", f, name)
			}
			return v
		})
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}

// killAgentCmd kills the script's agent as the kernel does when memory is
// short.
func killAgentCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: kill-agent")
	}
	st := scriptAgent(ts)
	ts.Check(syscall.Kill(st.PID, syscall.SIGKILL))
	for range 200 { // until the kernel has closed its socket
		c, err := net.Dial("unix", st.Socket)
		if err != nil {
			return
		}
		_ = c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("the killed agent still answers")
}

// scriptAgent is the status of the script's own agent.
func scriptAgent(ts *testscript.TestScript) api.Status {
	ts.Check(ts.Exec("regmint", "status", "--format", "json"))
	var st api.Status
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &st))
	if st.PID <= 1 || st.PID == os.Getpid() || filepath.Dir(st.Socket) != ts.Getenv("REGMINT_RUNTIME_DIR") {
		ts.Fatalf("the agent's pid is %d, its socket %s", st.PID, st.Socket)
	}
	return st
}

// signalAgentCmd: signal-agent HUP|USR1|TERM.
func signalAgentCmd(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "TERM": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal-agent HUP|USR1|TERM")
	}
	ts.Check(syscall.Kill(scriptAgent(ts).PID, signals[args[0]]))
}

// waitAgentCmd waits until an agent answers that runs in the background of the
// script; none is started for it.
func waitAgentCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: wait-agent")
	}
	for range 200 {
		c, err := net.Dial("unix", filepath.Join(ts.Getenv("REGMINT_RUNTIME_DIR"), "agent.sock"))
		if err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("no agent answers")
}

// jsonCmd: jq FILE PATH [WANT] reads a JSON file; PATH is a/0/b. With neg the
// path must be absent.
func jsonCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: jq FILE PATH [WANT]")
	}
	var v any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("%s: more than one JSON value", args[0])
	}
	got, found := follow(v, args[1])
	switch {
	case neg && found && (len(args) == 2 || got == args[2]):
		ts.Fatalf("%s is %s", args[1], got)
	case !neg && !found:
		ts.Fatalf("there is no %s", args[1])
	case !neg && len(args) == 3 && got != args[2]:
		ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
	}
}

func follow(v any, path string) (string, bool) {
	for key := range strings.SplitSeq(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[key]; !ok {
				return "", false
			}
		case []any:
			if key == "length" {
				v = len(x)
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				return "", false
			}
			v = x[i]
		default:
			return "", false
		}
	}
	return fmt.Sprint(v), true
}

// noSecretCmd: no-secret SECRET PATH... finds no file that holds SECRET.
func noSecretCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: no-secret SECRET PATH...")
	}
	files, hit := 0, ""
	for _, root := range args[1:] {
		ts.Check(filepath.Walk(ts.MkAbs(root), func(path string, info os.FileInfo, err error) error {
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(args[0])) {
				hit = path
			}
			return err
		}))
	}
	switch {
	case files == 0:
		ts.Fatalf("no file to look at")
	case !neg && hit != "":
		ts.Fatalf("the secret is in %s", hit)
	case neg && hit == "":
		ts.Fatalf("the secret is in no file")
	}
}

// modeCmd: mode FILE 0600.
func modeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s", args[0], got)
	}
}

// waitStatusCmd: wait-status PATH WANT looks at the status until PATH is WANT.
func waitStatusCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wait-status PATH WANT")
	}
	got := ""
	for range 100 {
		ts.Check(ts.Exec("regmint", "status", "--format", "json"))
		var v any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
		if got, _ = follow(v, args[0]); got == args[1] {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s stays %s, want %s", args[0], got, args[1])
}

// formerHelper is docker-credential-former: it keeps its one login in a file.
func formerHelper() {
	file := filepath.Join(os.Getenv("HOME"), "former.json")
	var all map[string][2]string
	if data, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(data, &all)
	}
	in, _ := io.ReadAll(io.LimitReader(os.Stdin, 1<<16))
	key := strings.TrimSpace(string(in))
	switch os.Args[1] {
	case "get":
		l, ok := all[key]
		if !ok {
			fmt.Println("credentials not found in native keychain")
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"ServerURL": key, "Username": l[0], "Secret": l[1]})
	case "list":
		out := map[string]string{}
		for k, l := range all {
			out[k] = l[0]
		}
		_ = json.NewEncoder(os.Stdout).Encode(out)
	default:
		fmt.Println("not for a script")
		os.Exit(1)
	}
	os.Exit(0)
}
