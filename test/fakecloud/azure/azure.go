// SPDX-License-Identifier: Apache-2.0

// Package azure is the fake Azure of tests: Entra (token endpoints of the
// public, US Government and China clouds), managed identity endpoints, an az
// program and Azure Container Registries, all on one fakecloud.Cloud.
//
// Set up a directory, a registry and who may do what, then run the client
// under test against the real names through the Cloud's proxy:
//
//	c := fakecloud.Start(t)
//	az := azure.New(c, azure.Options{})
//	tenant := az.Tenant(azure.Public, "contoso.onmicrosoft.com")
//	reg := tenant.Registry("acme") // https://acme.azurecr.io
//	ci := tenant.App("ci")
//	secret := ci.AddSecret(0)
//	reg.Assign(ci, azure.AcrPush)              // everywhere
//	reg.Assign(ci, azure.AcrDelete, "team/app") // only there
//
// Other identities:
//
//	ci.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: "repo:acme/app:ref:refs/heads/main"})
//	cert := ci.AddCertificate()                // cert.PEM: certificate and key
//	jane := tenant.User("jane@contoso.example") // az.Approve(code, jane) ends her device code login
//	vm := az.Machine("vm", system, assigned...) // vm.IMDS is the metadata_endpoint
//	cli := az.CLI(t)                           // cli.Path is az; cli.Login(dir, jane, subscription)
//	reg.AdminUser(); reg.AddToken(azure.Token{...})
//
// What is refused is refused with the product's status and error body. Every
// expiry goes by Cloud.Now; Options and Set change lifetimes. Operations that
// were let through are in Images.Done.
package azure

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Options are the lifetimes of what is handed out; zero values are the
// product's, negative ones hand out what is already over.
type Options struct {
	EntraLife      time.Duration // access tokens of Entra; 3599 s
	MachineLife    time.Duration // access tokens of managed identities; 86399 s
	UserLife       time.Duration // refresh tokens of users; 90 days
	RefreshLife    time.Duration // ACR refresh tokens; 3 h
	AccessLife     time.Duration // ACR access tokens; 75 min
	DeviceLife     time.Duration // device codes; 15 min
	DeviceInterval time.Duration // what device code clients are told to wait; 5 s
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{
		{&o.EntraLife, 3599 * time.Second},
		{&o.MachineLife, 86399 * time.Second},
		{&o.UserLife, 90 * 24 * time.Hour},
		{&o.RefreshLife, 3 * time.Hour},
		{&o.AccessLife, 75 * time.Minute},
		{&o.DeviceLife, 15 * time.Minute},
		{&o.DeviceInterval, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	return o
}

// Environment is one of the separate clouds of Azure.
type Environment struct {
	Name      string // as az names it
	Authority string // host of the token endpoints
	Registry  string // what registry names end in
	ARM       string // resource of the Resource Manager
	issuer    string // of version 1 access tokens; the tenant id follows
}

// The environments.
var (
	Public     = Environment{"AzureCloud", "login.microsoftonline.com", "azurecr.io", "https://management.azure.com", "https://sts.windows.net/"}
	Government = Environment{"AzureUSGovernment", "login.microsoftonline.us", "azurecr.us", "https://management.usgovcloudapi.net", "https://sts.windows.net/"}
	China      = Environment{"AzureChinaCloud", "login.chinacloudapi.cn", "azurecr.cn", "https://management.chinacloudapi.cn", "https://sts.chinacloudapi.cn/"}
)

// RegistryAudience is the resource of registries, in every environment.
const RegistryAudience = "https://containerregistry.azure.net"

// CLIClient is the public client of the Azure CLI, which every tenant knows.
const CLIClient = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// Azure is the state of all clouds. All methods, and those of what they
// return, are safe for concurrent use.
type Azure struct {
	Cloud *fakecloud.Cloud
	// Images is behind every registry: Images.Done lists what was let through.
	Images fakecloud.Registry

	mu         sync.Mutex
	options    Options
	entraKey   *rsa.PrivateKey
	acrKey     *rsa.PrivateKey
	tenants    []*Tenant
	registries map[string]*Registry // by each of their hosts
	devices    []*device
	refresh    map[string]*grant // refresh tokens of users
	sessions   map[string]*session
	slowDowns  int
}

// New serves Azure on c.
func New(c *fakecloud.Cloud, o Options) *Azure {
	a := &Azure{
		Cloud: c, options: o.withDefaults(), entraKey: newKey(), acrKey: newKey(),
		registries: map[string]*Registry{}, refresh: map[string]*grant{}, sessions: map[string]*session{},
	}
	a.serveEntra()
	return a
}

// Set changes the lifetimes of what is handed out from now on.
func (a *Azure) Set(change func(*Options)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.options)
	a.options = a.options.withDefaults()
}

func (a *Azure) lives() Options {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.options
}

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
