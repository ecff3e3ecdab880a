// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Keys of containers-registries.conf(5), version 2.
const (
	keyRegistry  = "registry"
	keyMirror    = "mirror"
	keyPrefix    = "prefix"
	keyLocation  = "location"
	keySearch    = "unqualified-search-registries"
	keyAliases   = "aliases"
	keyCredUsers = "credential-helpers"
	keyV1        = "registries"

	// authFileHelper is the reserved name for reading auth.json.
	authFileHelper = "containers-auth.json"
)

// registries writes registries.conf: the caller's effective one with our helper
// and mirrors added. A configuration that podman could not read either is left
// in effect, with a note.
func (w *jobWriter) registries(r *Report) error {
	conf, err := w.s.Caller.effectiveRegistries()
	if err == nil {
		addMirrors(conf, w.s.Mirrors)
		conf[keyCredUsers] = credentialHelpers(conf, w.s)
		var text []byte
		if text, err = marshalRegistries(conf); err == nil {
			r.RegistriesConf = filepath.Join(w.root, registriesName)
			if over := w.s.Caller.overruling(false); len(over) > 0 && !w.s.static() {
				r.Notes = append(r.Notes, fmt.Sprintf("%s sets credential-helpers: older podman and skopeo ask regmint only for hosts known by name", strings.Join(over, ", ")))
			}
			return w.put(w.job, registriesName, text)
		}
	}
	r.Notes = append(r.Notes, fmt.Sprintf("registries.conf stays as it is, without regmint: %v", err))
	return ignoreAbsent(w.job.Remove(registriesName))
}

// credentialHelpers puts us first and keeps what else is asked.
func credentialHelpers(conf map[string]any, s Settings) []any {
	out := []any{}
	if !s.static() {
		out = append(out, HelperName)
	}
	others := []any{}
	if !s.Only {
		for _, h := range list(conf[keyCredUsers]) {
			if name, ok := h.(string); ok && !ours(name) {
				others = append(others, name)
			}
		}
	}
	if !slices.Contains(others, any(authFileHelper)) {
		out = append(out, authFileHelper)
	}
	return append(out, others...)
}

// effectiveRegistries is the registries.conf that containers/image would use
// for the caller: the first main file that exists, then the drop-ins.
func (c Caller) effectiveRegistries() (map[string]any, error) {
	conf := map[string]any{}
	main, user := c.registriesMain()
	if main != "" {
		var err error
		if conf, err = readRegistries(main, true); err != nil {
			return nil, err
		}
	}
	for _, dir := range c.registriesDirs(user) {
		files, err := dropIns(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			d, err := readRegistries(f, false)
			if err != nil {
				return nil, err
			}
			mergeRegistries(conf, d)
		}
	}
	return conf, nil
}

// userContainers are the directories of the caller's own containers files.
func (c Caller) userContainers() []string {
	var out []string
	if p := c.env("XDG_CONFIG_HOME"); filepath.IsAbs(p) {
		out = append(out, filepath.Join(p, "containers"))
	}
	if c.Home != "" {
		out = append(out, filepath.Join(c.Home, ".config", "containers"))
	}
	return slices.Compact(out)
}

// registriesMain is the main file, "" for none; user: it is the caller's own,
// and then the system's drop-ins do not count.
func (c Caller) registriesMain() (path string, user bool) {
	var candidates []string
	own := 0
	if p := c.env("CONTAINERS_REGISTRIES_CONF"); p != "" {
		candidates = append(candidates, p)
	}
	env := len(candidates)
	for _, d := range c.userContainers() {
		candidates = append(candidates, filepath.Join(d, registriesName))
		own++
	}
	candidates = append(candidates, c.system("/etc/containers/registries.conf"), c.system("/usr/share/containers/registries.conf"))
	for i, p := range candidates {
		if _, err := os.Stat(p); err == nil {
			return p, i >= env && i < env+own
		}
	}
	return "", false
}

