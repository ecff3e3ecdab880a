// SPDX-License-Identifier: Apache-2.0

package google

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// gcloudCall is one call of the program.
type gcloudCall struct {
	dir     string
	words   []string
	flags   map[string]string
	name    string // of the configuration
	missing bool   // the configuration has no file
	account string
	project string
}

// newCall reads flags and configuration: a flag wins over the variable, which
// wins over the file.
func newCall(call fakecloud.Call) gcloudCall {
	c := gcloudCall{dir: filepath.Clean(cmp.Or(call.Env["CLOUDSDK_CONFIG"], call.Env["HOME"]+"/.config/gcloud")), flags: map[string]string{}}
	args := call.Args
	for i := 0; i < len(args); i++ {
		flag, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			c.words = append(c.words, args[i])
			continue
		}
		name, value, given := strings.Cut(flag, "=")
		takes := slices.Contains([]string{"account", "configuration", "format", "impersonate-service-account", "project", "filter", "lifetime", "verbosity", "scopes", "min-expiry"}, name)
		if !given && takes && i+1 < len(args) {
			i++
			value = args[i]
		}
		c.flags[name] = value
	}
	active, _ := os.ReadFile(filepath.Join(c.dir, "active_config"))
	c.name = cmp.Or(c.flags["configuration"], call.Env["CLOUDSDK_ACTIVE_CONFIG_NAME"], strings.TrimSpace(string(active)), "default")
	values, err := readConfiguration(filepath.Join(c.dir, "configurations", "config_"+c.name))
	c.missing = err != nil
	c.account = cmp.Or(c.flags["account"], call.Env["CLOUDSDK_CORE_ACCOUNT"], values["account"])
	c.project = cmp.Or(c.flags["project"], values["project"])
	if c.flags["impersonate-service-account"] == "" {
		c.flags["impersonate-service-account"] = call.Env["CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"]
	}
	return c
}

