// SPDX-License-Identifier: Apache-2.0

// Package config reads regmint's TOML configuration: strict, layered, with a
// position for every complaint. It holds the one table of all environment
// variables, resolves references to secrets, and writes the one machine-made
// file, config.d/regmint.toml.
package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// Config is the configuration after all layers.
type Config struct {
	Agent    Agent             `toml:"agent" doc:"the background agent"`
	Network  providers.Network `toml:"network" doc:"proxy and certificates for everything regmint reaches"`
	Docker   Docker            `toml:"docker" doc:"other credential helpers kept behind regmint; written by regmint install"`
	Policy   Policy            `toml:"policy" doc:"limits for every account; the system file may lock them"`
	Accounts []providers.Account
	Mirrors  []Mirror
	// Realms are the hosts accepted at an interactive login, by registry host.
	// They are already part of RealmHosts of every account that names the
	// registry; an ambient account takes them from here.
	Realms map[string][]string
	// Spares are logins with a token that a product's own tool fetched. They are
	// no Accounts: they answer while nothing else can, until they expire.
	Spares []Spare
	// Files are the files that were read, in the order of their layers.
	Files []string
	// Watches are the files whose change calls for a new Load, those that do
	// not exist yet included.
	Watches []string
	// Warnings are sentences for the log and for status.
	Warnings []string
}

// Spare is a saved login that ends by itself.
type Spare struct {
	providers.Account
	Until time.Time
}

// Agent is the [agent] table.
type Agent struct {
	Store     string              `toml:"store" doc:"where logins are kept: auto (decided at the first login), keyring, file or memory" enum:"auto,keyring,file,memory" default:"auto"`
	StoreKey  providers.SecretRef `toml:"store_key" doc:"key of the encrypted file: file: or exec: of an age identity (AGE-SECRET-KEY-1…); without it $CREDENTIALS_DIRECTORY/regmint-store-key, a passphrase or a key file in the state directory"`
	AllowRoot bool                `toml:"allow_root" doc:"root may use the agent's socket (sudo docker)" default:"true"`
	IdleExit  providers.Duration  `toml:"idle_exit" doc:"the agent ends after this long without work; 0s: never" default:"4h"`
}

// Docker is the [docker] table.
type Docker struct {
	Behind map[string]string `toml:"behind" doc:"host → former credential helper (its name without docker-credential-, or an absolute path); * is the former credsStore"`
}

// Policy is the [policy] table.
type Policy struct {
	Access    providers.Access    `toml:"access" doc:"the most an account may do where it does not say itself; locked: the most any account may do"`
	Narrow    providers.Narrow    `toml:"narrow" doc:"what happens where a product cannot narrow a credential: prefer or require" enum:"prefer,require" default:"prefer"`
	OnFailure providers.OnFailure `toml:"on_failure" doc:"what a failure looks like to clients: error or anonymous" enum:"error,anonymous" default:"error"`
	// Lock may stand in the system file only.
	Lock []string `toml:"lock" doc:"system file only: the keys of [policy] that no later layer and no account may widen" enum:"access,narrow,on_failure"`
}

// Mirror is one [[mirror]].
type Mirror struct {
	Host    providers.Host `toml:"host" doc:"the registry that is mirrored: docker.io"`
	Mirrors []string       `toml:"mirrors" doc:"mirrors in order: HOST or HOST/PATH; regmint run writes them for podman, buildah and skopeo"`
	Source  string         `toml:"-"` // where it was read: "config.toml:14"
}

// Problem is one complaint about a file. It never repeats a value that may be
// a secret.
type Problem struct {
	File string
	Line int // from 1; 0: the file as a whole
	Col  int // from 1, in bytes
	Msg  string
	Hint string // what to write instead
}

// String reads "FILE:LINE:COL: message; hint".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Col)
	}
	s += ": " + p.Msg
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Problems is the error of Load and LoadText: everything that is wrong, in
// the order of files and lines.
type Problems []Problem

// Error prints one problem a line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}
