// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers/internal/httpx"
)

// claims reads the payload of what looks like a JWT. Nothing is verified:
// callers use it to expect less of a token, never more.
func claims(token string) (map[string]any, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 64<<10 {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil, false
	}
	v, err := httpx.ParseJSON(b)
	if err != nil {
		return nil, false
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// jwtExpiry is the exp claim; exp in milliseconds lies far away and shortens
// nothing.
func jwtExpiry(token string) (time.Time, bool) {
	m, ok := claims(token)
	if !ok {
		return time.Time{}, false
	}
	n, ok := m["exp"].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || f <= 0 || f > math.MaxInt32*16 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// granted reads the access claim for one repository (distribution's
// auth/jwt.md); false where the token has no such claim.
func granted(token, repository string) ([]string, bool) {
	m, ok := claims(token)
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
