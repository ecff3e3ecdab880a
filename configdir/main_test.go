// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"os"
	"testing"
)

var updateGolden bool

// TestMain also is the program that some tests start: what it does then is in
// the first argument.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if f, ok := programs[os.Args[1]]; ok {
			if err := f(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	updateGolden = os.Getenv("GOLDEN_UPDATE") != ""
	os.Exit(m.Run())
}

// programs are what the test binary can be started as.
var programs = map[string]func(args []string) error{
	"install-in": func(args []string) error { // HOME JOURNAL
		p, err := Install(InstallOptions{Caller: Caller{Home: args[0], UID: os.Geteuid()}, Hosts: []string{"ghcr.io"}, All: true, JournalPath: args[1]})
		if err != nil {
			return err
		}
		return p.Apply()
	},
	"uninstall-in": func(args []string) error { _, err := Uninstall(args[0]); return err },
	"sweep": func(args []string) error {
		_, err := Sweep(args[0], noon, nil)
		return err
	},
	"remove": func(args []string) error { return Remove(args[0]) },
	"hold-lock": func(args []string) error { // ROOT: holds until stdin ends
		j, err := Open(args[0])
		if err != nil {
			return err
		}
		if err := j.Lock(); err != nil {
			return err
		}
		fmt.Println("held")
		var b [1]byte
		os.Stdin.Read(b[:])
		return j.Close()
	},
}
