// SPDX-License-Identifier: Apache-2.0

// Command docker-credential-regmint is regmint's Docker credential helper.
package main

import (
	"os"

	"github.com/regmint/regmint/helper"
)

func main() { os.Exit(helper.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
