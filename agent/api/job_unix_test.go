// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// jobDir lays out a job as configdir does; live: something listens at s.
type testJob struct {
	root, docker, socket string
}

const testID = "abcdefghijklmnopqrstuvwxyz"

func newJob(t *testing.T) testJob {
	t.Helper()
	root := shortDir(t)
	j := testJob{root: root, docker: filepath.Join(root, "docker"), socket: filepath.Join(root, "s")}
	if err := os.Mkdir(j.docker, 0o700); err != nil {
		t.Fatal(err)
	}
	j.write(t, filepath.Join(root, "job.json"), `{"schema":1,"job":"%s","kind":"run","targets":["a"],"opened":"2026-11-21T10:00:00Z"}`, testID)
	j.write(t, filepath.Join(j.docker, "regmint-job.json"), `{"schema":1,"job":"%s","socket":"%s"}`, testID, j.socket)
	return j
}

func (testJob) write(t *testing.T, path, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (j testJob) listen(t *testing.T) {
	t.Helper()
	l, err := Listen(j.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

func TestAProcessFindsItsJob(t *testing.T) {
	j := newJob(t)
	j.listen(t)
	moved := t.TempDir() // werf ci-env copies the docker directory
	j.write(t, filepath.Join(moved, "regmint-job.json"), `{"schema":1,"job":"%s","socket":"%s"}`, testID, j.socket)
	home := t.TempDir()
	if err := os.Symlink(j.docker, filepath.Join(home, ".docker")); err != nil {
		t.Fatal(err)
	}
	mounted := newJob(t) // its pointer has the path on the host
	mounted.write(t, filepath.Join(mounted.docker, "regmint-job.json"), `{"schema":1,"job":"%s","socket":"/host/path/s"}`, testID)
	stranger := newJob(t) // another job's directory around a copied docker part
	stranger.write(t, filepath.Join(stranger.root, "job.json"), `{"schema":1,"job":"zzzz"}`)
	stranger.write(t, filepath.Join(stranger.docker, "regmint-job.json"), `{"schema":1,"job":"%s","socket":"%s"}`, testID, j.socket)
	for name, tc := range map[string]struct {
		env  environment
		want string
	}{
		"variable":             {mapEnv("REGMINT_SOCKET="+j.socket, "DOCKER_CONFIG="+mounted.docker), j.socket},
		"docker config":        {mapEnv("DOCKER_CONFIG=" + j.docker), j.socket},
		"with a slash":         {mapEnv("DOCKER_CONFIG=" + j.docker + "/"), j.socket},
		"copied docker config": {mapEnv("DOCKER_CONFIG=" + moved), j.socket},
		"mounted elsewhere":    {mapEnv("DOCKER_CONFIG=" + mounted.docker), mounted.socket},
		"around it another":    {mapEnv("DOCKER_CONFIG=" + stranger.docker), j.socket},
		"linked home":          {mapEnv("HOME=" + home), j.socket},
	} {
		t.Run(name, func(t *testing.T) {
			ref, inJob, err := findJob(tc.env)
			if err != nil || !inJob || ref.Socket != tc.want || !ref.Closed.IsZero() {
				t.Errorf("%+v, %v, %v", ref, inJob, err)
			}
		})
	}
	t.Chdir(j.root)
	if ref, inJob, err := findJob(mapEnv("DOCKER_CONFIG=docker")); err != nil || !inJob || ref.Socket != j.socket {
		t.Errorf("relative: %+v, %v, %v", ref, inJob, err)
	}
}

func TestOutsideAJobThereIsNone(t *testing.T) {
	empty := t.TempDir()
	for _, env := range []environment{mapEnv(), mapEnv("HOME=" + empty), mapEnv("DOCKER_CONFIG=" + empty), mapEnv("DOCKER_CONFIG=/nonexistent/x", "HOME="+empty), mapEnv("REGMINT_SOCKET=")} {
		if ref, inJob, err := findJob(env); inJob || err != nil {
			t.Errorf("%+v, %v", ref, err)
		}
	}
}

func TestAJobThatCannotBeReadIsNeverLeft(t *testing.T) { // H89
	for name, env := range map[string]environment{
		"abstract": mapEnv("REGMINT_SOCKET=@abstract"),
		"TCP":      mapEnv("REGMINT_SOCKET=tcp://127.0.0.1:1"),
		"relative": mapEnv("REGMINT_SOCKET=./s"),
		"long":     mapEnv("REGMINT_SOCKET=/" + strings.Repeat("x", 200)),
	} {
		if _, inJob, err := findJob(env); !inJob || err == nil {
			t.Errorf("%s: %v, %v", name, inJob, err)
		}
	}
	for name, plant := range map[string]func(path string) error{
		"empty":           func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"malformed":       func(p string) error { return os.WriteFile(p, []byte(`{"job":`), 0o600) },
		"without socket":  func(p string) error { return os.WriteFile(p, []byte(`{"job":"x"}`), 0o600) },
		"relative socket": func(p string) error { return os.WriteFile(p, []byte(`{"job":"x","socket":"s"}`), 0o600) },
		"fifo":            func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"directory":       func(p string) error { return os.Mkdir(p, 0o700) },
		"dangling link":   func(p string) error { return os.Symlink("/nonexistent", p) },
		"huge":            func(p string) error { return os.WriteFile(p, make([]byte, 2<<20), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := plant(filepath.Join(dir, "regmint-job.json")); err != nil {
				t.Fatal(err)
			}
			if _, inJob, err := findJob(mapEnv("DOCKER_CONFIG=" + dir)); !inJob || err == nil {
				t.Errorf("%v, %v", inJob, err)
			}
		})
	}
}

func TestAClosedJobSaysSo(t *testing.T) {
	j := newJob(t)
	closed := time.Now().Add(-time.Minute)
	j.write(t, filepath.Join(j.root, "job.json"), `{"schema":1,"job":"%s","closed":"%s","reason":"ttl\u001b[31m"}`, testID, closed.Format(time.RFC3339Nano))
	copied := t.TempDir()
	j.write(t, filepath.Join(copied, "regmint-job.json"), `{"schema":1,"job":"%s","socket":"%s"}`, testID, j.socket)
	for _, env := range []environment{mapEnv("REGMINT_SOCKET=" + j.socket), mapEnv("DOCKER_CONFIG=" + j.docker), mapEnv("DOCKER_CONFIG=" + copied)} {
		ref, inJob, err := findJob(env)
		var c *JobClosedError
		if !inJob || !errors.As(err, &c) || ref.Closed.IsZero() || ref.ID != testID {
			t.Fatalf("%+v, %v, %v", ref, inJob, err)
		}
		wantError(t, err, "this job was closed at "+closed.Local().Format("15:04")+` (ttl\x1b[31m)`)
	}
	old := &JobClosedError{At: time.Date(2025, 1, 2, 3, 4, 0, 0, time.Local)}
	wantError(t, old, "closed at 2025-01-02 03:04")
	j.listen(t) // whoever listens has the last word
	if _, _, err := findJob(mapEnv("REGMINT_SOCKET=" + j.socket)); err != nil {
		t.Error(err)
	}
}

func TestAJobWaitsForItsNextAgent(t *testing.T) {
	j := newJob(t)
	ref := JobRef{Socket: j.socket}
	for _, ctx := range []context.Context{timeout(t, 100*time.Millisecond), Until(time.Now().Add(100 * time.Millisecond))} {
		_, err := ref.Dial(ctx)
		if !errors.Is(err, ErrNoAgent) {
			t.Errorf("%v", err)
		}
		wantError(t, err, "the job's agent is gone")
	}
	type result struct {
		c   *Client
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := ref.Dial(timeout(t, 10*time.Second))
		done <- result{c, err}
	}()
	j.listen(t)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	_ = r.c.Close()
	gone := JobRef{Socket: filepath.Join(t.TempDir(), "none", "s")}
	_, err := gone.Dial(t.Context())
	wantError(t, err, "the job has ended, or its directory is not mounted here")
}

func TestAJobThatIsClosedWhileWaitingSaysSo(t *testing.T) {
	j := newJob(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: j.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // a dead socket, a live directory
	done := make(chan error, 1)
	go func() {
		_, err := JobRef{Socket: j.socket}.Dial(timeout(t, 10*time.Second))
		done <- err
	}()
	j.write(t, filepath.Join(j.root, "job.json"), `{"job":"%s","closed":"2026-11-21T10:32:00Z","reason":"job close"}`, testID)
	_ = os.Remove(j.socket)
	err = <-done
	var c *JobClosedError
	if !errors.As(err, &c) {
		t.Errorf("%v", err)
	}
}
