// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIDsAre128RandomBitsInLowerCase(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if len(id) != 26 || id != strings.ToLower(id) || !ValidID(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
	for _, id := range []string{
		"", "x", "../../../../../../../../xx", strings.Repeat("a", 25), strings.Repeat("a", 27),
		strings.Repeat("A", 26), strings.Repeat("1", 26), strings.Repeat("a", 25) + "/", strings.Repeat("é", 13), "-rf" + strings.Repeat("a", 23),
	} {
		if ValidID(id) {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

// T20: the modes do not depend on the umask.
func TestAJobDirectoryIsPrivateWhateverTheUmask(t *testing.T) {
	skipWindows(t, "no modes")
	for _, mask := range []int{0, 0o022, 0o777} {
		w := newWorld(t)
		old := umask(mask)
		j, err := Create(w.jobs, NewID())
		if err == nil {
			_, err = j.Write(w.settings(j, "ghcr.io"))
		}
		if err == nil {
			err = WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindRun})
		}
		umask(old)
		if err != nil {
			t.Fatalf("umask %03o: %v", mask, err)
		}
		for _, line := range tree(t, w.jobs) {
			m, name, _ := strings.Cut(line, " ")
			want := "-rw-------"
			switch {
			case strings.HasPrefix(m, "d"):
				want = "drwx------"
			case strings.HasPrefix(m, "L"):
				continue
			}
			if m != want {
				t.Errorf("umask %03o: %s has %s", mask, name, m)
			}
		}
		j.Close()
	}
}

func TestAJobHasTheDocumentedLayout(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	j := w.job()
	w.write(j, w.settings(j, "ghcr.io"))
	if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindRun}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range tree(t, j.Root) {
		_, name, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	want := map[string]bool{
		".": true, "docker": true, "containers": true, "bin": true, "lock": true, "job.json": true, "registries.conf": true,
		"docker/config.json": true, "docker/regmint-job.json": true, "containers/auth.json": true, "bin/docker-credential-regmint": true,
	}
	for _, n := range names {
		if !want[n] {
			t.Errorf("%s is there", n)
		}
		delete(want, n)
	}
	for n := range want {
		t.Errorf("%s is missing", n)
	}
	if got, _ := os.Readlink(filepath.Join(j.Root, "bin/docker-credential-regmint")); got != w.helper() {
		t.Errorf("the helper's link leads to %q", got)
	}
}

// H69: a job never takes over something that is there.
func TestAnExistingDirectoryIsNeverReused(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(w.jobs, 0o700); err != nil {
		t.Fatal(err)
	}
	plant := map[string]func(path string) error{
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"file":      func(p string) error { return os.WriteFile(p, nil, 0o600) },
	}
	if runtime.GOOS != "windows" {
		plant["link"] = func(p string) error { return os.Symlink(w.home, p) }
		plant["dangling link"] = func(p string) error { return os.Symlink("/nonexistent", p) }
		plant["fifo"] = mkfifo
	}
	for name, make := range plant {
		id := NewID()
		path := filepath.Join(w.jobs, id)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before := mode(t, path)
		if _, err := Create(w.jobs, id); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: err = %v", name, err)
		}
		if mode(t, path) != before {
			t.Errorf("%s was changed", name)
		}
	}
	if exists(filepath.Join(w.home, DockerDir)) {
		t.Error("a link was followed")
	}
}

