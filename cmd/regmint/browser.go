// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
)

// openBrowser opens an address that browsable has judged and reports that a
// program for it was started. It never waits, and a failure is none: the
// address is shown as well.
func (a *app) openBrowser(address string) bool {
	for _, argv := range a.browsers() {
		path, err := exec.LookPath(argv[0])
		if err != nil || !filepath.IsAbs(path) { // never from the working directory
			continue
		}
		cmd := exec.Command(path, append(argv[1:], address)...) //nolint:gosec,noctx // a fixed program; it outlives this one, and no shell reads the address
		cmd.Env = a.environ()
		detach(cmd)
		if cmd.Start() != nil {
			continue
		}
		go func() { _ = cmd.Wait() }() // ends with it, or with this program
		return true
	}
	return false
}

// browsers are the programs that open an address here, the best first; none
// where nobody would see it.
func (a *app) browsers() [][]string {
	const handler = "url.dll,FileProtocolHandler" // no shell reads the address, as that of start and of PowerShell would
	switch runtime.GOOS {
	case "windows":
		return [][]string{{"rundll32.exe", handler}}
	case "darwin":
		return [][]string{{"open"}}
	}
	if a.lookup("WSL_DISTRO_NAME") != "" {
		return [][]string{{"wslview"}, {"rundll32.exe", handler}}
	}
	if a.lookup("DISPLAY") == "" && a.lookup("WAYLAND_DISPLAY") == "" {
		return nil
	}
	return [][]string{{"xdg-open"}}
}
