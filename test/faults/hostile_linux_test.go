// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// http is one request to the agent as curl would send it.
func (w *world) http(method, path string) string {
	w.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.paths().MainSocket())
	}}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://regmint"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// descriptors counts the open files of a process.
func descriptors(pid int) int {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(links)
}

// manners are what hostile clients do with a connection.
var manners = map[string]func(c net.Conn, stop *atomic.Bool){
	"says nothing": func(net.Conn, *atomic.Bool) {},
	"one byte at a time, header": func(c net.Conn, stop *atomic.Bool) {
		drip(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nX-Long: "+strings.Repeat("x", 4000), stop)
	},
	"one byte at a time, body": func(c net.Conn, stop *atomic.Bool) {
		drip(c, "", stop, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 4000\r\n\r\n", strings.Repeat(" ", 4000))
	},
	"huge body": func(c net.Conn, _ *atomic.Bool) {
		_, _ = io.WriteString(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 4294967296\r\n\r\n")
		_, _ = c.Write(make([]byte, 1<<20))
	},
	"chunks without end": func(c net.Conn, stop *atomic.Bool) {
		_, _ = io.WriteString(c, "POST /v1/store HTTP/1.1\r\nHost: regmint\r\nTransfer-Encoding: chunked\r\n\r\n")
		for !stop.Load() {
			if _, err := io.WriteString(c, "1000\r\n"+strings.Repeat("x", 4096)+"\r\n"); err != nil {
				return
			}
		}
	},
	"half open": func(c net.Conn, _ *atomic.Bool) {
		_, _ = io.WriteString(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 30\r\n\r\n{\"key\"")
		_ = c.(*net.UnixConn).CloseWrite()
	},
	"asks and never reads": func(c net.Conn, _ *atomic.Bool) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		for range 2000 {
			if _, err := io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: regmint\r\n\r\n"); err != nil {
				return
			}
		}
	},
	"no HTTP": func(c net.Conn, _ *atomic.Bool) {
		b := make([]byte, 512)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		_, _ = c.Write(b)
	},
	"goes in the middle": func(c net.Conn, _ *atomic.Bool) {
		_, _ = io.WriteString(c, "POST /v1/get HTTP/1.1\r\nHost: regmint\r\nContent-Length: 2\r\n\r\n{}")
		_ = c.Close()
	},
	"leases without a job": func(c net.Conn, _ *atomic.Bool) {
		body := `{"id":"abcdefghijklmnopqrstuvwxyz","kind":"run"}`
		fmt.Fprintf(c, "POST /v1/jobs/open HTTP/1.1\r\nHost: regmint\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	},
	"a body that nobody asked for": func(c net.Conn, stop *atomic.Bool) {
		drip(c, "", stop, "POST /v1/list HTTP/1.1\r\nHost: regmint\r\nContent-Length: 4000\r\n\r\n", strings.Repeat(" ", 4000))
	},
}

// drip writes first whole, then text byte by byte.
func drip(c net.Conn, text string, stop *atomic.Bool, first ...string) {
	for i, s := range first {
		if i == 0 {
			_, _ = io.WriteString(c, s)
			continue
		}
		text += s
	}
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil || stop.Load() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestHostileClientsDoNotDelayHonestOnes(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	pid := w.agent()
	w.get(reg.Host(), "ci-bot")
	// What the agent has when it is at rest.
	files, routines := descriptors(pid), w.metric("goroutines")

	var stop atomic.Bool
	var wg sync.WaitGroup
	var conns []net.Conn
	dial := func(do func(net.Conn, *atomic.Bool)) {
		c, err := net.Dial("unix", w.paths().MainSocket())
		if err != nil {
			t.Error(err)
			return
		}
		conns = append(conns, c)
		wg.Go(func() { do(c, &stop) })
	}
	for range 2000 {
		dial(manners["says nothing"])
	}
	for _, do := range manners {
		for range 20 {
			dial(do)
		}
	}
	var slowest time.Duration
	for range size(100, 1000) {
		slowest = max(slowest, w.get(reg.Host(), "ci-bot").took)
	}
	// They stay connected, and the agent has got rid of them.
	w.eventually("the agent closes what it does not need", func() bool { return descriptors(pid) <= files+4 })
	stop.Store(true)
	for _, c := range conns {
		_ = c.Close()
	}
	wg.Wait()
	w.eventually("nothing of them is left", func() bool { return descriptors(pid) <= files+2 && w.metric("goroutines") <= routines+2 })
	t.Logf("%d hostile connections; the slowest honest get took %s; descriptors %d before and %d after, goroutines %d and %d",
		len(conns), slowest.Round(time.Millisecond), files, descriptors(pid), routines, w.metric("goroutines"))
	if w.status().PID != pid {
		t.Error("it is another agent")
	}
}

func TestClientsThatAreKilledInTheMiddleLeaveNothing(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	pid := w.agent()
	files, routines := descriptors(pid), w.metric("goroutines")
	until := make(chan struct{})
	reg.Inject(fakeregistry.Fault{Path: "/issue", Until: until})
	var asking []*started
	for range 50 {
		asking = append(asking, w.start(cmd("docker-credential-regmint", "get").in(reg.Host())))
	}
	w.eventually("they wait", func() bool { return reg.Stats().Count("/issue", "*") > 0 })
	for _, s := range asking {
		s.signal(syscall.SIGKILL)
		s.ends(137)
	}
	close(until)
	w.get(reg.Host(), "ci-bot")
	if n := reg.Stats().Count("/issue", "*"); n != 1 {
		t.Errorf("%d passwords were made: the callers have taken the mint with them", n)
	}
	w.eventually("nothing of them is left", func() bool { return descriptors(pid) <= files+2 && w.metric("goroutines") <= routines+2 })
}

// An agent that may open few files serves one after the other.
func TestFewDescriptorsDelayAndLoseNobody(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.start(cmd("sh", "-c", "ulimit -n 64; exec regmint agent run"))
	w.eventually("the agent answers", func() bool { return len(listeners(t, w.paths().MainSocket())) == 1 })
	for range 500 {
		c, err := net.Dial("unix", w.paths().MainSocket())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { w.get(reg.Host(), "ci-bot") })
	}
	wg.Wait()
}

// A helper whose agent has stopped answering ends by itself, with a reason.
func TestAnAgentThatHangsIsGivenUpOnAfterTenSeconds(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	pid := w.agent()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	w.eventually("it stands still", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(state, "T")
	})
	r := w.run(cmd("docker-credential-regmint", "get").in("reg.example"))
	_ = syscall.Kill(pid, syscall.SIGCONT)
	if r.code != 1 || r.out != "reg.example: no answer within 10s; run: regmint status\n" || r.err != r.out {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
	if r := w.run(cmd("docker-credential-regmint", "get").in("reg.example")); !strings.HasPrefix(r.out, "credentials not found") {
		t.Errorf("afterwards: %s", r.out)
	}
}

// What reads a helper's answer may go away.
func TestAClosedStdoutEndsTheHelper(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.agent()
	for range 20 {
		r, p, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := w.process(cmd("docker-credential-regmint", "get").in(reg.Host()))
		c.Stdout = p
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = p.Close(), r.Close()
		if code, err := w.wait(c); err != nil || code != 1 && code != 0 {
			t.Errorf("exit %d (%v)", code, err)
		}
	}
}
