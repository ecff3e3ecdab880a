// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// world is a person with a home, a system and a runtime directory of their own.
type world struct {
	t    *testing.T
	home string
	root string
	jobs string
	bin  string
	env  map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// Short: the paths of sockets are, and t.TempDir holds the test's name.
	base, err := os.MkdirTemp("", "cd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if resolved, err := filepath.EvalSymlinks(base); err == nil {
		base = resolved
	}
	w := &world{
		t: t, home: filepath.Join(base, "home"), root: filepath.Join(base, "root"),
		jobs: filepath.Join(base, "j"), bin: filepath.Join(base, "bin"), env: map[string]string{},
	}
	for _, d := range []string{w.home, w.root, w.bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.program("docker-credential-regmint")
	w.env["PATH"] = w.bin
	// A nested run would look into the real /run otherwise.
	w.env["XDG_RUNTIME_DIR"] = filepath.Join(base, "run")
	return w
}

func (w *world) caller() Caller {
	return Caller{
		Lookup: func(n string) (string, bool) { v, ok := w.env[n]; return v, ok },
		Home:   w.home,
		UID:    os.Geteuid(),
		Root:   w.root,
	}
}

// program puts an executable on the PATH.
func (w *world) program(name string) string {
	w.t.Helper()
	path := filepath.Join(w.bin, name+exeSuffix)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n# "+name+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) helper() string {
	return filepath.Join(w.bin, "docker-credential-regmint"+exeSuffix)
}

// file writes a file of the person, making its directories.
func (w *world) file(path, text string) string {
	w.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(w.home, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) config(text string) string { return w.file(".docker/config.json", text) }

func (w *world) job() *Job {
	w.t.Helper()
	j, err := CreateNew(w.jobs)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { j.Close() })
	return j
}

func (w *world) settings(j *Job, hosts ...string) Settings {
	return Settings{Caller: w.caller(), Hosts: hosts, Helper: w.helper(), Socket: filepath.Join(j.Root, SocketName)}
}

// write writes a job's files and fails the test on error.
func (w *world) write(j *Job, s Settings) Report {
	w.t.Helper()
	r, err := j.Write(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// tree lists everything below dir, with modes for files and directories.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := e.Info()
		if err != nil {
			return err
		}
		out = append(out, info.Mode().String()+" "+filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func mustContain(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// golden compares with testdata/name; GOLDEN_UPDATE=1 is read by TestMain.
func golden(t *testing.T, name, got string, replace ...string) {
	t.Helper()
	got = strings.NewReplacer(replace...).Replace(got)
	path := filepath.Join("testdata", name)
	if updateGolden {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (make golden writes it anew):\n%s\nwant:\n%s", path, got, want)
	}
}

func skipWindows(t *testing.T, why string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("not on Windows: " + why)
	}
}
