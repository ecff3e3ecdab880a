// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/configdir"
)

// The exit codes of run that are not the child's, as docker run has them.
const (
	exitRunFailed   = 125
	exitNotRunnable = 126
	exitNotFound    = 127
)

// runOptions are the flags of run.
type runOptions struct {
	targets  []string
	only     bool
	accounts []string
	config   string
	static   bool
	dir      string
	portable bool
	mirrors  []string
	caFile   string
	cleanEnv bool
	quiet    bool
	command  []string
}

func newRunCmd(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] [--] COMMAND [ARG...]",
		Short: "run a command with registry logins of its own",
		Long: `Run COMMAND in a job: its docker configuration, its logins and its rights are
its own and end with it. Without a target the job has every account as it is;
a target narrows its host and leaves the others as they are.`,
		Example: `  regmint run -- docker push ghcr.io/acme/app
  regmint run -r ghcr.io/acme/app=push --only -- crane copy old.example/app ghcr.io/acme/app
  regmint run --account bot -- werf converge`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.command = args
			code, err := a.run(c.Context(), o)
			if err != nil {
				return &exitStatus{code: code, err: err}
			}
			if code != 0 {
				return &exitStatus{code: code}
			}
			return nil
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringArrayVarP(&o.targets, "target", "r", nil, "HOST[/REPOSITORY][=pull|push|delete]: narrow this host (repeatable)")
	f.BoolVar(&o.only, "only", false, "answer for the hosts of the targets alone")
	f.StringArrayVar(&o.accounts, "account", nil, "use this account for its hosts (repeatable)")
	f.StringVar(&o.config, "config", "", "accounts of this file for this job alone (default $REGMINT_CONFIG)")
	f.BoolVar(&o.static, "static", false, "write real passwords into the job's files and renew them, for tools that run no helper")
	f.StringVar(&o.dir, "dir", "", "put docker's configuration into this directory")
	f.BoolVar(&o.portable, "portable", false, "copy the helper into the job directory instead of linking it, to mount it into a container")
	f.StringArrayVar(&o.mirrors, "mirror", nil, "HOST[/PATH]: a mirror of docker.io for podman, buildah and skopeo (repeatable)")
	f.StringVar(&o.caFile, "ca", "", "PEM file the command trusts in addition to the system's")
	f.BoolVar(&o.cleanEnv, "clean-env", false, "take the variables that hold regmint's own secrets out of the command's environment")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not say who the job is")
	return c
}

// settings are what the job's files need, before the agent has answered.
func (a *app) runSettings(o runOptions, caller configdir.Caller) (configdir.Settings, error) {
	exe, err := a.executable()
	if err != nil {
		return configdir.Settings{}, err
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return configdir.Settings{}, err
	}
	s := configdir.Settings{
		Caller: caller, Only: o.only, Portable: o.portable,
		Helper: filepath.Join(filepath.Dir(exe), helperName()),
	}
	for _, p := range []*string{&o.dir, &o.caFile} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return s, err
		}
	}
	s.Dir, s.CAFile = o.dir, o.caFile
	for _, m := range o.mirrors {
		if m == "" || strings.ContainsAny(m, " \t\"'\\") || strings.Contains(m, "://") {
			return s, fmt.Errorf("--mirror %s: write HOST or HOST/PATH", printable(m))
		}
	}
	if len(o.mirrors) > 0 {
		addMirrors(&s, configdir.Mirror{Host: configdir.HubHost, Mirrors: o.mirrors})
	}
	return s, nil
}

// addMirrors makes the job use mirrors; what is there for a host already stays:
// the flag, then the job's own file, then the configuration.
func addMirrors(s *configdir.Settings, mirrors ...configdir.Mirror) {
	for _, m := range mirrors {
		if slices.ContainsFunc(s.Mirrors, func(have configdir.Mirror) bool { return have.Host == m.Host }) {
			continue
		}
		s.Mirrors = append(s.Mirrors, m)
		for _, name := range m.Mirrors {
			host, _, _ := strings.Cut(name, "/")
			s.Hosts = append(s.Hosts, host)
		}
	}
}

// mirrorsOf are the mirrors of a configuration.
func mirrorsOf(cfg *config.Config) []configdir.Mirror {
	var out []configdir.Mirror
	for _, m := range cfg.Mirrors {
		out = append(out, configdir.Mirror{Host: m.Host.String(), Mirrors: m.Mirrors})
	}
	return out
}

// narrowedHint names the flag that a failed command may have lacked.
func narrowedHint(o runOptions) string {
	for _, t := range o.targets {
		if target, access, ok := strings.Cut(t, "="); ok && access == "pull" {
			return "this job may only pull from " + target + "; to push add -r " + target + "=push"
		}
	}
	if o.only {
		return "this job knows the hosts of its targets alone; add -r HOST for another one"
	}
	return "this job was narrowed; add -r HOST/REPOSITORY=push where it needs more"
}
