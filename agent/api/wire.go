// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

const (
	// MaxBody is what the agent takes and gives for a get, in bytes.
	MaxBody = 256 << 10
	// maxAnswer bounds every other answer: a status lists thousands of tokens.
	maxAnswer = 16 << 20
	maxHead   = 16 << 10
)

// errWire is an answer that is not our agent's.
var errWire = errors.New("the answer at the socket is not a regmint agent's")

// appendRequest writes a request whole, so that it leaves in one write.
func appendRequest(b []byte, method, path string, body []byte) []byte {
	b = append(append(append(append(b, method...), ' '), path...), " HTTP/1.1\r\nHost: regmint\r\n"...)
	if body != nil {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	return append(append(b, "\r\n"...), body...)
}

// answerWith is a 200 response whole.
func answerWith(body []byte) []byte {
	b := append(make([]byte, 0, 128+len(body)), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	return append(b, body...)
}

// head is what counts of a response's head.
type head struct {
	status int
	length int
	close  bool // the server ends the connection after this response
}

// parseHead reads the head of a response of our own server: a strict subset
// of RFC 9112 with Content-Length bodies alone. n is the head's length; 0 means
// that more bytes are needed.
func parseHead(b []byte) (h head, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHead {
			return h, 0, errWire
		}
		return h, 0, nil
	}
	if end > maxHead {
		return h, 0, errWire
	}
	h.length = -1
	first := true
	for rest := b[:end+2]; len(rest) > 0; first = false {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok || !printable(line) {
			return h, 0, errWire
		}
		if rest = after; first {
			h.status, err = parseStatus(string(line))
		} else {
			err = h.field(string(line))
		}
		if err != nil {
			return h, 0, err
		}
	}
	if h.length < 0 {
		return h, 0, errWire
	}
	return h, end + 4, nil
}

// printable refuses every control byte; a stray CR or LF would let two readers
// see different lines.
func printable(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(line) > 0
}

func parseStatus(line string) (int, error) {
	code, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	code, _, _ = strings.Cut(code, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if !ok || err != nil || len(code) != 3 || n < 200 || n > 599 || n == 204 || n == 304 {
		return 0, errWire
	}
	return int(n), nil
}

func (h *head) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsFunc(name, notToken) {
		return errWire
	}
	value = strings.TrimSpace(value)
	switch strings.ToLower(name) {
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || h.length >= 0 {
			return errWire
		}
		h.length = int(n)
	case "transfer-encoding", "trailer", "upgrade":
		return errWire
	case "connection":
		h.close = h.close || strings.EqualFold(value, "close")
	}
	return nil
}

// notToken: RFC 9110 §5.6.2.
func notToken(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}

// messages reads responses from a stream. What it read so far is kept when a
// deadline ends a read, so the next call goes on.
type messages struct {
	r    io.Reader
	buf  []byte
	from int // the first byte not yet returned
}

// next reads one response of at most limit bytes; the body is valid until the
// next call. io.EOF: the stream ended between two responses;
// io.ErrUnexpectedEOF: within one.
func (m *messages) next(limit int) (head, []byte, error) {
	if m.from > 0 {
		m.buf = append(m.buf[:0], m.buf[m.from:]...)
		m.from = 0
	}
	for {
		h, n, err := parseHead(m.buf)
		if err != nil {
			return h, nil, err
		}
		need := 1
		if n > 0 {
			if n+h.length > limit {
				return h, nil, errWire
			}
			if need = n + h.length - len(m.buf); need <= 0 {
				m.from = n + h.length
				return h, m.buf[n:m.from], nil
			}
		}
		if err := m.fill(need); err != nil {
			return h, nil, err
		}
	}
}

// pending reports bytes beyond the last response.
func (m *messages) pending() bool { return m.from < len(m.buf) }

// fill reads at least one byte and makes room for need.
func (m *messages) fill(need int) error {
	if free := cap(m.buf) - len(m.buf); free < need || free < 512 {
		grown := make([]byte, len(m.buf), len(m.buf)+max(need, 4096))
		copy(grown, m.buf)
		m.buf = grown
	}
	n, err := m.r.Read(m.buf[len(m.buf):cap(m.buf)])
	m.buf = m.buf[:len(m.buf)+n]
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	case errors.Is(err, io.EOF) && len(m.buf) > 0:
		return io.ErrUnexpectedEOF
	}
	return err
}
