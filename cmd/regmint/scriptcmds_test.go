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
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regmint/regmint/agent/api"
)

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

// waitFileCmd: wait-file FILE waits until another process has made it.
func waitFileCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-file FILE")
	}
	for range 400 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s does not appear", args[0])
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
