// SPDX-License-Identifier: Apache-2.0

package github

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// Scopes of classic tokens and of OAuth apps. write:packages includes
// read:packages.
const (
	scopeRead   = "read:packages"
	scopeWrite  = "write:packages"
	scopeDelete = "delete:packages"
)

// Options are the keys of a github account. A token comes from password, from
// gh, or from an App's private_key.
type Options struct {
	GH     bool   `toml:"gh" doc:"borrow the login of the gh command"`
	GHUser string `toml:"gh_user" doc:"user that gh is logged in as; default: its active one"`
	GHPath string `toml:"gh_path" doc:"absolute path of gh; default: looked up in PATH"`

	ClientID string   `toml:"client_id" doc:"client id of the OAuth app or GitHub App that regmint login uses; with private_key: of the App"`
	Scopes   []string `toml:"scopes" doc:"scopes that regmint login asks for; default: read:packages and write:packages"`

	AppID          string              `toml:"app_id" doc:"number of the GitHub App; client_id does as well"`
	PrivateKey     providers.SecretRef `toml:"private_key" doc:"reference to the GitHub App's private key, PEM; line ends may be written as \\n"`
	Installation   string              `toml:"installation" doc:"where the App is installed: OWNER or OWNER/REPOSITORY; default: the owner that is asked for"`
	InstallationID string              `toml:"installation_id" doc:"number of the installation, in place of installation"`

	Server string `toml:"server" doc:"name of the GitHub Enterprise Server; default: the name of the registry without its first label containers or docker"`
}

// EnvRefs lists the caller's variables the options name.
func (o *Options) EnvRefs() []string {
	if o.PrivateKey.Scheme == "env" {
		return []string{o.PrivateKey.Value}
	}
	return nil
}

// server is the normal form of Server, which was checked.
func (o *Options) server() string {
	if o.Server == "" {
		return ""
	}
	name, err := serverOf(o.Server)
	if err != nil {
		return o.Server
	}
	return name
}

// scopes are those that a device login asks for.
func (o *Options) scopes() []string {
	if len(o.Scopes) > 0 {
		return o.Scopes
	}
	return []string{scopeRead, scopeWrite}
}

// check finds what cannot work.
func (o *Options) check(a providers.Account) error {
	app := !o.PrivateKey.IsZero()
	switch {
	case o.GH && (app || !a.Password.IsZero()):
		return errors.New("gh, password and private_key exclude each other")
	case app && !a.Password.IsZero():
		return errors.New("password and private_key exclude each other")
	case !o.GH && (o.GHUser != "" || o.GHPath != ""):
		return errors.New("gh_user and gh_path need gh = true")
	case o.GHPath != "" && !isAbs(o.GHPath):
		return errors.New("gh_path needs an absolute path")
	case !plain(o.GHUser):
		return fmt.Errorf("gh_user %q is no user name", o.GHUser)
	case app && o.AppID == "" && o.ClientID == "":
		return errors.New("private_key needs app_id or client_id")
	case !app && (o.AppID != "" || o.Installation != "" || o.InstallationID != ""):
		return errors.New("app_id, installation and installation_id need private_key")
	case !number(o.AppID):
		return errors.New("app_id is a number")
	case !number(o.InstallationID):
		return errors.New("installation_id is a number")
	case o.Installation != "" && o.InstallationID != "":
		return errors.New("installation and installation_id exclude each other")
	case !plain(o.ClientID):
		return errors.New("client_id is no client id of GitHub")
	case slices.ContainsFunc(o.Scopes, func(s string) bool { return s == "" || strings.ContainsFunc(s, odd) }):
		return errors.New("scopes holds something that is no scope")
	}
	if list := instances(a); len(list) > 1 && !o.GH && o.Server == "" { // a secret of one is never shown to another
		return fmt.Errorf("its hosts are of several GitHubs (%s): write an account for each, or server", strings.Join(list, ", "))
	}
	owner, repo, two := strings.Cut(o.Installation, "/")
	if o.Installation != "" && (owner == "" || !plain(owner) || two && (repo == "" || !plain(repo))) {
		return errors.New("installation is OWNER or OWNER/REPOSITORY")
	}
	if o.Server != "" {
		if _, err := serverOf(o.Server); err != nil {
			return err
		}
	}
	return nil
}

func number(s string) bool { return strings.Trim(s, "0123456789") == "" && len(s) < 20 }

// plain holds for names of users, repositories and clients, and for nothing;
// they become parts of a path and arguments of a program.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '-' && r != '.' && r != '_' && odd(r) || r == ':' }) &&
		!strings.HasPrefix(s, "-") && strings.Trim(s, ".") == s
}

// odd holds for what is in no name and in no scope.
func odd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != ':' && r != '_'
}
