// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Paths names the files of all layers. flag is --config, "" where absent; a
// relative one counts from the working directory.
func (e Env) Paths(flag string) (Paths, error) {
	p := Paths{System: e.systemFile()}
	user, err := e.Config()
	if flag != "" {
		user, err = filepath.Abs(flag)
	}
	if err != nil {
		return Paths{}, err
	}
	if user != "" {
		p.User, p.Saved, p.Required = user, savedBeside(user), true
		return p, nil
	}
	return choose(p, e.configDirs()), nil
}

// choose takes the first directory that holds a file of ours, the preferred
// one where none does. No directory at all leaves the system file alone.
func choose(p Paths, dirs []string) Paths {
	if len(dirs) == 0 {
		return p
	}
	dir := dirs[0]
	found := slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return !configured(d) })
	if len(found) > 0 {
		dir = found[0]
	}
	if len(found) > 1 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s is read; %s is not", found[0], found[1]))
	}
	p.User = filepath.Join(dir, "config.toml")
	p.Saved = savedBeside(p.User)
	return p
}

func savedBeside(user string) string {
	return filepath.Join(filepath.Dir(user), "config.d", "regmint.toml")
}

// configured reports that a directory holds a file of ours.
func configured(dir string) bool {
	user := filepath.Join(dir, "config.toml")
	for _, f := range []string{user, savedBeside(user)} {
		if _, err := os.Lstat(f); err == nil {
			return true
		}
	}
	return false
}

// configDirs lists where the user's files may be, the preferred place first.
func (e Env) configDirs() []string {
	var out []string
	home := e.Home()
	if runtime.GOOS == "windows" {
		if d := e.get("AppData"); filepath.IsAbs(d) {
			return []string{filepath.Join(d, "regmint")}
		}
		if home != "" {
			out = append(out, filepath.Join(home, "AppData", "Roaming", "regmint"))
		}
		return out
	}
	if d := e.get("XDG_CONFIG_HOME"); filepath.IsAbs(d) {
		out = append(out, filepath.Join(d, "regmint"))
	} else if home != "" {
		out = append(out, filepath.Join(home, ".config", "regmint"))
	}
	if runtime.GOOS == "darwin" && home != "" {
		out = append(out, filepath.Join(home, "Library", "Application Support", "regmint"))
	}
	return out
}

func (e Env) systemFile() string {
	if runtime.GOOS == "windows" {
		d := e.get("ProgramData")
		if !filepath.IsAbs(d) {
			d = `C:\ProgramData`
		}
		return filepath.Join(d, "regmint", "config.toml")
	}
	return "/etc/regmint/config.toml"
}
