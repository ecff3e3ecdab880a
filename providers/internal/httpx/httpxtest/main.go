// SPDX-License-Identifier: Apache-2.0

package httpxtest

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// Waiting runs the tests of a package in which most wait for a network that is
// slow or hangs: more of them at once than there are processors, unless
// -parallel says how many. For TestMain; returns the exit code.
func Waiting(m *testing.M) int {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", "4"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}
