// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// engine is one dockerd for all tests: started by the first that needs it,
// ended by TestMain.
var engine dockerd

type dockerd struct {
	once sync.Once
	dir  string
	env  []string
	done chan struct{}
	out  bytes.Buffer
	err  error
}

func (d *dockerd) socket() string { return filepath.Join(d.dir, "docker.sock") }

// dockerEngine points the world's docker at the shared engine.
func (w *world) dockerEngine() {
	w.t.Helper()
	if find("docker") == "" || find("dockerd") == "" || os.Geteuid() != 0 {
		return // need says so
	}
	engine.once.Do(func() { engine.err = engine.start(w.t) })
	if engine.err != nil {
		w.t.Fatal(engine.err)
	}
	w.env["DOCKER_HOST"] = "unix://" + engine.socket()
}

// hubEngine is an engine of this world alone that reaches Docker Hub through
// the world's proxy.
func (w *world) hubEngine(t *testing.T) {
	t.Helper()
	if d := engineBehind(t, w.env); d != nil {
		w.env["DOCKER_HOST"] = "unix://" + d.socket()
	}
}

// engineBehind starts an engine that reaches registries through a proxy; nil
// where it cannot run, of which need and ready tell.
func engineBehind(t *testing.T, env map[string]string) *dockerd {
	t.Helper()
	if find("docker") == "" || find("dockerd") == "" || os.Geteuid() != 0 {
		return nil
	}
	d := &dockerd{}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"} {
		d.env = append(d.env, name+"="+env[name])
	}
	t.Cleanup(d.stop)
	if err := d.start(t); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *dockerd) start(t *testing.T) error {
	var err error
	if d.dir, err = os.MkdirTemp("/tmp", "rmdocker"); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(find("dockerd"), "--iptables=false", "--bridge=none", "--storage-driver=vfs",
		"--data-root", filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.dir, "exec"), "-p", filepath.Join(d.dir, "pid"),
		"-H", "unix://"+d.socket(), "--insecure-registry", "127.0.0.0/8", "--max-download-attempts", "1")
	cmd.Env = append([]string{"HOME=" + d.dir, "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}, d.env...)
	cmd.Stdout, cmd.Stderr = &d.out, &d.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.done = make(chan struct{})
	go func() {
		defer close(d.done)
		_ = cmd.Wait()
	}()
	docker := func(args ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, find("docker"), args...)
		c.Env = []string{"HOME=" + d.dir, "PATH=" + os.Getenv("PATH"), "DOCKER_HOST=unix://" + d.socket()}
		return c.CombinedOutput()
	}
	for range 300 {
		if _, err = docker("version"); err == nil {
			break
		}
		select {
		case <-d.done:
			return fmt.Errorf("dockerd ended at once:\n%s", tail(d.out.String(), 2000))
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		return fmt.Errorf("dockerd does not answer:\n%s", tail(d.out.String(), 2000))
	}
	if out, err := docker("load", "-i", imageFile(t, filepath.Join(d.dir, "image.tar"), "base")); err != nil {
		return fmt.Errorf("docker load: %w\n%s", err, out)
	}
	return nil
}

// stop ends the engine by its pidfile and takes its files away.
func (d *dockerd) stop() {
	if d.dir == "" {
		return
	}
	if b, err := os.ReadFile(filepath.Join(d.dir, "pid")); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	if d.done != nil {
		select {
		case <-d.done:
		case <-time.After(20 * time.Second):
			fmt.Fprintln(os.Stderr, "e2e: dockerd did not end")
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
}
