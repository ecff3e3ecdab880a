// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestASweepKeepsWhatLivesAndRemovesTheRest(t *testing.T) {
	w := newWorld(t)
	make := func(kind string, hold bool, closed *time.Time) string {
		j := w.job()
		w.write(j, w.settings(j, "ghcr.io"))
		if kind != "" {
			if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: kind, PID: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if closed != nil {
			if err := Tombstone(j.Root, *closed, "ttl"); err != nil {
				t.Fatal(err)
			}
		}
		if !hold {
			j.Close()
		}
		return j.ID
	}
	ago := func(d time.Duration) *time.Time { v := noon.Add(-d); return &v }
	held := make(KindRun, true, nil)
	newborn := make("", true, nil)
	open := make(KindOpen, false, nil)
	dead := make(KindRun, false, nil)
	half := make("", false, nil)
	young := make(KindOpen, false, ago(23*time.Hour))
	old := make(KindOpen, false, ago(25*time.Hour))
	future := make(KindOpen, false, ago(-48*time.Hour))
	os.Mkdir(filepath.Join(w.jobs, "somebody else's"), 0o700)
	left := filepath.Join(w.jobs, gonePrefix+NewID())
	w.file(filepath.Join(left, "docker/config.json"), "{}")
	var asked []string
	r, err := Sweep(w.jobs, noon, func(s JobState) bool {
		asked = append(asked, s.ID)
		return s.ID == open
	})
	if err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r.Problems)
	}
	ids := func(states []JobState) []string {
		var out []string
		for _, s := range states {
			out = append(out, s.ID)
		}
		slices.Sort(out)
		return out
	}
	check := func(what string, got, want []string) {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("live", ids(r.Live), []string{held, newborn, open})
	check("tombstones", ids(r.Tombstones), []string{young})
	check("removed", r.Removed, []string{dead, half, old, future})
	check("asked", asked, []string{open, dead, half})
	if exists(left) || !exists(filepath.Join(w.jobs, "somebody else's")) {
		t.Error("leftovers")
	}
	for _, id := range []string{held, newborn, open, young} {
		if !exists(filepath.Join(w.jobs, id)) {
			t.Errorf("%s is gone", id)
		}
	}
	if r, err := Sweep(filepath.Join(w.home, "absent"), noon, nil); err != nil || len(r.Live) > 0 {
		t.Errorf("no directory: %v", err)
	}
}

// A sweep never takes a job that is just being made.
func TestJobsBornDuringSweepsSurvive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := Sweep(w.jobs, noon, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 200 {
		j, err := CreateNew(w.jobs)
		if err != nil {
			t.Fatal(err)
		}
		if !exists(filepath.Join(j.Root, DockerDir)) {
			t.Fatal("swept while its lock was held")
		}
		j.Close()
		if err := Remove(j.Root); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// Rule 7: a tombstone keeps docker/, job.json and bin, and no secret.
func TestATombstoneKeepsTheReasonAndNoSecret(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	w.config(`{"auths": {"plain.example.com": {"auth": "cGxhaW46U0VDUkVU"}}, "HttpHeaders": {"Authorization": "SECRET"}}`)
	w.file(".docker/contexts/meta/x/meta.json", "{}")
	for _, static := range []map[string]StaticLogin{nil, {"reg.example.com": {"u", "SECRET"}}} {
		j := w.job()
		s := w.settings(j, "ghcr.io", HubHost)
		s.Static = static
		w.write(j, s)
		if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindOpen, Opened: noon}); err != nil {
			t.Fatal(err)
		}
		w.file(filepath.Join(j.Root, "docker/.token_seed"), "SECRET")
		w.file(filepath.Join(j.Root, "s"), "")
		if err := Tombstone(j.Root, noon, "the leased process ended"); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, line := range tree(t, j.Root) {
			_, name, _ := strings.Cut(line, " ")
			names = append(names, name)
			if p := filepath.Join(j.Root, name); mode(t, p).IsRegular() && !strings.HasPrefix(name, "bin/") {
				text := read(t, p)
				if strings.Contains(text, "SECRET") || strings.Contains(text, "U0VDUkVU") || strings.Contains(text, "dTpTRUNSRVQ") {
					t.Errorf("%s holds a secret: %s", name, text)
				}
			}
		}
		slices.Sort(names)
		want := []string{".", "bin", "bin/docker-credential-regmint", "docker", "docker/config.json", "docker/regmint-job.json", "job.json"}
		if !slices.Equal(names, want) {
			t.Errorf("left: %q", names)
		}
		f, err := ReadJobFile(j.Root)
		if err != nil || f.Closed == nil || !f.Closed.Equal(noon) || f.Reason != "the leased process ended" {
			t.Errorf("%+v %v", f, err)
		}
		if ok, why := WouldAsk(filepath.Join(j.Root, "docker/config.json"), HubHost); !ok {
			t.Errorf("a late docker would not ask us: %s", why)
		}
		if got := read(t, filepath.Join(j.Root, "docker/config.json")); !strings.Contains(got, `"ghcr.io": "regmint"`) {
			t.Errorf("a late podman would not ask us: %s", got)
		}
	}
	if err := Tombstone(filepath.Join(w.jobs, NewID()), noon, ""); err != nil {
		t.Errorf("absent: %v", err)
	}
}

