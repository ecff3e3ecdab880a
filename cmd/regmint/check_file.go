// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxTargets bounds a file of targets.
const maxTargets = 1 << 20

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
	var out []string
	sc := bufio.NewScanner(io.LimitReader(in, maxTargets))
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, misconfigured(fmt.Errorf("%s: %w", file, err))
	}
	if len(out) == 0 {
		return nil, usage("write one target a line: ghcr.io/acme/app=push", "%s names no target", file)
	}
	return out, nil
}
