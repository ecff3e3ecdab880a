// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// timed runs a command once, stdin given, and returns how long it took. Its
// streams are files, so that nothing but the process is timed; an answer goes
// to /dev/null and its exit status counts.
func timed(cmd *exec.Cmd, stdin string) (time.Duration, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := w.WriteString(stdin); err != nil { // fits the pipe
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	cmd.Stdin = r
	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)
	if err != nil {
		return took, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return took, nil
}

// rival is one side of a comparison.
type rival struct {
	name string
	run  func() (time.Duration, error)
	all  []time.Duration
}

func (r *rival) median() time.Duration {
	s := slices.Sorted(slices.Values(r.all))
	return s[len(s)/2]
}

// interleave runs all rivals in turn, n rounds after two that do not count.
func (b *bench) interleave(n int, rivals ...*rival) error {
	for i := range n + 2 {
		for _, r := range rivals {
			took, err := r.run()
			if err != nil {
				return err
			}
			if i >= 2 {
				r.all = append(r.all, took)
			}
		}
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
	}
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f ×", float64(a)/float64(b)) }

// floorServer answers every connection with one line of a credential's size.
func floorServer(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	line := []byte(`{"ServerURL":"x","Username":"AWS","Secret":"` + strings.Repeat("A", 1736) + "\"}\n")
	go func() { // ends with l
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					_, _ = c.Write(line)
				}
			}()
		}
	}()
	return l, nil
}

func (b *bench) helper(name string) *rival {
	return &rival{name: name, run: func() (time.Duration, error) {
		return timed(b.command("docker-credential-"+name, "get"), ecrHost)
	}}
}

func (b *bench) floor(socket string) *rival {
	return &rival{name: "floor", run: func() (time.Duration, error) { return timed(b.command("floor", socket), ecrHost) }}
}

// warmGet compares whole processes of a get from memory.
func (b *bench) warmGet() error {
	socket := filepath.Join(b.dir, "floor.sock")
	l, err := floorServer(socket)
	if err != nil {
		return err
	}
	defer l.Close()
	us, floor := b.helper("regmint"), b.floor(socket)
	rivals := []*rival{floor, us}
	if b.has("docker-credential-ecr-login") {
		rivals = append(rivals, b.helper("ecr-login"))
	}
	if err := b.interleave(b.runs(200), rivals...); err != nil {
		return err
	}
	b.add("warm get, whole process, against the floor (a Go program that dials and exchanges a line)", "≤ 1.2 ×",
		ratio(us.median(), floor.median())+" ("+ms(us.median())+")", "floor "+ms(floor.median()))
	if len(rivals) == 3 {
		b.add("warm get against ecr-login with a warm file cache", "≥ 3.3 × faster", ratio(rivals[2].median(), us.median())+" faster", ms(rivals[2].median()))
	}
	return nil
}

// coldBurst starts 200 gets at once with nothing cached and an API that takes
// 300 ms.
func (b *bench) coldBurst() error {
	n := b.runs(200)
	socket := filepath.Join(b.dir, "burst.sock")
	l, err := floorServer(socket)
	if err != nil {
		return err
	}
	defer l.Close()
	const delay = 300 * time.Millisecond
	b.api.delay.Store(int64(delay))
	defer b.api.delay.Store(0)
	burst := func(mk func() *exec.Cmd) (time.Duration, int64, error) {
		before := b.api.calls.Load()
		var wg sync.WaitGroup
		errs := make([]error, n)
		start := time.Now()
		for i := range n {
			wg.Go(func() { _, errs[i] = timed(mk(), ecrHost) })
		}
		wg.Wait()
		return time.Since(start), b.api.calls.Load() - before, errors.Join(errs...)
	}
	floor, _, err := burst(func() *exec.Cmd { return b.command("floor", socket) })
	if err != nil {
		return err
	}
	if err := b.command("regmint", "refresh", "--all").Run(); err != nil {
		return fmt.Errorf("regmint refresh: %w", err)
	}
	b.dropAll()
	us, calls, err := burst(func() *exec.Cmd { return b.command("docker-credential-regmint", "get") })
	if err != nil {
		return err
	}
	peer := "-"
	if b.has("docker-credential-ecr-login") {
		_ = os.RemoveAll(filepath.Join(b.dir, "ecr"))
		took, n, err := burst(func() *exec.Cmd { return b.command("docker-credential-ecr-login", "get") })
		if err != nil {
			return err
		}
		peer = fmt.Sprintf("ecr-login %.2f s, %d upstream calls", took.Seconds(), n)
	}
	limit := floor*3/2 + delay
	b.add(fmt.Sprintf("%d cold get processes at once, API answering in 300 ms", n),
		fmt.Sprintf("1 upstream call, ≤ %.2f s (1.5 × floor burst + one round trip)", limit.Seconds()),
		fmt.Sprintf("%d upstream call(s), %.2f s", calls, us.Seconds()), fmt.Sprintf("floor burst %.2f s; %s", floor.Seconds(), peer))
	return nil
}
