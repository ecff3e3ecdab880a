// SPDX-License-Identifier: Apache-2.0

// Package aws is a fake Amazon Web Services for tests: STS, ECR, ECR Public, IAM
// Identity Center (the OIDC service and the portal), the instance metadata
// service, the credentials endpoint of containers, and the registries of ECR, on
// fakecloud's real https names. It verifies what it is given (signatures and
// their scope, identity tokens, trust, permissions, expiry) and refuses with
// AWS's own statuses, codes and bodies.
//
//	c := fakecloud.Start(t)
//	a := aws.New(c, aws.Options{})
//	a.Repository("111111111111.dkr.ecr.eu-west-1.amazonaws.com/acme/app")
//
//	jane := a.User("arn:aws:iam::111111111111:user/jane").Attach(aws.Allow("ecr:*", "sts:AssumeRole"))
//	keys := jane.Keys()                               // AKIA…; keys.Env(), keys.Process()
//	ci := a.Role("arn:aws:iam::111111111111:role/ci", aws.TrustAccount("111111111111")).Attach(aws.PowerUser)
//
//	i := c.Issuer(fakecloud.GitHubIssuer)
//	a.IdentityProvider("111111111111", i.URL, "sts.amazonaws.com")
//	web := a.Role("arn:aws:iam::111111111111:role/gh", aws.TrustWeb("111111111111", i.URL, "sts.amazonaws.com", "repo:acme/app:*"))
//	web.Attach(aws.PullOnly)
//
//	sso := a.Center("https://acme.awsapps.com/start", "eu-west-1")
//	sso.Assign("jane", "111111111111", "Dev", aws.PowerUser)
//	go sso.Approve(userCode, "jane")                  // what jane does in her browser; Deny, Pending
//	token := sso.Login("jane")                        // or at once: an access token for the portal
//
//	vm := a.Instance(ci)                              // vm.URL for metadata_endpoint
//	task := a.Container(ci)                           // task.FullURI, task.RelativeURI, task.Token
//
// Everything is named by ARN; accounts come into being with what is in them.
// Permissions are real policy documents: of identities, sessions, repositories,
// with Deny, NotAction, wildcards and conditions; what is allowed nowhere is
// refused, what another account owns needs a policy of the repository too. A
// role's trust is a policy document as well.
//
// Knobs: Keys of a user or a session are ended by Revoke (unknown from now on) or
// Expire, all sessions of a role by Role.Revoke, a person's by Center.End; the
// next calls of an action are refused by Throttle or Fail; SetClockCheck(false)
// lets a test move the cloud's clock alone. Mints, Count, Assumed and Done tell
// what happened.
//
// Hosts: sts (global, regional, FIPS, dual-stack), api.ecr and its other forms,
// api.ecr-public.us-east-1, oidc, portal.sso and the registries, of every
// partition; layers come by redirect from prod-REGION-starport-layer-bucket.s3,
// so that host is in Cloud.Reached after a pull. Metadata services are "imds"
// and "container" in Cloud.Requests. For narrowed pushes and pulls look at Done,
// for who asked at Mints and Assumed.
//
// Stricter than AWS may be: a refresh token of Identity Center works once, and a
// repository shares no layers with others. Manifests are deleted by
// BatchDeleteImage alone.
//
// Not modelled, and so no proof of anything: how STS packs policies (PackedLimit
// sets a limit by length), conditions other than those of conditions.go, and
// whether a registry looks again at the session behind a token: that is
// Options.TokenEndsWithSession, off by default, while permissions are always
// those of the session, at the moment of the request.
package aws

