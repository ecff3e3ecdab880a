// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fill writes a job with everything a child may leave in it.
func (w *world) fill(j *Job) {
	w.t.Helper()
	w.write(j, w.settings(j, "ghcr.io"))
	if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindRun}); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range []string{"docker/.token_seed", "docker/deep/er/file", "bin/x", "more/y"} {
		w.file(filepath.Join(j.Root, p), "x")
	}
}

func TestRemovingAJobLeavesNothing(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	w.fill(j)
	j.Close()
	if err := Remove(j.Root); err != nil {
		t.Fatal(err)
	}
	if err := Remove(j.Root); err != nil {
		t.Errorf("a second time: %v", err)
	}
	entries, _ := os.ReadDir(w.jobs)
	for _, e := range entries {
		if e.Name() != sweepLockName {
			t.Errorf("%s is left", e.Name())
		}
	}
	for _, path := range []string{w.home, filepath.Join(w.jobs, "x"), w.jobs} {
		if err := Remove(path); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !exists(w.home) {
		t.Error("removed what is no job")
	}
	if err := Remove(filepath.Join(w.home, "absent", NewID())); err != nil {
		t.Errorf("no directory of jobs: %v", err)
	}
}

// H77: what a child planted is removed, what it leads to is not touched.
func TestLinksThatAChildPlantedAreNotFollowed(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	j := w.job()
	w.fill(j)
	canary := w.file("precious/file", "x")
	for name, target := range map[string]string{
		"link": w.home, "docker/home": w.home, "docker/deep/up": "../../../..", "bin/abs": filepath.Dir(canary), "containers/self": ".", "file": canary,
	} {
		if err := os.Symlink(target, filepath.Join(j.Root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{DockerDir, ContainersDir} {
		os.RemoveAll(filepath.Join(j.Root, d))
		if err := os.Symlink(filepath.Dir(canary), filepath.Join(j.Root, d)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, w.home)
	if err := Tombstone(j.Root, time.Now(), "closed"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(j.Root); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, w.home); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the home was %q and is %q", before, after)
	}
	if exists(j.Root) {
		t.Error("the job is still there")
	}
	// The job's own name is a link now.
	if err := os.Symlink(w.home, j.Root); err != nil {
		t.Fatal(err)
	}
	if err := Remove(j.Root); err != nil || exists(j.Root) || !exists(canary) {
		t.Errorf("a link in the job's place: %v", err)
	}
}

// H77: a child that swaps a directory for a link all the time, 1,000 removals.
func TestAThousandRemovalsWhileAChildSwapsDirectoriesForLinks(t *testing.T) {
	t.Parallel()
	skipWindows(t, "links")
	w := newWorld(t)
	outside := filepath.Join(w.home, "outside")
	canary := w.file(filepath.Join(outside, "canary"), "x")
	w.file(filepath.Join(outside, "sub/canary"), "x")
	if err := os.Mkdir(w.jobs, 0o700); err != nil {
		t.Fatal(err)
	}
	for run := range 1000 {
		root := filepath.Join(w.jobs, NewID())
		victim := filepath.Join(root, "docker")
		for _, d := range []string{root, victim, filepath.Join(victim, "sub")} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		os.WriteFile(filepath.Join(victim, "canary"), nil, 0o600)
		os.WriteFile(filepath.Join(victim, "sub", "canary"), nil, 0o600)
		var stop atomic.Bool
		var wg sync.WaitGroup
		// The child has the directory open, so that renaming its parent does not
		// keep it out.
		dir, err := os.OpenRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for !stop.Load() {
				dir.Rename("docker", "aside")
				dir.Symlink(outside, "docker")
				runtime.Gosched()
				dir.Remove("docker")
				dir.Rename("aside", "docker")
				dir.Chmod("docker", 0)
			}
		})
		err = Remove(root)
		stop.Store(true)
		wg.Wait()
		dir.Close()
		if err != nil && exists(root) {
			if err = Remove(root); err != nil {
				t.Fatalf("run %d: %v", run, err)
			}
		}
		if !exists(canary) || !exists(filepath.Join(outside, "sub/canary")) {
			t.Fatalf("run %d: a file outside was removed", run)
		}
		if m := mode(t, outside).Perm(); m != 0o755 {
			t.Fatalf("run %d: a directory outside has mode %04o now", run, m)
		}
	}
	if _, err := Sweep(w.jobs, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(w.jobs); len(entries) > 1 {
		t.Errorf("%d entries are left", len(entries))
	}
}

// H76: modes that were taken away do not save a directory from its removal.
// Root may do everything, so an ordinary user removes here.
func TestDirectoriesWithoutRightsAreRemovedByTheirOwner(t *testing.T) {
	skipWindows(t, "no modes")
	w := newWorld(t)
	j := w.job()
	w.fill(j)
	w.file(filepath.Join(j.Root, "docker/a/b/c/file"), "x")
	j.Close()
	if os.Geteuid() == 0 {
		chownAll(t, filepath.Dir(w.jobs))
	}
	for _, d := range []string{"docker/a/b/c", "docker/a/b", "docker/a", "docker", "bin", "containers", "."} {
		if err := os.Chmod(filepath.Join(j.Root, d), 0); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		if err := Remove(j.Root); err != nil {
			t.Fatal(err)
		}
	} else {
		// The test binary lies where only root may go: a copy can be run.
		exe := copyBinary(t, filepath.Dir(w.jobs))
		cmd := exec.Command(exe, "remove", j.Root)
		cmd.SysProcAttr = asNobody()
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if exists(j.Root) {
		t.Error("still there")
	}
}

func chownAll(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, 65534, 65534)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyBinary(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "test-binary")
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestRemovalsAtTheSameTimeDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		j := w.job()
		w.fill(j)
		j.Close()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := Remove(j.Root); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if exists(j.Root) {
			t.Fatal("still there")
		}
	}
}

// A process that goes on writing ends with an error in bounded time, or loses.
func TestARemovalAgainstAWriterEnds(t *testing.T) {
	w := newWorld(t)
	j := w.job()
	w.fill(j)
	j.Close()
	dir, err := os.OpenRoot(filepath.Join(j.Root, DockerDir))
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			if f, err := dir.Create("again"); err == nil {
				f.Close()
			}
		}
	})
	err = Remove(j.Root)
	stop.Store(true)
	wg.Wait()
	dir.Close()
	if err != nil {
		t.Logf("gave up: %v", err)
	}
	if exists(j.Root) {
		t.Error("the job can still be met under its name")
	}
	if _, err := Sweep(w.jobs, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(w.jobs); len(entries) > 1 {
		t.Error("the sweep leaves it")
	}
}