// readConfiguration reads the keys of [core].
func readConfiguration(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	values, section := map[string]string{}, ""
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if k, v, ok := strings.Cut(line, "="); ok && section == "[core]" {
			values[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return values, nil
}

const loginAdvice = `
Please run:

  $ gcloud auth login

to obtain new credentials.`

const keyAdvice = `
Please run:

  $ gcloud auth activate-service-account --key-file=SERVICE_ACCOUNT_FILE_PATH

Or:

  $ gcloud auth login --cred-file=SERVICE_ACCOUNT_FILE_PATH

to obtain new credentials.`

const switchAdvice = `

If you have already logged in with a different account, run:

  $ gcloud config set account ACCOUNT

to select an already authenticated account to use.`

// run answers stdout, or why it fails and the exit code.
func (p *Gcloud) run(c gcloudCall) (stdout, failure string, code int) {
	fail := func(what, text string) (string, string, int) { return "", "ERROR: (gcloud." + what + ") " + text, 1 }
	command := strings.Join(c.words[:min(2, len(c.words))], " ")
	switch {
	case command == "auth print-access-token":
		if len(c.words) > 2 {
			c.account = c.words[2]
		}
		t, err := p.accessToken(c)
		if err != "" {
			return fail("auth.print-access-token", err)
		}
		return t.value + "\n", "", 0
	case command == "config config-helper":
		t, err := p.accessToken(c)
		if err != "" {
			return fail("config.config-helper", err)
		}
		return string(indent(map[string]any{
			"configuration": map[string]any{"active_configuration": c.name, "properties": c.properties()},
			"credential":    map[string]any{"access_token": t.value, "id_token": nil, "token_expiry": t.expires.UTC().Format(time.RFC3339)},
			"sentinels":     map[string]any{"config_sentinel": filepath.Join(c.dir, "config_sentinel")},
		})), "", 0
	case command == "auth list":
		out := []map[string]string{}
		for _, l := range p.logins[c.dir] {
			status := ""
			if l.email == c.account {
				status = "ACTIVE"
			}
			out = append(out, map[string]string{"account": l.email, "status": status})
		}
		return string(indent(out)), "", 0
	case strings.Join(c.words, " ") == "config configurations list":
		return string(indent(c.configurations())), "", 0
	case (command == "config get-value" || command == "config get") && len(c.words) == 3:
		v := map[string]string{"account": c.account, "project": c.project}[strings.TrimPrefix(c.words[2], "core/")]
		if v == "" {
			return "", "(unset)", 0
		}
		return v + "\n", "", 0
	}
	return "", "ERROR: (gcloud) Invalid choice: '" + strings.Join(c.words, " ") + "'.", 2
}

func (c gcloudCall) properties() map[string]any {
	core := map[string]any{}
	if c.account != "" {
		core["account"] = c.account
	}
	if c.project != "" {
		core["project"] = c.project
	}
	out := map[string]any{"core": core}
	if target := c.flags["impersonate-service-account"]; target != "" {
		out["auth"] = map[string]any{"impersonate_service_account": target}
	}
	return out
}

// configurations lists those with a file, by name.
func (c gcloudCall) configurations() []map[string]any {
	out := []map[string]any{}
	names, _ := filepath.Glob(filepath.Join(c.dir, "configurations", "config_*"))
	slices.Sort(names)
	for _, file := range names {
		name := strings.TrimPrefix(filepath.Base(file), "config_")
		values, err := readConfiguration(file)
		if err != nil {
			continue
		}
		core := map[string]any{"account": nil, "project": nil}
		for k, v := range values {
			core[k] = v
		}
		out = append(out, map[string]any{"name": name, "is_active": name == c.name, "properties": map[string]any{"core": core}})
	}
	return out
}

// warnings are what it says before anything else, unless --verbosity is higher.
func (c gcloudCall) warnings() string {
	var out string
	if slices.Contains([]string{"error", "critical", "none"}, c.flags["verbosity"]) {
		return out
	}
	if target := c.flags["impersonate-service-account"]; target != "" {
		out += "WARNING: This command is using service account impersonation. All API calls will be executed as [" + target + "].\n"
	}
	if c.missing && c.account == "" && c.name != "default" {
		out += "WARNING: Could not open the configuration file: [" + filepath.Join(c.dir, "configurations", "config_"+c.name) + "].\n"
	}
	return out
}

// accessToken is the account's token, or the error's text.
func (p *Gcloud) accessToken(c gcloudCall) (*token, string) {
	if c.account == "" {
		return nil, "You do not currently have an active account selected." + loginAdvice + switchAdvice
	}
	i := slices.IndexFunc(p.logins[c.dir], func(l *login) bool { return l.email == c.account })
	if i < 0 {
		return nil, "Your current active account [" + c.account + "] does not have any valid credentials" + loginAdvice +
			"\n\nFor service account, please activate it first:\n\n  $ gcloud auth activate-service-account ACCOUNT"
	}
	l := p.logins[c.dir][i]
	window := 5 * time.Minute
	if d, err := time.ParseDuration(c.flags["min-expiry"]); err == nil {
		window = max(window, d)
	}
	if l.cached == nil || p.g.lookup(l.cached.value) == nil || l.cached.expires.Sub(p.g.c.Now()) < window {
		t, problem := p.refreshLogin(l)
		switch {
		case problem != "" && l.account != nil:
			return nil, "There was a problem refreshing auth tokens for account " + l.email + ": " + problem + keyAdvice + switchAdvice
		case problem != "":
			return nil, "There was a problem refreshing your current auth tokens: " + problem + loginAdvice + switchAdvice
		}
		l.cached = t
	}
	if target := c.flags["impersonate-service-account"]; target != "" {
		return p.impersonate(l.cached, target, c.flags["lifetime"])
	}
	return l.cached, ""
}

func (p *Gcloud) refreshLogin(l *login) (*token, string) {
	g := p.g
	scopes := []string{"openid", ScopeEmail, ScopeCloudPlatform}
	g.mu.Lock()
	u := g.refresh[l.refresh]
	reauth, disabled := u != nil && u.reauth, l.account != nil && l.account.disabled
	g.mu.Unlock()
	switch {
	case disabled:
		return nil, "('invalid_grant: Account disabled', {'error': 'invalid_grant', 'error_description': 'Account disabled'})"
	case l.account != nil:
		return g.issue(l.account.token(scopes), "ya29.c.", g.o.TokenLife), ""
	case u == nil:
		const text = "Token has been expired or revoked."
		return nil, fmt.Sprintf("('invalid_grant: %s', {'error': 'invalid_grant', 'error_description': '%s'})", text, text)
	case reauth:
		return nil, "Reauthentication failed. cannot prompt during non-interactive execution."
	}
	return g.issue(u.token(scopes), "ya29.a0.", g.o.TokenLife), ""
}

func (p *Gcloud) impersonate(by *token, target, lifetime string) (*token, string) {
	chain := strings.Split(target, ",")
	for i := range chain[:len(chain)-1] {
		chain[i] = "projects/-/serviceAccounts/" + chain[i]
	}
	s, e := p.g.mayImpersonate(by, chain[:len(chain)-1], chain[len(chain)-1])
	life := hour
	if d, err := time.ParseDuration(lifetime); err == nil {
		life = d
	}
	if e != nil {
		return nil, e.status + ": Failed to impersonate [" + target + "]. Make sure the account that's trying to impersonate it has access to the service account itself and the \"roles/iam.serviceAccountTokenCreator\" role. " + e.message
	}
	return p.g.issue(s.token([]string{ScopeCloudPlatform}), "ya29.i.", life), ""
}