// H76: the child may have done anything to its config.json.
func TestATombstoneReplacesWhateverTheChildPutThere(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	victim := w.file("victim", "SECRET")
	for name, plant := range map[string]func(path string) error{
		"link":      func(p string) error { os.Remove(p); return os.Symlink(victim, p) },
		"directory": func(p string) error { os.Remove(p); return os.MkdirAll(filepath.Join(p, "x"), 0o700) },
		"fifo":      func(p string) error { os.Remove(p); return mkfifo(p) },
		"garbage":   func(p string) error { return os.WriteFile(p, []byte("{{{"), 0) },
		"absent":    os.Remove,
		"no docker": func(p string) error { return os.RemoveAll(filepath.Dir(p)) },
		"chmod 000": func(p string) error { return os.Chmod(filepath.Dir(p), 0) },
	} {
		j := w.job()
		w.write(j, w.settings(j, "ghcr.io"))
		if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindOpen}); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(j.Root, "docker/config.json")
		if err := plant(config); err != nil {
			t.Fatal(err)
		}
		if err := Tombstone(j.Root, noon, "closed"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ok, why := WouldAsk(config, "any.example.com"); !ok || !mode(t, config).IsRegular() {
			t.Errorf("%s: %s", name, why)
		}
	}
	if read(t, victim) != "SECRET" {
		t.Error("a link was followed")
	}
}

func TestAJobFileThatTheChildDestroyedDoesNotStopTheTombstone(t *testing.T) {
	for _, plant := range []func(path string) error{
		os.Remove,
		func(p string) error { return os.WriteFile(p, []byte("{"), 0o600) },
		func(p string) error { os.Remove(p); return os.MkdirAll(filepath.Join(p, "x"), 0o700) },
	} {
		w := newWorld(t)
		j := w.job()
		w.write(j, w.settings(j, "ghcr.io"))
		if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindOpen}); err != nil {
			t.Fatal(err)
		}
		if err := plant(filepath.Join(j.Root, JobFileName)); err != nil {
			t.Fatal(err)
		}
		if err := Tombstone(j.Root, noon, "closed"); err != nil {
			t.Fatal(err)
		}
		if f, err := ReadJobFile(j.Root); err != nil || f.Closed == nil {
			t.Errorf("%+v %v", f, err)
		}
	}
}

// H76: modes taken from a dead job's lock do not keep it alive.
func TestADeadJobWithoutRightsIsSweptByItsOwner(t *testing.T) {
	skipWindows(t, "no modes")
	w := newWorld(t)
	j := w.job()
	w.write(j, w.settings(j, "ghcr.io"))
	j.Close()
	live := w.job() // its lock is held by this process
	if os.Geteuid() == 0 {
		chownAll(t, filepath.Dir(w.jobs))
	}
	for _, p := range []string{filepath.Join(j.Root, LockName), j.Root, filepath.Join(live.Root, LockName), live.Root} {
		if err := os.Chmod(p, 0); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		if _, err := Sweep(w.jobs, noon, nil); err != nil {
			t.Fatal(err)
		}
	} else {
		cmd := exec.Command(copyBinary(t, filepath.Dir(w.jobs)), "sweep", w.jobs)
		cmd.SysProcAttr = asNobody()
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if exists(j.Root) || !exists(live.Root) {
		t.Errorf("dead: %v, live: %v", exists(j.Root), exists(live.Root))
	}
}

func TestATombstoneElsewhereLeavesOtherFiles(t *testing.T) {
	skipWindows(t, "links")
	w := newWorld(t)
	j := w.job()
	s := w.settings(j, "ghcr.io")
	s.Static = map[string]StaticLogin{"reg.example.com": {"u", "SECRET"}}
	s.Dir = filepath.Join(w.home, "dir")
	w.write(j, s)
	if err := WriteJobFile(j.Root, JobFile{ID: j.ID, Kind: KindOpen, DockerDir: s.Dir}); err != nil {
		t.Fatal(err)
	}
	w.file(filepath.Join(s.Dir, "theirs"), "x")
	if err := Tombstone(j.Root, noon, "closed"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tree(t, s.Dir)); !strings.Contains(got, "theirs") || strings.Contains(read(t, filepath.Join(s.Dir, "config.json")), "auth") {
		t.Errorf("%s: %s", got, read(t, filepath.Join(s.Dir, "config.json")))
	}
	// The next job may have it.
	next := w.job()
	s2 := w.settings(next, "quay.io")
	s2.Dir = s.Dir
	w.write(next, s2)
	// And the first one's end does not take it away.
	if err := Remove(j.Root); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(s.Dir, "config.json")) {
		t.Error("another job's files were removed")
	}
}
