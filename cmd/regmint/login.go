// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// loginOptions are the flags of login.
type loginOptions struct {
	user      string
	stdin     bool
	as        string
	noVerify  bool
	wire      bool
	noWire    bool
	provider  string
	noBrowser bool
}

func newLoginCmd(a *app) *cobra.Command {
	var o loginOptions
	var password string
	c := &cobra.Command{
		Use:   "login [HOST]",
		Short: "save a login for a registry",
		Long: `Save a login for a registry: it is tried there first, and nothing is saved
where the registry refuses it. Where the product has a login of its own (a
single sign-on, a device code, a choice of identities on this machine, a token
made in the browser), that is run; -u makes it a plain login with a password or
a token. At Docker Hub, ghcr.io and GitLab that is an account of the product
too, unless --provider says otherwise. Without HOST, every account that needs a
login gets one in turn; those that share a session, one together.`,
		Example: `  regmint login ghcr.io
  printf %s "$TOKEN" | regmint login registry.example.com -u ci --password-stdin
  regmint login ghcr.io --as work`,
		Args: func(c *cobra.Command, args []string) error {
			return passwordFlag(c, cobra.MaximumNArgs(1)(c, args))
		},
		RunE: command(func(ctx context.Context, args []string) error {
			return a.login(ctx, o, args)
		}),
	}
	c.SetFlagErrorFunc(passwordFlag)
	f := c.Flags()
	f.SetNormalizeFunc(accountFlag("as"))
	f.StringVarP(&o.user, "username", "u", "", "user name")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password or token from stdin")
	f.StringVar(&o.as, "as", "", "name of the account, where you have several at one host")
	f.BoolVar(&o.noVerify, "no-verify", false, "save without asking the registry")
	f.BoolVar(&o.noBrowser, "no-browser", false, "never open a browser: show the address alone")
	f.BoolVar(&o.wire, "wire", false, "make docker ask regmint for this host, without a question")
	f.BoolVar(&o.noWire, "no-wire", false, "leave docker's configuration alone")
	f.StringVar(&o.provider, "provider", "", "product of the registry, where its name does not tell: see regmint providers")
	f.StringVarP(&password, "password", "p", "", "")
	f.Lookup("password").NoOptDefVal = "-"
	f.Lookup("password").Hidden = true
	return c
}

// passwordFlag answers -p, whatever else is wrong with the line.
func passwordFlag(c *cobra.Command, err error) error {
	if !c.Flags().Changed("password") {
		return err
	}
	return usage(`printf %s "$TOKEN" | regmint login HOST -u USER --password-stdin`,
		"every process can read a command line: use --password-stdin")
}

// login is the whole command; hosts is one at most.
func (a *app) login(ctx context.Context, o loginOptions, hosts []string) error {
	if o.wire && o.noWire {
		return usage("", "--wire and --no-wire exclude each other")
	}
	if o.as != "" {
		if err := config.CheckAccountName(o.as); err != nil {
			return usage("", "--as: %w", err)
		}
	}
	l, err := a.local(ctx)
	if err != nil {
		return err
	}
	r := &loginRun{a: a, o: o, local: l}
	if len(hosts) == 0 {
		return r.everything(ctx)
	}
	host, err := loginHost(hosts[0])
	if err != nil {
		return err
	}
	return r.host(ctx, host)
}

// loginHost reads HOST as docker login does; a repository is refused, since a
// login is for all of a host.
func loginHost(s string) (providers.Host, error) {
	if s == "" { // an unset variable must not send a secret to Docker Hub
		return providers.Host{}, usage("say which registry", "the registry's name is empty")
	}
	k, err := providers.ParseKey(s)
	if err != nil {
		return providers.Host{}, err
	}
	if k.Repository != "" || k.Item != "" {
		return providers.Host{}, usage("run: regmint login "+k.Host.String(), "%s: a login is for a whole host", s)
	}
	return k.Host, nil
}

