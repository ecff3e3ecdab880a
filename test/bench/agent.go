// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// mintHosts registries with two identities each.
const mintHosts = 20

func mintHost(i int) string { return fmt.Sprintf("r%02d.mint.example", i) }

func (b *bench) socket() string { return filepath.Join(b.dir, "run", "agent.sock") }

// dropAll empties the agent's cache.
func (b *bench) dropAll() { _ = b.call("POST", "/v1/refresh", api.HostRequest{}, &api.Reply{}) }

func (b *bench) call(method, path string, in, out any) error {
	c, err := api.Dial(b.ctx, b.socket())
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(b.ctx, method, path, in, out)
}

// mints counts upstream calls of 10,000 cold gets.
func (b *bench) mints() error {
	const gets, workers = 10000, 64
	b.dropAll()
	before := b.api.calls.Load()
	var wg sync.WaitGroup
	errs := make([]error, workers)
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			c, err := api.Dial(b.ctx, b.socket())
			if err != nil {
				errs[w] = err
				return
			}
			defer c.Close()
			for i := w; i < gets; i += workers {
				who := []string{"one", "two"}[i%2]
				r, err := c.Get(b.ctx, &api.GetRequest{Key: mintHost(i / 2 % mintHosts), Account: who})
				if err == nil && r.Username != who {
					err = fmt.Errorf("%s answered as %q: %s", who, r.Username, r.Message)
				}
				if err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.add("10,000 cold gets, 20 registries × 2 identities", "exactly 40 mints",
		fmt.Sprintf("%d mints, %.1f s", b.api.calls.Load()-before, time.Since(start).Seconds()), "-")
	return nil
}

// throughput measures the agent alone: one kept-alive connection, then 1,000.
func (b *bench) throughput() error {
	const span = 2 * time.Second
	// The first get mints; from then on both servers see the same lean client.
	if _, err := timed(b.command("docker-credential-regmint", "get"), ecrHost); err != nil {
		return err
	}
	us, err := rate(b.socket(), "/v1/get", `{"key":"`+ecrHost+`"}`, span)
	if err != nil {
		return err
	}
	empty := filepath.Join(b.dir, "empty.sock")
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(b.ctx, exe)
	cmd.Env = append(b.env(), emptyServer+"="+empty)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for range 200 {
		if c, err := net.Dial("unix", empty); err == nil {
			_ = c.Close()
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	bare, err := rate(empty, "/", "{}", span)
	if err != nil {
		return err
	}
	b.add("agent, warm gets on one kept-alive connection", "≥ 15,000 /s", fmt.Sprintf("%d /s", us), fmt.Sprintf("empty net/http handler %d /s", bare))
	p50, p99, err := b.crowd(b.runs(1000))
	if err != nil {
		return err
	}
	b.add("get latency with 1,000 connections open, 64 of them asking", "p99 ≤ 5 ms", "p99 "+ms(p99)+", p50 "+ms(p50), "-")
	return nil
}

// emptyServer is set for the process that serves an empty handler.
const emptyServer = "REGMINT_BENCH_EMPTY"

func serveEmpty(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"outcome":"ok"}`))
	})}
	return s.Serve(l)
}

// rate exchanges requests over one connection, one answer a read, and returns
// how many a second.
func rate(socket, path, body string, span time.Duration) (int, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	req := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: regmint\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	buf := make([]byte, 8192)
	n, start := 0, time.Now()
	for time.Since(start) < span {
		if _, err := c.Write(req); err != nil {
			return 0, err
		}
		k, err := c.Read(buf)
		if err != nil {
			return 0, err
		}
		if !bytes.Contains(buf[:k], []byte(`"outcome":"ok"`)) || buf[k-1] != '}' {
			return 0, fmt.Errorf("%s: unexpected answer", path)
		}
		n++
	}
	return int(float64(n) / time.Since(start).Seconds()), nil
}

// crowd holds n connections; 64 of them ask in turn, paced so that the machine
// is not saturated: latency, not throughput.
func (b *bench) crowd(n int) (p50, p99 time.Duration, err error) {
	clients := make([]*api.Client, n)
	for i := range clients {
		if clients[i], err = api.Dial(b.ctx, b.socket()); err != nil {
			return 0, 0, err
		}
		defer clients[i].Close()
	}
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for w := range min(64, n) {
		wg.Go(func() {
			for k := range 50 {
				c := clients[(w+64*(k*7%max(1, n/64)))%n]
				start := time.Now()
				r, e := c.Get(b.ctx, &api.GetRequest{Key: ecrHost})
				took := time.Since(start)
				mu.Lock()
				if e != nil || r.Outcome != api.OK {
					err = fmt.Errorf("%+v %w", r, e)
				}
				all = append(all, took)
				mu.Unlock()
				select {
				case <-time.After(20 * time.Millisecond):
				case <-b.ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], err
}

// memory reads the agent's resident size, idle and with 10,000 credentials.
func (b *bench) memory() error {
	if err := b.command("regmint", "agent", "restart").Run(); err != nil {
		return fmt.Errorf("regmint agent restart: %w", err)
	}
	c, err := api.Dial(b.ctx, b.socket())
	if err != nil {
		return err
	}
	defer c.Close()
	idle, err := b.rss()
	if err != nil {
		return err
	}
	n := b.runs(10000)
	for i := range n {
		r, err := c.Get(b.ctx, &api.GetRequest{Key: fmt.Sprintf("h%d.many.example", i)})
		if err != nil || r.Outcome != api.OK {
			return fmt.Errorf("%+v %w", r, err)
		}
	}
	full, err := b.rss()
	if err != nil {
		return err
	}
	b.add("agent, resident size idle", "≤ 40 MB", mb(idle), "-")
	b.add(fmt.Sprintf("agent, resident size with %d cached credentials of 1.7 kB", n), "≤ 80 MB", mb(full), "-")
	return nil
}

func mb(kb int) string { return fmt.Sprintf("%.0f MB", float64(kb)/1000) }

func (b *bench) rss() (int, error) {
	var st api.Status
	if err := b.call("GET", "/v1/status", nil, &st); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.PID))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
		}
	}
	return 0, errors.New("no VmRSS")
}

// soak runs the minter's 30 simulated days.
func (b *bench) soak() error {
	start := time.Now()
	cmd := exec.CommandContext(b.ctx, "go", "test", "-count=1", "-run", "30Days", "-v", "./agent/minter")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("30 days: %w\n%s", err, out)
	}
	got := "passed"
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "--- PASS") {
			got += ", " + line[strings.LastIndexByte(line, '('):]
		}
	}
	b.add("30 simulated days, 500 tokens, faults, suspends, clock jumps", "0 expired served, < 10 s", strings.TrimSpace(got), fmt.Sprintf("with the compiler %.0f s", time.Since(start).Seconds()))
	return nil
}
