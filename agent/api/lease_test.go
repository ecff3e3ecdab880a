// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// jobServer opens jobs as the agent does: it takes the connection over,
// answers, and hands it to hold.
func jobServer(t *testing.T, resp JobResponse, hold func(c net.Conn, req JobRequest)) string {
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req JobRequest
		if r.URL.Path != "/v1/jobs/open" || json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(Reply{Outcome: Failed, Message: "bad request"})
			return
		}
		if resp.Outcome != OK {
			_ = json.NewEncoder(w).Encode(resp)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if err := WriteMessage(conn, resp); err != nil {
			t.Error(err)
		}
		hold(conn, req)
	}))
}

func TestALeaseCarriesEventsUntilTheAgentIsGone(t *testing.T) {
	events := []JobEvent{
		{Login: &Login{ServerURL: "ghcr.io", Username: "u", Secret: "s\n"}},
		{Erase: "ghcr.io"},
		{Close: strings.Repeat("why ", 20000)},
	}
	got := make(chan JobRequest, 1)
	socket := jobServer(t, JobResponse{Outcome: OK, ID: "abc", Hosts: []string{"ghcr.io"}}, func(c net.Conn, req JobRequest) {
		got <- req
		for _, e := range events { // together with the answer: they arrive in one read
			if err := WriteMessage(c, e); err != nil {
				t.Error(err)
			}
		}
	})
	asked := &JobRequest{ID: "abc", Kind: "run", Env: []string{"A=1"}, TTL: time.Hour, Logins: []Login{{ServerURL: "h", Secret: strings.Repeat("x", 300<<10)}}}
	l, resp, err := OpenJob(t.Context(), socket, asked)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if req := <-got; resp.ID != "abc" || !reflect.DeepEqual(req, *asked) {
		t.Errorf("%+v, asked %+v", resp, req)
	}
	for _, want := range events {
		e, err := l.Next(t.Context())
		if err != nil || !reflect.DeepEqual(e, want) {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	if _, err := l.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF: the agent is gone", err)
	}
}

func TestALeaseOutlivesAContextThatEndsWhileWaiting(t *testing.T) {
	goOn := make(chan struct{})
	socket := jobServer(t, JobResponse{Outcome: OK}, func(c net.Conn, _ JobRequest) {
		body, _ := json.Marshal(JobEvent{Erase: "ghcr.io"})
		msg := answerWith(body)
		_, _ = c.Write(msg[:len(msg)/2]) // the interruption comes within a message
		<-goOn
		_, _ = c.Write(msg[len(msg)/2:])
		_, _ = io.Copy(io.Discard, c)
	})
	opening, cancel := context.WithCancel(t.Context())
	l, _, err := OpenJob(opening, socket, &JobRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cancel() // bounds the opening alone
	if _, err := l.Next(timeout(t, 20*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want the context's error", err)
	}
	close(goOn)
	if e, err := l.Next(t.Context()); err != nil || e.Erase != "ghcr.io" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestAServerSeesTheLeaseEndWithTheWrapper(t *testing.T) {
	ended := make(chan error, 1)
	socket := jobServer(t, JobResponse{Outcome: OK}, func(c net.Conn, _ JobRequest) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	l, _, err := OpenJob(Until(time.Now().Add(10*time.Second)), socket, &JobRequest{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the server saw %v while the lease was held", err)
	case <-time.After(20 * time.Millisecond):
	}
	_ = l.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v, want EOF", err)
	}
}

func TestARefusedJobHasNoLease(t *testing.T) {
	for _, want := range []JobResponse{
		{Outcome: Failed, Kind: "denied", Message: "no"},
		{Outcome: NeedEnv, NeedEnv: []string{"A"}},
	} {
		socket := jobServer(t, want, nil)
		l, resp, err := OpenJob(t.Context(), socket, &JobRequest{})
		if l != nil || err != nil || !reflect.DeepEqual(*resp, want) {
			t.Errorf("%v, %+v, %v", l, resp, err)
		}
	}
	socket := serve(t, http.NotFoundHandler())
	_, _, err := OpenJob(t.Context(), socket, &JobRequest{})
	wantError(t, err, "HTTP status 404")
	if _, _, err := OpenJob(t.Context(), socket+"x", &JobRequest{}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v, want no agent", err)
	}
}

func TestGarbageOnALeaseIsAnError(t *testing.T) {
	socket := jobServer(t, JobResponse{Outcome: OK}, func(c net.Conn, _ JobRequest) {
		_, _ = io.WriteString(c, "surprise\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	l, _, err := OpenJob(t.Context(), socket, &JobRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Next(t.Context()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
