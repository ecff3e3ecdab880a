// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"net"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regmint/regmint/test/fakeregistry"
)

type registriesKey struct{}

// registryCmd: registry NAME starts one whose address is $NAME.
//
//	-token           Bearer tokens instead of Basic
//	-tls             https, with a certificate nobody trusts
//	-realm NAME      its token server goes by this name
//	-user NAME:PASS  a login
//	-client ID:SECRET  a client of its /issue, which mints passwords of an hour
//	registry NAME revoke USER | add NAME:PASS | stop
func registryCmd(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: registry NAME ...")
	}
	running := ts.Value(registriesKey{}).(map[string]*fakeregistry.Server)
	if s := running[args[0]]; s != nil {
		changeRegistry(ts, s, args[1:])
		return
	}
	o := fakeregistry.Options{}
	for rest := args[1:]; len(rest) > 0; {
		flag := rest[0]
		rest = rest[1:]
		if flag == "-token" {
			o.Mode = fakeregistry.Token
			continue
		}
		if flag == "-tls" {
			o.TLS = true
			continue
		}
		if len(rest) == 0 {
			ts.Fatalf("registry: %s needs a value", flag)
		}
		switch flag {
		case "-user":
			o.Users = append(o.Users, scriptUser(ts, rest[0]))
		case "-client":
			u := scriptUser(ts, rest[0])
			o.Issue.Clients = append(o.Issue.Clients, fakeregistry.Client{ID: u.Name, Secret: u.Password, User: "minted"})
		case "-realm":
			o.Addr = freeAddr(ts)
			_, port, err := net.SplitHostPort(o.Addr)
			ts.Check(err)
			o.Realm = "http://" + net.JoinHostPort(rest[0], port) + "/token"
		default:
			ts.Fatalf("registry: unknown flag %s", flag)
		}
		rest = rest[1:]
	}
	s, err := fakeregistry.Start(o)
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	running[args[0]] = s
	ts.Setenv(args[0], s.Host())
	_, port, err := net.SplitHostPort(s.Host())
	ts.Check(err)
	ts.Setenv(args[0]+"_PORT", port)
}

// freeAddr is an address nobody listens on.
func freeAddr(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().String()
}

func scriptUser(ts *testscript.TestScript, s string) fakeregistry.User {
	name, password, ok := strings.Cut(s, ":")
	if !ok {
		ts.Fatalf("registry: %s is not NAME:PASSWORD", s)
	}
	return fakeregistry.User{Name: name, Password: password}
}

func changeRegistry(ts *testscript.TestScript, s *fakeregistry.Server, args []string) {
	switch {
	case len(args) == 2 && args[0] == "revoke":
		s.Revoke(args[1])
	case len(args) == 2 && args[0] == "add":
		s.AddUser(scriptUser(ts, args[1]))
	case len(args) == 1 && args[0] == "stop":
		ts.Check(s.Close())
	default:
		ts.Fatalf("registry: what is %q?", args)
	}
}
