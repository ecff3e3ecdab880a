// SPDX-License-Identifier: Apache-2.0

package config

import "strings"

// nearest is the valid key that a misspelling most likely means, "" where none
// is near.
func nearest(key string, valid []string) string {
	if len(key) > 64 {
		return ""
	}
	best, score := "", 1+max(len(key), 4)/3
	norm := strings.NewReplacer("-", "_").Replace(strings.ToLower(key))
	for _, v := range valid {
		if s := distance(norm, v); s < score {
			best, score = v, s
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	prev2, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}
