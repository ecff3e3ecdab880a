// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func newDirectCmd(a *app) *cobra.Command {
	return &cobra.Command{Use: "direct", Hidden: true}
}
