// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func testUI(t *testing.T, typed string, terminal bool) (*loginUI, *bytes.Buffer) {
	t.Helper()
	a, _, errs := testApp(t)
	a.in = strings.NewReader(typed)
	a.isTerminal = func(any) bool { return terminal }
	return &loginUI{a: a, progress: &progress{out: a.err}}, errs
}

func TestChoosingAsksOnlyWhereThereIsAChoiceAndSomebody(t *testing.T) {
	for name, c := range map[string]struct {
		typed    string
		terminal bool
		choices  []string
		want     int
		err      error
	}{
		"second":                {"2\n", true, []string{"a", "b"}, 1, nil},
		"nonsense, then second": {"\nx\n0\n3\n-1\n 2 \n", true, []string{"a", "b"}, 1, nil},
		"one":                   {"", true, []string{"a"}, 0, nil},
		"one, nobody there":     {"", false, []string{"a"}, 0, nil},
		"two, nobody there":     {"2\n", false, []string{"a", "b"}, 0, providers.ErrNobody},
		"end of input":          {"x\n", true, []string{"a", "b"}, 0, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			ui, said := testUI(t, c.typed, c.terminal)
			got, err := ui.Choose(t.Context(), "which?", c.choices)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%d, %v; want %d, %v", got, err, c.want, c.err)
			}
			if asked := said.Len() > 0; asked != (c.terminal && len(c.choices) > 1) {
				t.Errorf("said %q", said)
			}
		})
	}
	if _, err := (&loginUI{a: &app{}, progress: &progress{}}).Choose(t.Context(), "which?", nil); err == nil {
		t.Error("nothing to choose from is a choice")
	}
}

func TestAnInterruptEndsAQuestion(t *testing.T) {
	ui, _ := testUI(t, "", true)
	r, w := io.Pipe()
	defer w.Close()
	ui.a.in = r
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ui.Choose(ctx, "which?", []string{"a", "b"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestACodeIsShownToSomebodyOnly(t *testing.T) {
	d := providers.Device{For: `session "corp"`, URL: "https://device.example/", Complete: "https://device.example/?user_code=AB", Code: "AB\x1b[2J"}
	ui, said := testUI(t, "", false)
	if err := ui.Device(t.Context(), d); !errors.Is(err, providers.ErrNobody) || said.Len() > 0 {
		t.Errorf("%v, %q", err, said)
	}
	ui, said = testUI(t, "", true)
	ui.noBrowser = true
	if err := ui.Device(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	want := "regmint: for session \"corp\" open https://device.example/ and enter the code AB\\x1b[2J\n" +
		"regmint: or open https://device.example/?user_code=AB and compare the code there\n"
	if said.String() != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

// What another machine says is opened in the person's browser.
func TestOnlyWebAddressesReachABrowser(t *testing.T) {
	for address, want := range map[string]bool{
		"https://device.sso.eu-west-1.amazonaws.com/?user_code=AB-CD": true,
		"http://127.0.0.1:1234/start":                                 true,
		"http://device.example/":                                      false,
		"file:///etc/passwd":                                          false,
		"javascript:alert(1)":                                         false,
		"-https://x.example/":                                         false,
		"https://user:pass@x.example/":                                false,
		"https://x.example/ --new-window":                             false,
		"https://x.example/\n":                                        false,
		"https:///x":                                                  false,
		"":                                                            false,
		`\\server\share\x.exe`:                                        false,
		"ms-settings:privacy":                                         false,
	} {
		if got := browsable(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

func TestNoBrowserWhereNobodySeesOne(t *testing.T) {
	a, _, _ := testApp(t)
	if b := a.browsers(); len(b) > 0 && b[0][0] == "xdg-open" {
		t.Errorf("without a display: %q", b)
	}
}

// safeBuffer is written by the countdown.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func TestWaitingCountsDownAndLeavesNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuffer
		p := &progress{out: &out, on: true}
		p.start(time.Now().Add(90*time.Second), time.Now)
		time.Sleep(2500 * time.Millisecond)
		p.stop()
		p.stop() // twice is once
		text := out.b.String()
		for _, part := range []string{"1:30 left", "1:29 left", "1:28 left"} {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in %q", part, text)
			}
		}
		if !strings.HasSuffix(text, "\r\x1b[K") || strings.Contains(text, "\n") || strings.Contains(text, "1:27") {
			t.Errorf("%q", text)
		}
	})
	var out safeBuffer
	p := &progress{out: &out}
	p.start(time.Now().Add(time.Minute), time.Now)
	p.stop()
	if out.b.Len() > 0 {
		t.Errorf("without a terminal: %q", out.b.String())
	}
}
