// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func newLogoutCmd(a *app) *cobra.Command {
	var all bool
	var as string
	c := &cobra.Command{
		Use:   "logout HOST | --all",
		Short: "remove a saved login",
		Long: `Remove a saved login from this machine. What regmint's own login made at the
product (a session, an authorization) is ended there too, where the product has
a way and answers; what lives on is said, with where to end it.`,
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return usage("regmint logout ghcr.io", "name one registry, or --all")
			}
			return nil
		},
		RunE: command(func(ctx context.Context, args []string) error {
			if all {
				return a.logoutAll(ctx)
			}
			return a.logout(ctx, args[0], as)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "remove every saved login")
	c.Flags().SetNormalizeFunc(accountFlag("as"))
	c.Flags().StringVar(&as, "as", "", "name of the account, where you have several at one host")
	return c
}

// accountFlag makes --as and --account one flag: both name an account.
func accountFlag(name string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, given string) pflag.NormalizedName {
		if given == "as" || given == "account" {
			given = name
		}
		return pflag.NormalizedName(given)
	}
}

// logout removes the login of one host; where there is none that is no failure,
// as with docker logout.
func (a *app) logout(ctx context.Context, name, as string) error {
	host, err := loginHost(name)
	if err != nil {
		return err
	}
	if job, inJob, err := a.findJob(); inJob {
		return a.logoutInJob(ctx, job, err, host)
	}
	l, err := a.local(ctx)
	if err != nil {
		return err
	}
	acc, others, err := l.loggedIn(host, as)
	if sp, ok := l.spare(host, as); ok && (err != nil || acc.Layer != providers.LayerSaved) {
		acc, others, err = sp, nil, nil
	}
	switch {
	case err != nil && providers.KindOf(err) == providers.NoAccount:
		a.say("not logged in to %s", host)
		return nil
	case err != nil:
		return err
	}
	if err := l.unlock(ctx, a, a.interactive()); err != nil {
		return err
	}
	gone, err := a.removeLogin(ctx, l, acc, host)
	if len(others) > 0 && err == nil {
		a.say("still logged in to %s with account %s", host, strings.Join(others, ", "))
	}
	a.tellAgent(ctx, host.String())
	a.endLogin(ctx, l, gone)
	return err
}

// spare is the token that another tool fetched and docker login left with us.
func (l *local) spare(host providers.Host, as string) (providers.Account, bool) {
	for _, sp := range l.cfg.Spares {
		if h, ok := exactHost(sp.Account); ok && h == host && (as == "" || as == sp.Name) {
			return sp.Account, true
		}
	}
	return providers.Account{}, false
}

// loggedIn finds the account that logout means: a saved one before one of the
// configuration, the one that answers where there are several. others are the
// saved accounts that stay.
func (l *local) loggedIn(host providers.Host, as string) (acc providers.Account, others []string, err error) {
	saved := slices.DeleteFunc(l.sel.Owners(host), func(a providers.Account) bool { return a.Layer != providers.LayerSaved })
	switch i := slices.IndexFunc(saved, func(a providers.Account) bool { return a.Name == as }); {
	case i >= 0:
		acc = saved[i]
	case len(saved) == 1 && as == "":
		acc = saved[0]
	default:
		if acc, err = l.sel.Select(host, "", as); err != nil {
			if e, ok := errors.AsType[*providers.Error](err); ok {
				e.Hint = "say which one with --as NAME"
			}
			return acc, nil, err
		}
	}
	for _, a := range saved {
		if a.Name != acc.Name {
			others = append(others, a.Name)
		}
	}
	return acc, others, nil
}

// removeLogin removes a saved account, or the saved secret of a configured one,
// from this machine.
func (a *app) removeLogin(ctx context.Context, l *local, acc providers.Account, host providers.Host) (agent.Removed, error) {
	if _, keeps := loginRef(acc); acc.Layer != providers.LayerSaved && !keeps {
		return agent.Removed{}, &providers.Error{
			Kind: providers.Misconfigured, Host: host,
			Err:  fmt.Errorf("account %s is configured in %s and has no saved login", acc.Name, acc.Source),
			Hint: "take it out of the configuration",
		}
	}
	gone, err := l.Remove(ctx, acc)
	switch {
	case err != nil:
	case acc.Layer == providers.LayerSaved:
		a.say("logged out of %s%s", host, nameUnless(acc.Name, agent.AccountName(host)))
	default:
		a.say("removed the saved secret of account %s; the account itself is in %s", acc.Name, acc.Source)
	}
	return gone, err
}

// endLogin ends at the product what its login made there, and says so.
func (a *app) endLogin(ctx context.Context, l *local, gone agent.Removed) {
	if text := l.EndLogin(ctx, gone, agent.EndLimit); text != "" {
		a.say("%s: %s", gone.Host(), text)
	}
}

func nameUnless(name, usual string) string {
	if name == usual {
		return ""
	}
	return " (account " + name + ")"
}

func (a *app) logoutAll(ctx context.Context) error {
	if _, inJob, _ := a.findJob(); inJob {
		return errInsideJob()
	}
	l, err := a.local(ctx)
	if err != nil {
		return err
	}
	if err := l.unlock(ctx, a, a.interactive()); err != nil {
		return err
	}
	var gone []agent.Removed
	for _, acc := range l.everyAccount() {
		if _, keeps := loginRef(acc); acc.Layer != providers.LayerSaved && !keeps {
			continue
		}
		host, _ := exactHost(acc)
		one, err := a.removeLogin(ctx, l, acc, host)
		if err != nil {
			return err
		}
		gone = append(gone, one)
	}
	a.say("%s removed", count(len(gone), "login", "logins"))
	a.tellAgent(ctx, "")
	for _, one := range gone {
		a.endLogin(ctx, l, one)
	}
	return nil
}

func (a *app) logoutInJob(ctx context.Context, job api.JobRef, err error, host providers.Host) error {
	c, err := a.connectJob(ctx, job, err)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := a.order(ctx, c, "/v1/erase", api.Login{ServerURL: host.DockerKey()}); err != nil {
		return err
	}
	a.say("logged out of %s in this job", host)
	return nil
}

// everyAccount lists accounts and the tokens that stand in for them.
func (l *local) everyAccount() []providers.Account {
	out := slices.Clone(l.cfg.Accounts)
	for _, sp := range l.cfg.Spares {
		out = append(out, sp.Account)
	}
	return out
}
