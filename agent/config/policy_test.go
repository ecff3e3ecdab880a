// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

func TestPolicyFillsWhatAccountsLeaveOpen(t *testing.T) {
	c := newLayers(t).user(`
[policy]
access = "pull"
narrow = "require"
on_failure = "anonymous"
[[account]]
name = "open"
hosts = ["a.example"]
[[account]]
name = "says"
hosts = ["b.example"]
access = "push"
narrow = "prefer"
on_failure = "error"
`).ok()
	open, says := account(t, c, "open"), account(t, c, "says")
	if open.Access != providers.Pull || open.Narrow != providers.NarrowRequire || open.OnFailure != providers.OnFailureAnonymous {
		t.Errorf("%+v", open)
	}
	if !slices.Equal(open.Grants, []providers.Grant{{Access: providers.Pull}}) {
		t.Errorf("grants %v", open.Grants)
	}
	if says.Access != providers.Push || says.Narrow != providers.NarrowPrefer || says.OnFailure != providers.OnFailureError {
		t.Errorf("an unlocked policy overrules an account: %+v", says)
	}
}

const lockedSystem = `
[policy]
access = "push"
narrow = "require"
on_failure = "error"
lock = ["access", "narrow", "on_failure"]
`

func TestLockedPolicyIsNeverWidened(t *testing.T) {
	c := newLayers(t).system(lockedSystem).user(`
[policy]
access = "push,delete"
narrow = "prefer"
on_failure = "anonymous"
[[account]]
name = "greedy"
hosts = ["a.example"]
access = "push,delete"
narrow = "prefer"
on_failure = "anonymous"
`).saved("[[account]]\nname = \"login\"\nhosts = [\"b.example\"]\n").ok()
	if p := c.Policy; p.Access != providers.Push || p.Narrow != providers.NarrowRequire || p.OnFailure != providers.OnFailureError {
		t.Errorf("policy %+v", p)
	}
	for _, a := range c.Accounts {
		if a.Access != providers.Push || a.Narrow != providers.NarrowRequire || a.OnFailure != providers.OnFailureError {
			t.Errorf("%s: %+v", a.Name, a)
		}
		if !slices.Equal(a.Grants, []providers.Grant{{Access: providers.Push}}) {
			t.Errorf("%s: grants %v", a.Name, a.Grants)
		}
	}
	if len(c.Warnings) != 3 {
		t.Errorf("who is cut back must be told: %q", c.Warnings)
	}
	for i, w := range c.Warnings {
		wantText(t, w, []string{"config.toml:3", "config.toml:4", "config.toml:5"}[i], "locked by", "/etc/config.toml")
	}
}

func TestLockedPolicyCanBeNarrowed(t *testing.T) {
	c := newLayers(t).system(strings.ReplaceAll(lockedSystem, `"require"`, `"prefer"`)).user(`
[policy]
access = "pull"
narrow = "require"
[[account]]
hosts = ["a.example"]
`).ok()
	if a := c.Accounts[0]; a.Access != providers.Pull || a.Narrow != providers.NarrowRequire || len(c.Warnings) != 0 {
		t.Errorf("%+v %v", a, c.Warnings)
	}
}

func TestAskingOnlyForWhatALockedPolicyForbidsIsAnError(t *testing.T) {
	l := newLayers(t).system(lockedSystem).user("[[account]]\nname = \"cleaner\"\nhosts = [\"a.example\"]\naccess = \"delete\"\n")
	wantText(t, l.fails().Error(), "config.toml:1:3", `account "cleaner" asks for delete, and the policy allows push alone`)
	l = newLayers(t).system(lockedSystem).user("[policy]\naccess = \"delete\"\n")
	wantText(t, l.fails().Error(), "config.toml:2:10", "outside of what")
}

func TestLockNeedsAValue(t *testing.T) {
	l := newLayers(t).system("[policy]\nlock = [\"access\"]\n")
	wantText(t, l.fails().Error(), ":2:1", "names access, which is not set here")
	l = newLayers(t).system("[policy]\nlock = [\"acess\"]\n")
	wantText(t, l.fails().Error(), "valid values: access, narrow, on_failure")
}

func TestApplyingAPolicyTwiceChangesNothing(t *testing.T) {
	p := Policy{Access: providers.Pull, Narrow: providers.NarrowRequire, Lock: []string{"access", "narrow"}}
	once, err := p.Apply(providers.Account{Access: providers.Push, Repositories: []string{"b", "a"}})
	must(t, err)
	twice, err := p.Apply(once)
	must(t, err)
	if once.Access != twice.Access || !slices.Equal(once.Grants, twice.Grants) || once.Narrow != twice.Narrow {
		t.Errorf("%+v\n%+v", once, twice)
	}
	if !slices.Equal(once.Grants, []providers.Grant{{Repository: "a", Access: 1}, {Repository: "b", Access: 1}}) {
		t.Errorf("grants %v", once.Grants)
	}
}

func loadText(text string, p Policy) (*Config, error) {
	return LoadText(TextOptions{Name: "/repo/ci.toml", Text: text, Providers: products(), Policy: p})
}

func TestJobConfigurationIsReadFromText(t *testing.T) {
	c, err := loadText(`
[network]
https_proxy = "http://proxy:1"
ca_file = "/ca.pem"
[[account]]
hosts = ["a.example"]
password = "env:CI_TOKEN"
[[account]]
hosts = ["b.example"]
https_proxy = "http://own:1"
[[mirror]]
host = "docker.io"
mirrors = ["m.example"]
`, Policy{})
	must(t, err)
	a, b := c.Accounts[0], c.Accounts[1]
	if a.Layer != providers.LayerJobConfig || a.Source != "ci.toml:5" || a.HTTPSProxy != "http://proxy:1" || a.CAFile != "/ca.pem" {
		t.Errorf("%+v", a)
	}
	if b.HTTPSProxy != "http://own:1" || len(c.Mirrors) != 1 {
		t.Errorf("%+v", b)
	}
}

func TestJobConfigurationCannotTouchTheAgent(t *testing.T) {
	for _, text := range []string{"[agent]\nstore = \"memory\"\n", "[docker]\nbehind = { \"*\" = \"x\" }\n", "[realms]\n", "[policy]\naccess = \"pull\"\nlock = [\"access\"]\n"} {
		c, err := loadText(text, Policy{})
		wantText(t, problemsOf(t, c, err).Error(), "/repo/ci.toml:")
	}
	c, err := loadText(strings.Repeat("#", 1<<20+1), Policy{})
	wantText(t, problemsOf(t, c, err).Error(), "larger than 1 MiB")
}

func TestJobConfigurationStaysInsideALockedPolicy(t *testing.T) {
	p := Policy{Access: providers.Pull, Lock: []string{"access"}}
	c, err := loadText("[policy]\naccess = \"push\"\n[[account]]\nhosts = [\"a.example\"]\naccess = \"push\"\n", p)
	must(t, err)
	if c.Accounts[0].Access != providers.Pull || c.Policy.Access != providers.Pull || len(c.Warnings) != 1 {
		t.Errorf("%+v %v", c.Accounts[0], c.Warnings)
	}
	if p.Access != providers.Pull || len(p.Lock) != 1 {
		t.Errorf("the policy in force was changed: %+v", p)
	}
}
