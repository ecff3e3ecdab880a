// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// helper is the docker credential helper, which does not look at the
// environment. Its errors are on stdout, as the protocol wants it.
func (c *glabCall) helper(action string) {
	refuse := func(text string) {
		c.code = 1
		c.out = append(c.out, text)
	}
	switch action {
	case "get":
	case "store", "erase":
		what := map[string]string{"store": "login", "erase": "logout"}[action]
		server := c.in
		var m struct{ ServerURL string }
		if action == "store" && json.Unmarshal([]byte(c.in), &m) == nil {
			server = m.ServerURL
		}
		refuse("glab auth docker-helper does not support manual registry " + what + "s. Remove the glab credential helper for " + server +
			" if you'd like to manually handle credentials for this registry.")
		return
	default:
		c.fail(`invalid argument "` + action + `" for "glab auth docker-helper"`)
		return
	}
	for _, h := range sortedKeys(c.hosts) {
		if !slices.Contains(strings.Split(c.hosts[h][keyDomains], ","), c.in) {
			continue
		}
		if c.hosts[h][keyOAuth] != "true" {
			refuse("failed to get OAuth2 token source to potentially refresh token: not logged in with OAuth2")
			return
		}
		if problem := c.renew(h, 0); problem != "" {
			refuse("refreshing oauth2 token: " + problem)
			return
		}
		b, err := json.Marshal(map[string]string{"ServerURL": c.in, "Username": c.hosts[h][keyUser], "Secret": c.hosts[h][keyToken]})
		if err != nil {
			refuse(err.Error())
			return
		}
		c.out = append(c.out, string(b))
		return
	}
	refuse("no hostname associated with registryURL: " + c.in)
}

// glabGrace is how much of an OAuth2 login has to be left for the credential
// helper not to refresh it.
const glabGrace = 5 * time.Minute

// credentialHelper tells the login of GITLAB_HOST (else of the host that
// config.yml names) as JSON. Its errors are JSON too, and no failure.
func (c *glabCall) credentialHelper() {
	if c.old {
		c.out = append(c.out, "Manage glab's authentication state.", "", "Usage:  glab auth <command> [flags]", "", "Available commands:", "  login", "  status")
		return
	}
	at := c.host
	if at == "" {
		at = "gitlab.com"
	}
	at = strings.TrimSuffix(strings.TrimPrefix(at, "https://"), "/")
	h := c.hosts[at]
	answer := func(kind, token, expires string) {
		m := map[string]string{"type": kind, "token": token}
		if expires != "" {
			m["expiry_timestamp"] = expires
		}
		c.json(map[string]any{"type": "success", "instance_url": "https://" + at, "token": m})
	}
	switch {
	case c.env != "":
		answer("pat", c.env, "")
	case h[keyOAuth] == "true":
		if problem := c.renew(at, glabGrace); problem != "" {
			c.json(map[string]any{"type": "error", "message": fmt.Sprintf("failed to refresh token for %q: %s", at, problem)})
			return
		}
		// The file knows no seconds.
		until, err := time.Parse(time.RFC822, h[keyExpiry])
		if err != nil {
			c.json(map[string]any{"type": "error", "message": err.Error()})
			return
		}
		answer("oauth2", h[keyToken], until.UTC().Format(time.RFC3339))
	case h[keyJob] != "":
		answer("job-token", h[keyJob], "")
	case h[keyToken] != "":
		answer("pat", h[keyToken], "")
	default:
		c.json(map[string]any{"type": "error", "message": "glab is not authenticated. Use glab auth login to authenticate"})
	}
}

func (c *glabCall) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.fail(err.Error())
		return
	}
	c.out = append(c.out, string(b))
}
