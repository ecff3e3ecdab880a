// SPDX-License-Identifier: Apache-2.0

package google

import "testing"

// Gcloud is a fake gcloud program. It needs sh and curl. It reads
// configurations and the active one in the directory named by CLOUDSDK_CONFIG
// (else HOME/.config/gcloud), as the real one, and CLOUDSDK_ACTIVE_CONFIG_NAME,
// CLOUDSDK_CORE_ACCOUNT and the flags --account, --configuration and
// --impersonate-service-account. It knows auth print-access-token, auth list,
// config config-helper and config configurations list. Credentials are logged
// in per directory with LogIn.
type Gcloud struct {
	Path string // of the program: DIR/gcloud
	Dir  string // its directory, for PATH
	g    *Google
}

// Gcloud writes the program into a directory of the test.
func (g *Google) Gcloud(t testing.TB) *Gcloud { return &Gcloud{g: g} }

// Configure writes a configuration with an account ("" = none) and a project
// into a directory, as `gcloud config configurations create` does; active makes
// it the active one.
func (p *Gcloud) Configure(t testing.TB, dir, name, account, project string, active bool) {}

// LogIn gives the directory credentials of a user or a service account, by its
// email, as `gcloud auth login` does.
func (p *Gcloud) LogIn(t testing.TB, dir, email string) {}

// LogOut takes them away.
func (p *Gcloud) LogOut(t testing.TB, dir, email string) {}

// Calls lists the arguments of every call so far.
func (p *Gcloud) Calls() [][]string { return nil }
