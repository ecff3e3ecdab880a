// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"io"
)

// Lease is the wrapper's end of a job: the connection is the lease.
type Lease struct {
	c *Client
}

// OpenJob opens or resumes a job: POST /v1/jobs/open. Where the answer's
// Outcome is not OK there is no lease: nil, the answer, nil.
func OpenJob(ctx context.Context, socket string, req *JobRequest) (*Lease, *JobResponse, error) {
	return nil, nil, ErrNoAgent
}

// Next waits for the agent's next event; io.EOF when the agent is gone. A
// context that ends while waiting leaves the lease usable.
func (l *Lease) Next(ctx context.Context) (JobEvent, error) { return JobEvent{}, io.EOF }

// Close ends the job.
func (l *Lease) Close() error { return l.c.Close() }

// WriteMessage sends v on a hijacked connection as OpenJob and Next read it:
// an HTTP/1.1 200 response with Content-Length and a JSON body, in one write.
func WriteMessage(w io.Writer, v any) error { return ErrNoAgent }
