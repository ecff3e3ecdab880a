// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Lease is the wrapper's end of a job: the connection is the lease. Next is
// for one goroutine; Close may be called from another.
type Lease struct {
	c *Client
}

// OpenJob opens or resumes a job: POST /v1/jobs/open. Where the answer's
// Outcome is not OK there is no lease: nil, the answer, nil. ctx bounds the
// opening alone.
func OpenJob(ctx context.Context, socket string, req *JobRequest) (*Lease, *JobResponse, error) {
	if u, ok := ctx.(*until); ok { // a lease needs a connection that Close may end
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.Background(), u.end)
		defer cancel()
	}
	c, err := Dial(ctx, socket)
	if err != nil {
		return nil, nil, err
	}
	data, err := json.Marshal(req)
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	body, err := c.open(ctx, data)
	var resp JobResponse
	if err == nil {
		err = unmarshal(body, &resp)
	}
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	if resp.Outcome != OK {
		_ = c.Close()
		return nil, &resp, nil
	}
	return &Lease{c: c}, &resp, nil
}

// open is roundTrip for an answer that others may follow at once.
func (c *Client) open(ctx context.Context, data []byte) ([]byte, error) {
	h, body, err := c.exchange(ctx, appendRequest(nil, "POST", "/v1/jobs/open", data), maxAnswer)
	if err != nil {
		return nil, wireError(ctx, err)
	}
	if h.status != 200 {
		var r GetResponse
		_ = parseGet(body, &r)
		return nil, &StatusError{Code: h.status, Message: r.Message}
	}
	return body, nil
}

func unmarshal(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return nil
}

// Next waits for the agent's next event; io.EOF when the agent is gone. When
// ctx ends the error is its own and the lease goes on.
func (l *Lease) Next(ctx context.Context) (JobEvent, error) {
	release := deadline(ctx, l.c.conn)
	h, body, err := l.c.in.next(maxAnswer)
	release()
	switch {
	case err == nil && h.status != 200:
		err = errWire
	case err == nil:
		var e JobEvent
		err = unmarshal(body, &e)
		return e, err
	}
	if err = contextError(ctx, err); stale(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return JobEvent{}, err
}

// Close ends the job.
func (l *Lease) Close() error { return l.c.Close() }

// WriteMessage sends v on a hijacked connection in the form that OpenJob and
// Next read: an HTTP/1.1 200 response with Content-Length and a JSON body, in
// one write.
func WriteMessage(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(answerWith(body))
	return err
}
