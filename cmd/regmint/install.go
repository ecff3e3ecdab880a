// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/helper"
	"github.com/regmint/regmint/providers"
)

type installOptions struct {
	containers bool
	service    bool
	print      bool
}

func newInstallCmd(a *app) *cobra.Command {
	var o installOptions
	c := &cobra.Command{
		Use:   "install",
		Short: "make docker ask regmint; logins you have stay where they are",
		Long: `Make docker ask regmint. Other credential helpers stay behind it: what is no
account of regmint's is passed on to them, so every login keeps working.
regmint uninstall puts everything back.`,
		Args: cobra.NoArgs,
		RunE: command(func(ctx context.Context, _ []string) error { return a.install(ctx, o) }),
	}
	c.Flags().BoolVar(&o.containers, "containers", false, "podman, buildah and skopeo too")
	c.Flags().BoolVar(&o.service, "service", false, "write a systemd user unit for the agent")
	c.Flags().BoolVar(&o.print, "print", false, "show what would change, and change nothing")
	return c
}

func (a *app) install(ctx context.Context, o installOptions) error {
	if _, inJob, _ := a.findJob(); inJob {
		return errInsideJob()
	}
	cfg, f, err := a.loadConfig()
	if err != nil {
		return err
	}
	if dockerConfig(a.caller()) == "" {
		return &exitStatus{code: exitFailed, err: errors.New("docker has no configuration directory here: HOME is not set"), hint: "set HOME or DOCKER_CONFIG"}
	}
	unit, err := a.serviceUnit(o.service)
	if err != nil {
		return err
	}
	sel, err := providers.NewSelector(cfg.Accounts)
	if err != nil {
		return err
	}
	var hosts []string
	for _, h := range sel.ExactHosts() {
		hosts = append(hosts, h.String())
	}
	plan, err := a.installPlan(f, configdir.InstallOptions{Hosts: hosts, All: true, Containers: o.containers})
	if err != nil {
		return err
	}
	dropEmptyKeychain(ctx, plan)
	if o.print {
		if err := plan.Print(a.out); err != nil {
			return err
		}
		return unit.print(a)
	}
	if err := a.checkWritable(filepath.Dir(dockerConfig(a.caller()))); err != nil {
		return err
	}
	if err := a.applyPlan(ctx, f, plan); err != nil {
		return err
	}
	if err := unit.write(a); err != nil {
		return err
	}
	a.sayInstalled(plan)
	a.tellAgent(ctx, "")
	return nil
}

// dropEmptyKeychain keeps a keychain that nobody chose, and that holds nothing,
// from getting new logins: docker takes one where it finds its program, set up
// or not, and a login would fail of it.
func dropEmptyKeychain(ctx context.Context, plan *configdir.Plan) {
	nobodys := slices.ContainsFunc(plan.Changes, func(c configdir.Change) bool {
		return slices.Equal(c.Key, []string{"credsStore"}) && c.Before == nil
	})
	path := plan.Behind["*"]
	if nobodys && filepath.IsAbs(path) && helper.FormerIsEmpty(ctx, path) {
		delete(plan.Behind, "*")
	}
}

// checkWritable finds out before anything is changed.
func (a *app) checkWritable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	var probe *os.File
	if err == nil {
		probe, err = os.CreateTemp(dir, ".regmint-*")
	}
	if err == nil {
		_ = probe.Close()
		return os.Remove(probe.Name())
	}
	e := &exitStatus{code: exitFailed, err: fmt.Errorf("%s cannot be written: %s", dir, reason(err))}
	if errors.Is(err, fs.ErrPermission) {
		e.hint = "mend its owner and mode, or set DOCKER_CONFIG"
	}
	return e
}

// sayInstalled says in a few lines what changed.
func (a *app) sayInstalled(plan *configdir.Plan) {
	if len(plan.Changes) == 0 {
		a.say("docker asks regmint already; nothing to change")
	}
	keys := map[string][]string{}
	for _, c := range plan.Changes {
		keys[c.File] = append(keys[c.File], strings.Join(c.Key, "."))
	}
	for _, file := range slices.Sorted(maps.Keys(keys)) {
		a.say("%s: %s", file, summary(keys[file]))
	}
	if len(plan.Behind) > 0 {
		var kept []string
		for _, host := range slices.Sorted(maps.Keys(plan.Behind)) {
			kept = append(kept, behindText(host, plan.Behind[host]))
		}
		a.say("kept behind regmint: %s", strings.Join(kept, ", "))
	}
	for _, n := range plan.Notes {
		a.say("%s", n)
	}
	if len(plan.Changes) > 0 {
		a.say("undo with: regmint uninstall")
	}
}

// behindText names a former helper for a person.
func behindText(host, helper string) string {
	who := "everything else"
	if host != "*" {
		who = host
	}
	if file, ok := strings.CutPrefix(helper, configdir.AuthsPrefix); ok {
		return who + " in " + file
	}
	name := strings.TrimSuffix(filepath.Base(helper), ".exe")
	return who + " with " + strings.TrimPrefix(name, "docker-credential-")
}

// summary lists the first few keys of a file.
func summary(keys []string) string {
	const most = 4
	slices.Sort(keys)
	keys = slices.DeleteFunc(slices.Compact(keys), func(k string) bool { return k == "" })
	if len(keys) == 0 {
		return "written"
	}
	if more := len(keys) - most; more > 0 {
		return strings.Join(keys[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(keys, ", ")
}
