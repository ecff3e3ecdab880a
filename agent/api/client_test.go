// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func mustDial(ctx context.Context, t *testing.T, socket string) *Client {
	t.Helper()
	c, err := Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestGetCarriesEveryFieldBothWays(t *testing.T) {
	want := GetResponse{Outcome: OK, Username: "ü", Secret: "a\nb\x00", Account: "x", IssuedAt: 1, ExpiresAt: 2, Wider: true, Behind: "/b", Version: "v1", NeedEnv: []string{"A"}, Kind: "k", Message: "m", NativeEnv: []string{"A=b\n", "C="}}
	asked := GetRequest{Key: "ghcr.io/a/b", Account: "x", Soft: true, Env: []string{"A=1", "B"}, PID: 9, Client: "docker", Config: "/c", Refresh: true, Native: true, Version: "v0"}
	type heard struct {
		GetRequest
		head http.Header
	}
	got := make(chan heard, 1)
	socket := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := heard{head: r.Header}
		if r.Host != "regmint" || r.Method != "POST" || r.URL.Path != "/v1/get" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&h.GetRequest)
		got <- h
		_ = json.NewEncoder(w).Encode(want)
	}))
	eachContext(t, func(t *testing.T, ctx context.Context) {
		resp, err := mustDial(ctx, t, socket).Get(ctx, &asked)
		if err != nil {
			t.Fatal(err)
		}
		h := <-got
		if !reflect.DeepEqual(*resp, want) || !reflect.DeepEqual(h.GetRequest, asked) {
			t.Errorf("asked %+v\nanswered %+v", h.GetRequest, *resp)
		}
		for _, name := range []string{"Origin", "Referer", "User-Agent", "Accept-Encoding"} {
			if h.head.Get(name) != "" {
				t.Errorf("header %s was sent", name)
			}
		}
	})
}

