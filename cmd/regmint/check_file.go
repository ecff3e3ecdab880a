// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/regmint/regmint/providers"
)

// The bounds of a file of targets.
const (
	maxTargets = 4 << 20
	maxTarget  = 4 << 10
)

// targetsIn reads targets, one a line; # begins a comment.
func (a *app) targetsIn(file string) ([]string, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, misconfigured(err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTargets+1))
	if err != nil {
		return nil, misconfigured(fmt.Errorf("%s: %w", file, err))
	}
	if len(data) > maxTargets {
		return nil, usage("check them in several files", "%s is larger than %d MiB", file, maxTargets>>20)
	}
	var out []string
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		_, err := providers.ParseTarget(line[:min(len(line), maxTarget)])
		if len(line) > maxTarget {
			err = fmt.Errorf("longer than %d characters", maxTarget)
		}
		if err != nil {
			return nil, misconfigured(fmt.Errorf("%s:%d: %w", file, n, err))
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return nil, usage("write one target a line: ghcr.io/acme/app=push", "%s names no target", file)
	}
	return out, nil
}
