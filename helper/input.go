// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

// maxInput bounds stdin, in bytes.
const maxInput = 64 << 10

var (
	errTooLong = errors.New("input is longer than 64 KiB")
	errNoInput = errors.New("no input within 5s")
)

// readInput reads stdin to its end.
func readInput(r io.Reader) ([]byte, error) {
	end := time.Now().Add(stdinLimit)
	b := make([]byte, 0, 1024)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := read(r, b[len(b):min(cap(b), maxInput+1)], end)
		b = b[:len(b)+n]
		switch {
		case len(b) > maxInput:
			return nil, errTooLong
		case errors.Is(err, io.EOF):
			return b, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errNoInput
		case err != nil:
			return nil, err
		}
	}
}

// readAside reads in a goroutine, for readers that know no deadline. It is
// left behind where the time runs out: the process ends then.
func readAside(r io.Reader, b []byte, end time.Time) (int, error) {
	type result struct {
		n   int
		err error
	}
	own := make([]byte, len(b))
	done := make(chan result, 1)
	go func() {
		n, err := r.Read(own)
		done <- result{n, err}
	}()
	t := time.NewTimer(time.Until(end))
	defer t.Stop()
	select {
	case d := <-done:
		return copy(b, own[:d.n]), d.err
	case <-t.C:
		return 0, os.ErrDeadlineExceeded
	}
}

// trimLine removes one line end, as `echo host |` leaves it. No client sends
// one; any other is refused.
func trimLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return strings.TrimSuffix(s, "\r")
}

// checkKey refuses what another reader of the same bytes could take for
// another host, before anybody is asked.
func checkKey(key string) error {
	if strings.TrimSpace(key) == "" {
		return credentials.NewErrCredentialsMissingServerURL()
	}
	for i, r := range key {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(key[i:], string(utf8.RuneError)):
			return badKey(key, "not UTF-8 at byte "+strconv.Itoa(i))
		case api.IsControl(r):
			return badKey(key, "control character at byte "+strconv.Itoa(i))
		}
	}
	if strings.Contains(key, "@") {
		return badKey(key, "it holds a user name or password")
	}
	return nil
}

func badKey(key, reason string) error {
	return errors.New("invalid server address: " + reason + ": " + api.CleanLine(withoutSecrets(key), 80))
}

// withoutSecrets hides user names, passwords and queries.
func withoutSecrets(key string) string {
	scheme := ""
	if before, after, ok := strings.Cut(key, "://"); ok && !strings.Contains(before, "@") {
		scheme, key = before+"://", after
	}
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		key = "***" + key[i:]
	}
	if i := strings.IndexAny(key, "?#"); i >= 0 {
		key = key[:i+1] + "***"
	}
	return scheme + key
}

// hostOf is the part of a key that failures start with.
func hostOf(key string) string {
	if _, after, ok := strings.Cut(key, "://"); ok {
		key = after
	}
	key, _, _ = strings.Cut(key, "/")
	return api.CleanLine(withoutSecrets(key), 80)
}

// checkLogin refuses what no login is made of.
func checkLogin(l api.Login) error {
	if l.ServerURL == "" {
		return credentials.NewErrCredentialsMissingServerURL()
	}
	if err := checkKey(l.ServerURL); err != nil {
		return err
	}
	return checkSecret(l.Username, l.Secret)
}

func checkSecret(username, secret string) error {
	switch {
	case username == "":
		return credentials.NewErrCredentialsMissingUsername()
	case strings.ContainsFunc(username, api.IsControl):
		return errors.New("invalid user name: it holds a control character")
	case secret == "":
		return errors.New("no credentials secret")
	case strings.ContainsRune(secret, 0):
		return errors.New("invalid secret: it holds a NUL byte")
	}
	return nil
}

// parseLogin reads what a client writes for `store`.
func parseLogin(b []byte) (api.Login, error) {
	l, err := api.ParseDockerCredential(b)
	if s, ok := errors.AsType[*api.SyntaxError](err); ok {
		if errors.Is(err, api.ErrDuplicate) {
			return api.Login{}, errors.New("invalid JSON: duplicate field")
		}
		return api.Login{}, errors.New("invalid JSON at byte " + strconv.Itoa(s.Offset))
	}
	if err != nil {
		return api.Login{}, err
	}
	return l, checkLogin(l)
}
