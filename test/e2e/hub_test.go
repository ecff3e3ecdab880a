// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakeregistry"
)

// hubHosts are the names that the loopback Docker Hub answers for.
var hubHosts = []string{"registry-1.docker.io", "index.docker.io", "auth.docker.io", "docker.io"}

// startHub plays Docker Hub: its names, its token server, its CA. Clients
// reach it through a proxy, which reaches nothing else.
func startHub(t *testing.T, w *world) *registry {
	t.Helper()
	s := startFake(t, fakeregistry.Options{
		Mode: fakeregistry.Token, TLS: true, Names: hubHosts, Realm: "https://auth.docker.io/token", Service: "registry.docker.io",
		Users: []fakeregistry.User{{Name: "ann", Password: "correct-horse"}},
	})
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	w.env["SSL_CERT_FILE"] = w.write("ca.pem", string(system)+string(s.CAPEM()))
	w.env["HTTPS_PROXY"] = "http://" + startProxy(t, s.Host())
	w.env["NO_PROXY"] = "127.0.0.1,localhost"
	return &registry{host: "docker.io", user: "ann", password: "correct-horse", server: s}
}

// startProxy is a CONNECT proxy that leads Docker Hub's names to addr and
// refuses every other.
func startProxy(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = c.Close() })() // clients keep idle connections
				tunnel(c, addr)
			})
		}
	})
	return l.Addr().String()
}

func tunnel(c net.Conn, addr string) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(commandLimit))
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	host, _, _ := net.SplitHostPort(req.Host)
	if req.Method != http.MethodConnect || !slices.Contains(hubHosts, host) {
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	up, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer up.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection Established\r\n\r\n")
	done := make(chan struct{})
	go func() { // ends with either side
		defer close(done)
		_, _ = io.Copy(up, r)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
	_ = c.Close()
	<-done
}

// hubClients say which key a client asks Docker Hub's credential with; the
// first is the one that must be there.
var hubClients = []struct {
	client string
	push   func(w *world) []command
	pull   func(w *world) []command
	keys   []string // with credsStore and with credHelpers
}{
	{
		"crane",
		func(w *world) []command { return []command{cmd("crane", "push", w.path("image.tar"), "alpine:3")} },
		func(w *world) []command {
			return []command{cmd("crane", "pull", "alpine:3", w.path("pulled.tar"))}
		},
		[]string{"index.docker.io/library/alpine", "https://index.docker.io/v1/"},
	},
	{
		"skopeo",
		func(w *world) []command {
			return []command{cmd("skopeo", "copy", "docker-archive:"+w.path("image.tar"), "docker://docker.io/library/alpine:3")}
		},
		func(w *world) []command {
			return []command{cmd("skopeo", "copy", "docker://alpine:3", "dir:"+w.path("pulled-dir"))}
		},
		[]string{"docker.io"},
	},
	{
		"podman",
		func(w *world) []command {
			return []command{cmd("podman", "load", "-q", "-i", w.path("image.tar")), cmd("podman", "push", localImage, "docker://docker.io/library/alpine:3")}
		},
		func(_ *world) []command { return []command{cmd("podman", "pull", "docker.io/library/alpine:3")} },
		[]string{"docker.io"},
	},
	{
		"oras",
		func(w *world) []command {
			return []command{cmd("oras", "push", "--disable-path-validation", "docker.io/library/files:1", w.path("image.tar"))}
		},
		func(w *world) []command {
			return []command{cmd("oras", "pull", "--allow-path-traversal", "-o", w.path("pulled"), "docker.io/library/files:1")}
		},
		[]string{"https://index.docker.io/v1/"},
	},
	{
		"helm",
		func(w *world) []command {
			return []command{cmd("helm", "push", w.path("demo-1.0.0.tgz"), "oci://registry-1.docker.io/ann")}
		},
		func(w *world) []command {
			return []command{cmd("helm", "pull", "oci://registry-1.docker.io/ann/demo", "--version", "1.0.0", "-d", w.path("tmp"))}
		},
		[]string{"https://index.docker.io/v1/"},
	},
	{
		"docker",
		func(_ *world) []command {
			return []command{cmd("docker", "tag", localImage, "alpine:3"), cmd("docker", "push", "alpine:3")}
		},
		func(_ *world) []command {
			return []command{cmd("docker", "image", "rm", "-f", "alpine:3"), cmd("docker", "pull", "alpine:3")}
		},
		[]string{"https://index.docker.io/v1/"},
	},
}

// TestDockerHubUnderAllItsNames: one login of regmint's answers every key that
// clients know Docker Hub by.
func TestDockerHubUnderAllItsNames(t *testing.T) {
	for _, way := range []string{"installed", "job"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			hub := startHub(t, w)
			w.configure()
			w.hubEngine(t)
			must(t, w, cmd("regmint", "login", "docker.io", "-u", "ann", "--password-stdin", "--no-wire").in("correct-horse\n"))
			var s shell = w
			if way == "job" {
				s = w.openJob(t, "-q", "--ca", w.path("ca.pem"))
			} else {
				must(t, w, cmd("regmint", "install", "--containers"))
			}
			for _, h := range hubClients {
				t.Run(h.client, func(t *testing.T) {
					c := clients[slices.IndexFunc(clients, func(c client) bool { return c.name == h.client })]
					c.ready(t, w)
					for _, op := range []struct {
						name string
						list []command
					}{{"Hub push", h.push(w)}, {"Hub pull", h.pull(w)}} {
						r := do(s, op.list)
						if r.code != 0 {
							t.Fatalf("%s: exit %d\n%s", last(op.list), r.code, r.out)
						}
						keys := w.keys(r.at)
						report.asked(h.client, whole, op.name, hub, keys)
						if len(keys) == 0 || slices.ContainsFunc(keys, func(k string) bool { return !slices.Contains(h.keys, k) }) {
							t.Errorf("%s asked for %q, want %q", last(op.list), keys, h.keys)
						}
					}
				})
			}
			if n := hub.server.Stats().AuthFailures; len(n) > 0 {
				t.Errorf("Docker Hub refused %v", n)
			}
		})
	}
}

