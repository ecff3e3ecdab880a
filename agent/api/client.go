// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// ErrNoAgent means that no agent answers at the socket.
var ErrNoAgent = errors.New("no agent is running")

// StatusError is an answer other than 2xx.
type StatusError struct {
	Code    int
	Message string // for a person, "" where the agent gave none
}

// Error implements error.
func (e *StatusError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return "the agent answered with HTTP status " + strconv.Itoa(e.Code)
}

// transport is what a Client needs of a net.Conn.
type transport interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// Client speaks to one agent over one connection that it keeps. It is not safe
// for concurrent use; Close may be called at any time.
type Client struct {
	conn   transport
	socket string
	in     messages
	used   bool // an answer has come over this connection
	gone   bool // the connection is of no use any more
}

// Dial connects to the agent at socket, an absolute path (on Windows it names
// a pipe). Where nobody listens the error wraps ErrNoAgent. A server that runs
// as another user than this process, root, or the owner of the socket's
// directory is refused before a byte is sent (ErrUnsafe).
func Dial(ctx context.Context, socket string) (*Client, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, socket: socket, in: messages{r: conn}}, nil
}

func dial(ctx context.Context, socket string) (transport, error) {
	if err := CheckSocketPath(socket); err != nil {
		return nil, err
	}
	return dialSocket(ctx, socket)
}

// Get asks for a credential: POST /v1/get.
func (c *Client) Get(ctx context.Context, req *GetRequest) (*GetResponse, error) {
	body, err := c.roundTrip(ctx, "POST", "/v1/get", appendGet(make([]byte, 0, 4096), req), MaxBody, true)
	if err != nil {
		return nil, err
	}
	var resp GetResponse
	if err := parseGet(body, &resp); err != nil {
		c.gone = true
		return nil, fmt.Errorf("%w: %w", errWire, err)
	}
	return &resp, nil
}

// Call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// dropped). An answer other than 2xx is a *StatusError.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var data []byte
	if in != nil {
		var err error
		if data, err = json.Marshal(in); err != nil {
			return err
		}
	}
	body, err := c.roundTrip(ctx, method, path, data, maxAnswer, method == "GET" || path == "/v1/list")
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		c.gone = true
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// roundTrip sends one request and returns the body of its answer. again: the
// request may be sent twice, so a kept connection that the agent has closed in
// the meantime is replaced.
func (c *Client) roundTrip(ctx context.Context, method, path string, body []byte, limit int, again bool) ([]byte, error) {
	msg := appendRequest(make([]byte, 0, 256+len(body)), method, path, body)
	kept := c.used
	if c.gone {
		kept = false
		if err := c.redial(ctx); err != nil {
			return nil, err
		}
	}
	h, answer, err := c.exchange(ctx, msg, limit)
	if again && kept && stale(err) && !c.in.pending() {
		if err := c.redial(ctx); err != nil {
			return nil, err
		}
		h, answer, err = c.exchange(ctx, msg, limit)
	}
	if err != nil {
		c.gone = true
		return nil, wireError(ctx, err)
	}
	c.used = true
	c.gone = h.close || c.in.pending() // bytes nobody asked for: never an answer to the next request
	if h.status/100 != 2 {
		var r GetResponse
		_ = parseGet(answer, &r) // any answer of ours has its message there
		return nil, &StatusError{Code: h.status, Message: r.Message}
	}
	return answer, nil
}

func (c *Client) redial(ctx context.Context) error {
	_ = c.conn.Close()
	conn, err := dial(ctx, c.socket)
	if err != nil {
		return err
	}
	c.conn, c.in, c.gone, c.used = conn, messages{r: conn}, false, false
	return nil
}

func (c *Client) exchange(ctx context.Context, msg []byte, limit int) (head, []byte, error) {
	release := deadline(ctx, c.conn)
	defer release()
	if _, err := c.conn.Write(msg); err != nil {
		return head{}, nil, err
	}
	return c.in.next(limit)
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// deadline makes reads and writes of conn end with ctx, until release.
func deadline(ctx context.Context, conn transport) (release func()) {
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	if _, ok := ctx.(*until); ok || ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(longAgo)
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
		}
	}
}

// IsLost reports an answer that did not come because the agent went away while
// it was asked: killed, or replaced. The next agent may be asked the same.
func IsLost(err error) bool { return stale(err) || errors.Is(err, io.ErrUnexpectedEOF) }

// stale reports what a kept connection does when its server has gone.
func stale(err error) bool { return errors.Is(err, io.EOF) || isReset(err) }

// wireError says in words what went wrong with a connection.
func wireError(ctx context.Context, err error) error {
	err = contextError(ctx, err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the agent does not answer: %w", err)
	case stale(err), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the agent closed the connection: %w", err)
	}
	return err
}

// contextError is the context's error where it is why a read or write ended;
// the connection may notice its deadline before the context does.
func contextError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	}
	return err
}
