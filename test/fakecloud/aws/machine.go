// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"sync"
	"time"
)

// Instance is a virtual machine's metadata service, IMDSv2. Its requests are
// recorded and its faults injected under the host "imds".
type Instance struct {
	URL string

	a      *AWS
	region string

	mu     sync.Mutex
	role   *Role
	life   time.Duration
	off    bool
	far    bool
	v1     bool
	tokens map[string]time.Time
	keys   Keys
}

// Instance starts a metadata service of a machine in eu-west-1 with a role; nil
// is a machine without one.
func (a *AWS) Instance(role *Role) *Instance {
	m := &Instance{a: a, role: role, region: "eu-west-1", life: 6 * time.Hour, tokens: map[string]time.Time{}}
	m.URL = a.c.Plain("imds", m)
	return m
}

// Life sets how long the role's credentials live; 6 hours unless set. New ones
// come 5 minutes before.
func (m *Instance) Life(d time.Duration) *Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.keys = d, Keys{}
	return m
}

// SetRole gives the machine another role; nil takes it away.
func (m *Instance) SetRole(r *Role) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.role, m.keys = r, Keys{}
}

// Disable switches the service off: 403 to everything.
func (m *Instance) Disable() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
}

// OneHop is what a container sees where the hop limit is 1: the answer to PUT
// never arrives, everything else does.
func (m *Instance) OneHop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.far = true
}

// AllowV1 answers without a session token too.
func (m *Instance) AllowV1() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.v1 = true
}

// Container is the credentials endpoint of a container: of ECS by its path, of
// EKS Pod Identity by URL and token. Its requests are recorded and its faults
// injected under the host "container".
type Container struct {
	URL         string // the service
	RelativeURI string // AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, for ECS
	FullURI     string // AWS_CONTAINER_CREDENTIALS_FULL_URI, which demands Token
	Token       string // AWS_CONTAINER_AUTHORIZATION_TOKEN

	a     *AWS
	mu    sync.Mutex
	role  *Role
	life  time.Duration
	keys  Keys
	token string
}

// Container starts a credentials endpoint for a role.
func (a *AWS) Container(role *Role) *Container {
	e := &Container{
		a: a, role: role, life: 6 * time.Hour, RelativeURI: "/v2/credentials/" + random(26), Token: "eyJ" + random(60),
	}
	e.token = e.Token
	e.URL = a.c.Plain("container", e)
	e.FullURI = e.URL + "/v1/credentials"
	return e
}

// Life sets how long the credentials live; 6 hours unless set.
func (e *Container) Life(d time.Duration) *Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life, e.keys = d, Keys{}
	return e
}

// SetToken changes the token that FullURI demands, as EKS does daily with the
// token in a file. Token stays what it was.
func (e *Container) SetToken(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token = s
}
