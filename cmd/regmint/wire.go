// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// dockerConfig is docker's config.json, "" where there is no place for it.
func dockerConfig(c configdir.Caller) string {
	dir := c.DockerConfigDir()
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "config.json")
}

// offerWire makes docker ask us for a host, where it does not and the person
// wants it.
func (a *app) offerWire(ctx context.Context, f files, host providers.Host, o loginOptions) error {
	path := dockerConfig(a.caller())
	if path == "" || o.noWire {
		return nil
	}
	ok, why := configdir.WouldAsk(path, host.String())
	if ok {
		return nil
	}
	wire := o.wire
	if !wire && (o.stdin || !a.interactive()) {
		a.hint(fmt.Sprintf("docker does not ask regmint for %s yet; run: regmint install", host))
		return nil
	}
	if !wire {
		a.say("docker does not use regmint for %s yet: %s", host, why)
		var err error
		if wire, err = a.confirm(ctx, "Add it to "+path+"?", true); err != nil || !wire {
			return err
		}
	}
	plan, err := a.installPlan(f, configdir.InstallOptions{Hosts: []string{host.String()}})
	if err != nil {
		return err
	}
	if err := a.applyPlan(ctx, f, plan); err != nil {
		return err
	}
	a.tellAgent(ctx, "")
	a.say("docker asks regmint for %s now; undo with: regmint uninstall", host)
	return nil
}

// installPlan fills in what every plan needs.
func (a *app) installPlan(f files, o configdir.InstallOptions) (*configdir.Plan, error) {
	exe, err := a.executable()
	if err != nil {
		return nil, err
	}
	o.Caller, o.ConfigPath = a.caller(), dockerConfig(a.caller())
	o.JournalPath, o.HelperDir = f.journal(), filepath.Dir(exe)
	return configdir.Install(o)
}

// applyPlan records the former helpers first, so that no login is out of reach
// in between, then edits the files.
func (a *app) applyPlan(ctx context.Context, f files, plan *configdir.Plan) error {
	if len(plan.Behind) > 0 {
		err := a.savedFile(f).Update(ctx, func(s *config.Saved) error {
			for host, helper := range plan.Behind {
				if err := s.SetBehind(host, helper); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// The first command of all may be this one.
	if err := os.MkdirAll(f.state, 0o700); err != nil {
		return err
	}
	return plan.Apply()
}