// loginRun is one run of login.
type loginRun struct {
	a     *app
	o     loginOptions
	local *local
}

// host does one login: which account, who, is it good, keep it.
func (r *loginRun) host(ctx context.Context, host providers.Host) error {
	job, inJob, jobErr := r.a.findJob()
	place := r.place
	if inJob {
		if jobErr != nil {
			_, err := r.a.connectJob(ctx, job, jobErr)
			return err
		}
		place = r.jobPlace
	}
	if own, err := r.ownLogin(host, inJob); own != nil || err != nil {
		if err != nil {
			return err
		}
		return r.own(ctx, own)
	}
	acc, err := place(host)
	if err != nil {
		return err
	}
	user, secret, err := r.credentials(ctx, host, acc)
	if err != nil {
		return err
	}
	if acc, err = r.fit(host, acc, user, secret); err != nil {
		return err
	}
	acc.Username = user
	t := r.local.trial(r.a, host, acc, secret)
	t.asking = r.a.interactive() && !r.o.stdin
	if r.o.noVerify {
		err = t.prepare()
	} else {
		err = t.verify(ctx)
	}
	if err != nil {
		return err
	}
	if inJob {
		return r.keepInJob(ctx, job, t)
	}
	if t.account.Username == "" && t.account.Layer == providers.LayerSaved {
		t.account.Username = t.cred.Username // whose it is was found out
	}
	if err := r.local.unlock(ctx, r.a, t.asking); err != nil {
		return err
	}
	if err := r.keep(ctx, t); err != nil {
		return err
	}
	r.a.tellAgent(ctx, host.String())
	return r.a.offerWire(ctx, r.local.files, host, r.o)
}

// keep saves a login that was found good.
func (r *loginRun) keep(ctx context.Context, t *trial) error {
	saved := r.a.savedFile(r.local.files)
	if !t.realm.IsZero() {
		if err := saved.Update(ctx, func(s *config.Saved) error { s.AcceptRealm(t.host, t.realm); return nil }); err != nil {
			return err
		}
	}
	if t.account.Layer == providers.LayerSaved && r.o.as == "" {
		until, fetched, err := r.local.KeepFetched(ctx, t.host, t.account.Username, t.secret)
		if err != nil {
			return err
		}
		if fetched { // by the product's own tool: it ends by itself
			t.cred.ExpiresAt = until
			r.sayKept(t, "")
			r.a.say("used while regmint cannot mint for %s itself", t.host)
			return nil
		}
	}
	note, err := r.write(ctx, t)
	if err != nil {
		return err
	}
	r.sayKept(t, note)
	return r.keepDefault(ctx, t)
}

// sayKept says who, where it is kept and what protects it, and for how long.
func (r *loginRun) sayKept(t *trial, note string) {
	a := r.a
	if r.o.noVerify {
		a.say("login to %s%s was not tried", t.host, underName(t))
	} else {
		a.say("logged in to %s%s%s", t.host, asUser(t.cred.Username), underName(t))
	}
	where := r.local.describe()
	if !strings.Contains(note, where) {
		a.say("saved: %s", where)
	}
	if note != "" {
		a.say("%s", note)
	}
	a.say("valid %s", t.until(a.now()))
}

func asUser(name string) string {
	if name == "" {
		return ""
	}
	return " as " + name
}

// keepInJob gives the login to the job: it ends with it.
func (r *loginRun) keepInJob(ctx context.Context, job api.JobRef, t *trial) error {
	c, err := r.a.connectJob(ctx, job, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = r.a.order(ctx, c, "/v1/store", api.Login{ServerURL: t.host.DockerKey(), Username: t.account.Username, Secret: t.secret.Reveal()})
	if err == nil {
		r.a.say("logged in to %s as %s; kept for this job alone", t.host, t.account.Username)
	}
	return err
}

func underName(t *trial) string {
	if t.account.Name == agent.AccountName(t.host) {
		return ""
	}
	return " (account " + t.account.Name + ")"
}
