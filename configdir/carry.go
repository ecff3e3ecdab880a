// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Carried is what the caller's effective docker config.json answers for today
// and only the agent can go on answering inside a job, because a job's config
// names regmint as credsStore and docker then ignores auths.
type Carried struct {
	Logins   []Login           // plain auths: job-local logins of lowest rank
	Behind   map[string]string // host or "*" → absolute path of the helper that answers now
	Warnings []string
}

// ReadCarried reads the caller's effective config.json for JobRequest, before
// the job opens. With --only there is nothing to carry.
func ReadCarried(c Caller) (Carried, error) {
	d, err := c.userConfig()
	if err != nil {
		return Carried{}, err
	}
	r := Carried{Behind: map[string]string{}}
	store := d.store
	if !d.containsAuth() {
		store = c.detectStore()
	}
	var logins []Login
	logins, r.Warnings = d.logins()
	for _, l := range logins {
		// Docker asks a helper where one is named, and never the entry beside it.
		if h, named := d.helper(lookupKey(l.Host)); (named && h != "") || (!named && store != "") {
			continue
		}
		r.Logins = append(r.Logins, l)
	}
	for _, p := range d.helpers {
		r.behind(c, hostOf(p.key), p.value, d.path)
	}
	r.behind(c, "*", store, d.path)
	return r, nil
}

func (r *Carried) behind(c Caller, host, helper, file string) {
	if helper == "" || ours(helper) {
		return
	}
	path, ok := c.findHelper(helper)
	if !ok {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s names %s%s, which is not on the PATH", clean(file), helperPrefix, helper))
		return
	}
	r.Behind[host] = path
}

// carry collects what the generated files take over for hosts that are not the
// job's.
type carry struct {
	auths    []authEntry // for docker/config.json and containers/auth.json
	podman   []authEntry // for containers/auth.json alone
	helpers  []pair
	names    []string // hosts, as named in the Report
	leftOut  []string
	warnings []string
}

// collect decides about every host of the caller's files. mine are the job's
// hosts; static jobs have no helper that a store could stand behind.
func collect(c Caller, d *dockerFile, mine map[string]bool, s Settings) *carry {
	r := &carry{}
	add := func(host string) {
		if s.Only {
			r.leftOut = append(r.leftOut, host)
		} else {
			r.names = append(r.names, host)
		}
	}
	named := map[string]bool{}
	for _, p := range d.helpers {
		host := hostOf(p.key)
		if mine[host] || ours(p.value) {
			continue
		}
		if !isHostKey(p.key) {
			// A key with a scheme breaks podman --remote; docker asks with one for
			// Docker Hub alone, and there our store passes on (Carried.Behind).
			continue
		}
		named[host] = true
		if p.value == "" {
			// "No helper here" is docker's alone: podman would run a program
			// without a name. The entry in auths is carried instead.
			continue
		}
		add(host)
		r.helpers = append(r.helpers, p)
	}
	for _, e := range d.auths {
		r.auth(d, e, mine, named, s, add)
	}
	if d.store != "" && !ours(d.store) && s.static() {
		r.leftOut = append(r.leftOut, fmt.Sprintf("all other hosts of %s%s", helperPrefix, d.store))
	}
	if s.Only {
		r.helpers, r.auths = nil, nil
		return r
	}
	r.podmanAuths(c, mine)
	return r
}

// auth carries one entry of docker's auths.
func (r *carry) auth(d *dockerFile, e authEntry, mine, named map[string]bool, s Settings, add func(string)) {
	host := hostOf(e.key)
	if mine[host] {
		return
	}
	_, ok, err := decodeAuthEntry(e)
	switch {
	case err != nil:
		r.warnings = append(r.warnings, fmt.Sprintf("%s: the auths entry of %s is left out: %v", clean(d.path), clean(e.key), err))
	case ok:
		if !named[host] {
			add(host)
		}
		r.auths = append(r.auths, e)
	case d.store != "" && !ours(d.store) && !named[host] && !s.static():
		// An empty entry is docker's mark for a login in its credsStore, which
		// goes on answering behind us (Carried.Behind).
		named[host] = true
		add(host)
	}
}