func TestOneConnectionServesManyRequests(t *testing.T) {
	var conns atomic.Int64
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/bye" {
				w.Header().Set("Connection", "close")
			}
			_, _ = io.WriteString(w, `{"outcome":"ok"}`)
		}),
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				conns.Add(1)
			}
		},
	}
	socket := filepath.Join(shortDir(t), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	eachContext(t, func(t *testing.T, ctx context.Context) {
		conns.Store(0)
		c := mustDial(ctx, t, socket)
		for range 3 {
			if _, err := c.Get(ctx, &GetRequest{Key: "h"}); err != nil {
				t.Fatal(err)
			}
			if err := c.Call(ctx, "GET", "/v1/status", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections for six requests", n)
		}
		if err := c.Call(ctx, "POST", "/v1/bye", nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Call(ctx, "GET", "/v1/status", nil, nil); err != nil {
			t.Errorf("after the agent closed: %v", err)
		}
		if n := conns.Load(); n != 2 {
			t.Errorf("%d connections, want a second one after the close", n)
		}
	})
}

func TestAKeptConnectionThatDiedIsReplacedForReadsAlone(t *testing.T) {
	socket := serveRaw(t, func(c net.Conn) {
		b := make([]byte, 4096)
		_, _ = c.Read(b)
		_, _ = io.WriteString(c, okAnswer) // and closes
	})
	eachContext(t, func(t *testing.T, ctx context.Context) {
		c := mustDial(ctx, t, socket)
		for range 3 {
			if _, err := c.Get(ctx, &GetRequest{Key: "h"}); err != nil {
				t.Fatal(err)
			}
		}
		err := c.Call(ctx, "POST", "/v1/store", Login{ServerURL: "h"}, nil)
		wantError(t, err, "the agent closed the connection")
		if err := c.Call(ctx, "POST", "/v1/store", Login{ServerURL: "h"}, nil); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

func TestOtherStatusesAreErrorsWithTheAgentsWords(t *testing.T) {
	socket := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		if r.URL.Path == "/v1/said" {
			_, _ = io.WriteString(w, `{"outcome":"failed","kind":"denied","message":"not inside a job"}`)
		}
	}))
	ctx := t.Context()
	c := mustDial(ctx, t, socket)
	for path, want := range map[string]string{"/v1/said": "not inside a job", "/v1/silent": "HTTP status 403"} {
		err := c.Call(ctx, "POST", path, nil, nil)
		var s *StatusError
		if !errors.As(err, &s) || s.Code != 403 {
			t.Errorf("%s: %v", path, err)
		}
		wantError(t, err, want)
	}
}

// Whatever a server does, the call ends with its context and says so.
func TestAServerThatMisbehavesEndsInABoundedError(t *testing.T) {
	slow := func(c net.Conn, every time.Duration) {
		for i := range okAnswer {
			if _, err := io.WriteString(c, okAnswer[i:i+1]); err != nil {
				return
			}
			time.Sleep(every)
		}
	}
	for _, tc := range []struct {
		name, want string
		handle     func(c net.Conn)
	}{
		{"never answers", "does not answer", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"never reads", "does not answer", func(net.Conn) { time.Sleep(5 * time.Second) }},
		{"one byte at a time", "does not answer", func(c net.Conn) { slow(c, time.Second) }},
		{"half an answer", "does not answer", func(c net.Conn) { _, _ = io.WriteString(c, okAnswer[:30]); _, _ = io.Copy(io.Discard, c) }},
		{"closes at once", "closed the connection", func(net.Conn) {}},
		{"closes within", "closed the connection", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, okAnswer[:30])
		}},
		{"half-closes", "closed the connection", func(c net.Conn) {
			_ = c.(*net.UnixConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}},
		{"garbage", "not a regmint agent", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _, _ = io.WriteString(c, "hello\r\n\r\n") }},
		{"endless head", "not a regmint agent", func(c net.Conn) {
			for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"); err == nil; _, err = io.WriteString(c, strings.Repeat("X: y\r\n", 1000)) {
			}
		}},
		{"huge body", "not a regmint agent", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
		}},
		{"not JSON", "not a regmint agent", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write(answerWith([]byte("<html>")))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			socket := serveRaw(t, tc.handle)
			request := &GetRequest{Key: "h", Config: strings.Repeat("x", 1<<10)}
			if tc.name == "never reads" {
				request.Config = strings.Repeat("x", 4<<20) // more than any socket buffers
			}
			for _, ctx := range []context.Context{timeout(t, 100*time.Millisecond), Until(time.Now().Add(100 * time.Millisecond))} {
				c, err := Dial(ctx, socket)
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Get(ctx, request)
				wantError(t, err, tc.want)
				if errors.Is(err, ErrNoAgent) {
					t.Errorf("%v counts as no agent: the caller would mint without one", err)
				}
				_ = c.Close()
			}
		})
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestCancellingEndsACallUnderWay(t *testing.T) {
	asked := make(chan struct{})
	socket := serveRaw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		close(asked)
		_, _ = io.Copy(io.Discard, c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	c := mustDial(ctx, t, socket)
	go func() { <-asked; cancel() }()
	if _, err := c.Get(ctx, &GetRequest{Key: "h"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

func TestBytesNobodyAskedForAreNotTheNextAnswer(t *testing.T) {
	socket := serveRaw(t, func(c net.Conn) {
		b := make([]byte, 4096)
		if _, err := c.Read(b); err != nil {
			return
		}
		_, _ = c.Write(append(answerWith([]byte(`{"outcome":"ok","secret":"first"}`)), answerWith([]byte(`{"outcome":"ok","secret":"smuggled"}`))...))
		_, _ = io.Copy(io.Discard, c)
	})
	eachContext(t, func(t *testing.T, ctx context.Context) {
		c := mustDial(ctx, t, socket)
		for range 2 {
			if r, err := c.Get(ctx, &GetRequest{Key: "h"}); err != nil || r.Secret != "first" {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}

func TestDialRefusesWhatIsNoSocketPath(t *testing.T) { // H89
	t.Chdir(t.TempDir())
	for _, socket := range []string{"", "@abstract", "\x00abstract", "tcp://127.0.0.1:80", "127.0.0.1:80", "s", "./s", "unix:/tmp/s"} {
		_, err := Dial(t.Context(), socket)
		wantError(t, err, "not an absolute path")
		if errors.Is(err, ErrNoAgent) {
			t.Errorf("%q counts as no agent", socket)
		}
	}
	long := "/" + strings.Repeat("d", 200) + "/s"
	_, err := Dial(t.Context(), long)
	wantError(t, err, "has 203 bytes", "allows 10")
	_, err = Listen(long)
	wantError(t, err, "has 203 bytes", "allows 10")
}

func TestOnlyAMissingListenerIsNoAgent(t *testing.T) {
	dir := shortDir(t)
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	eachContext(t, func(t *testing.T, ctx context.Context) {
		for _, socket := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "no", "dir"), dead} {
			if _, err := Dial(ctx, socket); !errors.Is(err, ErrNoAgent) {
				t.Errorf("%s: %v", socket, err)
			}
		}
		notDir := filepath.Join(dir, "dead", "s")
		if _, err := Dial(ctx, notDir); err == nil || errors.Is(err, ErrNoAgent) {
			t.Errorf("%s: %v", notDir, err)
		}
	})
}

func TestUntilIsAContextLikeAnyOther(t *testing.T) {
	past := Until(time.Now().Add(-time.Second))
	if !errors.Is(past.Err(), context.DeadlineExceeded) {
		t.Errorf("%v", past.Err())
	}
	<-past.Done()
	soon := Until(time.Now().Add(20 * time.Millisecond))
	if soon.Err() != nil {
		t.Error("ended early")
	}
	child, cancel := context.WithTimeout(soon, time.Hour)
	defer cancel()
	<-child.Done() // a derived context ends with it
	if !errors.Is(child.Err(), context.DeadlineExceeded) || !errors.Is(soon.Err(), context.DeadlineExceeded) {
		t.Errorf("%v, %v", child.Err(), soon.Err())
	}
}

func TestAClientWithoutALimitWaits(t *testing.T) {
	goOn := make(chan struct{})
	socket := serveRaw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		<-goOn
		_, _ = io.WriteString(c, okAnswer)
	})
	c := mustDial(Until(time.Now().Add(10*time.Second)), t, socket)
	time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
	if _, err := c.Get(context.Background(), &GetRequest{Key: "h"}); err != nil {
		t.Error(err)
	}
}

func TestAFullBacklogIsWaitedFor(t *testing.T) { // H24
	eachContext(t, func(t *testing.T, ctx context.Context) {
		socket := filepath.Join(shortDir(t), "s")
		accept := fullBacklog(t, socket)
		done := make(chan error, 1)
		go func() {
			c, err := Dial(ctx, socket)
			if err == nil {
				err = c.Close()
			}
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("a full backlog: %v", err)
		case <-time.After(30 * time.Millisecond):
		}
		accept()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
