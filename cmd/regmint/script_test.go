// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
			a := newApp(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
			a.providers = scriptProviders(a.providers)
			a.scryptWork = 10 // a script is no attacker
			os.Exit(a.main(context.Background(), os.Args[1:]))
		},
		"docker-credential-regmint": func() {
			os.Exit(helper.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
		},
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
			"wait-agent": waitAgentCmd, "wait-file": waitFileCmd, "signal-agent": signalAgentCmd,
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
		"TERM": "dumb", "GORACE": "atexit_sleep_ms=10", // else every process ends a second late
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
	log := filepath.Join(e.WorkDir, "state", "agent.log")
	e.Defer(func() {
		stopScriptAgent(vars)
		_ = os.RemoveAll(run)
		if text, err := os.ReadFile(log); err == nil && bytes.Contains(text, []byte("DATA RACE")) {
			e.T().Fatal(string(text))
		}
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
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Run()
}
