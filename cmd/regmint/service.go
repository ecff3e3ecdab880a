// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// unitMark is the first line of the unit we write; a file without it is
// somebody else's.
const unitMark = "# written by regmint install --service"

// serviceUnit is a systemd user unit; nil is none.
type serviceUnit struct {
	path, text string
}

func (a *app) unitPath() string {
	dir := a.lookup("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := a.env.Home()
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "systemd", "user", "regmint.service")
}

func (a *app) serviceUnit(wanted bool) (*serviceUnit, error) {
	if !wanted {
		return nil, nil
	}
	if runtime.GOOS != "linux" {
		return nil, usage("the agent starts by itself where it is needed", "--service writes a systemd unit, and this is %s", runtime.GOOS)
	}
	exe, err := a.executable()
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(exe, "\n\"\\%$") {
		return nil, fmt.Errorf("%q cannot stand in a systemd unit", exe)
	}
	path := a.unitPath()
	if path == "" {
		return nil, errors.New("HOME is not set: there is no place for a systemd user unit")
	}
	// KillMode: a rotation under way outlives the agent that has begun it.
	return &serviceUnit{path: path, text: unitMark + `
[Unit]
Description=regmint agent

[Service]
ExecStart="` + exe + `" agent run
Restart=on-failure
RestartSec=2
KillMode=process
NoNewPrivileges=yes
UMask=0077
LimitCORE=0

[Install]
WantedBy=default.target
`}, nil
}

func (u *serviceUnit) print(a *app) error {
	if u == nil {
		return nil
	}
	return a.print("%s:\n%s", u.path, u.text)
}

func (u *serviceUnit) write(a *app) error {
	if u == nil {
		return nil
	}
	old, err := os.ReadFile(u.path)
	switch {
	case err == nil && !bytes.HasPrefix(old, []byte(unitMark)):
		return fmt.Errorf("%s exists and is not regmint's; it was left alone", u.path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(u.path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(u.path, []byte(u.text), 0o644); err != nil {
		return err
	}
	a.say("%s written; start it with: systemctl --user enable --now regmint", u.path)
	return nil
}

// removeUnit removes the unit where it is ours.
func (a *app) removeUnit() error {
	path := a.unitPath()
	if path == "" {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(old, []byte(unitMark)) {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	a.say("%s removed; forget it with: systemctl --user daemon-reload", path)
	return nil
}