// podmanAuths adds what podman, buildah and skopeo would have read: the job
// hides it by REGISTRY_AUTH_FILE.
func (r *carry) podmanAuths(c Caller, mine map[string]bool) {
	have := map[string]bool{}
	for _, e := range r.auths {
		have[e.key] = true
	}
	for _, path := range c.authFiles() {
		f, err := readDockerFile(path, c.UID)
		if err != nil {
			r.warnings = append(r.warnings, fmt.Sprintf("not carried into the job: %v", err))
			continue
		}
		for _, e := range f.auths {
			host := hostOf(e.key)
			if _, ok, err := decodeAuthEntry(e); err != nil || !ok || mine[host] || have[e.key] {
				continue
			}
			have[e.key] = true
			r.podman = append(r.podman, e)
			r.names = append(r.names, host)
		}
	}
}

// authFiles are the auth.json files of the caller that exist, in the order in
// which containers/image reads them (pkg/docker/config getAuthFilePaths).
func (c Caller) authFiles() []string {
	if p := c.env("REGISTRY_AUTH_FILE"); p != "" {
		return existing(p)
	}
	return existing(c.defaultAuthFiles()...)
}

// defaultAuthFiles are read by programs that know no REGISTRY_AUTH_FILE (werf).
func (c Caller) defaultAuthFiles() []string {
	var out []string
	if p := c.env("XDG_RUNTIME_DIR"); p != "" {
		out = append(out, filepath.Join(p, "containers", authName))
	} else if c.UID >= 0 {
		out = append(out, filepath.Join(c.system("/run/containers"), strconv.Itoa(c.UID), authName))
	}
	if p := c.env("XDG_CONFIG_HOME"); p != "" {
		out = append(out, filepath.Join(p, "containers", authName))
	} else if c.Home != "" {
		out = append(out, filepath.Join(c.Home, ".config", "containers", authName))
	}
	return out
}

// shadowed says which auth.json of the caller answers before the job for
// programs that do not read REGISTRY_AUTH_FILE (werf's Buildah mode).
func (c Caller) shadowed(mine map[string]bool) []string {
	var notes []string
	for _, path := range existing(c.defaultAuthFiles()...) {
		f, err := readDockerFile(path, c.UID)
		if err != nil {
			continue
		}
		keys := make([]string, 0, len(f.auths)+len(f.helpers))
		for _, e := range f.auths {
			keys = append(keys, e.key)
		}
		for _, p := range f.helpers {
			if !ours(p.value) {
				keys = append(keys, p.key)
			}
		}
		seen := map[string]bool{}
		for _, k := range keys {
			if host := hostOf(k); mine[host] && !seen[host] {
				seen[host] = true
				notes = append(notes, fmt.Sprintf("%s has an entry of its own for %s: werf's Buildah mode reads it before the job's", clean(path), clean(host)))
			}
		}
	}
	return notes
}

func existing(paths ...string) []string {
	var out []string
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			out = append(out, p)
		}
	}
	return out
}

// findHelper is the absolute path of docker-credential-NAME on the caller's PATH.
func (c Caller) findHelper(name string) (string, bool) {
	if !validHelper(name) {
		return "", false
	}
	return c.findProgram(helperPrefix + name)
}

// findProgram searches the caller's PATH. Entries that are not absolute (the
// working directory among them) are passed over.
func (c Caller) findProgram(name string) (string, bool) {
	for _, dir := range filepath.SplitList(c.env("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if exeSuffix != "" && !strings.EqualFold(filepath.Ext(path), exeSuffix) {
			path += exeSuffix
		}
		if info, err := os.Stat(path); err == nil && isExecutable(info) {
			return path, true
		}
	}
	return "", false
}

// detectStore is the keychain docker picks by itself where its config names
// nothing (docker/cli credentials.DetectDefaultStore); "" for none.
func (c Caller) detectStore() string {
	name := platformStore(func(program string) bool {
		_, ok := c.findProgram(program)
		return ok
	})
	if name == "" {
		return ""
	}
	if _, ok := c.findHelper(name); !ok {
		return ""
	}
	return name
}

// dirExists follows symbolic links.
func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
