// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	mainBinary   = "regmint"
	helperBinary = "docker-credential-regmint"
)

var archiveName = "regmint_" + runtime.GOOS + "_" + runtime.GOARCH + ".tar.gz"

// release is what a release directory holds.
type release struct {
	files map[string]string // in the archive, by name
	links map[string]string // symlinks in the archive
	sums  func(sum string) string
}

// goodRelease has both binaries, recognisable by their text.
func goodRelease(version string) release {
	return release{
		files: map[string]string{mainBinary: "main " + version, helperBinary: "helper " + version, "LICENSE": "text"},
		sums:  func(sum string) string { return sum + "  " + archiveName + "\n" },
	}
}

// write lays the release out in a directory of its own.
func (r release) write(t *testing.T) string {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	add := func(h tar.Header, text string) {
		h.Mode, h.Size = 0o755, int64(len(text))
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range r.files {
		add(tar.Header{Name: name, Typeflag: tar.TypeReg}, text)
	}
	for name, to := range r.links {
		add(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, "")
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(archiveName, buf.Bytes())
	if r.sums != nil {
		write("SHA256SUMS", []byte(r.sums(fmt.Sprintf("%x", sha256.Sum256(buf.Bytes())))))
	}
	return dir
}

// install runs install.sh with an environment of its own.
func install(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"../install.sh"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// installed is what a prefix holds, by path; the value is mode and text.
func installed(t *testing.T, prefix string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(prefix, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(prefix, path)
		got[rel] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return got
}

func wantInstalled(t *testing.T, prefix, version string) {
	t.Helper()
	got := installed(t, prefix)
	if len(got) != 2 || got["bin/"+mainBinary] != "-rwxr-xr-x main "+version || got["bin/"+helperBinary] != "-rwxr-xr-x helper "+version {
		t.Errorf("installed %q; want both binaries of %s and nothing else", got, version)
	}
}

func TestInstallFromADirectoryNeedsNoNetwork(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "new", "prefix")
	nowhere := []string{"https_proxy=http://127.0.0.1:9", "http_proxy=http://127.0.0.1:9"}
	code, out := install(t, nowhere, "--from", goodRelease("v1").write(t), "--prefix", prefix)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	wantInstalled(t, prefix, "v1")
	if !strings.Contains(out, "add "+prefix+"/bin to PATH") {
		t.Errorf("no word about PATH:\n%s", out)
	}
}

func TestInstallReplacesAnOlderVersion(t *testing.T) {
	prefix := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if code, out := install(t, nil, "--from", goodRelease(v).write(t), "--prefix", prefix); code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
		wantInstalled(t, prefix, v)
	}
}

func TestInstallRefusesWhatItCannotVerifyAndLeavesTheOldVersion(t *testing.T) {
	bad := func(change func(*release)) release {
		r := goodRelease("v2")
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		r    release
		says string
	}{
		"wrong checksum":       {bad(func(r *release) { r.sums = func(s string) string { return flip(s) + "  " + archiveName + "\n" } }), "checksum of " + archiveName + " is wrong"},
		"no SHA256SUMS":        {bad(func(r *release) { r.sums = nil }), "no SHA256SUMS"},
		"archive not named":    {bad(func(r *release) { r.sums = func(s string) string { return s + "  other.tar.gz\n" } }), "does not name"},
		"name as a suffix":     {bad(func(r *release) { r.sums = func(s string) string { return s + "  x" + archiveName + "\n" } }), "does not name"},
		"named twice":          {bad(func(r *release) { r.sums = func(s string) string { return strings.Repeat(s+"  "+archiveName+"\n", 2) } }), "more than once"},
		"helper missing":       {bad(func(r *release) { delete(r.files, helperBinary) }), "does not hold both"},
		"a link, not a binary": {bad(func(r *release) { delete(r.files, mainBinary); r.links = map[string]string{mainBinary: "/bin/sh"} }), "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := t.TempDir()
			if code, out := install(t, nil, "--from", goodRelease("v1").write(t), "--prefix", prefix); code != 0 {
				t.Fatalf("exit %d\n%s", code, out)
			}
			code, out := install(t, nil, "--from", c.r.write(t), "--prefix", prefix)
			if code != 1 || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want 1 and %q:\n%s", code, c.says, out)
			}
			wantInstalled(t, prefix, "v1")
		})
	}
}

