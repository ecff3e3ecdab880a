// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

var refusedHeads = map[string]string{
	"bare line feeds":        "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}\r\n\r\n",
	"HTTP/1.0":               "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/2":                 "HTTP/2 200\r\nContent-Length: 2\r\n\r\n{}",
	"SSH":                    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
	"TLS alert":              "\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
	"no length":              "HTTP/1.1 200 OK\r\n\r\n{}",
	"two lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"list of lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
	"signed length":          "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
	"hex length":             "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n{}",
	"huge length":            "HTTP/1.1 200 OK\r\nContent-Length: 4294967295\r\n\r\n{}",
	"negative length":        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
	"length above the limit": "HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n{}",
	"chunked":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"chunked and length":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
	"folded header":          "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
	"space before the colon": "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
	"header without a name":  "HTTP/1.1 200 OK\r\n: 2\r\nContent-Length: 2\r\n\r\n{}",
	"NUL in a header":        "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}",
	"lone CR":                "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\n{}",
	"informational":          "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
	"no content":             "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
	"four digits":            "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
	"endless head":           "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 5000),
}

func TestAnswersThatAreNotOurAgentsAreRefused(t *testing.T) { // H82, H83
	for name, text := range refusedHeads {
		t.Run(name, func(t *testing.T) {
			m := messages{r: strings.NewReader(text)}
			if h, body, err := m.next(MaxBody); err == nil {
				t.Errorf("accepted: %+v %q", h, body)
			}
		})
	}
}

func TestAnswersArriveByteByByteAndBackToBack(t *testing.T) {
	m := messages{r: iotest.OneByteReader(strings.NewReader(okAnswer + okAnswer))}
	for range 2 {
		if h, body, err := m.next(MaxBody); err != nil || h.status != 200 || string(body) != "{}" {
			t.Fatalf("%+v %q %v", h, body, err)
		}
	}
	if _, _, err := m.next(MaxBody); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
	m = messages{r: strings.NewReader(okAnswer[:len(okAnswer)-1])}
	if _, _, err := m.next(MaxBody); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v, want unexpected EOF", err)
	}
}

func TestAReadThatIsInterruptedGoesOn(t *testing.T) {
	parts := []string{okAnswer[:20], "", okAnswer[20:40], "", okAnswer[40:]}
	m := messages{r: readerFunc(func(b []byte) (int, error) {
		p := parts[0]
		parts = parts[1:]
		if p == "" {
			return 0, errLocked // any error
		}
		return copy(b, p), nil
	})}
	fails := 0
	for {
		_, body, err := m.next(MaxBody)
		if err == nil {
			if string(body) != "{}" || fails != 2 {
				t.Errorf("%q after %d interruptions", body, fails)
			}
			return
		}
		if fails++; fails > 2 {
			t.Fatal(err)
		}
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestLargeBodiesArriveWhole(t *testing.T) {
	body := strings.Repeat("x", 200<<10)
	m := messages{r: iotest.HalfReader(bytes.NewReader(answerWith([]byte(body))))}
	if _, got, err := m.next(MaxBody); err != nil || string(got) != body {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzHTTPResponse(f *testing.F) {
	f.Add([]byte(okAnswer))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\nX-Y: z\r\n\r\n"))
	for _, s := range refusedHeads {
		if len(s) < 1000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := messages{r: bytes.NewReader(data)}
		h, body, err := m.next(1 << 10)
		if err != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil {
			t.Fatalf("accepted %q, net/http: %v", data, err)
		}
		theirs, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != h.status || !bytes.Equal(theirs, body) || resp.ContentLength != int64(h.length) {
			t.Fatalf("%q: ours %+v %q, net/http %d %q %v", data, h, body, resp.StatusCode, theirs, err)
		}
	})
}

func TestRequestsAreWhatNetHTTPReads(t *testing.T) {
	for _, body := range [][]byte{nil, []byte(`{"key":"ghcr.io"}`)} {
		msg := appendRequest(nil, "POST", "/v1/get", body)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(msg)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || r.Method != "POST" || r.URL.Path != "/v1/get" || r.Host != "regmint" || r.ContentLength != int64(len(body)) {
			t.Errorf("%q: %+v %q %v", msg, r, got, err)
		}
	}
	if got := string(answerWith([]byte("{}"))); got != okAnswer {
		t.Errorf("%q "+strconv.Itoa(len(got)), got)
	}
}
