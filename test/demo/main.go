// SPDX-License-Identifier: Apache-2.0

// Command demo shows regmint at work on this machine: a registry that hands
// out passwords of a few seconds, real pushes and pulls by crane, a rotation,
// two jobs that do not see each other, and a killed job that leaves nothing.
// It touches nothing outside a temporary directory and the loopback network.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// passwordLife is the life of what the demo registry issues.
const passwordLife = 6 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) error {
	home, err := os.MkdirTemp("/tmp", "rmdemo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	s := newStage(ctx, home)
	s.title("setting up: the two binaries, crane, a registry")
	if err := s.build(); err != nil {
		return err
	}
	reg, err := fakeregistry.Start(fakeregistry.Options{
		Mode: fakeregistry.Token,
		Issue: fakeregistry.IssueOptions{
			Life: passwordLife,
			Clients: []fakeregistry.Client{
				{ID: "team-a", Secret: "client-secret-a", User: "team-a-bot"},
				{ID: "team-b", Secret: "client-secret-b", User: "team-b-bot"},
			},
		},
	})
	if err != nil {
		return err
	}
	defer reg.Close()
	vault, err := fakeregistry.Start(fakeregistry.Options{Users: []fakeregistry.User{{Name: "ann", Password: "correct-horse"}}})
	if err != nil {
		return err
	}
	defer vault.Close()
	s.say("%s issues passwords that live %s; %s is an ordinary registry with a password", reg.Host(), passwordLife, vault.Host())
	if err := s.configure(reg); err != nil {
		return err
	}
	defer s.quiet("regmint", "agent", "stop", "--force")
	for _, scene := range []func(*stage, *fakeregistry.Server, *fakeregistry.Server) error{login, pushAndPull, rotation, parallel, killed} {
		if err := scene(s, reg, vault); err != nil {
			return err
		}
	}
	s.title("done")
	s.say("%d passwords were issued, none was typed, none is left on disk", issued(reg))
	return nil
}

// configure writes a configuration with two accounts for one registry.
func (s *stage) configure(reg *fakeregistry.Server) error {
	text := "[agent]\nstore = \"file\"\n"
	for _, team := range []string{"a", "b"} {
		secret := filepath.Join(s.home, "client-secret-"+team)
		if err := os.WriteFile(secret, []byte("client-secret-"+team+"\n"), 0o600); err != nil {
			return err
		}
		text += fmt.Sprintf(`
[[account]]
name          = "team-%s"
provider      = "http-exchange"
hosts         = ["%s"]
default       = %t
url           = "%s"
secret        = "file:%s"
json          = { grant_type = "client_credentials", client_id = "team-%s", client_secret = "{{.Secret}}" }
username_path = "username"
password_path = "password"
expires_in_path = "expires_in"
`, team, reg.Host(), team == "a", reg.IssueURL(), secret, team)
	}
	s.say("~/.config/regmint/config.toml names two accounts; their secrets are references:")
	s.block(text[len("[agent]\nstore = \"file\"\n\n"):][:360] + "…")
	dir := filepath.Join(s.home, ".config", "regmint")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600)
}

func issued(reg *fakeregistry.Server) int {
	n := 0
	for _, c := range reg.Stats().Issued {
		n += c
	}
	return n
}
