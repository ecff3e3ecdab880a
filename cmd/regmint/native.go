// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// variable is one variable that a product's own tools read.
type variable struct{ name, value string }

type variableList []variable

// variables reads NAME=value as the agent sends it. A name goes into a shell
// unquoted, so an odd one is refused.
func variables(list []string) (variableList, error) {
	var out variableList
	for _, kv := range list {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !shellName(name) || strings.ContainsRune(value, 0) {
			return nil, errors.New("the agent names a variable that no shell takes; run: regmint agent restart")
		}
		out = append(out, variable{name, value})
	}
	return out, nil
}

// shellName reports what every shell takes for the name of a variable.
func shellName(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func (l variableList) get(name string) string {
	for _, v := range l {
		if v.name == name {
			return v.value
		}
	}
	return ""
}

// all is an iterator over names and values.
func (l variableList) all(yield func(name, value string) bool) {
	for _, v := range l {
		if !yield(v.name, v.value) {
			return
		}
	}
}

// exports are lines for a POSIX shell.
func (l variableList) exports() string {
	var b strings.Builder
	for _, v := range l {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, shellQuote(v.value))
	}
	return b.String()
}

// credentialProcessJSON is version 1 of what AWS's SDKs read from the program
// that credential_process names:
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
type credentialProcessJSON struct {
	Version         int     `json:"Version"`
	AccessKeyID     string  `json:"AccessKeyId"`
	SecretAccessKey string  `json:"SecretAccessKey"`
	SessionToken    string  `json:"SessionToken,omitempty"`
	Expiration      *string `json:"Expiration,omitempty"` // RFC 3339; none: they do not expire
}

func (a *app) printCredentialProcess(h providers.Host, own variableList, r *api.GetResponse) error {
	out := credentialProcessJSON{
		Version: 1, AccessKeyID: own.get("AWS_ACCESS_KEY_ID"), SecretAccessKey: own.get("AWS_SECRET_ACCESS_KEY"),
		SessionToken: own.get("AWS_SESSION_TOKEN"), Expiration: stamp(r.ExpiresAt),
	}
	if out.AccessKeyID == "" || out.SecretAccessKey == "" {
		return &providers.Error{
			Kind: providers.Misconfigured, Host: h, Hint: "use --native with --format json or env",
			Err: errors.New("credential-process is AWS's own format, and this registry's credential is none of AWS"),
		}
	}
	return a.printJSON(out)
}
