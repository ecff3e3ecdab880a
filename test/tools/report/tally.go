// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// skip is one skipped test and why.
type skip struct{ dir, pkg, test, why string }

// tally counts the events of any number of runs.
type tally struct {
	out    io.Writer
	dir    string
	passed int
	failed int
	skips  []skip
}

// pkgRun is what is known of a package while it runs.
type pkgRun struct {
	output         map[string][]string // by test; "" is the package's own
	passed, failed int
	skipped        int
	failures       []string
}

// read consumes the events of one go test.
func (t *tally) read(r io.Reader) error {
	runs := map[string]*pkgRun{}
	builds := map[string][]string{}
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(t.out, "%s", line) // not an event: a person may need it
			} else {
				t.event(e, runs, builds)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for pkg, p := range runs {
		fmt.Fprintf(t.out, "FAIL  %s: ended without a result\n", pkg)
		t.passed += p.passed
		t.failed += max(p.failed, 1)
	}
	return nil
}

func (t *tally) event(e event, runs map[string]*pkgRun, builds map[string][]string) {
	if e.Action == "build-output" {
		builds[e.ImportPath] = append(builds[e.ImportPath], e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := runs[e.Package]
	if p == nil {
		p = &pkgRun{output: map[string][]string{}}
		runs[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case e.Test != "":
		t.test(e, p)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		t.pkg(e, p, builds[e.FailedBuild])
		delete(runs, e.Package)
	}
}

// test counts the end of one test.
func (t *tally) test(e event, p *pkgRun) {
	switch e.Action {
	case "pass":
		p.passed++
		delete(p.output, e.Test)
	case "fail":
		p.failed++
		p.failures = append(p.failures, e.Test)
	case "skip":
		p.skipped++
		why := reason(p.output[e.Test])
		t.skips = append(t.skips, skip{t.dir, e.Package, e.Test, why})
		fmt.Fprintf(t.out, "SKIP  %s %s: %s\n", e.Package, e.Test, why)
	}
}

// pkg prints the line of a finished package.
func (t *tally) pkg(e event, p *pkgRun, build []string) {
	word := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "    "}[e.Action]
	note := fmt.Sprintf("%d passed", p.passed)
	if p.failed > 0 {
		note += fmt.Sprintf(", %d failed", p.failed)
	}
	if p.skipped > 0 {
		note += fmt.Sprintf(", %d skipped", p.skipped)
	}
	if p.passed+p.failed+p.skipped == 0 {
		note = "no tests"
	}
	if e.Action == "fail" {
		for _, name := range p.failures {
			fmt.Fprint(t.out, strings.Join(p.output[name], ""))
			delete(p.output, name)
		}
		for name, lines := range p.output {
			// A test that never ended (panic, timeout) or the package itself.
			if name == "" || !strings.Contains(strings.Join(lines, ""), "--- SKIP") {
				fmt.Fprint(t.out, strings.Join(lines, ""))
			}
		}
		fmt.Fprint(t.out, strings.Join(build, ""))
		p.failed = max(p.failed, 1)
	}
	t.passed += p.passed
	t.failed += p.failed
	fmt.Fprintf(t.out, "%s  %s  %.1fs  (%s)\n", word, e.Package, e.Elapsed, note)
}

// reason is what a skipped test said, on one line.
func reason(lines []string) string {
	var out []string
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- ") {
			continue
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return "no reason given"
	}
	return strings.Join(out, " ")
}

// finish prints the closing line and returns the exit code.
func (t *tally) finish(noSkip bool) int {
	code := 0
	switch {
	case t.failed > 0:
		code = 1
	case t.passed+len(t.skips) == 0:
		fmt.Fprintln(t.out, "report: no test ran")
		code = 1
	case noSkip && len(t.skips) > 0:
		fmt.Fprintln(t.out, "report: tests were skipped, and -noskip was given")
		code = 1
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, len(t.skips))
	return code
}
