// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// report collects what the tests measured: TestMain prints it as two tables,
// and writes them into the file that REGMINT_E2E_REPORT names.
var report measured

type measured struct {
	mu       sync.Mutex
	keys     map[cell][]string // what was asked for, each form once
	failures map[cell]string   // what was shown, by client and trouble
	clients  []string
}

type cell struct{ client, column string }

// How a client's configuration leads to regmint.
const (
	whole = "installed or in a job" // credsStore and credHelpers; registries.conf for podman and its kin
	wired = "login --wire alone"    // one line of credHelpers
)

// asked notes the keys of one operation; H is the registry.
func (m *measured) asked(client, shape, op string, r *registry, keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen(client)
	if m.keys == nil {
		m.keys = map[cell][]string{}
	}
	c := cell{client, op + ", " + shape}
	if form := formOf(keys, r.host); !slices.Contains(m.keys[c], form) {
		m.keys[c] = append(m.keys[c], form)
		slices.Sort(m.keys[c])
	}
}

// formOf writes keys as "`H/team/app`, `H` × 2".
func formOf(keys []string, host string) string {
	var out []string
	if host != "docker.io" && slices.ContainsFunc(keys, func(k string) bool { return !strings.HasPrefix(k, host) }) {
		return "every host that it finds"
	}
	for i := 0; i < len(keys); {
		n := 1
		for i+n < len(keys) && keys[i+n] == keys[i] {
			n++
		}
		key := keys[i]
		if path, ok := strings.CutPrefix(key, host); ok && host != "docker.io" {
			if key = "H"; path != "" {
				key = "H/team/app"
			}
		}
		text := "`" + key + "`"
		if n > 1 {
			text += fmt.Sprintf(" × %d", n)
		}
		out = append(out, text)
		i += n
	}
	return cmp.Or(strings.Join(out, ", "), "nobody")
}

// failed notes what a client showed of a failure: line is regmint's, or "".
func (m *measured) failed(client, trouble, line, out, host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen(client)
	if m.failures == nil {
		m.failures = map[cell]string{}
	}
	if line == "" {
		line = "(its own) " + clean(lastLine(out), host)
	}
	m.failures[cell{client, trouble}] = clean(line, host)
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	text := lines[len(lines)-1]
	if i := strings.LastIndex(strings.ToLower(text), "unauthorized"); i >= 0 {
		return strings.Trim(text[i:], `"`)
	}
	return text
}

var (
	clock    = regexp.MustCompile(`\b\d\d:\d\d\b`)
	loopback = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	temp     = regexp.MustCompile(`/tmp/[^ ;]*/([^ /;]+)`)
)

// clean takes out what differs from run to run.
func clean(line, host string) string {
	line = strings.ReplaceAll(line, host, "H")
	line = loopback.ReplaceAllString(line, "H2")
	line = temp.ReplaceAllString(line, "/…/$1")
	return strings.ReplaceAll(clock.ReplaceAllString(line, "10:32"), "|", "\\|")
}

func (m *measured) seen(client string) {
	if !slices.Contains(m.clients, client) {
		m.clients = append(m.clients, client)
	}
}

// order is the order of the matrix, then that of first sight.
func (m *measured) order() []string {
	var out []string
	for _, c := range clients {
		if slices.Contains(m.clients, c.name) {
			out = append(out, c.name)
		}
	}
	for _, name := range m.clients {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// groups are the columns of the first table.
var groups = [][]string{
	{"push, " + whole, "pull, " + whole, "build, " + whole},
	{"push, " + wired, "pull, " + wired},
	{"Hub push, " + whole, "Hub pull, " + whole},
}

// keysTable is the matrix of keys.
func (m *measured) keysTable() string {
	var b strings.Builder
	b.WriteString("| client | asks, installed or in a job | asks, after `regmint login --wire` alone | for Docker Hub |\n|---|---|---|---|\n")
	for _, client := range m.order() {
		row := []string{client}
		for _, group := range groups {
			var parts []string
			for _, column := range group {
				if forms := m.keys[cell{client, column}]; len(forms) > 0 {
					op, _, _ := strings.Cut(column, ",")
					parts = append(parts, strings.TrimPrefix(op, "Hub ")+": "+strings.Join(forms, " or "))
				}
			}
			row = append(row, cmp.Or(strings.Join(parts, "<br>"), "-"))
		}
		if strings.Trim(strings.Join(row[1:], ""), "-") != "" {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	return b.String()
}

// failuresTable is the matrix of errors as a person sees them.
func (m *measured) failuresTable() string {
	var b strings.Builder
	b.WriteString("| client |")
	for _, tr := range troubles {
		b.WriteString(" " + tr.name + " |")
	}
	b.WriteString("\n|---" + strings.Repeat("|---", len(troubles)) + "|\n")
	lines := map[string]string{}
	for _, client := range m.order() {
		if m.failures[cell{client, troubles[0].name}] == "" {
			continue
		}
		b.WriteString("| " + client + " |")
		for _, tr := range troubles {
			line := m.failures[cell{client, tr.name}]
			if text, own := strings.CutPrefix(line, "(its own) "); own {
				b.WriteString(" its own: " + text + " |")
				continue
			}
			b.WriteString(" shown |")
			lines[tr.name] = line
		}
		b.WriteString("\n")
	}
	b.WriteString("\nWhat is shown:\n\n")
	for _, tr := range troubles {
		if lines[tr.name] != "" {
			fmt.Fprintf(&b, "- %s: `%s`\n", tr.name, lines[tr.name])
		}
	}
	return b.String()
}

// write prints the tables and puts them between their marks in a document.
func (m *measured) write() error {
	tables := map[string]string{}
	if len(m.keys) > 0 {
		tables["keys"] = m.keysTable()
	}
	if len(m.failures) > 0 {
		tables["failures"] = m.failuresTable()
	}
	for _, name := range []string{"keys", "failures"} {
		fmt.Print(tables[name], "\n")
	}
	file := os.Getenv("REGMINT_E2E_REPORT")
	if file == "" {
		return nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for name, table := range tables {
		before, rest, ok1 := bytes.Cut(doc, []byte("<!-- measured: "+name+" -->\n"))
		_, after, ok2 := bytes.Cut(rest, []byte("<!-- end -->"))
		if !ok1 || !ok2 {
			return fmt.Errorf("%s has no place for the table of %s", file, name)
		}
		doc = fmt.Appendf(nil, "%s<!-- measured: %s -->\n%s<!-- end -->%s", before, name, table, after)
	}
	return os.WriteFile(file, doc, 0o644)
}
