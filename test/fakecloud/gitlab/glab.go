// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Glab is a glab program: a bash script, so not for Windows. It knows `config
// get KEY [--host H]`, `auth status [--hostname H] [--show-token]`, `auth
// docker-helper get|store|erase|list`, `auth credential-helper` and `version`.
// It is logged in as config.yml says in GLAB_CONFIG_DIR (else
// XDG_CONFIG_HOME/glab-cli, else HOME/.config/glab-cli), and reads GITLAB_HOST,
// GITLAB_TOKEN, GITLAB_ACCESS_TOKEN and OAUTH_TOKEN where the real one does.
// Faults go by the name "glab".
type Glab struct {
	*fakecloud.Program
	g *GitLab

	mu     sync.Mutex
	notice string
	broken string
	old    bool
}

// Glab writes the program into a directory of the test.
func (g *GitLab) Glab(t testing.TB) *Glab {
	t.Helper()
	p := &Glab{g: g}
	variables := []string{"GLAB_CONFIG_DIR", "XDG_CONFIG_HOME", "GITLAB_TOKEN", "GITLAB_ACCESS_TOKEN", "OAUTH_TOKEN", "GITLAB_HOST", "GL_HOST"}
	p.Program = g.Cloud.Program(t, "glab", variables, p.call)
	return p
}

// Keys of a host in config.yml.
const (
	keyToken   = "token"
	keyUser    = "user"
	keyOAuth   = "is_oauth2"
	keyRefresh = "oauth2_refresh_token"
	keyExpiry  = "oauth2_expiry_date"
	keyDomains = "container_registry_domains"
	keyJob     = "job_token"
)

// LogIn logs the program in to the instance with OAuth2, as `glab auth login`
// does in a browser: it writes config.yml into the configuration directory.
func (p *Glab) LogIn(t testing.TB, dir string, u *User) Pair {
	t.Helper()
	app := p.g.glabApp()
	pair := u.OAuth(app, app.scopes...)
	host := p.host(u.Username, pair.Access)
	setPair(host, pair)
	p.save(t, dir, host)
	return pair
}

// LogInToken logs it in with a token, as `glab auth login --stdin` does.
func (p *Glab) LogInToken(t testing.TB, dir string, token *Token) {
	t.Helper()
	p.save(t, dir, p.host(token.User.Username, token.Secret))
}

// LogInJob logs it in with a job's token, as `glab auth login --job-token` does.
func (p *Glab) LogInJob(t testing.TB, dir string, j *Job) {
	t.Helper()
	host := p.host(j.User.Username, "")
	host[keyJob] = j.Token
	p.save(t, dir, host)
}

// LogOut takes the instance out of config.yml.
func (p *Glab) LogOut(t testing.TB, dir string) {
	t.Helper()
	p.save(t, dir, nil)
}

func (p *Glab) host(user, token string) map[string]string {
	h := p.g.Host()
	return map[string]string{
		keyToken: token, keyUser: user, "api_host": h, "api_protocol": "https", "git_protocol": "ssh",
		keyDomains: h + "," + h + ":443," + p.g.Registry(),
	}
}

func setPair(host map[string]string, pair Pair) {
	host[keyToken], host[keyRefresh], host[keyOAuth] = pair.Access, pair.Refresh, "true"
	host[keyExpiry] = pair.Expires.UTC().Format(time.RFC822)
}

func (p *Glab) save(t testing.TB, dir string, host map[string]string) {
	t.Helper()
	hosts := readConfig(dir)
	delete(hosts, p.g.Host())
	if host != nil {
		hosts[p.g.Host()] = host
	}
	if err := writeConfig(dir, hosts); err != nil {
		t.Fatal(err)
	}
}

// glabApp is the application that glab logs in with.
func (g *GitLab) glabApp() *Application {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.apps[GlabClient]; a != nil {
		return a
	}
	for _, a := range g.apps {
		if a.Name == "GitLab CLI" {
			return a
		}
	}
	a := &Application{ClientID: hexText(), Name: "GitLab CLI", scopes: glabScopes}
	g.apps[a.ClientID] = a
	return a
}

// readConfig reads the hosts of config.yml, as writeConfig writes it.
func readConfig(dir string) map[string]map[string]string {
	hosts := map[string]map[string]string{}
	b, err := os.ReadFile(filepath.Join(dir, "config.yml"))
	if err != nil {
		return hosts
	}
	host := ""
	_, text, _ := strings.Cut(string(b), "hosts:\n")
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.HasPrefix(line, "        "):
			hosts[host][k] = strings.Trim(v, `"`)
		case strings.HasPrefix(line, "    "):
			host = strings.TrimSuffix(k, ":")
			hosts[host] = map[string]string{}
		}
	}
	return hosts
}

func writeConfig(dir string, hosts map[string]map[string]string) error {
	text := "git_protocol: ssh\ncheck_update: true\nhost: gitlab.com\nhosts:\n"
	for _, h := range sortedKeys(hosts) {
		text += "    " + h + ":\n"
		for _, k := range sortedKeys(hosts[h]) {
			text += "        " + k + ": " + strconv.Quote(hosts[h][k]) + "\n"
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.yml"), []byte(text), 0o600)
}

// Notice makes every call write a line to stderr, as the real one does about
// updates.
func (p *Glab) Notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notice = text
}

// Old makes the program one that does not know `auth credential-helper` yet
// (on): it prints its help then, and does not fail.
func (p *Glab) Old(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old = on
}

// Break makes every call fail with a text ("" = no longer), as a locked keyring
// does.
func (p *Glab) Break(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = text
}
