// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// sdkBody is a body as smithy sends it: whoever looks for its end after it was
// closed gets an error.
type sdkBody struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func (b *sdkBody) WriteTo(io.Writer) (int64, error) {
	<-b.closed
	return 0, io.EOF
}

func (b *sdkBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

func TestABodyThatIsClosedEarlyDoesNotCutTheAnswer(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	const text = "Action=AssumeRole"
	s := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, " done")
	}))
	deps, _ := httpxtest.Deps(t, nil)
	c, err := httpx.New(httpx.ConfigOf(providers.Account{}, deps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	body := &sdkBody{Reader: strings.NewReader(text), closed: make(chan struct{})}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(text))
	res, err := c.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_ = body.Close()
	first := make([]byte, len(text))
	if _, err := io.ReadFull(res.Body, first); err != nil {
		t.Fatal(err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(first)+string(rest) != text+" done" {
		t.Errorf("%q%q %v", first, rest, err)
	}
}
