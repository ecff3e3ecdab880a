// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// A descriptor sent along is not kept: its pipe ends for the sender at once.
func TestDescriptorsSentAlongAreNotKept(t *testing.T) { // H86
	s := serve(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.paths.MainSocket(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := []byte("GET /v1/status HTTP/1.1\r\nHost: regmint\r\n\r\n")
	if _, _, err := c.WriteMsgUnix(req, syscall.UnixRights(int(w.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	_ = r.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the agent holds the descriptor: %v", err)
	}
}
