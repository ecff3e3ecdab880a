// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
)

// loginUI is the person at the terminal of `regmint login`.
type loginUI struct {
	a         *app
	noBrowser bool
	progress  *progress
}

var _ providers.LoginUI = (*loginUI)(nil)

// Say implements providers.LoginUI.
func (u *loginUI) Say(format string, args ...any) {
	u.progress.stop()
	u.a.say(format, args...)
}

// Choose implements providers.LoginUI: a numbered list, and the number typed.
func (u *loginUI) Choose(ctx context.Context, question string, choices []string) (int, error) {
	u.progress.stop()
	switch {
	case len(choices) == 0:
		return 0, errors.New("there is nothing to choose from")
	case len(choices) == 1:
		return 0, nil
	case !u.a.interactive():
		return 0, providers.ErrNobody
	}
	_, _ = fmt.Fprintln(u.a.err, printable(question))
	for i, c := range choices {
		_, _ = fmt.Fprintf(u.a.err, "  %*d  %s\n", len(strconv.Itoa(len(choices))), i+1, printable(c))
	}
	for {
		line, err := u.a.ask(ctx, fmt.Sprintf("Number [1-%d]: ", len(choices)))
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && n >= 1 && n <= len(choices) {
			return n - 1, nil
		}
	}
}

// Ask implements providers.LoginUI.
func (u *loginUI) Ask(ctx context.Context, question string) (string, error) {
	u.progress.stop()
	if !u.a.interactive() {
		return "", providers.ErrNobody
	}
	for {
		line, err := u.a.ask(ctx, question+": ")
		if err != nil {
			return "", err
		}
		if line = strings.TrimSpace(line); line != "" {
			return line, nil
		}
	}
}

// Secret implements providers.LoginUI.
func (u *loginUI) Secret(ctx context.Context, question string) (providers.Secret, error) {
	u.progress.stop()
	if !u.a.interactive() {
		return providers.Secret{}, providers.ErrNobody
	}
	for {
		text, err := u.a.askSecret(ctx, question+": ")
		if err != nil {
			return providers.Secret{}, err
		}
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := checkSecret(text); err != nil {
			return providers.Secret{}, usage("", "%w", err)
		}
		return providers.NewSecret(text), nil
	}
}

// Device implements providers.LoginUI.
func (u *loginUI) Device(_ context.Context, d providers.Device) error {
	u.progress.stop()
	a := u.a
	if !a.interactive() {
		return providers.ErrNobody
	}
	address := d.Complete
	if address == "" {
		address = d.URL
	}
	what := d.For
	if what == "" {
		what = "this login"
	}
	opened := false
	if !u.noBrowser && browsable(address) {
		opened = a.openBrowser(address)
	}
	if opened {
		task := "enter"
		if d.Complete != "" { // it shows the code itself
			task = "compare"
		}
		a.say("a browser opens for %s; %s the code there: %s", what, task, d.Code)
		a.say("where it does not, open %s and enter the code", d.URL)
	} else {
		a.say("for %s open %s and enter the code %s", what, d.URL, d.Code)
		if d.Complete != "" && d.Complete != d.URL {
			a.say("or open %s and compare the code there", d.Complete)
		}
	}
	u.progress.start(d.ExpiresAt, a.now)
	return nil
}

// browsable reports an address that is safe to hand to a browser: it came from
// another machine.
func browsable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	h, err := providers.ParseHost(u.Host)
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && h.IsLoopback()
}

// progress is a line that counts down while somebody enters a code elsewhere.
type progress struct {
	out  io.Writer
	on   bool // stderr is a terminal
	mu   sync.Mutex
	end  chan struct{}
	done chan struct{}
}

// start shows the line until stop.
func (p *progress) start(until time.Time, now func() time.Time) {
	if !p.on {
		return
	}
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	end, done := make(chan struct{}), make(chan struct{})
	p.end, p.done = end, done
	go func() { // ends with stop
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			left := ""
			if d := until.Sub(now()); !until.IsZero() && d > 0 {
				left = fmt.Sprintf(", %d:%02d left", int(d.Minutes()), int(d.Seconds())%60)
			}
			_, _ = fmt.Fprintf(p.out, "\rregmint: waiting for you%s (Ctrl-C ends it)\x1b[K", left)
			select {
			case <-tick.C:
			case <-end:
				_, _ = fmt.Fprint(p.out, "\r\x1b[K")
				return
			}
		}
	}()
}

// stop takes the line away.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		return
	}
	close(p.end)
	<-p.done
	p.end, p.done = nil, nil
}
