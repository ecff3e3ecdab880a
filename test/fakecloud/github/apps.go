// SPDX-License-Identifier: Apache-2.0

package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"sync"
)

// App is a GitHub App.
type App struct {
	ID       int
	ClientID string
	Slug     string
	Key      string // PEM, PKCS#1
	g        *GitHub
	public   *rsa.PublicKey
	in       []*Installation
}

// Installation is an App in an account.
type Installation struct {
	ID        int
	Owner     string
	app       *App
	level     Level
	repos     []string // nil: all
	suspended bool
}

// keys are those of the first App of every instance, of the second and so on:
// making one takes long.
var keys struct {
	sync.Mutex
	made []*rsa.PrivateKey
}

func keyOf(i int) *rsa.PrivateKey {
	keys.Lock()
	defer keys.Unlock()
	for len(keys.made) <= i {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys.made = append(keys.made, key)
	}
	return keys.made[i]
}

// App registers a GitHub App whose client id has a device login with pairs.
func (g *GitHub) App(slug string) *App {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := keyOf(len(g.apps))
	a := &App{
		ID: g.id(), ClientID: "Iv23li" + random(14), Slug: slug, g: g, public: &key.PublicKey,
		Key: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
	g.apps = append(g.apps, a)
	g.clients[a.ClientID] = &client{id: a.ClientID, pairs: true, device: true, app: a}
	return a
}

// Install installs it with `packages: LEVEL` on repositories (names without
// owner; none: all).
func (a *App) Install(owner string, packages Level, repos ...string) *Installation {
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	in := &Installation{ID: a.g.id(), Owner: owner, app: a, level: packages, repos: repos}
	a.in = append(a.in, in)
	return in
}

// Suspend suspends it.
func (in *Installation) Suspend() { in.app.g.change(func() { in.suspended = true }) }

// OAuthApp is an OAuth app: its tokens do not expire.
type OAuthApp struct {
	ClientID string
	g        *GitHub
}

// OAuthApp registers one with device login.
func (g *GitHub) OAuthApp(string) *OAuthApp {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := &OAuthApp{ClientID: "Ov23li" + random(14), g: g}
	g.clients[a.ClientID] = &client{id: a.ClientID, device: true}
	return a
}

// DisableDevice turns its device login off.
func (a *OAuthApp) DisableDevice() { a.g.change(func() { a.g.clients[a.ClientID].device = false }) }