func (c Caller) registriesDirs(userMain bool) []string {
	var out []string
	if !userMain {
		out = append(out, c.system("/etc/containers/registries.conf.d"))
	}
	for _, d := range slices.Backward(c.userContainers()) {
		out = append(out, filepath.Join(d, "registries.conf.d"))
	}
	return out
}

// dropIns are the *.conf files of a directory, in the order of their names.
func dropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(dir, err)
	}
	var out []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".conf" && !e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

func readRegistries(path string, main bool) (map[string]any, error) {
	data, _, err := readRegular(path, maxConfig, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, plain(path, err)
	}
	conf, err := parseRegistries(data, main)
	if err != nil {
		return nil, fmt.Errorf("%s is %w", clean(path), err)
	}
	return conf, nil
}

// parseRegistries reads one file; a main file of version 1 is read as version 2.
func parseRegistries(data []byte, main bool) (map[string]any, error) {
	conf := map[string]any{}
	if err := toml.Unmarshal(data, &conf); err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, _ := de.Position()
			return nil, fmt.Errorf("%w: not valid TOML at line %d", ErrMalformed, line)
		}
		return nil, fmt.Errorf("%w: not valid TOML", ErrMalformed)
	}
	v1, old := conf[keyV1].(map[string]any)
	if old {
		if !main || conf[keyRegistry] != nil || conf[keySearch] != nil {
			return nil, fmt.Errorf("%w: version 1 of the format is allowed in a main file alone, and alone", ErrMalformed)
		}
		delete(conf, keyV1)
		fromV1(conf, v1)
	}
	for _, r := range list(conf[keyRegistry]) {
		if _, ok := r.(map[string]any); !ok {
			return nil, fmt.Errorf("%w: registry is not a table", ErrMalformed)
		}
	}
	return conf, nil
}

// fromV1 converts [registries.search|insecure|block] (containers/image
// sysregistriesv2, ConvertToV2).
func fromV1(conf, v1 map[string]any) {
	names := func(section string) []any {
		t, _ := v1[section].(map[string]any)
		return list(t["registries"])
	}
	if s := names("search"); len(s) > 0 {
		conf[keySearch] = s
	}
	at := map[any]map[string]any{}
	var regs []any
	for section, flag := range map[string]string{"block": "blocked", "insecure": "insecure"} {
		for _, loc := range names(section) {
			if _, ok := loc.(string); !ok {
				continue
			}
			if at[loc] == nil {
				at[loc] = map[string]any{keyLocation: loc}
				regs = append(regs, at[loc])
			}
			at[loc][flag] = true
		}
	}
	slices.SortFunc(regs, func(a, b any) int { return strings.Compare(prefixOf(a), prefixOf(b)) })
	if len(regs) > 0 {
		conf[keyRegistry] = regs
	}
}

// checkMirrors refuses what no registry reference can be; TOML's own escapes
// take care of the rest.
func checkMirrors(mirrors []Mirror) error {
	for _, m := range mirrors {
		for _, loc := range append([]string{m.Host}, m.Mirrors...) {
			switch {
			case loc == "":
				return errors.New("a mirror without a name")
			case loc != clean(loc) || strings.ContainsAny(loc, " \t"):
				return fmt.Errorf("mirror %q has a space or a control character", clean(loc))
			case strings.Contains(loc, "://"):
				return fmt.Errorf("mirror %q: write it without the scheme", clean(loc))
			}
		}
		if len(m.Mirrors) == 0 {
			return fmt.Errorf("%s has no mirror", clean(m.Host))
		}
	}
	return nil
}

// marshalRegistries writes TOML and reads it back: what comes out must be what
// went in.
func marshalRegistries(conf map[string]any) ([]byte, error) {
	text, err := toml.Marshal(conf)
	if err != nil {
		return nil, fmt.Errorf("cannot be written anew: %w", err)
	}
	back := map[string]any{}
	if err := toml.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(conf, back) {
		return nil, errors.New("cannot be written anew without loss")
	}
	return text, nil
}
