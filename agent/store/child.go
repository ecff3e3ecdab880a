// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/zalando/go-keyring"
)

// service is the name under which the keychain shows our items.
const service = "regmint"

// childRequest is one line on the child's stdin. The parent keeps stdin open
// until it has its answer: its end means that nobody waits any more.
type childRequest struct {
	Op     string `json:"op"` // ping, get, set, delete
	Name   string `json:"name"`
	Secret []byte `json:"secret,omitempty"`
	// Bus is the address of a session bus that answered the parent. It is
	// needed where the keychain is behind D-Bus: without an address the
	// library would start a bus of its own, which nobody ends.
	Bus string `json:"bus,omitempty"`
}

// childAnswer is one line on the child's stdout.
type childAnswer struct {
	Outcome string `json:"outcome"` // one of the outcomes
	Secret  []byte `json:"secret,omitempty"`
	Message string `json:"message,omitempty"`
}

// The outcomes of a childAnswer.
const (
	outcomeOK       = "ok"
	outcomeNotFound = "not_found"
	outcomeLocked   = "locked"
	outcomeTooLarge = "too_large"
	outcomeFailed   = "failed"
)

// maxChild bounds a request and an answer: a secret of the keychain, in JSON.
const maxChild = 256 << 10

// ring is the keychain.
type ring interface {
	// Ping returns when the keychain is there; it needs no person.
	Ping(bus string) error
	Set(service, user, password string) error
	Get(service, user string) (string, error)
	Delete(service, user string) error
}

// systemRing is the keychain of the operating system.
type systemRing struct{}

func (systemRing) Ping(bus string) error             { return pingRing(bus) }
func (systemRing) Set(s, u, p string) error          { return keyring.Set(s, u, p) }
func (systemRing) Get(s, u string) (string, error)   { return keyring.Get(s, u) }
func (systemRing) Delete(service, user string) error { return keyring.Delete(service, user) }

// KeyringChild is the body of the hidden command `regmint agent keyring`: one
// JSON request on stdin, one JSON answer on stdout. It returns the exit code:
// 0 with an answer, 1 without. The caller exits at once, whatever still hangs.
func KeyringChild(ctx context.Context, stdin io.Reader, stdout io.Writer) int {
	return serveRing(ctx, systemRing{}, usesBus, stdin, stdout)
}

func serveRing(ctx context.Context, r ring, bus bool, stdin io.Reader, stdout io.Writer) int {
	in := bufio.NewReaderSize(io.LimitReader(stdin, maxChild), 4096)
	var req childRequest
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &req) != nil {
		return 1
	}
	if bus {
		if req.Bus == "" || strings.HasPrefix(req.Bus, "autolaunch:") {
			return answerChild(stdout, childAnswer{Outcome: outcomeFailed, Message: "no session bus"})
		}
		if err := os.Setenv("DBUS_SESSION_BUS_ADDRESS", req.Bus); err != nil {
			return 1
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process at the latest
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	done := make(chan childAnswer, 1)
	go func() { done <- req.run(r) }()
	select {
	case a := <-done:
		return answerChild(stdout, a)
	case <-ctx.Done():
		return 1
	}
}

func answerChild(w io.Writer, a childAnswer) int {
	if err := json.NewEncoder(w).Encode(a); err != nil {
		return 1
	}
	return 0
}

// run does what is asked.
func (q childRequest) run(r ring) childAnswer {
	switch q.Op {
	case "ping":
		if err := r.Ping(q.Bus); err != nil {
			return failedAnswer(err)
		}
		return childAnswer{Outcome: outcomeOK}
	case "get":
		s, err := r.Get(service, q.Name)
		if err != nil {
			return failedAnswer(err)
		}
		return childAnswer{Outcome: outcomeOK, Secret: []byte(s)}
	case "set":
		if err := r.Set(service, q.Name, string(q.Secret)); err != nil {
			return failedAnswer(err)
		}
		// The library takes a dismissed prompt for success.
		if s, err := r.Get(service, q.Name); errors.Is(err, keyring.ErrNotFound) || err == nil && s != string(q.Secret) {
			return childAnswer{Outcome: outcomeLocked, Message: "it did not keep the secret"}
		} else if err != nil {
			return failedAnswer(err)
		}
		return childAnswer{Outcome: outcomeOK}
	case "delete":
		if err := r.Delete(service, q.Name); err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return failedAnswer(err)
		}
		return childAnswer{Outcome: outcomeOK}
	}
	return childAnswer{Outcome: outcomeFailed, Message: "unknown request"}
}

// failedAnswer sorts the errors of three keychains. Only ErrNotFound and
// ErrSetDataTooBig are typed; the rest is known by its text.
func failedAnswer(err error) childAnswer {
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return childAnswer{Outcome: outcomeNotFound}
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return childAnswer{Outcome: outcomeTooLarge}
	case isLocked(err.Error()):
		return childAnswer{Outcome: outcomeLocked}
	}
	return childAnswer{Outcome: outcomeFailed, Message: firstWords(err.Error())}
}

// isLocked knows the texts of a keychain that wants its owner: the Secret
// Service after a refused or impossible prompt, and /usr/bin/security's exit
// states for "interaction is not allowed" (-25308), "user canceled" (-128) and
// "authorization failed" (-25293), each modulo 256.
func isLocked(text string) bool {
	for _, s := range []string{"failed to unlock correct collection", "Secret.Error.IsLocked", "is locked"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	if runtime.GOOS == "darwin" {
		return text == "exit status 36" || text == "exit status 128" || text == "exit status 51"
	}
	return false
}

// firstWords makes a library's text fit for one line.
func firstWords(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 160)]
}
