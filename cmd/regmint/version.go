// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
)

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  cobra.NoArgs,
		RunE: command(func(context.Context, []string) error {
			return a.print("regmint %s %s/%s %s\n", api.BuildVersion, runtime.GOOS, runtime.GOARCH, runtime.Version())
		}),
	}
}
