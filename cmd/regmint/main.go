// SPDX-License-Identifier: Apache-2.0

// Command regmint mints registry credentials: it logs in, shows and refreshes
// what its agent holds, and runs commands in jobs of their own. It is the
// composition root: the one program that knows every provider.
package main

import "os"

func main() {
	os.Exit(Main(os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
