// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

func newRotateCmd(a *app) *cobra.Command {
	var account string
	var dry bool
	c := &cobra.Command{
		Use:   "rotate HOST [--account NAME] [--dry-run]",
		Short: "replace a long-lived token by a new one, at the registry and in the keychain",
		Long: `Replace an account's long-lived token by a new one: the registry makes it, the
keychain (or the program of rotate_to) takes it, and what was minted from the old
one is dropped. The old token stops working: --dry-run says what else that ends.

Interrupted at any moment, it is finished by the next command that needs the
token, and the old token is not used for it twice.`,
		Example: `  regmint rotate gitlab.example.com --dry-run
  regmint rotate registry.gitlab.com --account deploy`,
		Args: cobra.ExactArgs(1),
		RunE: command(func(ctx context.Context, args []string) error {
			if _, inJob, _ := a.findJob(); inJob {
				return errInsideJob()
			}
			k, err := providers.ParseKey(args[0])
			if err != nil {
				return err
			}
			if account == "" {
				account = a.env.Account()
			}
			return a.rotate(ctx, k, account, dry)
		}),
	}
	c.Flags().StringVar(&account, "account", "", "which account, where several own the registry")
	c.Flags().SetNormalizeFunc(accountFlag("account"))
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be replaced and what that ends, and change nothing")
	return c
}

func (a *app) rotate(ctx context.Context, k providers.Key, pick string, dry bool) error {
	l, err := a.local(ctx)
	if err != nil {
		return err
	}
	acc, err := l.RotateAccount(k.Host, k.Repository, pick)
	if err != nil {
		return err
	}
	order := rotateOrder{Account: acc.Name, Host: k.Host.String()}
	if s, ok := l.store.(store.Locker); ok && l.err == nil && s.Locked() {
		pass, err := l.passphrase(ctx, a)
		if err != nil {
			return err
		}
		order.Passphrase = pass.Reveal()
	}
	if dry {
		plan, err := l.PlanRotation(ctx, acc, a.values(l.RotateEnv(acc)))
		if err != nil {
			return err
		}
		return a.print("%s", planText(k.Host, acc, l.SharedBy(acc), plan, a.now()))
	}
	r, err := a.rotateApart(ctx, order)
	if err != nil {
		return err
	}
	a.sayRotated(k.Host, r)
	return nil
}

// passphrase asks for the passphrase of saved logins, and opens them with it.
func (l *local) passphrase(ctx context.Context, a *app) (providers.Secret, error) {
	if !a.interactive() {
		return providers.Secret{}, l.unlock(ctx, a, false)
	}
	pass, err := a.askSecret(ctx, "Passphrase of saved logins: ")
	if err != nil {
		return providers.Secret{}, err
	}
	s := providers.NewSecret(pass)
	return s, l.store.(store.Locker).Unlock(ctx, s)
}

// values are the caller's values of variables.
func (a *app) values(names []string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		if v, ok := a.env(n); ok {
			out[n] = v
		}
	}
	return out
}

func planText(h providers.Host, acc providers.Account, users []providers.Account, p agent.RotationPlan, now time.Time) string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-11s %s\n", name, printable(text))
		}
	}
	line("registry", h.String())
	line("account", acc.Name)
	if !p.Interrupted.IsZero() {
		line("interrupted", "a rotation begun at "+p.Interrupted.Local().Format("2006-01-02 15:04")+" has not ended: regmint rotate brings it to its end first")
		return b.String()
	}
	line("replaces", p.What)
	line("dies", p.Dies)
	var others []string
	for _, u := range users {
		if u.Name != acc.Name {
			others = append(others, u.Name)
		}
	}
	if len(others) > 0 {
		line("shared by", "account "+strings.Join(others, ", ")+", which gets the new one too")
	}
	line("jobs", "those that run get the new one with their next request; what holds a copy (run --static, a login inside the job) keeps the dead one")
	if !p.ExpiresAt.IsZero() {
		line("old one", untilText(p.ExpiresAt, now))
	}
	if !p.Until.IsZero() {
		line("new one", untilText(p.Until, now))
	}
	if !acc.RotateTo.IsZero() && acc.Password.Scheme != "keyring" {
		line("goes to", acc.RotateTo.Value)
	}
	return b.String()
}

func (a *app) sayRotated(h providers.Host, r rotateResult) {
	what := "has a new secret"
	switch {
	case r.Finished:
		what = "has the new secret of a rotation that was interrupted"
	case r.Shared:
		what = "has a new secret: another regmint rotated it just now"
	}
	a.say("%s: account %s %s", h, r.Account, what)
	if r.ExpiresAt != nil {
		a.say("valid %s", untilText(*r.ExpiresAt, a.now()))
	}
	if r.Where != "" {
		a.say("kept in: %s", r.Where)
	}
}
