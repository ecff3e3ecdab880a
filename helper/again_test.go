// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// An agent that is killed, or replaced, while it answers costs nobody a build:
// the next one is asked.
func TestAnAgentLostWhileItAnswersIsAskedAgain(t *testing.T) {
	answers := map[string]string{
		"get":   `{"outcome":"ok","username":"u","secret":"s3cret"}`,
		"store": `{"outcome":"ok"}`,
		"erase": `{"outcome":"ok"}`,
		"list":  `{"outcome":"ok","entries":{"ghcr.io":"u"}}`,
	}
	inputs := map[string]string{"get": "ghcr.io", "erase": "ghcr.io", "store": `{"ServerURL":"ghcr.io","Username":"u","Secret":"p"}`}
	want := map[string]string{"get": `{"ServerURL":"ghcr.io","Username":"u","Secret":"s3cret"}` + "\n", "list": `{"ghcr.io":"u"}` + "\n"}
	for verb, answer := range answers {
		t.Run(verb, func(t *testing.T) {
			r := newRig(t)
			var asked atomic.Int32
			r.raw(func(c net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				body, _ := io.ReadAll(req.Body)
				switch asked.Add(1) {
				case 1: // it ends before a word
				case 2: // and within one
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer[:5])
				default:
					if req.URL.Path != "/v1/"+verb || inputs[verb] != "" && !strings.Contains(string(body), "ghcr.io") {
						t.Errorf("asked again for %s %s", req.URL.Path, body)
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
				}
			})
			got := r.run(verb, inputs[verb])
			if got.code != 0 || got.out != want[verb] || got.err != "" || asked.Load() != 3 {
				t.Errorf("%+v after %d questions", got, asked.Load())
			}
		})
	}
}
