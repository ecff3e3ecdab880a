// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	"github.com/regmint/regmint/providers/internal/httpx"
)

// fields says which inputs templates use.
type fields struct{ Secret, IdentityToken, Host, Username, Scope, Repository, Access bool }

func (f *fields) add(o fields) {
	f.Secret = f.Secret || o.Secret
	f.IdentityToken = f.IdentityToken || o.IdentityToken
	f.Host = f.Host || o.Host
	f.Username = f.Username || o.Username
	f.Scope = f.Scope || o.Scope
	f.Repository = f.Repository || o.Repository
	f.Access = f.Access || o.Access
}

func (f *fields) set(name string) bool {
	switch name {
	case "Secret":
		f.Secret = true
	case "IdentityToken":
		f.IdentityToken = true
	case "Host":
		f.Host = true
	case "Username":
		f.Username = true
	case "Scope":
		f.Scope = true
	case "Repository":
		f.Repository = true
	case "Access":
		f.Access = true
	default:
		return false
	}
	return true
}

// narrows reports that the endpoint is told what the credential is for.
func (f fields) narrows() bool { return f.Scope || f.Repository || f.Access }

// inputs are what a template sees.
type inputs struct {
	Secret, IdentityToken, Host, Username string
	Scope, Repository, Access             words
}

// words prints with its own separator and can be joined with another.
type words struct {
	list []string
	sep  string
}

// String implements fmt.Stringer.
func (w words) String() string { return strings.Join(w.list, w.sep) }

// template is a text/template of nothing but text and actions on the inputs.
type template struct {
	t    *texttemplate.Template
	uses fields
}

var funcs = texttemplate.FuncMap{
	"json": func(v any) (string, error) {
		b, err := json.Marshal(fmt.Sprint(v))
		return string(b), err
	},
	"base64": func(vs ...any) string {
		var b strings.Builder
		for _, v := range vs {
			_, _ = fmt.Fprint(&b, v)
		}
		return base64.StdEncoding.EncodeToString([]byte(b.String()))
	},
	"join": func(v any, sep string) (string, error) {
		w, ok := v.(words)
		if !ok {
			return "", errors.New("join takes .Scope, .Repository or .Access")
		}
		return strings.Join(w.list, sep), nil
	},
}

// parseTemplate refuses everything but fields, texts and the four functions:
// no loops, no definitions, no methods.
func parseTemplate(text string) (*template, error) {
	t, err := texttemplate.New("").Option("missingkey=error").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, errors.New("no valid template: " + reason(err))
	}
	if len(t.Templates()) > 1 {
		return nil, errors.New("a template must not define others")
	}
	out := &template{t: t}
	if t.Tree == nil || t.Root == nil {
		return out, nil
	}
	for _, n := range t.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			if err := out.pipe(n.Pipe); err != nil {
				return nil, err
			}
		default:
			return nil, errors.New("a template may hold fields and functions only, no if, range, with or define")
		}
	}
	// A trial with every input set shows wrong argument types at once.
	if _, err := out.run(inputs{Secret: "s", IdentityToken: "i", Host: "h", Username: "u"}); err != nil {
		return nil, err
	}
	return out, nil
}

// reason drops the library's "template: :1: " and keeps it short.
func reason(err error) string {
	_, s, ok := strings.Cut(err.Error(), "template: :")
	if !ok {
		s = err.Error()
	}
	return httpx.Printable(s, 120)
}

func (t *template) pipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 {
		return errors.New("a template must not declare variables")
	}
	for _, c := range p.Cmds {
		for _, a := range c.Args {
			if err := t.arg(a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *template) arg(n parse.Node) error {
	switch n := n.(type) {
	case *parse.StringNode:
		return nil
	case *parse.PipeNode:
		return t.pipe(n)
	case *parse.FieldNode:
		if len(n.Ident) == 1 && t.uses.set(n.Ident[0]) {
			return nil
		}
		return fmt.Errorf("a template has no field .%s", httpx.Printable(strings.Join(n.Ident, "."), 40))
	case *parse.IdentifierNode:
		switch n.Ident {
		case "json", "urlquery", "base64", "join":
			return nil
		}
		return fmt.Errorf("a template has no function %s", httpx.Printable(n.Ident, 40))
	}
	return fmt.Errorf("a template cannot use %s", httpx.Printable(n.String(), 40))
}

// run never repeats an input in its error.
func (t *template) run(in inputs) (string, error) {
	var b strings.Builder
	if err := t.t.Execute(&b, in); err != nil {
		return "", errors.New("the template fails: a function got an argument it cannot take")
	}
	return b.String(), nil
}
