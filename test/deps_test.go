// SPDX-License-Identifier: Apache-2.0

// Package test holds the rules of the house as a whole: who may import whom,
// how large the helper may grow, and what install.sh promises.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/regmint/regmint/"

// systems are the platforms whose build tags select different files.
var systems = []string{"linux", "darwin", "windows"}

// rooms must exist: a rule about a package that is gone would pass for ever.
var rooms = []string{
	"cmd/regmint", "cmd/docker-credential-regmint", "helper",
	"providers", "providers/all", "providers/generic", "providers/httpexchange",
	"agent", "agent/api", "agent/config", "agent/minter", "agent/store", "configdir",
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// room is the path of one of our packages inside the module, "" for others.
func room(path string) string {
	r, ok := strings.CutPrefix(path, module)
	if !ok {
		return ""
	}
	return r
}

// isIn reports whether a room is dir or below it.
func isIn(room, dir string) bool { return room == dir || strings.HasPrefix(room, dir+"/") }

// list runs go list for one system, as release builds do: without cgo.
func list(t *testing.T, goos string, args ...string) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Standard,Imports,Deps"}, args...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v\n%s", goos, err, stderr.String())
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

// eachSystem runs f with every package that product code depends on.
func eachSystem(t *testing.T, f func(t *testing.T, goos string, pkgs map[string]pkg)) {
	for _, goos := range systems {
		t.Run(goos, func(t *testing.T) {
			f(t, goos, list(t, goos, "-deps", "./cmd/...", "./helper/...", "./providers/...", "./agent/...", "./configdir/..."))
		})
	}
}

func TestEveryRoomExists(t *testing.T) {
	eachSystem(t, func(t *testing.T, goos string, pkgs map[string]pkg) {
		for _, r := range rooms {
			if _, ok := pkgs[module+r]; !ok {
				t.Errorf("%s: no package %s", goos, r)
			}
		}
	})
}

// importRule says what packages of ours a room may import directly.
type importRule struct {
	room string // this room and those below it that no earlier rule names
	may  []string
}

// rules are tried in order; the first whose room holds the importer decides.
var rules = []importRule{
	{"cmd/regmint", []string{"agent", "configdir", "helper", "providers"}},
	{"cmd/docker-credential-regmint", []string{"helper", "agent/api"}},
	{"helper", []string{"agent/api"}},
	{"agent/api", nil},
	{"agent/minter", []string{"=providers"}},
	{"agent/store", []string{"=providers"}},
	{"agent/config", []string{"=providers"}},
	{"agent", []string{"agent", "configdir", "=providers"}},
	{"configdir", nil},
	{"providers/all", []string{"providers"}},
	{"providers/internal", []string{"=providers", "providers/internal"}},
}

// allowed reports whether importer may import imported, both rooms.
func allowed(importer, imported string) bool {
	if importer == "providers" {
		return false
	}
	for _, r := range rules {
		if !isIn(importer, r.room) {
			continue
		}
		return isIn(imported, r.room) || matches(r.may, imported)
	}
	if isIn(importer, "providers") { // one provider: the domain, the shared parts, its own sub-packages
		own := strings.Join(strings.SplitN(importer, "/", 3)[:2], "/")
		return matches([]string{"=providers", "providers/internal"}, imported) || isIn(imported, own)
	}
	return false
}

// matches: "=x" is x alone, "x" is x and everything below it.
func matches(may []string, imported string) bool {
	return slices.ContainsFunc(may, func(m string) bool {
		if exact, ok := strings.CutPrefix(m, "="); ok {
			return imported == exact
		}
		return isIn(imported, m)
	})
}

func TestRoomsImportOnlyWhatTheHouseAllows(t *testing.T) {
	eachSystem(t, func(t *testing.T, goos string, pkgs map[string]pkg) {
		checked := 0
		for path, p := range pkgs {
			importer := room(path)
			if importer == "" {
				continue
			}
			for _, i := range p.Imports {
				imported := room(i)
				if imported == "" {
					continue
				}
				checked++
				if !allowed(importer, imported) {
					t.Errorf("%s: %s imports %s", goos, importer, imported)
				}
			}
		}
		if checked == 0 {
			t.Fatal("no import was checked")
		}
	})
}

