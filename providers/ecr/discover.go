// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// discover lists the profiles that are the registry's account: by what they
// say, and where none does, by asking AWS whose their keys are.
func (c *call) discover(ctx context.Context) ([]candidate, error) {
	all := c.sections(files{})
	var out []candidate
	for _, p := range all.profiles() {
		if c.place.public || p.account == c.place.account {
			out = append(out, p)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, name := range c.keyed(all) {
		if err := ctx.Err(); err != nil {
			return nil, c.fail(providers.Unavailable, "", errors.New("the login was given up"))
		}
		o := *c.options
		o.Profile = name
		one := *c.source
		one.options = &o
		arn, account, err := (&call{source: &one, host: c.host, place: c.place}).whoAmI(ctx)
		if err == nil && (c.place.public || account == c.place.account) {
			out = append(out, candidate{name: name, account: account, what: arn})
		}
	}
	return out, nil
}

// maxAsked bounds the profiles that AWS is asked about.
const maxAsked = 16

// keyed are the profiles with keys of their own, in either file: the same ones
// each time.
func (c *call) keyed(all sections) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string, keys map[string]string) {
		if keys["aws_access_key_id"] != "" && keys["mfa_serial"] == "" && !seen[name] && len(out) < maxAsked {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		keys := all[name]
		if profile, ok := strings.CutPrefix(name, "profile "); ok {
			add(profile, keys)
		} else if name == "default" {
			add(name, keys)
		}
	}
	_, creds := files{}.named(c.deps.Home)
	if b, err := readFile(creds); err == nil {
		more := readSections(string(b))
		for _, name := range slices.Sorted(maps.Keys(more)) {
			add(name, more[name])
		}
	}
	return out
}