// flip changes one digit of a checksum.
func flip(sum string) string {
	if sum[0] == '0' {
		return "1" + sum[1:]
	}
	return "0" + sum[1:]
}

func TestInstallFromAMirrorVerifiesToo(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if _, err := exec.LookPath("wget"); err != nil {
			t.Skip("neither curl nor wget: apt-get install -y curl")
		}
	}
	tampered := goodRelease("v2")
	tampered.sums = func(s string) string { return flip(s) + "  " + archiveName + "\n" }
	for name, c := range map[string]struct {
		r    release
		code int
	}{"good": {goodRelease("v2"), 0}, "tampered": {tampered, 1}} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.FileServer(http.Dir(c.r.write(t))))
			defer srv.Close()
			prefix := t.TempDir()
			code, out := install(t, nil, "--url", srv.URL+"/", "--prefix", prefix)
			if code != c.code {
				t.Errorf("exit %d, want %d\n%s", code, c.code, out)
			}
			if c.code == 0 {
				wantInstalled(t, prefix, "v2")
			} else if got := installed(t, prefix); len(got) != 0 {
				t.Errorf("installed %q from a tampered mirror", got)
			}
		})
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if code, out := install(t, nil, "--url", srv.URL, "--prefix", t.TempDir()); code != 1 || !strings.Contains(out, "make build") {
		t.Errorf("no release: exit %d, want 1 and what to do instead:\n%s", code, out)
	}
}

func TestInstallBuildsACheckoutFromSource(t *testing.T) {
	prefix := t.TempDir()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS", "GOPROXY", "GOTOOLCHAIN"} {
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	code, out := install(t, append(env, "VERSION=v0.0.0-test"), "--prefix", prefix)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	version, err := exec.CommandContext(t.Context(), filepath.Join(prefix, "bin", mainBinary), "version").Output()
	if err != nil || !strings.Contains(string(version), "v0.0.0-test") {
		t.Errorf("regmint version: %q, %v; want the version it was built as", version, err)
	}
	if _, err := os.Stat(filepath.Join(prefix, "bin", helperBinary)); err != nil {
		t.Errorf("the helper is not beside it: %v", err)
	}
}

func TestInstallRefusesAPrefixItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A PATH of its own: where sudo is installed the script would try it.
	bin := t.TempDir()
	for _, tool := range []string{"sh", "awk", "cat", "chmod", "cp", "cut", "dirname", "gzip", "id", "mkdir", "mktemp", "mv", "rm", "sha256sum", "shasum", "tar", "tr", "uname"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, out := install(t, []string{"PATH=" + bin}, "--from", goodRelease("v1").write(t), "--prefix", filepath.Join(file, "under"))
	if code != 1 || !strings.Contains(out, "cannot write to") {
		t.Errorf("exit %d, want 1 and why:\n%s", code, out)
	}
}

func TestInstallUsage(t *testing.T) {
	for _, args := range [][]string{{"--nosuch"}, {"--from"}, {"--from", ""}, {"--from", "a", "--url", "b"}, {"DIR"}} {
		if code, out := install(t, nil, args...); code != 2 || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: exit %d, want 2 and the usage:\n%s", args, code, out)
		}
	}
	code, out := install(t, nil, "--help")
	if code != 0 || slices.ContainsFunc([]string{"--prefix", "--from", "--url", "--version"}, func(f string) bool { return !strings.Contains(out, f) }) {
		t.Errorf("--help: exit %d\n%s", code, out)
	}
}
