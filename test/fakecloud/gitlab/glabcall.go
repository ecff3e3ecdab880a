// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"cmp"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

var glabScopes = []string{"openid", "profile", ReadUser, WriteRepository, API}

const masked = "**************************"

// glabCall is one run of the program.
type glabCall struct {
	p     *Glab
	dir   string
	env   string // the token of the environment
	host  string // GITLAB_HOST
	in    string
	args  []string
	hosts map[string]map[string]string
	old   bool

	out, problems []string
	code          int
}

func (p *Glab) call(call fakecloud.Call) fakecloud.Result {
	env := call.Env
	line, _, _ := strings.Cut(call.Stdin, "\n")
	c := &glabCall{
		p: p, dir: cmp.Or(env["GLAB_CONFIG_DIR"], filepath.Join(cmp.Or(env["XDG_CONFIG_HOME"], filepath.Join(env["HOME"], ".config")), "glab-cli")),
		env:  cmp.Or(env["GITLAB_TOKEN"], env["GITLAB_ACCESS_TOKEN"], env["OAUTH_TOKEN"]),
		host: cmp.Or(env["GITLAB_HOST"], env["GL_HOST"]), in: strings.TrimSpace(line), args: call.Args,
	}
	p.mu.Lock()
	if p.notice != "" {
		c.problems = append(c.problems, p.notice)
	}
	broken := p.broken
	c.old = p.old
	p.mu.Unlock()
	c.hosts = readConfig(c.dir)
	if broken != "" {
		c.fail(broken)
	} else {
		c.run()
	}
	lines := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return strings.Join(list, "\n") + "\n"
	}
	return fakecloud.Result{Stdout: lines(c.out), Stderr: lines(c.problems), Code: c.code}
}

func (c *glabCall) fail(text ...string) {
	c.code = 1
	c.problems = append(c.problems, text...)
}

// flag is the value of one of the names of a flag.
func (c *glabCall) flag(names ...string) string {
	for i, a := range c.args {
		k, v, ok := strings.Cut(a, "=")
		if !slices.Contains(names, k) {
			continue
		}
		if ok {
			return v
		}
		if i+1 < len(c.args) {
			return c.args[i+1]
		}
	}
	return ""
}

func (c *glabCall) run() {
	word := func(i int) string {
		if i < len(c.args) {
			return c.args[i]
		}
		return ""
	}
	switch word(0) + " " + word(1) {
	case "version ", "--version ":
		c.out = append(c.out, "glab 1.120.0 (78790114c)")
	case "config get":
		c.get(word(2), c.flag("--host"))
	case "auth status":
		c.status(c.flag("--hostname"))
	case "auth docker-helper":
		c.helper(word(2))
	case "auth credential-helper":
		c.credentialHelper()
	default:
		c.fail("Unknown command \""+word(0)+"\" for \"glab\".", "", "Usage:  glab <command> <subcommand> [flags]")
	}
}

// get prints a value, or nothing. The token of the environment goes first.
func (c *glabCall) get(key, host string) {
	v := c.hosts[host][key]
	if key == keyToken && c.env != "" {
		v = c.env
	}
	if key == "host" && host == "" {
		v = "gitlab.com"
	}
	if v != "" {
		c.out = append(c.out, v)
	}
}

// status asks the instance who each host's token is; all goes to stderr.
func (c *glabCall) status(only string) {
	if len(c.hosts) == 0 {
		c.fail("No GitLab instances have been authenticated with glab. Run `glab auth login` to authenticate.")
		return
	}
	if only != "" && c.hosts[only] == nil {
		c.fail("X " + only + " has not been authenticated with glab. Run `glab auth login --hostname " + only + "` to authenticate.")
		return
	}
	bad := false
	for _, h := range sortedKeys(c.hosts) {
		if only != "" && only != h {
			continue
		}
		token, source := c.hosts[h][keyToken], c.dir+"/config.yml"
		if c.env != "" {
			token, source = c.env, "GITLAB_TOKEN"
		}
		c.problems = append(c.problems, h)
		var user, problem string
		if c.env == "" {
			if problem = c.renew(h, 0); problem == "" {
				token = c.hosts[h][keyToken]
			}
		}
		if problem == "" {
			user, problem = c.whoIs(h, token)
		}
		if problem != "" {
			bad = true
			c.problems = append(c.problems, "  X "+h+": API call failed: "+problem)
		} else {
			c.problems = append(c.problems, "  ✓ Logged in to "+h+" as "+user+" ("+source+")")
		}
		c.problems = append(c.problems, "  ✓ Git operations for "+h+" configured to use ssh protocol.",
			"  ✓ API calls for "+h+" are made over https protocol.", "  ✓ REST API Endpoint: https://"+h+"/api/v4/",
			"  ✓ GraphQL Endpoint: https://"+h+"/api/graphql/")
		switch {
		case token == "":
			c.problems = append(c.problems, "  ! No token found (checked config file, keyring, and environment variables).")
		case slices.Contains(c.args, "--show-token") || slices.Contains(c.args, "-t"):
			c.problems = append(c.problems, "  ✓ Token found: "+token)
		default:
			c.problems = append(c.problems, "  ✓ Token found: "+masked)
		}
	}
	if c.env != "" {
		c.problems = append(c.problems, "", "! One of GITLAB_TOKEN, GITLAB_ACCESS_TOKEN, OAUTH_TOKEN environment variables is set. It will be used for all authentication.")
	}
	if bad {
		c.fail("", "X could not authenticate to one or more of the configured GitLab instances.")
	}
}

// whoIs is GET /user; problem "" = fine.
func (c *glabCall) whoIs(host, token string) (user, problem string) {
	g := c.p.g
	if host != g.Host() {
		return "", `Get "https://` + host + `/api/v4/user": dial tcp: lookup ` + host + `: no such host`
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if gr := g.grantOf(token); gr != nil && gr.valid(g) {
		return gr.user.Username, ""
	}
	if t := g.token(token); t != nil && t.active() && !t.User.blocked && slices.ContainsFunc(t.Scopes, func(s string) bool {
		return s == API || s == ReadAPI || s == ReadUser
	}) {
		return t.User.Username, ""
	}
	return "", "GET https://" + host + "/api/v4/user: 401 {message: 401 Unauthorized}"
}

// renew refreshes an OAuth2 login that is over, or has no more than grace left,
// and writes it down.
func (c *glabCall) renew(host string, grace time.Duration) (problem string) {
	h := c.hosts[host]
	g := c.p.g
	if h[keyOAuth] != "true" || host != g.Host() {
		return ""
	}
	app := g.glabApp()
	g.mu.Lock()
	old := g.grantOf(h[keyToken])
	if old != nil && g.Cloud.Now().Add(grace).Before(old.expires) {
		g.mu.Unlock()
		return ""
	}
	gr, refused := g.refresh(url.Values{"refresh_token": {h[keyRefresh]}}, app)
	g.mu.Unlock()
	if refused != nil {
		return `oauth2: "` + refused.code + `" "` + refused.description + `"`
	}
	setPair(h, Pair{gr.access, gr.refresh, gr.expires})
	if err := writeConfig(c.dir, c.hosts); err != nil {
		return err.Error()
	}
	return ""
}
