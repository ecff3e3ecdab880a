// SPDX-License-Identifier: Apache-2.0

package configdir

import "io"

// AuthsPrefix marks a Behind value that is no program: "auths:/abs/config.json"
// means that the auths entries of that file answer. Read them with ReadAuth.
const AuthsPrefix = "auths:"

// InstallOptions say what Install plans.
type InstallOptions struct {
	Caller      Caller
	ConfigPath  string   // docker's config.json; "" = $DOCKER_CONFIG, else ~/.docker
	Hosts       []string // normal form
	All         bool     // credsStore too; implied where Hosts has HubHost
	JournalPath string   // in the state directory
	HelperDir   string   // where docker-credential-regmint lies: checked against the caller's PATH
	Containers  bool     // the drop-in for podman, buildah and skopeo
}

// Change is one key of a file.
type Change struct {
	File   string
	Key    []string // credHelpers, ghcr.io
	Before *string  // raw JSON; nil = absent
	After  *string
}

// Plan is what Install would do. Record Behind in regmint's configuration
// before Apply, so that no login is out of reach in between.
type Plan struct {
	Changes    []Change
	Behind     map[string]string // host or "*" → absolute path of the former helper, or AuthsPrefix + file
	PlainAuths []Login           // entries docker will not read itself any more; Behind covers them
	Notes      []string
}

// Install plans the edits; nothing is written before Apply.
func Install(o InstallOptions) (*Plan, error) { return &Plan{}, nil }

// Apply makes the edits: backup, journal, then the files, each atomically.
func (p *Plan) Apply() error { return nil }

// Print writes the plan for a person.
func (p *Plan) Print(w io.Writer) error { return nil }

// UninstallReport says what Uninstall did.
type UninstallReport struct {
	Restored []Change
	Left     []Change // changed by others since: Before is what stands there now
	Notes    []string
}

// Uninstall undoes the journal. Without a journal it does nothing.
func Uninstall(journalPath string) (UninstallReport, error) { return UninstallReport{}, nil }

// WouldAsk reports whether docker, with this config.json, asks regmint for
// host, and says why (not).
func WouldAsk(configPath, host string) (ok bool, why string) { return false, "" }

// ReadAuth reads the auths entry of host from a docker config.json; ok is false
// where there is none.
func ReadAuth(path, host string) (l Login, ok bool, err error) { return Login{}, false, nil }

// ReadAuths reads all of them; a broken entry is left out and named.
func ReadAuths(path string) (logins []Login, warnings []string, err error) { return nil, nil, nil }

// DockerConfigDir is docker's rule: $DOCKER_CONFIG, else ~/.docker; "" where
// neither is known.
func (c Caller) DockerConfigDir() string { return "" }
