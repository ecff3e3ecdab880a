// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// client is a program that people push and pull with. push and pull return
// commands of which the last one talks to the registry; a ref is
// HOST/REPOSITORY:TAG.
type client struct {
	name   string
	needs  []string
	engine bool
	push   func(w *world, ref string) []command
	pull   func(w *world, ref string) []command
	// login reads the password on stdin; nil where the client has none of its
	// own, or keeps its logins elsewhere when it is outside of a job.
	login  func(host, user string, inJob bool) *command
	logout func(host string) command
	// byName: in a job it asks for the hosts that the job was opened with, and
	// keeps other logins in the job's own auth.json.
	byName bool
}

func login(args ...string) *command { c := cmd(args...); return &c }

var clients = []client{
	{
		name: "crane", needs: []string{"crane"},
		push: func(w *world, ref string) []command {
			return []command{cmd("crane", "push", w.path("image.tar"), ref, "--insecure")}
		},
		pull: func(w *world, ref string) []command {
			return []command{cmd("crane", "pull", ref, w.path("crane-pulled.tar"), "--insecure")}
		},
		login: func(host, user string, _ bool) *command {
			return login("crane", "auth", "login", host, "-u", user, "--password-stdin")
		},
		logout: func(host string) command { return cmd("crane", "auth", "logout", host) },
	},
	{
		name: "docker", needs: []string{"docker", "dockerd"}, engine: true,
		push: func(_ *world, ref string) []command {
			return []command{cmd("docker", "tag", localImage, ref), cmd("docker", "push", ref)}
		},
		pull: func(_ *world, ref string) []command {
			return []command{cmd("docker", "image", "rm", "-f", ref), cmd("docker", "pull", ref)}
		},
		login:  dockerLogin,
		logout: dockerLogout,
	},
	{
		name: "buildx", needs: []string{"docker", "dockerd", "docker-buildx"}, engine: true,
		push: func(w *world, ref string) []command {
			dir := w.buildContext("scratch")
			return []command{cmd("docker", "buildx", "build", "--progress", "plain", "--push", "-t", ref, dir)}
		},
		pull: func(_ *world, ref string) []command {
			return []command{cmd("docker", "buildx", "imagetools", "inspect", ref)}
		},
		login:  dockerLogin,
		logout: dockerLogout,
	},
	{
		name: "skopeo", needs: []string{"skopeo"},
		push: func(w *world, ref string) []command {
			return []command{cmd("skopeo", "copy", "--dest-tls-verify=false", "docker-archive:"+w.path("image.tar"), "docker://"+ref)}
		},
		pull: func(w *world, ref string) []command {
			return []command{cmd("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+w.path("skopeo-pulled"))}
		},
		login: containersLogin("skopeo"), logout: containersLogout("skopeo"),
		byName: true, // it does not read CONTAINERS_REGISTRIES_CONF
	},
	{
		name: "podman", needs: []string{"podman"},
		push: func(w *world, ref string) []command {
			return []command{cmd("podman", "load", "-q", "-i", w.path("image.tar")), cmd("podman", "push", "--tls-verify=false", localImage, "docker://"+ref)}
		},
		pull: func(_ *world, ref string) []command {
			return []command{cmd("podman", "pull", "--tls-verify=false", ref)}
		},
		login: containersLogin("podman"), logout: containersLogout("podman"),
	},
	{
		name: "buildah", needs: []string{"buildah"},
		push: func(w *world, ref string) []command {
			return []command{cmd("buildah", "pull", "-q", "docker-archive:"+w.path("image.tar")), cmd("buildah", "push", "--tls-verify=false", localImage, "docker://"+ref)}
		},
		pull: func(_ *world, ref string) []command {
			return []command{cmd("buildah", "pull", "--policy", "always", "--tls-verify=false", ref)}
		},
		login: containersLogin("buildah"), logout: containersLogout("buildah"),
	},
	{
		name: "oras", needs: []string{"oras"},
		push: func(w *world, ref string) []command {
			return []command{cmd("oras", "push", "--plain-http", "--disable-path-validation", ref, w.path("image.tar"))}
		},
		pull: func(w *world, ref string) []command {
			return []command{cmd("oras", "pull", "--plain-http", "--allow-path-traversal", "-o", w.path("oras-pulled"), ref)}
		},
		login: func(host, user string, _ bool) *command {
			return login("oras", "login", "--plain-http", host, "-u", user, "--password-stdin")
		},
		logout: func(host string) command { return cmd("oras", "logout", host) },
	},
	{
		name: "helm", needs: []string{"helm"},
		push: func(w *world, ref string) []command {
			return []command{cmd("helm", "push", w.path("demo-1.0.0.tgz"), chartsOf(ref), "--plain-http")}
		},
		pull: func(w *world, ref string) []command {
			return []command{cmd("helm", "pull", chartsOf(ref)+"/demo", "--version", "1.0.0", "--plain-http", "-d", w.path("tmp"))}
		},
		// Outside of a job helm keeps logins in a file of its own.
		login: func(host, user string, inJob bool) *command {
			if !inJob {
				return nil
			}
			return login("helm", "registry", "login", host, "-u", user, "--password-stdin", "--plain-http")
		},
		logout: func(host string) command { return cmd("helm", "registry", "logout", host) },
	},
}

func chartsOf(ref string) string { return "oci://" + strings.TrimSuffix(ref, ":1") }

func dockerLogin(host, user string, _ bool) *command {
	return login("docker", "login", host, "-u", user, "--password-stdin")
}

func dockerLogout(host string) command { return cmd("docker", "logout", host) }

func containersLogin(program string) func(host, user string, inJob bool) *command {
	return func(host, user string, _ bool) *command {
		return login(program, "login", "--tls-verify=false", "-u", user, "--password-stdin", host)
	}
}

func containersLogout(program string) func(host string) command {
	return func(host string) command { return cmd(program, "logout", host) }
}

// ready puts what a client works on into the world.
func (c client) ready(t *testing.T, w *world) {
	t.Helper()
	need(t, c.needs...)
	if c.engine && os.Geteuid() != 0 {
		t.Skip("dockerd needs root: run make e2e as root")
	}
	if w.read("image.tar") == "" {
		imageFile(t, w.path("image.tar"), "base")
		w.write("demo-1.0.0.tgz", chart(t))
	}
}

// buildContext is a directory with a Dockerfile that adds one file to base.
func (w *world) buildContext(base string) string {
	w.t.Helper()
	w.write("context/hello.txt", "hello\n")
	w.write("context/Dockerfile", fmt.Sprintf("FROM %s\nCOPY hello.txt /\nCMD [\"/hello.txt\"]\n", base))
	return w.path("context")
}

// do runs commands; the result is that of the last one, or of the first that
// fails.
func do(s shell, list []command) result {
	for _, c := range list[:len(list)-1] {
		removes := c.args[0] == "docker" && c.args[1] == "image" // what may not be there
		if r := s.run(c); r.code != 0 && !removes {
			return r
		}
	}
	return s.run(last(list))
}