func TestADirectoryOfJobsThatOthersMayEnterIsRefused(t *testing.T) {
	skipWindows(t, "no modes")
	w := newWorld(t)
	if err := os.Mkdir(w.jobs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.jobs, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := CreateNew(w.jobs)
	mustContain(t, err, w.jobs, "chmod 700")
	other := filepath.Join(w.home, "link")
	if err := os.Symlink(w.home, other); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateNew(other); !errors.Is(err, ErrForeign) {
		t.Errorf("a link as directory of jobs: %v", err)
	}
}

// H71: over-long socket paths are an error with both lengths, before anything
// is made.
func TestAnOverlongSocketPathIsAnErrorWithBothLengths(t *testing.T) {
	skipWindows(t, "named pipes")
	w := newWorld(t)
	deep := filepath.Join(w.home, strings.Repeat("d", 120))
	_, err := Create(deep, NewID())
	mustContain(t, err, "REGMINT_RUNTIME_DIR", "bytes, this system allows")
	if exists(deep) {
		t.Error("the directory was made all the same")
	}
	limit := maxSocketPath()
	root := "/" + strings.Repeat("r", limit-3)
	if s, err := SocketPath(root); err != nil || len(s) != limit {
		t.Errorf("a path of exactly the limit: %v (%d)", err, len(s))
	}
	if _, err := SocketPath(root + "r"); err == nil {
		t.Error("one byte more is taken")
	}
}

// H78: whether somebody lives in a directory is decided by the lock, not by
// pid or age.
func TestTheLockIsHeldForTheLifeOfItsProcess(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	if held, err := LockHeld(j.Root); err != nil || !held {
		t.Fatalf("held = %v, %v", held, err)
	}
	second, err := Open(j.Root)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	j.Close()
	if held, err := LockHeld(j.Root); err != nil || held {
		t.Fatalf("after Close: held = %v, %v", held, err)
	}
	cmd := exec.Command(os.Args[0], "hold-lock", j.Root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	if held, err := LockHeld(j.Root); err != nil || !held {
		t.Errorf("held by another process = %v, %v", held, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if held, err := LockHeld(j.Root); err != nil || held {
		t.Errorf("after SIGKILL = %v, %v", held, err)
	}
}

func TestAskingForALockChangesNothingAndNeverHangs(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	j.Close()
	lock := filepath.Join(j.Root, LockName)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if held, err := LockHeld(j.Root); err != nil || held || exists(lock) {
		t.Errorf("no lock file: %v, %v, made: %v", held, err, exists(lock))
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := mkfifo(lock); err != nil {
		t.Fatal(err)
	}
	if held, err := LockHeld(j.Root); err != nil || held {
		t.Errorf("a FIFO: %v, %v", held, err)
	}
	os.Remove(lock)
	if err := os.Symlink(filepath.Join(w.home, "made"), lock); err != nil {
		t.Fatal(err)
	}
	if held, err := LockHeld(j.Root); err != nil || held || exists(filepath.Join(w.home, "made")) {
		t.Errorf("a link: %v, %v", held, err)
	}
}

func TestJobFilesComeBackAsWritten(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	closed := time.Date(2026, 11, 21, 10, 32, 0, 0, time.UTC)
	f := JobFile{
		ID: j.ID, Kind: KindOpen, Targets: []string{"ghcr.io/acme/app=push"}, Only: true, Accounts: []string{"work"},
		LoginHosts: []string{"reg.example.com:5000"}, Label: "build 17", PID: 42, PIDStart: "8712",
		TTL: 24 * time.Hour, Opened: closed.Add(-time.Hour), Closed: &closed, Reason: "ttl", DockerDir: "/kaniko/.docker",
	}
	if err := WriteJobFile(j.Root, f); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJobFile(j.Root)
	if err != nil {
		t.Fatal(err)
	}
	f.Schema = 1
	if !got.Opened.Equal(f.Opened) || !got.Closed.Equal(closed) {
		t.Errorf("times: %v %v", got.Opened, got.Closed)
	}
	golden(t, "job.json", read(t, filepath.Join(j.Root, JobFileName)), j.ID, "JOB")
	if got.Label != f.Label || got.TTL != f.TTL || got.PIDStart != f.PIDStart || got.Targets[0] != f.Targets[0] || got.DockerDir != f.DockerDir {
		t.Errorf("got %+v", got)
	}
}

func TestJobFilesOfOthersAreRefused(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	path := filepath.Join(j.Root, JobFileName)
	for text, says := range map[string]string{
		`{"schema":2,"job":"` + j.ID + `"}`:    "schema 2",
		`{"schema":1,"job":"` + NewID() + `"`:  "malformed",
		`{"schema":1,"job":"` + NewID() + `"}`: "names job",
		``:                                     "malformed",
		`[]`:                                   "malformed",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadJobFile(j.Root)
		mustContain(t, err, says)
	}
	if err := os.WriteFile(path, []byte(`{"schema":1,"job":"`+j.ID+`","kind":"run","from_the_future":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJobFile(j.Root); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
	if err := WriteJobFile(j.Root, JobFile{ID: NewID()}); !errors.Is(err, ErrForeign) {
		t.Errorf("another job's file: %v", err)
	}
}

// H70: a label is text for people, never part of a path.
func TestALabelIsOneShortLine(t *testing.T) {
	w := newWorld(t)
	for _, label := range []string{"../../x", "", strings.Repeat("é", 4096), "a\nb\x1b[31m", "-rf", "日本語", "\xff\xfe", "a\u202eb"} {
		j := w.job()
		if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindRun, Label: label}); err != nil {
			t.Fatal(err)
		}
		f, err := ReadJobFile(j.Root)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Label) > maxLabel || strings.ContainsAny(f.Label, "\n\x1b\u202e") || strings.Contains(f.Label, "\uFFFD") {
			t.Errorf("label %q became %q", label, f.Label)
		}
	}
}

func TestManyJobsAtOnceAreAllDifferentAndLocked(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	jobs := make([]*Job, 64)
	for i := range jobs {
		wg.Go(func() {
			j, err := CreateNew(w.jobs)
			if err != nil {
				t.Error(err)
				return
			}
			jobs[i] = j
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, j := range jobs {
		if j == nil || seen[j.ID] {
			t.Fatal("a job is missing or twice there")
		}
		seen[j.ID] = true
		if held, err := LockHeld(j.Root); err != nil || !held {
			t.Errorf("%s: %v %v", j.ID, held, err)
		}
		j.Close()
	}
}
