// SPDX-License-Identifier: Apache-2.0

// Command capture makes docs/img/status.svg: what `regmint status` really
// prints on a terminal, with a few accounts in a throw-away HOME. It needs
// script(1) for the terminal.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

func main() {
	if err := capture("docs/img/status.svg"); err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}

// minted are the accounts whose passwords the issuing endpoint makes, and the
// seconds they live.
var minted = []struct {
	name, host, user string
	life             int
}{
	{"ci", "harbor.example.com", "robot$ci", 3600},
	{"build", "registry.corp.example:5000", "build-bot", 420},
	{"nightly", "nexus.example.com", "nightly", 10},
}

func capture(out string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	home, err := os.MkdirTemp("/tmp", "rmcap")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	var clients []fakeregistry.Client
	for _, m := range minted {
		clients = append(clients, fakeregistry.Client{ID: m.name, Secret: "s", User: m.user, Life: time.Duration(m.life) * time.Second})
	}
	reg, err := fakeregistry.Start(fakeregistry.Options{Issue: fakeregistry.IssueOptions{Clients: clients}})
	if err != nil {
		return err
	}
	defer reg.Close()
	if err := configure(home, reg.IssueURL()); err != nil {
		return err
	}
	bin := filepath.Join(home, "bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "./cmd/regmint", "./cmd/docker-credential-regmint")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	run := func(stdin, line string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = []string{
			"HOME=" + home, "PATH=" + bin + ":/usr/bin:/bin", "TERM=xterm-256color", "LANG=C.UTF-8",
			"REGMINT_RUNTIME_DIR=" + filepath.Join(home, "run"),
		}
		cmd.Stdin = strings.NewReader(stdin)
		return cmd.CombinedOutput()
	}
	defer func() { _, _ = run("", "regmint agent stop --force") }()
	for _, l := range []string{"ghcr.io -u ann", "docker.io -u acme"} {
		if text, err := run("ghp_example\n", "regmint login --no-verify --no-wire --password-stdin "+l); err != nil {
			return fmt.Errorf("login: %w\n%s", err, text)
		}
	}
	for _, h := range []string{"harbor.example.com", "registry.corp.example:5000", "ghcr.io"} {
		if text, err := run(h, "docker-credential-regmint get"); err != nil {
			return fmt.Errorf("get %s: %w\n%s", h, err, text)
		}
	}
	reg.Disable("nightly")
	text, err := run("", "stty cols 110 2>/dev/null; script -qec 'stty cols 110; regmint status' /dev/null")
	if err != nil {
		return fmt.Errorf("status: %w\n%s", err, text)
	}
	screen := strings.ReplaceAll(strings.ReplaceAll(string(text), "\r", ""), home, "~")
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(svg("regmint status", screen)), 0o644)
}

func configure(home, url string) error {
	var t strings.Builder
	t.WriteString("[agent]\nstore = \"file\"\n")
	for _, m := range minted {
		fmt.Fprintf(&t, "\n[[account]]\nname = %q\nprovider = \"http-exchange\"\nhosts = [%q]\nurl = %q\nsecret = \"file:%s/secret\"\n"+
			"json = { grant_type = \"client_credentials\", client_id = %q, client_secret = \"{{.Secret}}\" }\n"+
			"username_path = \"username\"\npassword_path = \"password\"\nexpires_in_path = \"expires_in\"\n", m.name, m.host, url, home, m.name)
	}
	if err := os.WriteFile(filepath.Join(home, "secret"), []byte("s\n"), 0o600); err != nil {
		return err
	}
	dir := filepath.Join(home, ".config", "regmint")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte(t.String()), 0o600)
}
