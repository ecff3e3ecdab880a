// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// loginOptions are the flags of login.
type loginOptions struct {
	user     string
	stdin    bool
	as       string
	noVerify bool
	wire     bool
	noWire   bool
	provider string
}

func newLoginCmd(a *app) *cobra.Command {
	var o loginOptions
	var password string
	var noBrowser bool
	c := &cobra.Command{
		Use:   "login [HOST]",
		Short: "save a login for a registry",
		Long: `Save a login for a registry: it is tried there first, and nothing is saved
where the registry refuses it. Without HOST, every account that needs a login
gets one in turn.`,
		Example: `  regmint login ghcr.io
  printf %s "$TOKEN" | regmint login registry.example.com -u ci --password-stdin
  regmint login ghcr.io --as work`,
		Args: func(c *cobra.Command, args []string) error {
			return passwordFlag(c, cobra.MaximumNArgs(1)(c, args))
		},
		RunE: command(func(ctx context.Context, args []string) error {
			host := ""
			if len(args) == 1 {
				host = args[0]
			}
			return a.login(ctx, o, host)
		}),
	}
	c.SetFlagErrorFunc(passwordFlag)
	f := c.Flags()
	f.StringVarP(&o.user, "username", "u", "", "user name")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password or token from stdin")
	f.StringVar(&o.as, "as", "", "name of the account, where you have several at one host")
	f.BoolVar(&o.noVerify, "no-verify", false, "save without asking the registry")
	f.BoolVar(&noBrowser, "no-browser", false, "never open a browser")
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

// login is the whole command.
func (a *app) login(ctx context.Context, o loginOptions, name string) error {
	if o.wire && o.noWire {
		return usage("", "--wire and --no-wire exclude each other")
	}
	if o.as != "" {
		if err := checkAccountName(o.as); err != nil {
			return usage("", "--as: %w", err)
		}
	}
	l, err := a.local(ctx, a.interactive())
	if err != nil {
		return err
	}
	r := &loginRun{a: a, o: o, local: l}
	if name != "" {
		host, err := loginHost(name)
		if err != nil {
			return err
		}
		return r.host(ctx, host)
	}
	return r.everything(ctx)
}

// loginHost reads HOST as docker login does; a repository is refused, since a
// login is for all of a host.
func loginHost(s string) (providers.Host, error) {
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
	acc, err := r.place(host)
	if err != nil {
		return err
	}
	user, secret, err := r.credentials(ctx, host, acc)
	if err != nil {
		return err
	}
	acc.Username = user
	t := &trial{a: r.a, cfg: r.local.cfg, host: host, account: acc, secret: secret, asking: r.a.interactive() && !r.o.stdin}
	if r.o.noVerify {
		err = t.prepare()
	} else {
		err = t.verify(ctx)
	}
	if err != nil {
		return err
	}
	job, inJob, err := r.a.findJob()
	if inJob {
		return r.keepInJob(ctx, job, err, t)
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

// place chooses the account that the login is for: an existing one, or a new
// one without a layer of its own.
func (r *loginRun) place(host providers.Host) (providers.Account, error) {
	if r.o.provider != "" && r.a.provider(r.o.provider) == nil {
		return providers.Account{}, usage("see: regmint providers", "there is no provider %q", r.o.provider)
	}
	acc, found, err := r.existing(host)
	if err != nil {
		return acc, err
	}
	if !found {
		return r.newAccount(host)
	}
	if acc.Layer == providers.LayerConfigured && acc.Password.Scheme != "keyring" {
		from := "by provider " + acc.Provider
		if !acc.Password.IsZero() {
			from = "from " + acc.Password.String()
		}
		return acc, &providers.Error{
			Kind: providers.Misconfigured, Host: host,
			Err:  fmt.Errorf("account %s (%s) gets its secret %s; a login would not be used", acc.Name, acc.Source, from),
			Hint: "save another account with: regmint login " + host.String() + " --as NAME",
		}
	}
	if acc.Username != "" && acc.Layer == providers.LayerConfigured && r.o.user != "" && r.o.user != acc.Username {
		return acc, usage("log in as "+acc.Username+", or save another account with --as NAME",
			"account %s (%s) is for user %s", acc.Name, acc.Source, acc.Username)
	}
	return acc, nil
}

// existing finds the account to log in: by --as, else the one that answers for
// the host.
func (r *loginRun) existing(host providers.Host) (acc providers.Account, found bool, err error) {
	if r.o.as != "" {
		for _, acc := range r.local.sel.Owners(host) {
			if acc.Name == r.o.as {
				return acc, true, nil
			}
		}
		for _, acc := range r.local.cfg.Accounts {
			if acc.Name == r.o.as {
				return acc, false, usage("choose another name", "account %s (%s) is not for %s", acc.Name, acc.Source, host)
			}
		}
		return acc, false, nil
	}
	acc, err = r.local.sel.Select(host, "", "")
	switch {
	case err == nil:
		return acc, true, nil
	case providers.KindOf(err) == providers.NoAccount:
		return acc, false, nil
	}
	if e, ok := errors.AsType[*providers.Error](err); ok {
		e.Hint = "say which one with --as NAME"
	}
	return acc, false, err
}

func (r *loginRun) newAccount(host providers.Host) (providers.Account, error) {
	pat, err := providers.ParsePattern(host.String())
	if err != nil {
		return providers.Account{}, err
	}
	acc := providers.Account{
		Name: r.o.as, Provider: r.o.provider, Hosts: []providers.Pattern{pat},
		PlainHTTP: host.IsLoopback(), RealmHosts: r.local.cfg.Realms[host.String()], Layer: providers.LayerSaved,
	}
	if acc.Name == "" {
		acc.Name = agent.AccountName(host)
	}
	if acc.Provider == "" {
		acc.Provider = "generic"
	}
	acc.Options = r.a.provider(acc.Provider).Options()
	return acc, nil
}

// keep saves a login that was found good.
func (r *loginRun) keep(ctx context.Context, t *trial) error {
	saved := r.a.savedFile(r.local.files)
	if !t.realm.IsZero() {
		if err := saved.Update(ctx, func(s *config.Saved) error { s.AcceptRealm(t.host, t.realm); return nil }); err != nil {
			return err
		}
	}
	note, err := r.write(ctx, t)
	if err != nil {
		return err
	}
	a := r.a
	if r.o.noVerify {
		a.say("login to %s as %s%s was not tried", t.host, t.account.Username, underName(t))
	} else {
		a.say("logged in to %s as %s%s", t.host, t.account.Username, underName(t))
	}
	a.say("saved: %s", r.local.describe())
	if note != "" {
		a.say("%s", note)
	}
	a.say("valid %s", t.until(a.now()))
	return r.keepDefault(ctx, t)
}

// write puts the secret where the account looks for it.
func (r *loginRun) write(ctx context.Context, t *trial) (note string, err error) {
	if t.account.Layer == providers.LayerConfigured {
		reply := r.local.Store(ctx, nil, api.Login{
			ServerURL: t.host.DockerKey(), Username: t.account.Username, Secret: t.secret.Reveal(), Account: t.account.Name,
		})
		if reply.Outcome != api.OK {
			return "", outcomeError(reply.Outcome, reply.Kind, reply.Message)
		}
		return "", nil
	}
	return r.local.SaveLogin(ctx, agent.SavedLogin{
		Host: t.host, Username: t.account.Username, Secret: t.secret, Name: t.account.Name, Account: t.account,
	})
}

// keepDefault marks the account that answered before a second one came to the
// same host, so that nothing changes for clients that name none.
func (r *loginRun) keepDefault(ctx context.Context, t *trial) error {
	others := []providers.Account{}
	for _, acc := range r.local.sel.Owners(t.host) {
		if acc.Name == t.account.Name || acc.Layer != t.account.Layer {
			continue
		}
		if acc.Default {
			return nil
		}
		others = append(others, acc)
	}
	if len(others) != 1 || t.account.Default || t.account.Layer != providers.LayerSaved {
		return nil
	}
	first := others[0]
	err := r.a.savedFile(r.local.files).Update(ctx, func(s *config.Saved) error {
		for i := range s.Accounts {
			if s.Accounts[i].Name == first.Name {
				s.Accounts[i].Default = true
			}
		}
		return nil
	})
	if err == nil {
		r.a.say("account %s stays the one for %s; choose the new one with REGMINT_ACCOUNT=%s or --account %s", first.Name, t.host, t.account.Name, t.account.Name)
	}
	return err
}

// keepInJob gives the login to the job: it ends with it.
func (r *loginRun) keepInJob(ctx context.Context, job api.JobRef, err error, t *trial) error {
	c, err := r.a.connectJob(ctx, job, err)
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
