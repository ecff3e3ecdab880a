// SPDX-License-Identifier: Apache-2.0

// Package rig proves that client libraries get their credentials through the
// built binaries: it builds them once, lays out a world of its own (HOME,
// docker configuration, accounts, a registry on loopback) and runs one suite
// over the libraries that a module brings. It is a module without
// dependencies, so that it moves no version of the modules that use it.
package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Login is a user name and a secret; the zero value is "anonymous".
type Login struct {
	User   string `json:"user"`
	Secret string `json:"secret"`
}

// Client is one library that resolves credentials as a real client does.
type Client struct {
	Name string
	// Resolve answers for an image HOST/REPOSITORY; Docker Hub is "docker.io".
	Resolve func(ctx context.Context, image string) (Login, error)
	// HostsOnly: asks the helpers named for a host, never the default store.
	HostsOnly bool
}

// Docker is docker/cli's configuration package: the writer of logins, and the
// base of the callers that ask for everything at once.
type Docker struct {
	// All is what classic `docker build` asks for.
	All func() (map[string]Login, error)
	// Store and Erase are `docker login` and `docker logout`.
	Store func(server string, l Login) error
	Erase func(server string) error
	// Names returns the store and the helpers of the configuration in use.
	Names func() (store string, helpers map[string]string, err error)
	// StoreAll and HelperGet call one helper program by its name.
	StoreAll  func(helper string) (map[string]Login, error)
	HelperGet func(helper, server string) (Login, error)
}

// childEnv turns the test binary into a client inside `regmint run`.
const childEnv = "REGMINT_RIG_CHILD"

// errand is what such a client does, in this order.
type errand struct {
	Store  map[string]Login `json:"store,omitempty"`
	Images []string         `json:"images,omitempty"`
}

// found is what it saw: by client, by image.
type found map[string]map[string]answer

type answer struct {
	Login
	Err string `json:"err,omitempty"`
}

// bin is the directory of the built binaries.
var bin string

// Main is the TestMain of a module: it builds the binaries once, or does the
// errand of a child process.
func Main(m *testing.M, clients []Client, docker Docker) {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text, clients, docker); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "regmint-bin-")
	if err == nil {
		bin, err = dir, build(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles both binaries of the repository that holds this file into dir
// and adds the link whose failures read as "not found".
func build(dir string) error {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/regmint", "./cmd/docker-credential-regmint")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	helper := filepath.Join(dir, exe("docker-credential-regmint"))
	soft := filepath.Join(dir, exe("docker-credential-regmint-soft"))
	if runtime.GOOS != "windows" {
		return os.Symlink(helper, soft)
	}
	text, err := os.ReadFile(helper)
	if err != nil {
		return err
	}
	return os.WriteFile(soft, text, 0o700)
}

func exe(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

// child does an errand and prints what it found as JSON.
func child(text string, clients []Client, docker Docker) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	for server, l := range e.Store {
		if err := docker.Store(server, l); err != nil {
			return fmt.Errorf("storing a login for %s: %w", server, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(resolveAll(context.Background(), clients, e.Images))
}

func resolveAll(ctx context.Context, clients []Client, images []string) found {
	out := found{}
	for _, c := range clients {
		out[c.Name] = map[string]answer{}
		for _, image := range images {
			var a answer
			var err error
			if a.Login, err = c.Resolve(ctx, image); err != nil {
				a.Err = err.Error()
			}
			out[c.Name][image] = a
		}
	}
	return out
}
