// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// seed puts an image into a registry without regmint.
func (r *registry) seed(t *testing.T, repository, user, password string) string {
	t.Helper()
	text := r.host + "/" + repository + ":1"
	ref, err := name.ParseReference(text, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image(t, "seed of "+text), remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	return text
}

// builders build an image from a private base; remote ones over a service.
var builders = []struct {
	name  string
	needs []string
	args  func(w *world, dir string) command
}{
	// First: one host that cannot answer makes it give up.
	{"podman --remote build", []string{"podman"}, func(w *world, dir string) command {
		return cmd("podman", "--remote", "--url", "unix://"+w.path("x", "podman.sock"), "build", "--pull-always", "--tls-verify=false", "-t", "built:1", dir)
	}},
	{"docker build, classic", []string{"docker", "dockerd"}, func(_ *world, dir string) command {
		return cmd("docker", "build", "--pull", "-t", "e2e/built:1", dir).with("DOCKER_BUILDKIT=0")
	}},
	{"docker build, BuildKit", []string{"docker", "dockerd", "docker-buildx"}, func(_ *world, dir string) command {
		return cmd("docker", "build", "--pull", "--progress", "plain", "-t", "e2e/built:1", dir).with("DOCKER_BUILDKIT=1")
	}},
	{"docker buildx build", []string{"docker", "dockerd", "docker-buildx"}, func(_ *world, dir string) command {
		return cmd("docker", "buildx", "build", "--pull", "--progress", "plain", "-t", "e2e/built:1", dir)
	}},
	{"podman build", []string{"podman"}, func(_ *world, dir string) command {
		return cmd("podman", "build", "--pull-always", "--tls-verify=false", "-t", "built:1", dir)
	}},
	{"buildah build", []string{"buildah"}, func(_ *world, dir string) command {
		return cmd("buildah", "bud", "--pull-always", "--tls-verify=false", "-t", "built:1", dir)
	}},
}

// TestBuildsFromAPrivateBase: every builder, installed and in a job, beside
// accounts for other hosts, one of which fails.
func TestBuildsFromAPrivateBase(t *testing.T) {
	need(t, "podman")
	for _, way := range []string{"installed", "job"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			saved, minted, broken := startToken(t), startMinted(t), startMinted(t)
			w.configure(minted.account, strings.Replace(broken.account, `name = "bot"`, `name = "broken"`, 1))
			base := saved.seed(t, "private/base", saved.user, saved.password)
			w.dockerEngine()
			w.podmanService(t)
			must(t, w, cmd("regmint", "login", saved.host, "-u", saved.user, "--password-stdin", "--no-wire").in(saved.password+"\n"))
			var s shell = w
			if way == "job" {
				s = w.openJob(t, "-q")
			} else {
				must(t, w, cmd("regmint", "install", "--containers"))
			}
			for i, b := range builders {
				t.Run(b.name, func(t *testing.T) {
					need(t, b.needs...)
					if i == 1 {
						_ = broken.server.Close()
						mustFail(t, w, cmd("regmint", "refresh", "--all")) // it has nothing left
					}
					r := s.run(b.args(w, w.buildContext(base)))
					if r.code != 0 {
						t.Fatalf("exit %d\n%s", r.code, r.out)
					}
					keys := w.keys(r.at)
					report.asked(b.name, whole, "build", saved, keys)
					if !slices.Contains(keys, saved.host) {
						t.Errorf("asked for %q, want %s among them", keys, saved.host)
					}
					if b.name == "docker build, classic" && !slices.Contains(keys, minted.host) {
						t.Errorf("asked for %q; classic build asks for all it knows of, and %s is missing", keys, minted.host)
					}
				})
			}
			t.Run("podman --remote names the account that fails", func(t *testing.T) {
				out := mustFail(t, s, builders[0].args(w, w.buildContext(base)))
				if !strings.Contains(out, broken.host+": ") {
					t.Errorf("it does not say why: %s", out)
				}
			})
		})
	}
}

// podmanService is the service behind podman --remote, with none of the job's
// environment.
func (w *world) podmanService(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var said syncBuffer
	p := w.process(ctx, cmd("podman", "system", "service", "--time", "0", "unix://"+w.path("x", "podman.sock")))
	p.Stdout, p.Stderr = &said, &said
	if err := p.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
		}
		cancel()
		<-done
	})
	for range 200 {
		ping := exec.CommandContext(ctx, find("podman"), "--remote", "--url", "unix://"+w.path("x", "podman.sock"), "version")
		ping.Env = w.environ()
		if ping.Run() == nil {
			return
		}
		select {
		case <-done:
			t.Fatalf("podman system service ended: %s", said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("podman system service does not answer: %s", said.String())
}
