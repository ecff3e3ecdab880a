// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/regmint/regmint/agent/api"
)

// ErrNotFound is a former helper's own not found.
var ErrNotFound = errNotFound

// FormerGet asks the helper kept behind regmint at path for key, as this
// program's own `get` does. The error is ErrNotFound, or one that names it.
func FormerGet(ctx context.Context, path, key string) (api.Login, error) {
	if !mayRun(path) {
		return api.Login{}, ErrNotFound
	}
	return runGet(ctx, path, key)
}

// FormerChange passes a `store` or an `erase` on; input is what the client
// wrote.
func FormerChange(ctx context.Context, path, verb, input string) error {
	if !mayRun(path) {
		return ErrNotFound
	}
	_, err := run(ctx, behindLimit, path, verb, input)
	return err
}

// FormerIsEmpty says that the helper at path was asked for its logins and has
// none.
func FormerIsEmpty(ctx context.Context, path string) bool {
	if !mayRun(path) {
		return false
	}
	out, err := run(ctx, mergeLimit, path, "list", "")
	var entries map[string]string
	return err == nil && json.Unmarshal([]byte(out), &entries) == nil && len(entries) == 0
}

// FormerList merges what former helpers know into all; the first to name a
// host answers for it.
func FormerList(ctx context.Context, paths []string, all map[string]string) {
	for _, entries := range listBehind(ctx, paths) {
		merge(all, maps.Clone(entries))
	}
}
