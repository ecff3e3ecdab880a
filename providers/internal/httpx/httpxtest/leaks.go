// SPDX-License-Identifier: Apache-2.0

package httpxtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
)

// forms are the encodings a canary is looked for in. They are computed apart
// from the redactor of httpx, which must not be its own judge.
func forms(secret string) []string {
	out := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret))}
	if j, err := json.Marshal(secret); err == nil {
		out = append(out, string(j))
	}
	for _, prefix := range []string{"", "u", "us", "usr"} { // every base64 alignment
		b := []byte(prefix + secret)
		enc := base64.RawStdEncoding.EncodeToString(b)
		skip := (len(prefix)*8 + 5) / 6
		if skip < len(enc) {
			out = append(out, enc[skip:len(enc)-1])
		}
	}
	return out
}
