// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"
)

// JWTClaims reads the payload of what looks like a JWT. Nothing is verified:
// callers use it to expect less of a token, never more.
func JWTClaims(token string) (map[string]any, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 64<<10 {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil, false
	}
	v, err := ParseJSON(b)
	if err != nil {
		return nil, false
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// JWTExpiry is the exp claim; exp in milliseconds lies far away and shortens
// nothing.
func JWTExpiry(token string) (time.Time, bool) {
	m, ok := JWTClaims(token)
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
