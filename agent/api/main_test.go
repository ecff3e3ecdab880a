// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The test binary plays other processes: as regmint it is started with
// AgentArgs; the rest is chosen by testRole.
const testRole = "REGMINT_API_TEST"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && slices.Equal(os.Args[1:3], AgentArgs[:2]) {
		os.Exit(fakeAgent())
	}
	switch role := os.Getenv(testRole); role {
	case "":
		os.Exit(m.Run())
	case "connect":
		os.Exit(roleConnect())
	case "listen":
		os.Exit(roleListen())
	case "dial":
		os.Exit(roleDial())
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(2)
	}
}

// lifeLimit ends every process that a test forgets.
const lifeLimit = time.Minute

// fakeAgent is `regmint agent run`: it answers get, says what it was started
// with, and stops on request. A file "mode" in its runtime directory makes it
// fail or hang.
func fakeAgent() int {
	time.AfterFunc(lifeLimit, func() { os.Exit(3) })
	paths, err := DefaultPaths()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f, err := os.OpenFile(filepath.Join(paths.Runtime, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(f, os.Getpid())
	_ = f.Close()
	mode, _ := os.ReadFile(filepath.Join(paths.Runtime, "mode"))
	switch string(mode) {
	case "fail":
		fmt.Fprintln(os.Stderr, "level=INFO msg=starting\nlevel=ERROR msg=\"config.toml:3: unknown key \x1b[31mcolour\"")
		return 1
	case "hang":
		time.Sleep(lifeLimit)
	case "deaf": // says ready and does not listen
		_ = NotifyReady(ReadyFD)
		return 0
	}
	l, err := Listen(paths.MainSocket())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(os.Args) > 3 {
		if err := NotifyReady(ReadyFD); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/get", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(GetResponse{Outcome: OK, Username: "u", Secret: fmt.Sprint(os.Getpid())})
	})
	mux.HandleFunc("GET /v1/started", func(w http.ResponseWriter, _ *http.Request) {
		wd, _ := os.Getwd()
		out, _ := os.Readlink("/proc/self/fd/1")
		in, _ := os.Readlink("/proc/self/fd/0")
		sid, pgid := session()
		var fds []string
		for fd := range 64 {
			if at, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); err == nil {
				fds = append(fds, at)
			}
		}
		_ = json.NewEncoder(w).Encode(started{
			Args: os.Args, Env: os.Environ(), Dir: wd, Stdin: in, Stdout: out,
			Leader: sid == os.Getpid() && pgid == os.Getpid(), Files: fds,
		})
	})
	mux.HandleFunc("POST /v1/agent/stop", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_ = json.NewEncoder(w).Encode(Reply{Outcome: OK})
		time.AfterFunc(10*time.Millisecond, func() { _ = l.Close(); os.Exit(0) })
	})
	_ = http.Serve(l, mux)
	return 0
}

// started is what the fake agent saw of its start.
type started struct {
	Args, Env, Files   []string
	Dir, Stdin, Stdout string
	Leader             bool
}

// roleConnect connects to the agent of its environment, and says who answered.
func roleConnect() int {
	paths, err := DefaultPaths()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	exe, _ := os.Executable()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := Connect(ctx, ConnectOptions{Paths: paths, Regmint: exe})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	r, err := c.Get(ctx, &GetRequest{Key: "ghcr.io"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("pid", r.Secret)
	return 0
}

// roleListen serves OK at the socket in its environment, without any checks:
// an impostor.
func roleListen() int {
	time.AfterFunc(lifeLimit, func() { os.Exit(3) })
	l, err := net.Listen("unix", os.Getenv("REGMINT_API_TEST_SOCKET"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_ = os.Chmod(os.Getenv("REGMINT_API_TEST_SOCKET"), 0o777)
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return 0
		}
		buf := make([]byte, 1)
		if n, _ := c.Read(buf); n > 0 {
			fmt.Println("heard a byte")
		} else {
			fmt.Println("heard nothing")
		}
		_ = c.Close()
	}
}

// roleDial dials the socket in its environment and reads what it may.
func roleDial() int {
	addr := &net.UnixAddr{Name: os.Getenv("REGMINT_API_TEST_SOCKET"), Net: "unix"}
	var own *net.UnixAddr
	if from := os.Getenv("REGMINT_API_TEST_FROM"); from != "" {
		own = &net.UnixAddr{Name: from, Net: "unix"}
	}
	c, err := net.DialUnix("unix", own, addr)
	if err != nil {
		fmt.Println("dial:", err)
		return 0
	}
	_, _ = c.Write(appendRequest(nil, "POST", "/v1/get", []byte(`{"key":"ghcr.io"}`)))
	b := make([]byte, 1024)
	n, _ := c.Read(b)
	fmt.Printf("read %d bytes\n", n)
	return 0
}

// shortDir is a fresh directory of mode 0700 with a path short enough for a
// socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if len(dir) > 60 {
		var err error
		if dir, err = os.MkdirTemp("", "rm"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serve runs handler at a fresh socket.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return socket
}

// serveRaw hands each connection at a fresh socket to handle.
func serveRaw(t *testing.T, handle func(c net.Conn)) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return socket
}

// eachContext runs f with both kinds of connection.
func eachContext(t *testing.T, f func(t *testing.T, ctx context.Context)) {
	t.Run("cancellable", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f(t, ctx)
	})
	t.Run("until", func(t *testing.T) { f(t, Until(time.Now().Add(time.Minute))) })
}

// environOnly is a clean environment for a child, and extra.
func environOnly(dir string, extra ...string) []string {
	return append([]string{"HOME=" + dir, "PATH=/usr/bin:/bin", "REGMINT_RUNTIME_DIR=" + filepath.Join(dir, "r"), "REGMINT_STATE_DIR=" + filepath.Join(dir, "st")}, extra...)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q has no %q", err, p)
		}
	}
}
