// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
)

func newLockCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lock",
		Short: "forget the passphrase and every credential in memory",
		Args:  cobra.NoArgs,
		RunE: command(func(ctx context.Context, _ []string) error {
			c, err := a.connectMain(ctx, false)
			if errors.Is(err, api.ErrNoAgent) {
				a.say("no agent is running: nothing is unlocked")
				return nil
			}
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := a.order(ctx, c, "/v1/lock", nil)
			if err == nil {
				a.say("%s", r.Message)
			}
			return err
		}),
	}
}

func newUnlockCmd(a *app) *cobra.Command {
	var set, stdin bool
	c := &cobra.Command{
		Use:   "unlock",
		Short: "open the encrypted file of saved logins with its passphrase",
		Args:  cobra.NoArgs,
		RunE:  command(func(ctx context.Context, _ []string) error { return a.unlock(ctx, set, stdin) }),
	}
	c.Flags().BoolVar(&set, "set-passphrase", false, "protect the file with a new passphrase from now on; an empty one goes back to a key file")
	c.Flags().BoolVar(&stdin, "passphrase-stdin", false, "read the passphrase from stdin")
	return c
}

func (a *app) unlock(ctx context.Context, set, stdin bool) error {
	c, err := a.connectMain(ctx, true)
	if err != nil {
		return err
	}
	defer c.Close()
	pass, err := a.passphrase(ctx, set, stdin)
	if err != nil {
		return err
	}
	if _, err := a.order(ctx, c, "/v1/unlock", api.HostRequest{Passphrase: pass, Force: set}); err != nil {
		return err
	}
	switch {
	case set && pass == "":
		a.say("saved logins are protected by a key file again")
	case set:
		a.say("saved logins are protected by the new passphrase")
	default:
		a.say("unlocked until regmint lock, or until the agent ends")
	}
	return nil
}

func (a *app) passphrase(ctx context.Context, set, stdin bool) (string, error) {
	if stdin {
		return readSecret(a.in)
	}
	if !a.interactive() {
		return "", usage("printf %s \"$PASSPHRASE\" | regmint unlock --passphrase-stdin", "stdin is no terminal: use --passphrase-stdin")
	}
	if !set {
		return a.askSecret(ctx, "Passphrase: ")
	}
	pass, err := a.askSecret(ctx, "New passphrase: ")
	if err != nil {
		return "", err
	}
	again, err := a.askSecret(ctx, "Once more: ")
	if err == nil && again != pass {
		err = errors.New("the two passphrases differ; nothing was changed")
	}
	return pass, err
}
