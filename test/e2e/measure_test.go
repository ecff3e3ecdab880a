// SPDX-License-Identifier: Apache-2.0

//go:build e2e && measure && linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// longBuild is a build that pulls two private images, does something else, and
// pushes.
type longBuild struct {
	kit   bool          // by a BuildKit of its own; else by the engine's
	life  int           // of Docker Hub's tokens, in seconds
	aged  time.Duration // the age of the token that it begins with
	takes time.Duration
}

// Aged tokens of 300 s end 5 s before the push, and that is 5 s before buildx
// would ask again; those of 600 s have 25 s left.
var longBuilds = []longBuild{
	{life: 300, takes: time.Minute},
	{life: 300, aged: 20 * time.Second, takes: 285 * time.Second},
	{life: 300, takes: 6 * time.Minute},
	{life: 300, takes: 11 * time.Minute},
	{life: 600, aged: 290 * time.Second, takes: 285 * time.Second},
	{life: 600, takes: 6 * time.Minute},
	{life: 600, takes: 11 * time.Minute},
}

// TestMeasureLongBuilds measures the table of docs/clients.md, "Builds that
// outlive their tokens", with real lifetimes, so that it takes 12 minutes:
//
//	REGMINT_BUILDKITD=/path/buildkitd REGMINT_BUILDX=/path/docker-buildx \
//	  go test -tags e2e,measure -run TestMeasureLongBuilds -v -parallel 20 -timeout 30m ./test/e2e
func TestMeasureLongBuilds(t *testing.T) {
	need(t, "crane", "docker", "dockerd")
	plugin := os.Getenv("REGMINT_BUILDX")
	c := fakecloud.Start(t)
	h, acme := hub(c, dockerhub.Options{})
	host := newWorld(t)
	host.reach(t, c)
	engine, kit := engineBehind(t, host.env), host.buildkit(t, os.Getenv("REGMINT_BUILDKITD"))
	slow := httptest.NewServer(http.HandlerFunc(drip))
	t.Cleanup(slow.Close)
	var mu sync.Mutex
	var table []string
	t.Run("all", func(t *testing.T) {
		for i, b := range slices.Concat(longBuilds, longBuilds) {
			b.kit = i >= len(longBuilds)
			t.Run(fmt.Sprintf("%+v", b), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.reach(t, c)
				w.actionsJob(c, acme)
				w.env["DOCKERHUB_OIDC_EXPIREIN"] = fmt.Sprint(b.life)
				w.env["DOCKER_HOST"] = "unix://" + engine.socket()
				w.configure()
				_ = os.Remove(w.path(".docker", "cli-plugins", "docker-buildx"))
				if err := os.Symlink(plugin, w.path(".docker", "cli-plugins", "docker-buildx")); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("acme/long%d", i)
				for _, r := range []string{name, name + "-a", name + "-b"} {
					h.Repository(r, dockerhub.Private)
				}
				row := b.measure(t, w, name, kit, slow.URL)
				mu.Lock()
				defer mu.Unlock()
				table = append(table, row)
			})
		}
	})
	slices.Sort(table)
	t.Log("\n" + strings.Join(table, "\n"))
}

// measure is one row: the builder, the tokens, how it ended, and when buildx
// asked.
func (b longBuild) measure(t *testing.T, w *world, name, kit, slow string) string {
	t.Helper()
	j := w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", "docker.io/acme")
	for _, part := range []string{"-a", "-b"} { // nobody else has its layers
		imageFile(t, w.path("image.tar"), name+part)
		must(t, j, cmd("crane", "push", w.path("image.tar"), name+part+":1"))
	}
	args := []string{"docker", "buildx", "build", "--progress", "plain", "--pull", "--no-cache", "--push", "-t", name + ":1"}
	builder := "engine"
	if b.kit {
		builder = "BuildKit"
		must(t, j, cmd("docker", "buildx", "create", "--name", "kit", "--driver", "remote", "unix://"+kit))
		args = append(args, "--builder", "kit")
	}
	w.write("context/Dockerfile", fmt.Sprintf("FROM %[1]s-a:1 AS a\nADD %[2]s/%[3]s/%[1]s /slow\nFROM %[1]s-b:1\nCOPY --from=a /slow /slow\nCMD [\"/x\"]\n", name, slow, b.takes))
	must(t, w, cmd("regmint", "refresh", "docker.io"))
	must(t, j, cmd("sh", "-c", "echo docker.io | docker-credential-regmint get"))
	time.Sleep(b.aged)
	r := j.run(cmd(append(args, w.path("context"))...).within(b.takes + 5*time.Minute))
	end := "works"
	if r.code != 0 {
		end = "fails"
		t.Log(tail(r.out, 400))
	}
	var asked []string
	for _, a := range w.recent(r.at) {
		asked = append(asked, a.Time.Sub(r.at).Round(time.Second).String())
	}
	return fmt.Sprintf("| %s | tokens of %d s, the first %s old | push after %s | %s | asked after %s |", builder, b.life, b.aged, b.takes, end, strings.Join(asked, ", "))
}

// drip answers GET /DURATION/… a line a second.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Last-Modified", time.Now().Format(http.TimeFormat))
	if r.Method != http.MethodGet {
		return
	}
	takes, _ := time.ParseDuration(strings.Split(r.URL.Path, "/")[1])
	for end := time.Now().Add(takes); time.Now().Before(end); time.Sleep(time.Second) {
		_, _ = fmt.Fprintln(w, "x")
		w.(http.Flusher).Flush()
	}
}

// buildkit runs a BuildKit that reaches registries through the world's proxy,
// and returns its socket.
func (w *world) buildkit(t *testing.T, program string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	socket := w.path("kit.sock")
	p := exec.CommandContext(ctx, program, "--root", w.path("kit"), "--addr", "unix://"+socket, "--oci-worker-snapshotter=native", "--oci-worker-net=host")
	p.Env = w.environ()
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
	p.WaitDelay = 10 * time.Second
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = p.Wait() })
	w.at().Eventually("BuildKit listens", func() bool {
		_, err := os.Stat(filepath.Clean(socket))
		return err == nil
	})
	return socket
}
