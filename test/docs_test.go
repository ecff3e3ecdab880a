// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// document is one Markdown file for readers: at the root or under docs.
type document struct {
	path string // from the root, with slashes
	text string
}

func documents(t *testing.T) []document {
	t.Helper()
	var docs []document
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && path != "docs" && !strings.HasPrefix(path, "docs/"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
		docs = append(docs, document{path, strings.ReplaceAll(string(text), "\r\n", "\n")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) < 5 {
		t.Fatalf("only %d documents found", len(docs))
	}
	return docs
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fencePattern   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	spanPattern    = regexp.MustCompile("`([^`\n]+)`")
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchor is the id that forges give a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func TestLinksInDocumentsLead(t *testing.T) {
	docs := documents(t)
	anchors := map[string]map[string]bool{}
	for _, d := range docs {
		anchors[d.path] = map[string]bool{}
		for _, h := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(d.text, ""), -1) {
			anchors[d.path][anchor(h[1])] = true
		}
	}
	links := 0
	for _, d := range docs {
		for _, m := range linkPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(d.text, ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			path := d.path
			if target != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(filepath.FromSlash(d.path)), filepath.FromSlash(target)))
				if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(path))); err != nil {
					t.Errorf("%s: link to %s: no such file", d.path, m[1])
					continue
				}
			}
			if fragment != "" && !anchors[path][fragment] {
				t.Errorf("%s: link to %s: no such heading", d.path, m[1])
			}
		}
	}
	if links == 0 {
		t.Fatal("no link was checked")
	}
}

func TestEveryDecisionIsInTheIndex(t *testing.T) {
	index, err := os.ReadFile("../docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/adr/[0-9]*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d decisions, %v", len(pages), err)
	}
	for _, p := range pages {
		if !strings.Contains(string(index), "("+filepath.Base(p)+")") {
			t.Errorf("docs/adr/README.md does not name %s", filepath.Base(p))
		}
	}
}

// commandsIn finds what a document tells people to type: in code spans that
// start with the program's name and in blocks of a shell or a CI file.
func commandsIn(text string) []string {
	var found []string
	for _, b := range fencePattern.FindAllStringSubmatch(text, -1) {
		switch b[1] {
		case "console", "sh", "bash", "yaml", "groovy":
		default:
			continue
		}
		for _, line := range strings.Split(b[2], "\n") {
			line, _, _ = strings.Cut(line, " #") // comments
			if i := strings.Index(line, "regmint "); i >= 0 && (i == 0 || strings.ContainsAny(line[i-1:i], " /'\"")) && !strings.Contains(line, "git clone") {
				found = append(found, line[i:])
			}
		}
	}
	for _, s := range spanPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		// Past a variable setting: REGMINT_ACCOUNT=work docker push …
		if strings.HasPrefix(s[1], "regmint ") {
			found = append(found, s[1])
		}
	}
	return found
}

// help asks the program about a command; the answers are kept.
type help struct {
	bin   string
	mu    sync.Mutex
	texts map[string]string
}

func (h *help) of(t *testing.T, words ...string) string {
	t.Helper()
	key := strings.Join(words, " ")
	h.mu.Lock()
	defer h.mu.Unlock()
	if text, ok := h.texts[key]; ok {
		return text
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.bin, append(words, "--help")...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput() // of an unknown command: an error and no usage line
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("regmint %s --help: %v", key, err)
	}
	h.texts[key] = string(out)
	return string(out)
}

// knows reports whether the usage line of a help text is about these words.
func knows(text string, words ...string) bool {
	return regexp.MustCompile(`(?m)^ +regmint ` + regexp.QuoteMeta(strings.Join(words, " ")) + `( |$)`).MatchString(text)
}

func TestDocumentsNameOnlyCommandsAndFlagsThatExist(t *testing.T) {
	h := &help{bin: filepath.Join(t.TempDir(), "regmint"), texts: map[string]string{}}
	if runtime.GOOS == "windows" {
		h.bin += ".exe"
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", h.bin, "./cmd/regmint")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checked := 0
	for _, d := range documents(t) {
		if strings.HasPrefix(d.path, "docs/adr/") {
			continue // a decision also speaks of what is not there
		}
		for _, c := range commandsIn(d.text) {
			checked++
			if problem := checkCommand(t, h, c); problem != "" {
				t.Errorf("%s: %q: %s", d.path, c, problem)
			}
		}
	}
	if checked < 20 {
		t.Fatalf("only %d commands were found", checked)
	}
}

var wordPattern = regexp.MustCompile(`^[a-z][a-z-]*$`)

// checkCommand says what is wrong with a command line that a document shows.
func checkCommand(t *testing.T, h *help, line string) string {
	t.Helper()
	args := strings.Fields(line)[1:]
	var words []string
	text := h.of(t)
	for len(args) > 0 && wordPattern.MatchString(args[0]) && strings.Contains(text, "Available Commands:") {
		words = append(words, args[0])
		if text = h.of(t, words...); !knows(text, words...) {
			return "no such command"
		}
		args = args[1:]
	}
	if len(words) == 0 {
		return "names no command"
	}
	for _, a := range args {
		if a == "--" || a == "|" || a == "&&" {
			break
		}
		flag, _, _ := strings.Cut(strings.TrimRight(a, ".,;:)'\""), "=")
		if strings.HasPrefix(flag, "-") && !regexp.MustCompile(`(^|[\s,])`+regexp.QuoteMeta(flag)+`([\s,]|$)`).MatchString(text) {
			return "no flag " + flag
		}
	}
	return ""
}

func TestCommandCheckFindsWhatDoesNotExist(t *testing.T) {
	h := &help{texts: map[string]string{
		"":         "Usage:\n  regmint [command]\n\nAvailable Commands:\n  run\n  agent\n",
		"run":      "Usage:\n  regmint run [flags] [--] COMMAND\n\nFlags:\n  -r, --target stringArray   narrow\n  -h, --help\n",
		"agent":    "Usage:\n  regmint agent [command]\n\nAvailable Commands:\n  stop\n",
		"nosuch":   "Usage:\n  regmint [command]\n",
		"agent up": "Usage:\n  regmint agent [command]\n",
	}}
	for line, want := range map[string]string{
		"regmint run -r a=push -- docker --nosuch": "",
		"regmint run --target=a sh":                "",
		"regmint agent":                            "",
		"regmint nosuch":                           "no such command",
		"regmint agent up":                         "no such command",
		"regmint run --targ a":                     "no flag --targ",
		"regmint run -x a":                         "no flag -x",
	} {
		if got := checkCommand(t, h, line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := commandsIn("see `regmint run x` and `docker-credential-regmint get`\n```console\n$ regmint status --recent   # why\n```\n```\nregmint agent  one\n```\n"); len(got) != 2 {
		t.Errorf("found %q, want two commands", got)
	}
}
