// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// credentials are the user name and the secret to try: from the flags and
// stdin, else from the person at the terminal.
func (r *loginRun) credentials(ctx context.Context, host providers.Host, acc providers.Account) (string, providers.Secret, error) {
	none := providers.Secret{}
	asking := !r.o.stdin && r.a.interactive()
	if !r.o.stdin && !asking {
		return "", none, usage(`printf %s "$TOKEN" | regmint login `+host.String()+" -u USER --password-stdin",
			"stdin is no terminal: use --password-stdin")
	}
	user, err := r.username(ctx, host, acc, asking)
	if err != nil {
		return "", none, err
	}
	var secret string
	if asking {
		secret, err = r.a.askSecret(ctx, "Password or token: ")
	} else {
		secret, err = readSecret(r.a.in)
	}
	if err != nil {
		return "", none, err
	}
	if err := checkSecret(secret); err != nil {
		return "", none, usage("", "%w", err)
	}
	return user, providers.NewSecret(secret), nil
}

func (r *loginRun) username(ctx context.Context, host providers.Host, acc providers.Account, asking bool) (string, error) {
	user := r.o.user
	if user == "" && acc.Username != "" && (!asking || acc.Layer == providers.LayerConfigured) {
		user = acc.Username
	}
	if user == "" && !r.needsUser(acc) {
		return "", nil // the product says who
	}
	if user == "" && !asking {
		return "", usage("add -u USER", "%s: whose password is it?", host)
	}
	if user == "" {
		question := "Username for " + host.String()
		if acc.Username != "" {
			question += " (" + acc.Username + ")"
		}
		line, err := r.a.ask(ctx, question+": ")
		if err != nil {
			return "", err
		}
		if user = strings.TrimSpace(line); user == "" {
			user = acc.Username
		}
	}
	if user == "" {
		return "", usage("", "a user name is needed")
	}
	if len(user) > 1024 || strings.ContainsFunc(user, api.IsControl) {
		return "", usage("", "the user name has control characters or is longer than 1024 bytes")
	}
	return user, nil
}

// needsUser reports an account whose secret does not say who it is.
func (r *loginRun) needsUser(acc providers.Account) bool {
	if k, ok := r.a.provider(acc.Provider).(providers.LoginKeeper); ok {
		return k.NeedsUser()
	}
	return acc.Provider == "generic"
}

// readSecret reads all of stdin and takes one line end off, as docker does.
func readSecret(in io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxLine+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxLine:
		return "", errors.New("the secret on stdin is longer than 64 KiB")
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// checkSecret refuses what no password can be; a key file has several lines.
func checkSecret(s string) error {
	switch {
	case s == "":
		return errors.New("the password is empty")
	case strings.ContainsRune(s, 0):
		return errors.New("the password has a NUL byte in it")
	case strings.ContainsAny(s, "\r\n") && !strings.HasPrefix(s, "-----BEGIN ") && !strings.HasPrefix(strings.TrimSpace(s), "{"):
		return errors.New("the password has a line end inside")
	}
	return nil
}

// describe says what protects saved logins.
func (l *local) describe() string {
	if l.err != nil {
		return "unavailable: " + l.err.Error()
	}
	return l.store.Describe()
}
