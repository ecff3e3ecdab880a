// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"slices"
	"time"
)

// Step is something that the instance does for a client.
type Step string

// The steps.
const (
	Rotate       Step = "rotate"       // an access token rotates itself, or is rotated
	Refresh      Step = "refresh"      // an OAuth2 refresh token is used
	DeviceGrant  Step = "device"       // a device code becomes tokens
	CreateToken  Step = "create"       // an access token or deploy token is made
	RevokeToken  Step = "revoke"       // an access token or deploy token is revoked
	Authenticate Step = "authenticate" // /jwt/auth answers a token
)

// Counts is how often something was done.
type Counts struct {
	Rotations      int // access tokens rotated
	Refreshes      int // OAuth2 refreshes
	Logins         int // device codes that became tokens
	Created        int // access tokens and deploy tokens made by the API
	Bearers        int // tokens of /jwt/auth
	FamiliesKilled int // because a revoked token was used to rotate
	ReusedRefresh  int // OAuth2 refresh tokens used again
}

// Counts tells them.
func (g *GitLab) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// Why is why a token was revoked.
type Why string

// The reasons.
const (
	ByTest     Why = "test"
	ByAPI      Why = "api"      // DELETE
	ByRotation Why = "rotation" // another took its place
	ByReuse    Why = "reuse"    // its family was killed
	ByRefresh  Why = "refresh"  // an OAuth2 pair was replaced
	ByOAuth    Why = "oauth"    // POST /oauth/revoke
)

// Revocation is a token that was revoked.
type Revocation struct {
	ID   int
	Name string // of the token, or of the OAuth2 application
	Why  Why
	Time time.Time
}

// Revoked lists what was revoked, in order.
func (g *GitLab) Revoked() []Revocation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.revoked)
}

type afterwards struct {
	step  Step
	times int
	delay time.Duration
	cut   bool
}

// Lose ends the connection instead of answering the next n requests for a
// step, after the step is done.
func (g *GitLab) Lose(s Step, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.after = append(g.after, &afterwards{step: s, times: n, cut: true})
}

// Delay holds back the answers to the next n requests for a step, after the
// step is done; n < 0: all.
func (g *GitLab) Delay(s Step, n int, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.after = append(g.after, &afterwards{step: s, times: n, delay: d})
}