// TestDockerHubLoginAndLogout: docker stores under its long key, asks for the
// refresh token of its web login on the way out, and both are told apart.
func TestDockerHubLoginAndLogout(t *testing.T) {
	need(t, "docker", "dockerd", "crane")
	w := newWorld(t)
	hub := startHub(t, w)
	w.configure()
	w.hubEngine(t)
	clients[0].ready(t, w)
	must(t, w, cmd("regmint", "install"))
	must(t, w, cmd("docker", "login", "-u", hub.user, "--password-stdin").in(hub.password))
	must(t, w, last(hubClients[0].push(w)))
	at := time.Now()
	must(t, w, cmd("docker", "logout"))
	items := 0
	for _, r := range w.recent(at) {
		if !strings.HasSuffix(r.Key, "-token") {
			t.Errorf("docker logout asked for %s", r.Key)
			continue
		}
		if items++; r.Outcome != api.NotFound {
			t.Errorf("%s was answered with %s", r.Key, r.Outcome)
		}
	}
	if items == 0 {
		t.Logf("this docker does not ask for the items of its web login")
	}
	mustFail(t, w, last(hubClients[0].push(w)))
	// werf cr login stores under a key that no client asks for.
	store := fmt.Sprintf(`{"ServerURL":"index.docker.io","Username":%q,"Secret":%q}`, hub.user, hub.password)
	must(t, w, cmd("docker-credential-regmint", "store").in(store))
	must(t, w, last(hubClients[0].push(w)))
	must(t, w, cmd("docker-credential-regmint", "erase").in("index.docker.io"))
	mustFail(t, w, last(hubClients[0].push(w)))
}
