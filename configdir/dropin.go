// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// dropInName sorts behind the distributions' own files, which rarely name
// helpers, and before what a person adds as 99-….
const dropInName = "50-regmint.conf"

const dropInHead = "# Written by regmint install; regmint uninstall removes it.\n"

// containers plans the drop-in that makes podman, buildah and skopeo ask us for
// every host.
func (i *installer) containers() error {
	c := i.o.Caller
	if c.Home == "" {
		return errors.New("no home directory for the containers drop-in: HOME is not set")
	}
	path := filepath.Join(c.Home, ".config", "containers", "registries.conf.d", dropInName)
	f, err := openPlanned(path, c.UID)
	if err != nil {
		return err
	}
	if f.before != nil && !strings.HasPrefix(string(f.before), dropInHead) {
		return fmt.Errorf("%s is there already: %w", clean(path), ErrForeign)
	}
	conf, err := c.effectiveRegistries()
	if err != nil {
		return fmt.Errorf("%w: mend it first, it was not touched", err)
	}
	line, err := toml.Marshal(map[string]any{keyCredUsers: credentialHelpers(conf, Settings{})})
	if err != nil {
		return err
	}
	f.after = concat(dropInHead, line)
	if later := c.overruling(true); len(later) > 0 {
		i.note(fmt.Sprintf("%s sets credential-helpers too and comes later: podman reads that one", strings.Join(later, ", ")))
	}
	if string(f.after) == string(f.before) {
		return nil
	}
	f.changes = []Change{{Before: rawText(f.before), After: rawText(f.after)}}
	i.p.files = append(i.p.files, *f)
	i.p.Changes = append(i.p.Changes, Change{File: f.path, Before: rawText(f.before), After: rawText(f.after)})
	return nil
}

// overruling are the drop-ins that name credential-helpers without us. later:
// of the caller's own those that come after ours; otherwise all, which podman
// before 6 and skopeo read on top of CONTAINERS_REGISTRIES_CONF.
func (c Caller) overruling(later bool) []string {
	var out []string
	for _, dir := range c.registriesDirs(later) {
		files, err := dropIns(dir)
		if err != nil {
			continue
		}
		for _, f := range files {
			if later && filepath.Base(f) <= dropInName {
				continue
			}
			if conf, err := readRegistries(f, false); err == nil && conf[keyCredUsers] != nil &&
				!slices.Contains(list(conf[keyCredUsers]), any(HelperName)) {
				out = append(out, clean(f))
			}
		}
	}
	return out
}
