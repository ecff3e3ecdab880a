// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// The keys of a docker config.json that decide who answers for a registry.
const (
	keyAuths   = "auths"
	keyStore   = "credsStore"
	keyHelpers = "credHelpers"
)

var authKeys = []string{keyAuths, keyStore, keyHelpers}

// dockerFile is a docker config.json (or containers auth.json) as found.
type dockerFile struct {
	path    string
	text    []byte // nil = absent
	store   string
	helpers []pair // in file order
	auths   []authEntry
	rest    []member // everything else, in file order
}

type pair struct{ key, value string }

// authEntry is one entry of auths; raw keeps unknown fields.
type authEntry struct {
	key string
	raw []byte
}

// readDockerFile reads and checks a config.json of the caller; an absent one is
// empty. The error names the path and never shows what stands there.
func readDockerFile(path string, uid int) (*dockerFile, error) {
	text, _, err := readTrusted(path, uid)
	if err != nil {
		return nil, err
	}
	d := &dockerFile{path: path}
	if text == nil {
		return d, nil
	}
	if err := d.parse(text); err != nil {
		return nil, fmt.Errorf("%s is %w", clean(path), err)
	}
	return d, nil
}

// userConfig reads the caller's effective docker config.json.
func (c Caller) userConfig() (*dockerFile, error) {
	dir := c.DockerConfigDir()
	if dir == "" {
		return &dockerFile{}, nil
	}
	return readDockerFile(filepath.Join(dir, configName), c.UID)
}

func (d *dockerFile) parse(text []byte) error {
	o, err := parseObject(text)
	if err != nil {
		return err
	}
	// Docker reads these keys in any letter case, the last one winning: two of
	// them have no meaning that could be kept.
	for _, k := range authKeys {
		if o.folded(k) > 1 {
			return fmt.Errorf("%w: the key %s stands there twice", ErrMalformed, k)
		}
	}
	d.text = text
	for _, m := range o.members {
		if err := d.take(m); err != nil {
			return fmt.Errorf("%s: %w", clean(m.key), err)
		}
	}
	return nil
}

func (d *dockerFile) take(m member) error {
	null := isNull(m.rawValue)
	switch {
	case strings.EqualFold(m.key, keyStore):
		if null {
			return nil
		}
		if err := json.Unmarshal(m.rawValue, &d.store); err != nil {
			return fmt.Errorf("%w: a string is needed, not %s", ErrMalformed, jsonKind(m.rawValue[0]))
		}
		if d.store != "" && !validHelper(d.store) {
			return badHelper(d.store)
		}
	case strings.EqualFold(m.key, keyHelpers):
		if null {
			return nil
		}
		return d.takeHelpers(m.rawValue)
	case strings.EqualFold(m.key, keyAuths):
		if null {
			return nil
		}
		sub, err := nested(m.rawValue)
		if err != nil {
			return err
		}
		for _, e := range sub.members {
			d.auths = append(d.auths, authEntry{key: e.key, raw: e.rawValue})
		}
	default:
		d.rest = append(d.rest, m)
	}
	return nil
}

func (d *dockerFile) takeHelpers(raw []byte) error {
	sub, err := nested(raw)
	if err != nil {
		return err
	}
	for _, e := range sub.members {
		var v string
		if err := json.Unmarshal(e.rawValue, &v); err != nil {
			return fmt.Errorf("%w: %q: a string is needed, not %s", ErrMalformed, clean(e.key), jsonKind(e.rawValue[0]))
		}
		if v != "" && !validHelper(v) {
			return badHelper(v)
		}
		d.helpers = append(d.helpers, pair{e.key, v})
	}
	return nil
}

// helper is the value of credHelpers for a key.
func (d *dockerFile) helper(key string) (string, bool) {
	for _, p := range d.helpers {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

// containsAuth is docker's test before it looks for the desktop's keychain.
func (d *dockerFile) containsAuth() bool {
	return d.store != "" || len(d.helpers) > 0 || len(d.auths) > 0
}

// logins decodes the entries of auths that hold a secret; a broken one is left
// out and named.
func (d *dockerFile) logins() (logins []Login, warnings []string) {
	for _, e := range d.auths {
		if oauthItem(e.key) {
			continue
		}
		l, ok, err := decodeAuthEntry(e)
		switch {
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s: the auths entry of %s is left out: %v", clean(d.path), clean(e.key), err))
		case ok:
			logins = append(logins, l)
		}
	}
	return logins, warnings
}

// validHelper: a helper's suffix becomes part of a program's name. Docker
// Desktop writes desktop.exe into the config of a WSL distribution.
func validHelper(s string) bool {
	s = strings.TrimSuffix(s, ".exe")
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func badHelper(s string) error {
	if len(s) > 64 {
		s = s[:64]
	}
	return fmt.Errorf("%w: %q is no name of a credential helper (a-z, A-Z, 0-9, _ and - only)", ErrMalformed, clean(s))
}

// ours reports a helper suffix that leads back to regmint.
func ours(helper string) bool {
	helper = strings.TrimSuffix(helper, ".exe")
	return helper == HelperName || strings.HasPrefix(helper, HelperName+"-")
}