import (
	"net/http"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Options of a fake AWS.
type Options struct {
	// TokenLife is the life of authorization tokens; 0 = 12 hours, as ECR's.
	TokenLife time.Duration
	// TokenEndsWithSession makes the registries refuse a token when the session
	// that minted it is over. ECR's pages say "valid for 12 hours" and no more.
	TokenEndsWithSession bool
	// TokenSize is the least length of a token's password; 0 = 1,800.
	TokenSize int
	// ExpiredStatus is how the registries answer to an expired token; 0 = 403.
	ExpiredStatus int
	// PackedLimit is the longest session policy, in characters, that still
	// packs; 0 = 2,048, so that length alone limits it.
	PackedLimit int
}

// AWS is a fake AWS. All methods are safe for concurrent use.
type AWS struct {
	c *fakecloud.Cloud
	o Options

	mu        sync.Mutex
	noClock   bool
	users     map[string]*User      // by ARN
	roles     map[string]*Role      // by ARN
	keys      map[string]*accessKey // by access key id
	providers map[string][]string   // audiences by account and issuer
	disabled  map[string]bool       // regions without STS
	centers   []*Center
	clients   map[string]*client // of the OIDC service, by client id
	logins    map[string]*login  // by access token of the portal
	devices   []*device
	tokens    map[string]*registryToken // by password
	bearers   map[string]*registryToken // by bearer of ECR Public
	repos     map[repoKey]*Repository
	aliases   map[string]string // registry alias of ECR Public to account
	domains   map[string]string // custom domain to registry
	caches    []*cacheRule
	stores    map[string]http.Handler
	blobs     map[string]blobLink // signed URLs of layers
	fails     []*Failure
	mints     []Mint
	assumed   []Assumed
	done      []fakecloud.Done
}

// New serves AWS's hosts on c, of all partitions.
func New(c *fakecloud.Cloud, o Options) *AWS {
	if o.TokenLife == 0 {
		o.TokenLife = 12 * time.Hour
	}
	if o.TokenSize == 0 {
		o.TokenSize = 1800
	}
	if o.ExpiredStatus == 0 {
		o.ExpiredStatus = http.StatusForbidden
	}
	if o.PackedLimit == 0 {
		o.PackedLimit = maxPolicy
	}
	a := &AWS{
		c: c, o: o, users: map[string]*User{}, roles: map[string]*Role{}, keys: map[string]*accessKey{}, providers: map[string][]string{},
		disabled: map[string]bool{}, clients: map[string]*client{}, logins: map[string]*login{}, tokens: map[string]*registryToken{},
		bearers: map[string]*registryToken{}, repos: map[repoKey]*Repository{}, aliases: map[string]string{}, domains: map[string]string{},
		stores: map[string]http.Handler{}, blobs: map[string]blobLink{},
	}
	a.serve()
	return a
}

// Mint is an authorization token that ECR or ECR Public gave.
type Mint struct {
	Time      time.Time
	Service   string // ecr or ecr-public
	Region    string
	Host      string // the API's name that was asked
	Principal string // ARN of the user or role
	Session   string // ARN of the caller; of a user the same
	Policy    string // session policy, "" for none
	Password  string
	Expires   time.Time
}

// Mints lists the authorization tokens that were given, in order.
func (a *AWS) Mints() []Mint {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Mint(nil), a.mints...)
}

// Count counts Mints by principal: the ARN of a user or role.
func (a *AWS) Count() map[string]int {
	out := map[string]int{}
	for _, m := range a.Mints() {
		out[m.Principal]++
	}
	return out
}

// Assumed is a session that STS, the portal or a metadata service gave.
type Assumed struct {
	Time     time.Time
	By       string // ARN of the caller, the subject of an identity token, or a person
	Via      string // AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken, GetRoleCredentials, imds, container
	Host     string // the name that was asked, "" for metadata
	Role     string // ARN, "" for a user's session
	Session  string // name
	External string // external id
	Policy   string // session policy
	Duration time.Duration
	Keys     Keys
}

// Assumed lists the sessions that were given, in order.
func (a *AWS) Assumed() []Assumed {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Assumed(nil), a.assumed...)
}

// Done lists the operations that the registries let through, each once, in
// order. Host is the one the client named, Who the ARN of the caller.
func (a *AWS) Done() []fakecloud.Done {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]fakecloud.Done(nil), a.done...)
}

// Failure is an answer instead of an action's own one, in the shape of the
// service that is asked.
type Failure struct {
	// Action is IAM's name of it: "ecr:GetAuthorizationToken", "sts:AssumeRole",
	// "sso:GetRoleCredentials", "sso-oauth:CreateToken".
	Action  string
	Status  int // 0 = 400
	Code    string
	Message string
	Header  http.Header
	Times   int // 0 = until Recover
}

// Fail makes the next calls of an action fail.
func (a *AWS) Fail(f Failure) {
	if f.Status == 0 {
		f.Status = http.StatusBadRequest
	}
	if f.Times == 0 {
		f.Times = -1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = append(a.fails, &f)
}

// Throttle refuses the next calls of an action as too many; 0 = until Recover.
func (a *AWS) Throttle(action string, times int) {
	code := "ThrottlingException"
	switch service, _, _ := cut(action); service {
	case "sts":
		code = "Throttling"
	case "sso":
		code = "TooManyRequestsException"
	case "sso-oauth":
		code = "SlowDownException"
	}
	f := Failure{Action: action, Code: code, Message: "Rate exceeded", Times: times}
	if code == "TooManyRequestsException" {
		f.Status = http.StatusTooManyRequests
	}
	a.Fail(f)
}

// Recover ends every Fail and Throttle.
func (a *AWS) Recover() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = nil
}

// failure is the planned answer of an action, nil for none.
func (a *AWS) failure(action string) *Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.fails {
		if f.Times == 0 || f.Action != action {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return f
	}
	return nil
}

// SetClockCheck says whether requests must be signed within 15 minutes of the
// cloud's clock (the default). Without it a test may move Cloud.Advance while
// its clients stay in the present.
func (a *AWS) SetClockCheck(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noClock = !on
}

// DisableSTS switches STS off in a region, as an account's settings may.
func (a *AWS) DisableSTS(region string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.disabled[region] = true
}
