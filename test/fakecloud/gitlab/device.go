// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"errors"
	"slices"
	"time"
)

// GlabClient is the public client of the GitLab CLI, which gitlab.com knows.
const GlabClient = "41d48f9422ebd655dd9cf2947d6979681dfaddc6d0c56f7628f6ada59559af1e"

// Application is an OAuth2 client without a secret.
type Application struct {
	ClientID string
	Name     string

	scopes []string
}

// Application registers a client that may ask for these scopes.
func (g *GitLab) Application(name string, scopes ...string) *Application {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := &Application{ClientID: hexText(), Name: name, scopes: slices.Clone(scopes)}
	g.apps[a.ClientID] = a
	return a
}

// ErrNoCode is the answer to a user code that nobody was given, or that is over.
var ErrNoCode = errors.New("that code did not work")

type device struct {
	code, user string
	app        *Application
	scopes     []string
	expires    time.Time
	polled     time.Time
	by         *User
	declined   bool
	spent      bool
}

// Approve is who entering the user code and agreeing.
func (g *GitLab) Approve(userCode string, who *User) error {
	return g.decide(userCode, func(d *device) { d.by = who })
}

// Decline is somebody entering the user code and refusing.
func (g *GitLab) Decline(userCode string) error {
	return g.decide(userCode, func(d *device) { d.declined = true })
}

// ExpireCode ends a user code before its time.
func (g *GitLab) ExpireCode(userCode string) error {
	return g.decide(userCode, func(d *device) { d.expires = g.Cloud.Now() })
}

// SlowDown makes the next n polls for device codes answer slow_down, beside
// those that come too early.
func (g *GitLab) SlowDown(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow = n
}

// Codes are the user codes that wait for a person, the newest last.
func (g *GitLab) Codes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, d := range g.devices {
		if g.waiting(d) {
			out = append(out, d.user)
		}
	}
	return out
}

func (g *GitLab) waiting(d *device) bool {
	return d.by == nil && !d.declined && g.Cloud.Now().Before(d.expires)
}

func (g *GitLab) decide(userCode string, f func(*device)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.user == userCode && g.waiting(d) {
			f(d)
			return nil
		}
	}
	return ErrNoCode
}
