// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// login: a developer's first minute with an ordinary registry.
func login(s *stage, _, vault *fakeregistry.Server) error {
	s.title("1. a developer logs in once")
	if err := s.runWith("correct-horse\n", "regmint", "login", vault.Host(), "-u", "ann", "--password-stdin", "--wire"); err != nil {
		return err
	}
	s.say("the password is in regmint's store; docker's file names a helper and holds no secret:")
	cfg, err := os.ReadFile(filepath.Join(s.home, ".docker", "config.json"))
	if err != nil {
		return err
	}
	s.block(string(cfg))
	return s.run("crane", "push", s.image, vault.Host()+"/ann/app:1", "--insecure")
}

// pushAndPull: a CI job.
func pushAndPull(s *stage, reg, _ *fakeregistry.Server) error {
	s.title("2. a job pushes and pulls; the password is minted for it")
	ref := reg.Host() + "/team-a/app:1"
	if err := s.run("regmint", "run", "--", "crane", "push", s.image, ref, "--insecure"); err != nil {
		return err
	}
	return s.run("regmint", "run", "-q", "--", "crane", "pull", ref, filepath.Join(s.home, "back.tar"), "--insecure")
}

// rotation: two status tables around the end of a password's life.
func rotation(s *stage, reg, _ *fakeregistry.Server) error {
	s.title("3. a job outlives its password: regmint mints the next one in time")
	before := issued(reg)
	ref := reg.Host() + "/team-a/app:1"
	script := fmt.Sprintf("crane digest %[1]s --insecure && regmint status && sleep %[2]d && regmint status && crane digest %[1]s --insecure",
		ref, int(passwordLife.Seconds())+1)
	if err := s.run("regmint", "run", "-q", "--", "sh", "-c", script); err != nil {
		return err
	}
	if n := issued(reg) - before; n < 1 {
		return fmt.Errorf("no rotation was seen (%d passwords issued)", n)
	}
	s.say("meanwhile the registry issued %d new passwords; crane noticed nothing", issued(reg)-before)
	return nil
}

// parallel: two jobs, two identities, one machine, one host.
func parallel(s *stage, reg, _ *fakeregistry.Server) error {
	s.title("4. two jobs at once, two identities, one registry")
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, team := range []string{"a", "b"} {
		wg.Go(func() {
			errs[i] = s.run("regmint", "run", "--account", "team-"+team, "--", "crane", "push", s.image, reg.Host()+"/team-"+team+"/parallel:1", "--insecure")
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, team := range []string{"a", "b"} {
		names := reg.Stats().Who("team-"+team+"/parallel", "push")
		s.say("the registry saw team-%s/parallel pushed by: %s", team, strings.Join(names, ", "))
		if len(names) != 1 || names[0] != "team-"+team+"-bot" {
			return fmt.Errorf("team-%s was pushed by %v", team, names)
		}
	}
	return nil
}

// killed: SIGKILL to a wrapper leaves nothing behind.
func killed(s *stage, _, _ *fakeregistry.Server) error {
	s.title("5. a job is killed with SIGKILL: nothing is left")
	cmd := s.command("regmint", "run", "-q", "--", "sleep", "60")
	ownGroup(cmd)
	s.prompt(cmd.Args)
	if err := cmd.Start(); err != nil {
		return err
	}
	jobs := filepath.Join(s.home, "run", "j")
	open := func() bool {
		sockets, _ := filepath.Glob(filepath.Join(jobs, "*", "s"))
		return len(sockets) == 1
	}
	if err := s.until(open); err != nil {
		return errors.New("the job was not opened")
	}
	s.say("job directories while it runs: %d", count(jobs))
	killGroup(cmd)
	_ = cmd.Wait()
	if err := s.until(func() bool { return count(jobs) == 0 }); err != nil {
		return fmt.Errorf("%d job directories are left", count(jobs))
	}
	s.say("job directories after kill -9: %d", count(jobs))
	return nil
}

// count counts job directories; j/ also has a lock file of its own.
func count(dir string) int {
	n := 0
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			n++
		}
	}
	return n
}

// until waits for a condition, at most 10 s.
func (s *stage) until(ok func() bool) error {
	for range 200 {
		if ok() {
			return nil
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("timed out")
}
