// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

// CLI is an az program: a bash script, so not for Windows. It knows `account
// get-access-token -o json --resource R [--tenant T] [--subscription S]`,
// `account list`, `account show` and `version`, and is logged in as
// azureProfile.json in its AZURE_CONFIG_DIR (or ~/.azure) says.
type CLI struct {
	*fakecloud.Program
	az *Azure
}

// Subscription is a subscription that a login sees.
type Subscription struct {
	ID     string // "" = a new one
	Name   string
	Tenant *Tenant
}

type session struct {
	who     *Principal
	subs    []Subscription
	expired bool
}

// CLI writes the program into a directory of the test. Its calls are recorded
// as requests to "az".
func (a *Azure) CLI(t testing.TB) *CLI {
	t.Helper()
	c := &CLI{az: a}
	c.Program = a.Cloud.Program(t, "az", []string{"AZURE_CONFIG_DIR"}, c.call)
	return c
}

// Login logs the program in: it writes azureProfile.json into configDir, the
// program's AZURE_CONFIG_DIR. The first subscription is the default one; there
// has to be one.
func (c *CLI) Login(configDir string, who *Principal, subs ...Subscription) error {
	if len(subs) == 0 {
		return errors.New("a login needs a subscription")
	}
	s := &session{who: who, subs: slices.Clone(subs)}
	for i := range s.subs {
		if s.subs[i].ID == "" {
			s.subs[i].ID = guid()
		}
	}
	id := rand.Text()
	c.az.mu.Lock()
	c.az.sessions[id] = s
	c.az.mu.Unlock()
	return writeProfile(configDir, map[string]any{"installationId": id, "subscriptions": s.list(false)})
}

// Logout logs it out.
func (c *CLI) Logout(configDir string) error {
	return writeProfile(configDir, map[string]any{"installationId": rand.Text(), "subscriptions": []any{}})
}

// Expire ends what the login rests on: get-access-token then fails as az does
// when the refresh token is no longer good, while the profile stays.
func (c *CLI) Expire(configDir string) error {
	b, err := os.ReadFile(filepath.Join(configDir, "azureProfile.json"))
	if err != nil {
		return err
	}
	s := c.session(b)
	if s == nil {
		return errors.New("not logged in")
	}
	c.az.mu.Lock()
	defer c.az.mu.Unlock()
	s.expired = true
	return nil
}

// bom is what az puts before its profile.
var bom = []byte("\xef\xbb\xbf")

func writeProfile(dir string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "azureProfile.json"), append(bytes.Clone(bom), b...), 0o600)
}

// list is what azureProfile.json and, in other words, `account list` say.
func (s *session) list(output bool) []any {
	out := []any{}
	for i, x := range s.subs {
		user := map[string]string{"name": s.who.Name, "type": "user"}
		if s.who.kind != kindUser {
			user = map[string]string{"name": s.who.ClientID, "type": "servicePrincipal"}
		}
		m := map[string]any{
			"id": x.ID, "name": x.Name, "state": "Enabled", "user": user, "isDefault": i == 0, "tenantId": x.Tenant.ID,
			"homeTenantId": x.Tenant.ID, "managedByTenants": []any{}, "tenantDefaultDomain": x.Tenant.Domain, "tenantDisplayName": x.Tenant.Domain,
		}
		m["environmentName"] = x.Tenant.Environment.Name
		if output {
			delete(m, "environmentName")
			m["cloudName"] = x.Tenant.Environment.Name
		}
		out = append(out, m)
	}
	return out
}

func (c *CLI) session(profile []byte) *session {
	var p struct {
		ID            string `json:"installationId"`
		Subscriptions []any  `json:"subscriptions"`
	}
	if json.Unmarshal(bytes.TrimPrefix(profile, bom), &p) != nil || len(p.Subscriptions) == 0 {
		return nil
	}
	c.az.mu.Lock()
	defer c.az.mu.Unlock()
	return c.az.sessions[p.ID]
}

// azError is what az says on stderr, and its exit code.
type azError struct {
	code int
	text string
}

func (c *CLI) call(call fakecloud.Call) fakecloud.Result {
	dir := cmp.Or(call.Env["AZURE_CONFIG_DIR"], filepath.Join(call.Env["HOME"], ".azure"))
	profile, _ := os.ReadFile(filepath.Join(dir, "azureProfile.json"))
	out, refused := c.run(call.Args, profile)
	if refused != nil {
		return fakecloud.Result{Stderr: refused.text + "\n", Code: refused.code}
	}
	b, _ := json.MarshalIndent(out, "", "  ")
	return fakecloud.Result{Stdout: string(b) + "\n"}
}

func (c *CLI) run(args []string, profile []byte) (any, *azError) {
	var words []string
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch {
		case !strings.HasPrefix(name, "-"):
			words = append(words, args[i])
		case inline:
			flags[name] = value
		case name == "--all" || name == "--only-show-errors":
			flags[name] = "true"
		case i+1 < len(args):
			i++
			flags[name] = args[i]
		default:
			return nil, &azError{2, "ERROR: argument " + name + ": expected one argument"}
		}
	}
	for name := range flags {
		if !slices.Contains([]string{"-o", "--output", "--resource", "--tenant", "-t", "--subscription", "-s", "-n", "--name", "--all", "--only-show-errors"}, name) {
			return nil, &azError{2, "ERROR: unrecognized arguments: " + name}
		}
	}
	if o := flags["-o"] + flags["--output"]; o != "" && o != "json" {
		return nil, &azError{2, "ERROR: argument --output/-o: invalid choice: '" + o + "' (the fake az knows json)"}
	}
	s := c.session(profile)
	command := strings.Join(words, " ")
	switch {
	case command == "version":
		return map[string]any{"azure-cli": "2.80.0", "azure-cli-core": "2.80.0", "extensions": map[string]any{}}, nil
	case command == "account list" && s == nil:
		return []any{}, nil
	case s == nil:
		return nil, &azError{1, "ERROR: Please run 'az login' to setup account."}
	case command == "account list":
		return s.list(true), nil
	case command == "account show":
		return s.show(flags)
	case command == "account get-access-token":
		return c.accessToken(s, flags)
	}
	return nil, &azError{2, "ERROR: '" + command + "' is misspelled or not recognized by the system."}
}
