// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// Var is one environment variable that regmint reads or sets.
type Var struct {
	Name      string
	Group     string // one of Groups()
	Meaning   string
	Expects   string
	Sensitive bool // its value is never printed
}

// The groups of Vars, in order.
const (
	GroupOwn      = "Variables of regmint"
	GroupSystem   = "Heeded everywhere"
	GroupAgent    = "Kept when the agent is started in the background"
	GroupJob      = "Set for the command of regmint run and by job open"
	GroupIdentity = "Select an ambient identity"
)

// Groups lists the groups of Vars in the order of the reference.
func Groups() []string { return []string{GroupOwn, GroupSystem, GroupAgent, GroupJob, GroupIdentity} }

// vars is the one table of all environment variables.
var vars = []Var{
	{Name: "REGMINT_CONFIG", Group: GroupOwn, Meaning: "the user's configuration file, config.d/regmint.toml beside it; for run and job open it means --config", Expects: "absolute path of a file that exists"},
	{Name: "REGMINT_RUNTIME_DIR", Group: GroupOwn, Meaning: "sockets and job directories", Expects: "absolute path; default $XDG_RUNTIME_DIR/regmint, /run/user/UID/regmint, ~/.regmint/run"},
	{Name: "REGMINT_STATE_DIR", Group: GroupOwn, Meaning: "saved logins, locks, revocation and install journals, logs", Expects: "absolute path; default $XDG_STATE_HOME/regmint, ~/.local/state/regmint"},
	{Name: "REGMINT_SOCKET", Group: GroupOwn, Meaning: "the agent's or the job's socket", Expects: "absolute path; set inside jobs"},
	{Name: "REGMINT_ACCOUNT", Group: GroupOwn, Meaning: "the account to use where several own a host", Expects: "name of an account"},
	{Name: "REGMINT_AGENT", Group: GroupOwn, Meaning: "whether an agent is started and used", Expects: "auto (default), require or off"},
	{Name: "REGMINT_LOG", Group: GroupOwn, Meaning: "how much is logged", Expects: "error, warn, info (default) or debug"},
	{Name: "REGMINT_BEHIND", Group: GroupOwn, Meaning: "set by regmint for a former helper that it runs behind itself, against going in circles", Expects: "set by regmint"},

	{Name: "HOME", Group: GroupSystem, Meaning: "the home directory; unset: the passwd entry's", Expects: "absolute path"},
	{Name: "XDG_CONFIG_HOME", Group: GroupSystem, Meaning: "holds regmint/config.toml", Expects: "absolute path; default ~/.config"},
	{Name: "XDG_STATE_HOME", Group: GroupSystem, Meaning: "holds regmint's state", Expects: "absolute path; default ~/.local/state"},
	{Name: "XDG_RUNTIME_DIR", Group: GroupSystem, Meaning: "holds regmint's sockets", Expects: "absolute path"},
	{Name: "SUDO_UID", Group: GroupSystem, Meaning: "under sudo: whose agent is meant", Expects: "number; set by sudo"},
	{Name: "CREDENTIALS_DIRECTORY", Group: GroupSystem, Meaning: "regmint-store-key in it opens the encrypted file", Expects: "set by systemd"},
	{Name: "DOCKER_CONFIG", Group: GroupSystem, Meaning: "docker's configuration directory; a job is recognised by regmint-job.json in it", Expects: "path of a directory"},
	{Name: "DOCKER_AUTH_CONFIG", Group: GroupSystem, Meaning: "its entries become logins of a job, of lowest rank", Expects: "docker's JSON", Sensitive: true},
	{Name: "WSL_DISTRO_NAME", Group: GroupSystem, Meaning: "a login opens the browser of Windows", Expects: "set by WSL"},
	{Name: "NO_COLOR", Group: GroupSystem, Meaning: "no colours", Expects: "any value"},
	{Name: "TERM", Group: GroupSystem, Meaning: "dumb: no colours", Expects: "name of a terminal"},

	{Name: "PATH", Group: GroupAgent, Meaning: "where programs are found", Expects: "list of directories"},
	{Name: "HTTPS_PROXY", Group: GroupAgent, Meaning: "proxy, where [network] names none; also in lower case, also HTTP_PROXY", Expects: "URL", Sensitive: true},
	{Name: "NO_PROXY", Group: GroupAgent, Meaning: "hosts reached without the proxy; also in lower case", Expects: "list"},
	{Name: "SSL_CERT_FILE", Group: GroupAgent, Meaning: "certificate bundle instead of the system's", Expects: "path of a PEM file"},
	{Name: "SSL_CERT_DIR", Group: GroupAgent, Meaning: "certificate directories instead of the system's", Expects: "list of directories"},
	{Name: "DBUS_SESSION_BUS_ADDRESS", Group: GroupAgent, Meaning: "the bus that leads to the keychain on Linux", Expects: "D-Bus address"},
	{Name: "DISPLAY", Group: GroupAgent, Meaning: "where the keychain's prompt and the browser of a login appear; also WAYLAND_DISPLAY", Expects: "display"},

	{Name: "WERF_DOCKER_CONFIG", Group: GroupJob, Meaning: "as DOCKER_CONFIG, for werf", Expects: "path of a directory"},
	{Name: "REGISTRY_AUTH_FILE", Group: GroupJob, Meaning: "logins of podman, buildah and skopeo", Expects: "path of a file"},
	{Name: "HELM_REGISTRY_CONFIG", Group: GroupJob, Meaning: "logins of helm", Expects: "path of a file"},
	{Name: "CONTAINERS_REGISTRIES_CONF", Group: GroupJob, Meaning: "registries.conf of podman, buildah and skopeo", Expects: "path of a file"},
	{Name: "BUILDX_CONFIG", Group: GroupJob, Meaning: "the user's buildx directory, unless set", Expects: "path of a directory"},
}

