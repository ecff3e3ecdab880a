// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
)

// sizes reads the helper's size as it is released.
func (b *bench) sizes() error {
	info, err := os.Stat(filepath.Join(b.bin, "docker-credential-regmint"))
	if err != nil {
		return err
	}
	peer := "-"
	if p, err := os.Stat(filepath.Join(b.bin, "docker-credential-ecr-login")); err == nil {
		peer = fmt.Sprintf("ecr-login %.2f MB", float64(p.Size())/1e6)
	}
	b.add("helper binary, stripped, CGO off", "≤ 3 MB", fmt.Sprintf("%.2f MB", float64(info.Size())/1e6), peer)
	return nil
}

// runOverhead compares run -- true with true.
func (b *bench) runOverhead() error {
	us := &rival{name: "run", run: func() (time.Duration, error) { return timed(b.command("regmint", "run", "-q", "--", "true"), "") }}
	bare := &rival{name: "true", run: func() (time.Duration, error) { return timed(b.command("true"), "") }}
	if err := b.interleave(b.runs(100), us, bare); err != nil {
		return err
	}
	b.add("`run -- true` over bare `true`, agent up", "≤ 10 ms", ms(us.median()-bare.median()), "true "+ms(bare.median()))
	return nil
}

// jobs runs 1,000 jobs of two identities, 64 at a time.
func (b *bench) jobs() error {
	n := b.runs(1000)
	slots := make(chan struct{}, 64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	crossed, failed := 0, 0
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			who := []string{"one", "two"}[i%2]
			cmd := b.command("regmint", "run", "-q", "--account", who, "--", "docker-credential-regmint", "get")
			var out bytes.Buffer
			cmd.Stdin, cmd.Stdout = strings.NewReader(mintHost(i%mintHosts)), &out
			err := cmd.Run()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed++
			case !strings.Contains(out.String(), `"Username":"`+who+`"`):
				crossed++
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	left := 0
	entries, _ := os.ReadDir(filepath.Join(b.dir, "run", "j"))
	for _, e := range entries {
		if e.IsDir() {
			left++
		}
	}
	b.add(fmt.Sprintf("%d jobs, 64 at a time, two identities", n), "0 cross-talk, 0 left over",
		fmt.Sprintf("%d cross-talk, %d failed, %d left over, %.1f s", crossed, failed, left, took.Seconds()), "-")
	return nil
}

// addLogin is set for the child processes of sharedConfig.
const addLogin = "REGMINT_BENCH_LOGIN"

// sharedConfig is the public baseline: docker's own configuration library,
// 50 processes at once on one directory, 20 rounds.
func (b *bench) sharedConfig() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	rounds, at := b.runs(20), 50
	lost := 0
	for r := range rounds {
		dir := filepath.Join(b.dir, fmt.Sprint("shared", r))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, at)
		for i := range at {
			wg.Go(func() {
				cmd := exec.CommandContext(b.ctx, exe)
				cmd.Env = append(b.env(), addLogin+"="+dir+"|"+fmt.Sprintf("h%d.example", i))
				errs[i] = cmd.Run()
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		cfg, err := dockerconfig.Load(dir)
		if err != nil {
			return err
		}
		lost += at - len(cfg.AuthConfigs)
	}
	b.add(fmt.Sprintf("%d parallel logins into one shared docker config", rounds*at), "0 lost in jobs (above)", "no shared file: 0",
		fmt.Sprintf("docker's own library loses %d of %d", lost, rounds*at))
	return nil
}

// child is what a process of sharedConfig does: a docker login's file edit.
func child(spec string) error {
	dir, host, _ := strings.Cut(spec, "|")
	cfg, err := dockerconfig.Load(dir)
	if err != nil {
		return err
	}
	cfg.AuthConfigs[host] = types.AuthConfig{Username: "u", Password: "p", ServerAddress: host}
	return cfg.Save()
}
