// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// The kinds of a Ref.
const (
	kindGitHub     = "github"
	kindGitLab     = "gitlab"
	kindKubernetes = "kubernetes"
	kindBitbucket  = "bitbucket"
	kindCircleCI   = "circleci"
	kindBuildkite  = "buildkite"
	kindOther      = "ref" // env:, file:, exec:
)

// Ref says where an identity token comes from. In TOML: "github", "gitlab" (the
// variable GITLAB_OIDC_TOKEN), "gitlab:NAME", "gitlab:/PATH", "kubernetes" (the
// service account's token file), "kubernetes:/PATH", "bitbucket", "circleci"
// (the variable CIRCLE_OIDC_TOKEN_V2), "circleci:NAME", "buildkite",
// "env:NAME", "file:/PATH", "exec:/PATH" or the table { exec = ["/PATH", "ARG"] }.
type Ref struct {
	Kind string // "" = none, "ref" = env:, file: or exec:, else the CI's name as above
	// Refs are what it is read from: for "github" the request URL and the
	// request token, for "buildkite" the agent's token of the job and the job's
	// id, else the token itself.
	Refs []providers.SecretRef
}

// ParseRef reads the string form.
func ParseRef(s string) (Ref, error) {
	kind, rest, named := strings.Cut(s, ":")
	o, known := origins[kind]
	switch {
	case known && !named:
		return Ref{Kind: kind, Refs: slices.Clone(o.refs)}, nil
	case known:
		ref, err := o.named(kind, rest)
		return Ref{Kind: kind, Refs: []providers.SecretRef{ref}}, err
	case !named:
		return Ref{}, errors.New("an identity token is github, gitlab, kubernetes, bitbucket, circleci, buildkite, env:NAME, file:/PATH or exec:/PATH")
	}
	ref, err := providers.ParseSecretRef(s)
	if err == nil && ref.Scheme == "env" && !isVariable(ref.Value) {
		err = errors.New("env: needs the name of a variable")
	}
	return Ref{Kind: kindOther, Refs: []providers.SecretRef{ref}}, err
}

// named reads what follows the colon: another variable or another file.
func (o origin) named(kind, rest string) (providers.SecretRef, error) {
	switch {
	case o.otherFile && filepath.IsAbs(rest):
		return providers.ParseSecretRef("file:" + rest)
	case o.otherName && isVariable(rest):
		return providers.SecretRef{Scheme: "env", Value: rest}, nil
	case o.otherFile && o.otherName:
		return providers.SecretRef{}, fmt.Errorf("%s: needs the name of a variable or the absolute path of a file", kind)
	case o.otherFile:
		return providers.SecretRef{}, fmt.Errorf("%s: needs the absolute path of a file", kind)
	case o.otherName:
		return providers.SecretRef{}, fmt.Errorf("%s: needs the name of a variable", kind)
	}
	return providers.SecretRef{}, fmt.Errorf("%s takes nothing after it", kind)
}

// isVariable reports a name that a shell can set.
func isVariable(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// IsZero reports an unset reference.
func (r Ref) IsZero() bool { return r.Kind == "" }

// String is the form ParseRef reads; the arguments of a program are left out.
func (r Ref) String() string {
	o, known := origins[r.Kind]
	switch {
	case len(r.Refs) == 0:
		return ""
	case !known:
		return r.Refs[0].String()
	case r.Refs[0].String() != o.refs[0].String():
		return r.Kind + ":" + r.Refs[0].Value
	}
	return r.Kind
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(b []byte) (err error) { *r, err = ParseRef(string(b)); return err }

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalExec reads the table form: a program by its absolute path and its
// arguments.
func (r *Ref) UnmarshalExec(argv []string) error {
	ref, err := providers.ExecRef(argv)
	*r = Ref{Kind: kindOther, Refs: []providers.SecretRef{ref}}
	return err
}

// MarshalExec is the table form; nil where the text says it all.
func (r Ref) MarshalExec() []string {
	if len(r.Refs) != 1 || r.Refs[0].Scheme != "exec" || len(r.Refs[0].Args) == 0 {
		return nil
	}
	return append([]string{r.Refs[0].Value}, r.Refs[0].Args...)
}

// EnvRefs lists the caller's variables the token is made from.
func (r Ref) EnvRefs() []string { return r.values("env") }

// Watches lists the files the token is read from.
func (r Ref) Watches() []string { return r.values("file") }

func (r Ref) values(scheme string) []string {
	var out []string
	for _, ref := range r.Refs {
		if ref.Scheme == scheme {
			out = append(out, ref.Value)
		}
	}
	return out
}
