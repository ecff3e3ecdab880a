// SPDX-License-Identifier: Apache-2.0

// Command report runs go test in one or more modules, prints one line for each
// package, the output of what failed and the reason of every skip, and ends
// with the line "N passed, N failed, N skipped".
//
//	report [flags] -- DIR ARG... [-- DIR ARG...]...
//
// Each group runs `go test -json ARG...` in DIR. It exits 1 when a test or a
// package failed, when no test ran, or, with -noskip, when a test skipped.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

// group is one `go test` of one module.
type group struct {
	dir  string
	args []string
}

// options are the flags of report.
type options struct {
	noSkip bool
	skips  string
	again  string
	totals string
}

func run(ctx context.Context, argv []string, out io.Writer) int {
	opts, groups, err := parse(argv, out)
	if err != nil {
		fmt.Fprintln(out, "report:", err)
		return 2
	}
	if opts.again != "" {
		if groups, err = onlySkipped(groups, opts.again); err != nil {
			fmt.Fprintln(out, "report:", err)
			return 2
		}
		if len(groups) == 0 {
			fmt.Fprintln(out, "report: no test skipped before")
			return 0
		}
	}
	sum := &tally{out: out}
	for _, g := range groups {
		sum.dir = g.dir
		if err := goTest(ctx, g, sum); err != nil {
			fmt.Fprintf(out, "FAIL  %s: %v\n", g.dir, err)
			sum.failed++
		}
	}
	if err := save(opts, sum); err != nil {
		fmt.Fprintln(out, "report:", err)
		return 2
	}
	return sum.finish(opts.noSkip)
}

// parse splits the command line into flags and groups.
func parse(argv []string, out io.Writer) (options, []group, error) {
	var o options
	fs := flag.NewFlagSet("report", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.BoolVar(&o.noSkip, "noskip", false, "a skipped test is a failure")
	fs.StringVar(&o.skips, "skips", "", "write the skipped tests to `FILE`, for -again")
	fs.StringVar(&o.again, "again", "", "run only the tests that -skips wrote to `FILE`")
	fs.StringVar(&o.totals, "totals", "", "append the counts to `FILE`; with -skips, without the skipped")
	if err := fs.Parse(argv); err != nil {
		return o, nil, err
	}
	var groups []group
	for rest := fs.Args(); len(rest) > 0; {
		end := slices.Index(rest, "--")
		if end < 0 {
			end = len(rest)
		}
		if end < 2 {
			return o, nil, fmt.Errorf("a group needs a directory and arguments for go test")
		}
		groups = append(groups, group{dir: rest[0], args: rest[1:end]})
		rest = rest[min(end+1, len(rest)):]
	}
	if len(groups) == 0 {
		return o, nil, fmt.Errorf("usage: report [-noskip] [-skips FILE | -again FILE] [-totals FILE] -- DIR ARG... [-- DIR ARG...]")
	}
	return o, groups, nil
}

// goTest runs one group and feeds its events to sum. The exit code of go test
// counts too: a failure that no event tells of must not pass.
func goTest(ctx context.Context, g group, sum *tally) error {
	before := sum.failed
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, g.args...)...)
	cmd.Dir = g.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second // then it is killed
	cmd.Stderr = sum.out
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := sum.read(pipe)
	if err := cmd.Wait(); err != nil && sum.failed == before {
		return fmt.Errorf("go test: %w", err)
	}
	return readErr
}

// save writes what later runs need.
func save(o options, sum *tally) error {
	skipped := len(sum.skips)
	if o.skips != "" {
		var b strings.Builder
		for _, s := range sum.skips {
			fmt.Fprintf(&b, "%s\t%s\t%s\n", s.dir, s.pkg, s.test)
		}
		if err := os.WriteFile(o.skips, []byte(b.String()), 0o600); err != nil {
			return err
		}
		skipped = 0
	}
	if o.totals == "" {
		return nil
	}
	f, err := os.OpenFile(o.totals, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d %d\n", sum.passed, sum.failed, skipped)
	return errors.Join(err, f.Close())
}

// onlySkipped narrows groups to the tests listed in file: the top-level tests
// of the packages that had skips.
func onlySkipped(groups []group, file string) ([]group, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tests := map[string]map[string][]string{} // dir, package, top-level tests
	for sc := bufio.NewScanner(f); sc.Scan(); {
		part := strings.Split(sc.Text(), "\t")
		if len(part) != 3 {
			return nil, fmt.Errorf("%s: malformed line %q", file, sc.Text())
		}
		name, _, _ := strings.Cut(part[2], "/")
		byPkg := tests[part[0]]
		if byPkg == nil {
			byPkg = map[string][]string{}
			tests[part[0]] = byPkg
		}
		if !slices.Contains(byPkg[part[1]], name) {
			byPkg[part[1]] = append(byPkg[part[1]], name)
		}
	}
	var out []group
	for _, g := range groups {
		for pkg, names := range tests[g.dir] {
			args := slices.DeleteFunc(slices.Clone(g.args), func(a string) bool { return strings.HasPrefix(a, "./") })
			args = append(args, "-count=1", "-run", "^("+strings.Join(names, "|")+")$", pkg)
			out = append(out, group{dir: g.dir, args: args})
		}
		delete(tests, g.dir)
	}
	for dir := range tests { // a skip that nobody runs again must not pass
		return nil, fmt.Errorf("%s lists tests of %s, which is none of the groups", file, dir)
	}
	return out, nil
}