// Vars is the table of all environment variables, followed by those that the
// providers read for an ambient identity.
func Vars(ps []providers.Provider) []Var {
	out := slices.Clone(vars)
	index := map[string]int{}
	for i, v := range out {
		index[v.Name] = i
	}
	for _, p := range ps {
		for _, name := range p.Env() {
			if i, ok := index[name]; ok {
				if out[i].Group == GroupIdentity {
					out[i].Meaning += ", " + p.Name()
				}
				continue
			}
			index[name] = len(out)
			// Whether a value is secret is the product's business: none is shown.
			out = append(out, Var{Name: name, Group: GroupIdentity, Meaning: "read by " + p.Name(), Expects: "the caller's value", Sensitive: true})
		}
	}
	return out
}

// Env looks up environment variables; Process is the real one.
type Env func(name string) (string, bool)

// Process is this process's environment.
func Process() Env { return os.LookupEnv }

// Environ is this process's environment as a list of NAME=value.
func Environ() []string { return os.Environ() }

// MapEnv is an environment of its own.
func MapEnv(m map[string]string) Env {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func (e Env) get(name string) string {
	if e == nil {
		return ""
	}
	v, _ := e(name)
	return v
}

// Config is REGMINT_CONFIG; it must be absolute, since agent and helper have
// different working directories.
func (e Env) Config() (string, error) { return e.path("REGMINT_CONFIG") }

// Account is REGMINT_ACCOUNT.
func (e Env) Account() string { return e.get("REGMINT_ACCOUNT") }

// AgentMode is REGMINT_AGENT: auto, require or off.
func (e Env) AgentMode() (string, error) {
	return e.oneOf("REGMINT_AGENT", "auto", "auto", "require", "off")
}

// LogLevel is REGMINT_LOG.
func (e Env) LogLevel() (slog.Level, error) {
	s, err := e.oneOf("REGMINT_LOG", "info", "error", "warn", "info", "debug")
	if err != nil {
		return slog.LevelInfo, err
	}
	var l slog.Level
	return l, l.UnmarshalText([]byte(s))
}

func (e Env) oneOf(name, fallback string, valid ...string) (string, error) {
	v := e.get(name)
	switch {
	case v == "":
		return fallback, nil
	case slices.Contains(valid, v):
		return v, nil
	}
	return "", fmt.Errorf("%s cannot be %q; use %s", name, clean(v), strings.Join(valid, ", "))
}

func (e Env) path(name string) (string, error) {
	v := e.get(name)
	if v == "" || filepath.IsAbs(v) {
		return v, nil
	}
	return "", fmt.Errorf("%s must be an absolute path, not %q", name, clean(v))
}

// Home is the home directory: $HOME where it is absolute, else the passwd
// entry's; "" where there is none.
func (e Env) Home() string {
	name := "HOME"
	if runtime.GOOS == "windows" {
		name = "USERPROFILE"
	}
	if h := e.get(name); filepath.IsAbs(h) {
		return h
	}
	if u, err := user.Current(); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return ""
}
