// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// User is a login. Several passwords of one name may be valid at once.
type User struct {
	Name, Password string
	// Grants is what the login may do; nil = everything, empty = log in only.
	Grants []Grant
	// ExpiresAt ends the password; zero = never.
	ExpiresAt time.Time
}

// Grant allows actions ("pull", "push", "delete") on a repository: an exact
// name, "team/*" for everything below team, "" for every repository.
type Grant struct {
	Repository string
	Actions    []string
}

func (g Grant) covers(repository string) bool {
	if below, ok := strings.CutSuffix(g.Repository, "/*"); ok {
		return strings.HasPrefix(repository, below+"/")
	}
	return g.Repository == "" || g.Repository == repository
}

// can reports whether grants allow the action on the repository.
func can(grants []Grant, repository, action string) bool {
	return grants == nil || slices.ContainsFunc(grants, func(g Grant) bool {
		return g.covers(repository) && slices.Contains(g.Actions, action)
	})
}

// canList reports whether grants allow the catalog: some action everywhere.
func canList(grants []Grant) bool {
	return grants == nil || slices.ContainsFunc(grants, func(g Grant) bool { return g.Repository == "" && len(g.Actions) > 0 })
}

// users is the password table.
type users struct {
	mu       sync.Mutex
	logins   map[[2]string]User // name, password
	refresh  map[string][2]string
	disabled map[string]bool
	secrets  []string
}

func newUsers() users {
	return users{logins: map[[2]string]User{}, refresh: map[string][2]string{}, disabled: map[string]bool{}}
}

// AddUser adds a login, or replaces the one with the same name and password.
func (s *Server) AddUser(u User) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	s.users.logins[[2]string{u.Name, u.Password}] = u
	s.users.secrets = append(s.users.secrets, u.Password)
}

// Revoke ends every password and refresh token that a user has now. Bearer
// tokens live to their end, as with real token servers.
func (s *Server) Revoke(name string) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	for k := range s.users.logins {
		if k[0] == name {
			delete(s.users.logins, k)
		}
	}
}

// Disable refuses every login of a user, also those issued later, until Enable.
func (s *Server) Disable(name string) { s.setDisabled(name, true) }

// Enable undoes Disable.
func (s *Server) Enable(name string) { s.setDisabled(name, false) }

func (s *Server) setDisabled(name string, v bool) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	s.users.disabled[name] = v
}

// Secrets lists every password and refresh token the server has known, so that
// a test can look for them where they must not be.
func (s *Server) Secrets() []string {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	return slices.Clone(s.users.secrets)
}

// login checks a name and a password.
func (s *Server) login(name, password string) (User, bool) {
	now := s.now()
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	u, ok := s.users.logins[[2]string{name, password}]
	if !ok || s.users.disabled[name] || !u.ExpiresAt.IsZero() && !now.Before(u.ExpiresAt) {
		return User{}, false
	}
	return u, true
}

// newRefresh makes a refresh token that lives as long as the password.
func (s *Server) newRefresh(u User) string {
	token := newSecret("ref")
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	s.users.refresh[token] = [2]string{u.Name, u.Password}
	s.users.secrets = append(s.users.secrets, token)
	return token
}

func (s *Server) loginRefresh(token string) (User, bool) {
	s.users.mu.Lock()
	k, ok := s.users.refresh[token]
	s.users.mu.Unlock()
	if !ok {
		return User{}, false
	}
	return s.login(k[0], k[1])
}

// newSecret makes a secret that is easy to find where it should not be.
func newSecret(kind string) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return "CNRY" + kind + hex.EncodeToString(b)
}