func TestImportRulesRefuseWhatTheyMust(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"cmd/regmint", "providers/all", true},
		{"cmd/regmint", "agent/store", true},
		{"cmd/docker-credential-regmint", "helper", true},
		{"cmd/docker-credential-regmint", "agent", false},
		{"helper", "agent/api", true},
		{"helper", "providers", false},
		{"helper", "configdir", false},
		{"agent", "agent/config", true},
		{"agent", "configdir", true},
		{"agent", "providers", true},
		{"agent", "providers/all", false},
		{"agent", "providers/generic", false},
		{"agent", "helper", false},
		{"agent/minter", "providers", true},
		{"agent/minter", "agent/api", false},
		{"agent/store", "agent/config", false},
		{"agent/config", "configdir", false},
		{"agent/api", "providers", false},
		{"configdir", "agent/api", false},
		{"configdir", "providers", false},
		{"providers", "providers/internal/httpx", false},
		{"providers", "agent/api", false},
		{"providers/generic", "providers", true},
		{"providers/generic", "providers/internal/httpx", true},
		{"providers/generic", "providers/generic/sub", true},
		{"providers/generic", "providers/httpexchange", false},
		{"providers/generic", "providers/all", false},
		{"providers/generic", "agent/api", false},
		{"providers/all", "providers/generic", true},
		{"providers/all", "agent", false},
		{"providers/internal/httpx", "providers/generic", false},
		{"agent", "cmd/regmint", false},
		{"helper", "cmd/docker-credential-regmint", false},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("%s imports %s: allowed %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

// helperMay are the modules outside the standard library that the helper links.
var helperMay = map[string][]string{
	"linux":   {"github.com/docker/docker-credential-helpers/credentials", "golang.org/x/sys"},
	"darwin":  {"github.com/docker/docker-credential-helpers/credentials", "golang.org/x/sys"},
	"windows": {"github.com/docker/docker-credential-helpers/credentials", "golang.org/x/sys", "github.com/Microsoft/go-winio"},
}

func TestHelperLinksOnlyWhatItMay(t *testing.T) {
	for _, goos := range systems {
		t.Run(goos, func(t *testing.T) {
			pkgs := list(t, goos, "-deps", "./cmd/docker-credential-regmint")
			if len(pkgs) < 10 {
				t.Fatalf("only %d packages: the list is not believable", len(pkgs))
			}
			ours := []string{"cmd/docker-credential-regmint", "helper", "agent/api"}
			for path, p := range pkgs {
				switch r := room(path); {
				case path == "net/http" || path == "encoding/gob" || path == "testing":
					t.Errorf("the helper links %s", path)
				case p.Standard:
				case r != "":
					if !slices.Contains(ours, r) {
						t.Errorf("the helper links %s", r)
					}
				default:
					if !slices.ContainsFunc(helperMay[goos], func(m string) bool { return isIn(path, m) }) {
						t.Errorf("the helper links %s", path)
					}
				}
			}
		})
	}
}

func TestDomainDependsOnTheStandardLibraryAlone(t *testing.T) {
	eachSystem(t, func(t *testing.T, goos string, pkgs map[string]pkg) {
		p, ok := pkgs[module+"providers"]
		if !ok {
			t.Fatal("no package providers")
		}
		for _, d := range p.Deps {
			if dep := pkgs[d]; !dep.Standard {
				t.Errorf("%s: providers depends on %s", goos, d)
			}
		}
	})
}

func TestTestCodeStaysOutOfTheProduct(t *testing.T) {
	for _, goos := range systems {
		pkgs := list(t, goos, "-deps", "./cmd/...")
		if _, ok := pkgs[module+"agent"]; !ok {
			t.Fatalf("%s: the product does not link the agent: the list is not believable", goos)
		}
		for path := range pkgs {
			if path == "testing" || isIn(room(path), "test") || isIn(path, "github.com/google/go-containerregistry") || isIn(path, "github.com/rogpeppe/go-internal") {
				t.Errorf("%s: the product links %s", goos, path)
			}
		}
	}
}

// Only the composition root and the tests under test/ know every provider.
func TestOnlyTheCommandLineAndTestsKnowEveryProvider(t *testing.T) {
	eachSystem(t, func(t *testing.T, goos string, pkgs map[string]pkg) {
		found := false
		for path, p := range pkgs {
			if !slices.Contains(p.Imports, module+"providers/all") {
				continue
			}
			found = true
			if room(path) != "cmd/regmint" {
				t.Errorf("%s: %s imports providers/all", goos, room(path))
			}
		}
		if !found {
			t.Errorf("%s: nothing imports providers/all", goos)
		}
	})
}

// helperBudget is the size of the helper, linux/amd64, stripped, in bytes.
const helperBudget = 3_000_000

func TestHelperStaysWithinItsSize(t *testing.T) {
	out := filepath.Join(t.TempDir(), "helper")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/docker-credential-regmint")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.2f MB", float64(info.Size())/1e6)
	if info.Size() > helperBudget {
		t.Errorf("%d bytes: the budget is %d", info.Size(), helperBudget)
	}
}
