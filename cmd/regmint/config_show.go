// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// configShow prints the configuration after all layers.
func (a *app) configShow() error {
	cfg, f, err := a.loadConfig()
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		a.say("warning: %s", w)
	}
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(printable(fmt.Sprintf(format, args...)) + "\n") }
	if len(cfg.Files) == 0 {
		line("# no file; yours would be %s", f.config.User)
	}
	for _, file := range cfg.Files {
		line("# from %s", file)
	}
	showSettings(line, cfg)
	for _, acc := range cfg.Accounts {
		showAccount(line, acc)
	}
	for _, m := range cfg.Mirrors {
		line("\n[[mirror]] # %s", m.Source)
		line("host = %q", m.Host)
		line("mirrors = %s", quoted(m.Mirrors))
	}
	return a.print("%s", b.String())
}

func showSettings(line func(string, ...any), cfg *config.Config) {
	line("[agent]")
	line("store = %q", cfg.Agent.Store)
	if !cfg.Agent.StoreKey.IsZero() {
		line("store_key = %q", cfg.Agent.StoreKey)
	}
	line("allow_root = %t", cfg.Agent.AllowRoot)
	line("idle_exit = %q", duration(cfg.Agent.IdleExit))
	pairs := func(head string, kv ...string) {
		first := true
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == "" {
				continue
			}
			if first {
				line("")
				line("[%s]", head)
				first = false
			}
			line("%s = %q", kv[i], kv[i+1])
		}
	}
	n := cfg.Network
	pairs("network", "https_proxy", n.HTTPSProxy, "no_proxy", n.NoProxy, "ca_file", n.CAFile)
	p := cfg.Policy
	pairs("policy", "access", p.Access.String(), "narrow", string(p.Narrow), "on_failure", string(p.OnFailure))
	var behind []string
	for _, host := range slices.Sorted(maps.Keys(cfg.Docker.Behind)) {
		behind = append(behind, fmt.Sprintf("%q", host), cfg.Docker.Behind[host])
	}
	pairs("docker.behind", behind...)
}

// showAccount leaves the keys of the product out: what they hold is its
// business.
func showAccount(line func(string, ...any), acc providers.Account) {
	line("")
	line("[[account]] # %s", acc.Source)
	line("name = %q", acc.Name)
	line("provider = %q", acc.Provider)
	hosts := make([]string, len(acc.Hosts))
	for i, h := range acc.Hosts {
		hosts[i] = h.String()
	}
	line("hosts = %s", quoted(hosts))
	for _, kv := range []struct{ key, value string }{
		{"username", acc.Username},
		{"password", acc.Password.String()},
		{"access", acc.Access.String()},
		{"narrow", string(acc.Narrow)},
		{"on_failure", string(acc.OnFailure)},
		{"ca_file", acc.CAFile},
		{"https_proxy", acc.HTTPSProxy},
		{"no_proxy", acc.NoProxy},
		{"endpoint", acc.Endpoint},
	} {
		if kv.value != "" {
			line("%s = %q", kv.key, kv.value)
		}
	}
	if acc.Default {
		line("default = true")
	}
	if len(acc.Repositories) > 0 {
		line("repositories = %s", quoted(acc.Repositories))
	}
	if len(acc.RealmHosts) > 0 {
		line("realm_hosts = %s", quoted(acc.RealmHosts))
	}
	if acc.PlainHTTP {
		line("plain_http = true")
	}
	if acc.ExpiresIn > 0 {
		line("expires_in = %q", duration(acc.ExpiresIn))
	}
	if acc.Rotate > 0 {
		line("rotate = %q", duration(acc.Rotate))
	}
}

// duration is the short form of a duration: 4h, not 4h0m0s.
func duration(d providers.Duration) string {
	s := time.Duration(d).String()
	if short, ok := strings.CutSuffix(s, "m0s"); ok {
		s = short + "m"
	}
	if short, ok := strings.CutSuffix(s, "h0m"); ok {
		s = short + "h"
	}
	return s
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}
