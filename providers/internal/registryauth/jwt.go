// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"slices"

	"github.com/regmint/regmint/providers/internal/httpx"
)

// granted reads the access claim for one repository (distribution's
// auth/jwt.md); false where the token has no such claim.
func granted(token, repository string) ([]string, bool) {
	m, ok := httpx.JWTClaims(token)
	if !ok {
		return nil, false
	}
	list, ok := m["access"].([]any)
	if !ok {
		// The reference server leaves the claim null where nothing is granted;
		// a token without the key says nothing.
		v, present := m["access"]
		return nil, present && v == nil
	}
	var actions []string
	for _, e := range list {
		entry, ok := e.(map[string]any)
		if !ok || entry["type"] != "repository" || entry["name"] != repository {
			continue
		}
		as, _ := entry["actions"].([]any)
		for _, a := range as {
			if s, ok := a.(string); ok && !slices.Contains(actions, s) {
				actions = append(actions, s)
			}
		}
	}
	return actions, true
}
