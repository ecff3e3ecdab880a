// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// DaemonMirrors is what the docker engine's daemon.json says about mirrors of
// Docker Hub. Known is false where the file says nothing that can be relied
// upon: it is absent, or cannot be read.
type DaemonMirrors struct {
	Path     string
	Known    bool
	Mirrors  []string // URLs, as written
	Insecure []string // hosts or networks, as written
}

// ReadDaemonMirrors reads daemon.json of the engine on this machine: the
// rootless one's where the caller has it, else the system's. Nothing is
// guessed and nothing written.
func ReadDaemonMirrors(c Caller) (DaemonMirrors, error) {
	candidates := []string{c.system("/etc/docker/daemon.json")}
	if p := c.env("XDG_CONFIG_HOME"); filepath.IsAbs(p) {
		candidates = append([]string{filepath.Join(p, "docker", "daemon.json")}, candidates...)
	} else if c.Home != "" {
		candidates = append([]string{filepath.Join(c.Home, ".config", "docker", "daemon.json")}, candidates...)
	}
	for _, path := range candidates {
		data, _, err := readRegular(path, maxConfig, 0)
		if absent(err) {
			continue
		}
		if err != nil {
			return DaemonMirrors{Path: path}, plain(path, err)
		}
		return parseDaemon(path, data)
	}
	return DaemonMirrors{Path: candidates[len(candidates)-1]}, nil
}

func parseDaemon(path string, data []byte) (DaemonMirrors, error) {
	unknown := DaemonMirrors{Path: path}
	o, err := parseObject(data)
	if err != nil {
		return unknown, fmt.Errorf("%s is %w", clean(path), err)
	}
	m := DaemonMirrors{Path: path, Known: true}
	for key, to := range map[string]*[]string{"registry-mirrors": &m.Mirrors, "insecure-registries": &m.Insecure} {
		i := o.find(key, true)
		if i < 0 {
			continue
		}
		if err := json.Unmarshal(o.members[i].rawValue, to); err != nil {
			return unknown, fmt.Errorf("%s is %w: %s is no list of strings", clean(path), ErrMalformed, key)
		}
	}
	return m, nil
}
