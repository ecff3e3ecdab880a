// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Layer says where an account comes from; lower values win between equally
// specific accounts (Select).
type Layer int

// The layers, strongest first.
const (
	LayerJobLogin   Layer = iota // stored inside a job (docker login, werf ci-env): wins for its host
	LayerJobConfig               // the job's own --config
	LayerConfigured              // config.toml, user or system
	LayerSaved                   // config.d/regmint.toml: made by `regmint login` or `docker login`
	LayerAmbient                 // recognised from the caller's environment or the machine
	LayerCarried                 // DOCKER_AUTH_CONFIG of the caller of a job
)

// Narrow says what happens where a product cannot narrow to the grants.
type Narrow string

// The two answers; "" is prefer.
const (
	NarrowPrefer  Narrow = "prefer"
	NarrowRequire Narrow = "require"
)

// OnFailure says what a failure looks like to a client.
type OnFailure string

// The two answers; "" is error.
const (
	OnFailureError     OnFailure = "error"
	OnFailureAnonymous OnFailure = "anonymous"
)

// Account is one [[account]] of the configuration, one saved login or one
// recognised ambient identity. Keys of a product are in Options.
type Account struct {
	Name         string    `toml:"name" doc:"unique name; default: the provider and the first host"`
	Provider     string    `toml:"provider" doc:"which product: see regmint providers"`
	Hosts        []Pattern `toml:"hosts" doc:"registry hosts; * stands for one label, a path narrows to a namespace: ghcr.io/acme"`
	Default      bool      `toml:"default" doc:"chosen where several accounts own the same host"`
	Username     string    `toml:"username" doc:"user name sent to the registry"`
	Password     SecretRef `toml:"password" doc:"reference to the secret: keyring:, env:, file: or exec:; never a literal"`
	Access       Access    `toml:"access" doc:"narrow to pull, push or delete"`
	Repositories []string  `toml:"repositories" doc:"narrow to these repositories"`
	Narrow       Narrow    `toml:"narrow" doc:"prefer: hand out a wider credential where the product cannot narrow; require: deny"`
	OnFailure    OnFailure `toml:"on_failure" doc:"error: clients see why; anonymous: clients go on without a login"`
	PlainHTTP    bool      `toml:"plain_http" doc:"the registry speaks http (implied for loopback)"`
	CAFile       string    `toml:"ca_file" doc:"PEM bundle trusted for this account's hosts, in addition to the system's"`
	HTTPSProxy   string    `toml:"https_proxy" doc:"proxy for this account; wins over [network]"`
	NoProxy      string    `toml:"no_proxy" doc:"hosts reached without the proxy; wins over [network]"`
	RealmHosts   []string  `toml:"realm_hosts" doc:"hosts a Bearer challenge may send the credential to, besides the registry"`
	Endpoint     string    `toml:"endpoint" doc:"URL that replaces the product's own API endpoint"`
	ExpiresIn    Duration  `toml:"expires_in" doc:"life of a credential where the product does not say"`
	Rotate       Duration  `toml:"rotate" doc:"rotate the long-lived secret this often; off unless set"`
	RotateTo     SecretRef `toml:"rotate_to" doc:"command that gets the new secret on stdin"`
	Options      any       `toml:"-"`
	Layer        Layer     `toml:"-"`
	Source       string    `toml:"-"` // where it was read: "config.toml:14"
	Grants       []Grant   `toml:"-"`
}

// EnvRefs lists the names of the env: references of the account's own keys.
func (a Account) EnvRefs() []string {
	var out []string
	for _, r := range []SecretRef{a.Password, a.RotateTo} {
		if r.Scheme == "env" {
			out = append(out, r.Value)
		}
	}
	return out
}

// Strings is a list of which a configuration may write a single one without
// brackets.
type Strings []string

// Duration is a time.Duration that reads "90s", "12h" and "14d".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err != nil || fmt.Sprint(n) != days || n < 0 || n > 36500 {
			return fmt.Errorf("invalid duration %q: write 90s, 15m, 12h or 14d", s)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("invalid duration %q: write 90s, 15m, 12h or 14d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// SecretRef points at a secret: keyring:NAME, env:NAME, file:/PATH, or a
// program given as exec:/PATH or as a table { exec = ["/PATH", "ARG"] }.
type SecretRef struct {
	Scheme string   // "", "keyring", "env", "file", "exec"
	Value  string   // name or absolute path
	Args   []string // exec: arguments after the program
}

// ParseSecretRef reads the string form. A literal secret is an error that does
// not repeat it.
func ParseSecretRef(s string) (SecretRef, error) {
	scheme, value, ok := strings.Cut(s, ":")
	if !ok || value == "" {
		return SecretRef{}, errLiteral
	}
	switch scheme {
	case "keyring", "env":
	case "file", "exec":
		if !filepath.IsAbs(value) {
			return SecretRef{}, fmt.Errorf("%s: needs an absolute path", scheme)
		}
	default:
		return SecretRef{}, errLiteral
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return SecretRef{}, fmt.Errorf("%s: control character in the reference", scheme)
	}
	return SecretRef{Scheme: scheme, Value: value}, nil
}

var errLiteral = fmt.Errorf("a secret must be a reference: keyring:NAME, env:NAME, file:/PATH or exec:/PATH")

// ExecRef makes the reference of a table { exec = [...] }.
func ExecRef(argv []string) (SecretRef, error) {
	if len(argv) == 0 {
		return SecretRef{}, fmt.Errorf("exec needs a program")
	}
	r, err := ParseSecretRef("exec:" + argv[0])
	r.Args = argv[1:]
	return r, err
}

// IsZero reports an unset reference.
func (r SecretRef) IsZero() bool { return r.Scheme == "" }

// String is the reference without arguments; it holds no secret.
func (r SecretRef) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Scheme + ":" + r.Value
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *SecretRef) UnmarshalText(b []byte) (err error) {
	*r, err = ParseSecretRef(string(b))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (r SecretRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
