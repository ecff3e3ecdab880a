// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a throw-away module and returns its directory.
func module(t *testing.T, test string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example.test/m\n\ngo 1.26\n",
		"m.go":      "package m\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\n" + test,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// report runs the command in-process and returns its exit code and output.
func report(t *testing.T, argv ...string) (int, string) {
	t.Helper()
	var out strings.Builder
	return run(t.Context(), argv, &out), out.String()
}

func TestReportEndsWithTheCountsAndTheExitCodeFollows(t *testing.T) {
	const (
		pass  = "func TestGood(t *testing.T) {}\n"
		fail  = "func TestBad(t *testing.T) { t.Error(\"the reason of the failure\") }\n"
		skips = "func TestAbsent(t *testing.T) { t.Skip(\"install the tool: apt-get install tool\") }\n"
		build = "func TestBroken(t *testing.T) { undefinedName() }\n"
		panic = "func TestPanics(t *testing.T) { panic(\"out of order\") }\n"
		exits = "func TestMain(m *testing.M) { m.Run(); println(\"late trouble\"); panic(\"after the tests\") }\n" + pass
	)
	for _, c := range []struct {
		name, test string
		flags      []string
		code       int
		last       string
		says       string
	}{
		{"pass", pass, nil, 0, "1 passed, 0 failed, 0 skipped", "ok    example.test/m"},
		{"fail", pass + fail, nil, 1, "1 passed, 1 failed, 0 skipped", "the reason of the failure"},
		{"skip", pass + skips, nil, 0, "1 passed, 0 failed, 1 skipped", "SKIP  example.test/m TestAbsent: m_test.go:6: install the tool: apt-get install tool"},
		{"skip with -noskip", pass + skips, []string{"-noskip"}, 1, "1 passed, 0 failed, 1 skipped", "tests were skipped"},
		{"does not build", build, nil, 1, "0 passed, 1 failed, 0 skipped", "undefinedName"},
		{"panic", panic, nil, 1, "0 passed, 1 failed, 0 skipped", "out of order"},
		{"fails outside every test", exits, nil, 1, "1 passed, 1 failed, 0 skipped", "after the tests"},
		{"no test", "var _ testing.T\n", nil, 1, "0 passed, 0 failed, 0 skipped", "no test ran"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := report(t, append(c.flags, "--", module(t, c.test), "./...")...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if code != c.code || lines[len(lines)-1] != c.last || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %d; last line want %q; must contain %q; output:\n%s", code, c.code, c.last, c.says, out)
			}
		})
	}
}

func TestReportSumsOverModules(t *testing.T) {
	a := module(t, "func TestA(t *testing.T) { t.Run(\"sub\", func(*testing.T) {}) }\n")
	b := module(t, "func TestB(t *testing.T) { t.Fail() }\n")
	code, out := report(t, "--", a, "./...", "--", b, "./...")
	if code != 1 || !strings.HasSuffix(out, "\n2 passed, 1 failed, 0 skipped\n") {
		t.Errorf("exit %d, output:\n%s", code, out)
	}
}

func TestSkippedTestsRunAgainOnceTheToolIsThere(t *testing.T) {
	dir := module(t, "func TestOther(t *testing.T) {}\n\nfunc TestTool(t *testing.T) {\n\tt.Run(\"sub\", func(t *testing.T) {\n"+
		"\t\tif _, err := os.Stat(\"tool\"); err != nil {\n\t\t\tt.Skip(\"no tool\")\n\t\t}\n\t})\n}\n")
	text, err := os.ReadFile(filepath.Join(dir, "m_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	fixed := strings.Replace(string(text), "import \"testing\"", "import (\n\t\"os\"\n\t\"testing\"\n)", 1)
	if err := os.WriteFile(filepath.Join(dir, "m_test.go"), []byte(fixed), 0o600); err != nil {
		t.Fatal(err)
	}
	skips, totals := filepath.Join(t.TempDir(), "skips"), filepath.Join(t.TempDir(), "totals")

	if code, out := report(t, "-skips", skips, "-totals", totals, "--", dir, "./..."); code != 0 {
		t.Fatalf("first run: exit %d\n%s", code, out)
	}
	if code, out := report(t, "-again", skips, "-noskip", "--", dir, "./..."); code != 1 || !strings.Contains(out, "1 skipped") {
		t.Errorf("second run without the tool: exit %d, want 1\n%s", code, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "tool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := report(t, "-again", skips, "-noskip", "-totals", totals, "--", dir, "./...")
	if code != 0 || !strings.HasSuffix(out, "\n2 passed, 0 failed, 0 skipped\n") {
		t.Errorf("with the tool: exit %d, want 0 and TestTool with its subtest alone\n%s", code, out)
	}
	if got, _ := os.ReadFile(totals); string(got) != "2 0 0\n2 0 0\n" {
		t.Errorf("totals %q: want the first run without its skips, then the second", got)
	}
}

func TestASkippedTestOfAnotherModuleIsNotForgotten(t *testing.T) {
	a := module(t, "func TestA(t *testing.T) { t.Skip(\"no tool\") }\n")
	b := module(t, "func TestB(t *testing.T) { t.Skip(\"no tool\") }\n")
	skips := filepath.Join(t.TempDir(), "skips")
	if code, out := report(t, "-skips", skips, "--", a, "./...", "--", b, "./..."); code != 0 {
		t.Fatalf("first run: exit %d\n%s", code, out)
	}
	if code, out := report(t, "-again", skips, "--", a, "./..."); code != 2 || !strings.Contains(out, b) {
		t.Errorf("exit %d, want 2 and the module that is missing:\n%s", code, out)
	}
}

func TestReportRefusesACommandLineWithoutAGroup(t *testing.T) {
	for _, argv := range [][]string{nil, {"--"}, {"--", "."}, {"-nosuch", "--", ".", "./..."}} {
		if code, _ := report(t, argv...); code != 2 {
			t.Errorf("report %q: exit %d, want 2", argv, code)
		}
	}
}
