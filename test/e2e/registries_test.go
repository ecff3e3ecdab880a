// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// registry is one that a person logs in to, or that an account mints for.
type registry struct {
	kind   string
	host   string
	user   string // who the registry sees
	server *fakeregistry.Server

	// password is typed at a login; "" where account is.
	password string
	// account is TOML of an account that mints.
	account string
}

// The kinds of registry that every client meets.
var kinds = []struct {
	name  string
	start func(t *testing.T) *registry
}{
	{"password", startPassword},
	{"token server", startToken},
	{"minted", startMinted},
	{"minted, token server", startMintedToken},
	{"distribution, htpasswd", startDistributionBasic},
	{"distribution, token server", startDistributionToken},
}

func startFake(t *testing.T, o fakeregistry.Options) *fakeregistry.Server {
	t.Helper()
	s, err := fakeregistry.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func startPassword(t *testing.T) *registry { return startLogin(t, fakeregistry.Basic) }

func startToken(t *testing.T) *registry { return startLogin(t, fakeregistry.Token) }

func startLogin(t *testing.T, mode fakeregistry.Mode) *registry {
	s := startFake(t, fakeregistry.Options{Mode: mode, Users: []fakeregistry.User{{Name: "ann", Password: "correct-horse"}}})
	return &registry{host: s.Host(), user: "ann", password: "correct-horse", server: s}
}

// mintedLife is the life of minted passwords: long enough for one operation of
// the slowest client, short enough that a test sees several.
const mintedLife = 10 * time.Second

func startMinted(t *testing.T) *registry { return startMintedFor(t, mintedLife) }

func startMintedToken(t *testing.T) *registry {
	return startMintedAs(t, fakeregistry.Token, 5*time.Second)
}

func startMintedFor(t *testing.T, life time.Duration) *registry {
	return startMintedAs(t, fakeregistry.Basic, life)
}

func startMintedAs(t *testing.T, mode fakeregistry.Mode, life time.Duration) *registry {
	s := startFake(t, fakeregistry.Options{Mode: mode, Issue: issuing(life, "bot")})
	return &registry{host: s.Host(), user: "bot-user", server: s, account: exchange(t, s, "bot", true)}
}

// issuing are issuing options with clients whose secrets are their own names.
func issuing(life time.Duration, ids ...string) fakeregistry.IssueOptions {
	o := fakeregistry.IssueOptions{Life: life}
	for _, id := range ids {
		o.Clients = append(o.Clients, fakeregistry.Client{ID: id, Secret: "secret-of-" + id, User: id + "-user"})
	}
	return o
}

// exchange is an account that asks /issue.
func exchange(t *testing.T, s *fakeregistry.Server, id string, isDefault bool) string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret-of-"+id+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
[[account]]
name = %[1]q
provider = "http-exchange"
hosts = [%[2]q]
default = %[3]t
url = %[4]q
secret = "file:%[5]s"
json = { grant_type = "client_credentials", client_id = %[1]q, client_secret = "{{.Secret}}" }
username_path = "username"
password_path = "password"
expires_in_path = "expires_in"
`, id, s.Host(), isDefault, s.IssueURL(), secret)
}

// distribution is Debian's docker-registry.
const distribution = "docker-registry"

func startDistributionToken(t *testing.T) *registry {
	need(t, distribution)
	r := startToken(t)
	stop, err := r.server.RunDistribution(t.Context(), find(distribution), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return r
}

func startDistributionBasic(t *testing.T) *registry {
	need(t, distribution, "htpasswd")
	dir := t.TempDir()
	htpasswd := exec.Command(find("htpasswd"), "-Bni", "ann")
	htpasswd.Stdin = bytes.NewBufferString("correct-horse\n")
	users, err := htpasswd.Output()
	if err != nil {
		t.Fatalf("htpasswd: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q, secret: e2e}\nauth: {htpasswd: {realm: e2e, path: %q}}\n",
		filepath.Join(dir, "data"), addr, filepath.Join(dir, "htpasswd"))
	for name, text := range map[string][]byte{"htpasswd": users, "config.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := exec.CommandContext(ctx, find(distribution), "serve", filepath.Join(dir, "config.yml"))
	p.Env = []string{"HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}
	if err := p.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = p.Wait() })
	for range 200 {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			return &registry{host: addr, user: "ann", password: "correct-horse"}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return nil
}
