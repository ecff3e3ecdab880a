// SPDX-License-Identifier: Apache-2.0

package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// hostileRows is the number of rows H1, H2, … of the table of hostile and
// malformed inputs this project tests against.
const hostileRows = 95

// later are the rows that concern code which does not exist yet.
var later = map[int]string{
	72: "no directory is ever chosen by TMPDIR: job directories are in the runtime directory",
}

// Every row has a test that names it, so that no hostile input is forgotten.
func TestEveryHostileInputHasATest(t *testing.T) {
	seen := map[int]bool{}
	one, span := regexp.MustCompile(`\bH(\d+)\b`), regexp.MustCompile(`\bH(\d+)[-–]H?(\d+)\b`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") || filepath.Base(path) == "hostile_test.go" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range one.FindAllStringSubmatch(string(data), -1) {
			n, _ := strconv.Atoi(m[1])
			seen[n] = true
		}
		for _, m := range span.FindAllStringSubmatch(string(data), -1) {
			from, _ := strconv.Atoi(m[1])
			to, _ := strconv.Atoi(m[2])
			for n := from; n <= to && n <= hostileRows; n++ {
				seen[n] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= hostileRows; n++ {
		if !seen[n] && later[n] == "" {
			t.Errorf("no test names H%d", n)
		}
		if seen[n] && later[n] != "" {
			t.Errorf("H%d has a test: take it off the list of later rows", n)
		}
	}
}
