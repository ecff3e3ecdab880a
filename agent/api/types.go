// SPDX-License-Identifier: Apache-2.0

// Package api is the contract between regmint's processes: wire types, one
// lean client, paths, peer checks and the start of the agent. It depends on
// the standard library (without net/http), x/sys and go-winio alone.
package api

import "time"

// Version of the wire: routes live under /v1/. Fields are added freely and
// never change meaning.
const Version = "v1"

// Outcome of a get.
const (
	OK       = "ok"        // Username and Secret are set
	NotFound = "not_found" // no account, or anonymous on failure
	Failed   = "failed"    // Kind and Message are set
	NeedEnv  = "need_env"  // ask again with the variables named in NeedEnv
)

// GetRequest is POST /v1/get. It has one flat shape and is encoded by hand.
type GetRequest struct {
	Key     string   `json:"key"`               // the server URL as the client asked, or a target
	Account string   `json:"account,omitempty"` // link -ACCOUNT, REGMINT_ACCOUNT, --account
	Soft    bool     `json:"soft,omitempty"`    // a failure reads as not found
	Env     []string `json:"env,omitempty"`     // CallerEnv of what NeedEnv asked for
	PID     int      `json:"pid,omitempty"`     // the client program (the helper's parent)
	Client  string   `json:"client,omitempty"`  // its name: docker, crane, …
	Config  string   `json:"config,omitempty"`  // the caller's REGMINT_CONFIG
	Refresh bool     `json:"refresh,omitempty"` // drop what is cached and mint anew
	Native  bool     `json:"native,omitempty"`  // for the registry's own API
	Version string   `json:"version,omitempty"` // of the caller
}

// GetResponse answers a GetRequest. It has one flat shape.
type GetResponse struct {
	Outcome   string   `json:"outcome"`
	Username  string   `json:"username,omitempty"`
	Secret    string   `json:"secret,omitempty"`
	Kind      string   `json:"kind,omitempty"`    // providers.Kind of a failure
	Message   string   `json:"message,omitempty"` // one line, at most 160 characters, starts with the host
	Account   string   `json:"account,omitempty"`
	IssuedAt  int64    `json:"issued_at,omitempty"`  // Unix seconds
	ExpiresAt int64    `json:"expires_at,omitempty"` // Unix seconds; 0 = no known expiry
	Wider     bool     `json:"wider,omitempty"`
	NeedEnv   []string `json:"need_env,omitempty"`
	// Behind names the former helper the caller runs itself after not_found:
	// an absolute path (DESIGN rule 17).
	Behind  string `json:"behind,omitempty"`
	Version string `json:"version,omitempty"` // of the agent
	// NativeEnv is how the product's own tools take a native credential:
	// NAME=value, in the order to print.
	NativeEnv []string `json:"native_env,omitempty"`
}

// Login is a credential given to us by a client: POST /v1/store.
type Login struct {
	ServerURL string   `json:"server_url"`
	Username  string   `json:"username"`
	Secret    string   `json:"secret"`
	Account   string   `json:"account,omitempty"`
	Carried   bool     `json:"carried,omitempty"` // from DOCKER_AUTH_CONFIG: lowest rank
	Env       []string `json:"env,omitempty"`
}

// Reply answers store, erase and every other command without data. Message is
// for a person; Kind is set on failure.
type Reply struct {
	Outcome string   `json:"outcome"` // OK, NotFound, Failed, NeedEnv
	Kind    string   `json:"kind,omitempty"`
	Message string   `json:"message,omitempty"`
	NeedEnv []string `json:"need_env,omitempty"`
	Behind  string   `json:"behind,omitempty"`
	Version string   `json:"version,omitempty"`
}

// ListRequest is POST /v1/list. Its body may be absent.
type ListRequest struct {
	Env []string `json:"env,omitempty"` // EnvNames, as in a GetRequest
}

// ListResponse answers POST /v1/list: server URL → username, and the former
// helpers to merge.
type ListResponse struct {
	Outcome string            `json:"outcome"`
	Message string            `json:"message,omitempty"`
	Entries map[string]string `json:"entries"`
	Behind  []string          `json:"behind,omitempty"`
	// Withheld are hosts whose get fails now: what a former helper has for them
	// would never be asked for.
	Withheld []string `json:"withheld,omitempty"`
	NeedEnv  []string `json:"need_env,omitempty"`
}

// JobRequest is POST /v1/jobs/open: opens or resumes a job over a connection
// that stays open; the connection is the lease.
type JobRequest struct {
	ID         string            `json:"id"`   // 26 base32 characters, made by the wrapper; its directory exists and is locked
	Kind       string            `json:"kind"` // "run" or "open"
	Resume     bool              `json:"resume,omitempty"`
	Env        []string          `json:"env,omitempty"`
	Targets    []string          `json:"targets,omitempty"`
	Only       bool              `json:"only,omitempty"`
	Accounts   []string          `json:"accounts,omitempty"` // --account, one per host
	ConfigName string            `json:"config_name,omitempty"`
	ConfigText string            `json:"config_text,omitempty"` // the job's own --config
	Resolved   map[string]string `json:"resolved,omitempty"`    // its env:, file: and exec: references, by SecretRef key
	Logins     []Login           `json:"logins,omitempty"`      // DOCKER_AUTH_CONFIG, and on resume every job-local login
	Behind     []Behind          `json:"behind,omitempty"`      // former helpers of the caller's own docker config
	Label      string            `json:"label,omitempty"`
	PID        int               `json:"pid,omitempty"`
	TTL        time.Duration     `json:"ttl,omitempty"`
	Version    string            `json:"version,omitempty"`
}

// JobResponse answers a JobRequest; afterwards the agent may send JobEvents on
// the same connection until it ends.
type JobResponse struct {
	Outcome    string        `json:"outcome"`
	Kind       string        `json:"kind,omitempty"`
	Message    string        `json:"message,omitempty"`
	NeedEnv    []string      `json:"need_env,omitempty"`
	ID         string        `json:"id,omitempty"`
	Hosts      []string      `json:"hosts,omitempty"` // for credHelpers: every host known by name
	Identities []JobIdentity `json:"identities,omitempty"`
	Behind     []Behind      `json:"behind,omitempty"`
	Narrowed   bool          `json:"narrowed,omitempty"`
	Version    string        `json:"version,omitempty"`
}

// JobIdentity says who a job is at a host.
type JobIdentity struct {
	Host    string `json:"host"`
	Account string `json:"account"`
	As      string `json:"as"`     // "@acme-bot", "role/ci"
	Access  string `json:"access"` // "as granted", "pull only"
	Wider   bool   `json:"wider,omitempty"`
}

// Behind is one former helper kept behind us: Host "*" is the former credsStore.
type Behind struct {
	Host   string `json:"host"`
	Helper string `json:"helper"` // absolute path
}

// JobEvent is pushed to the wrapper over the lease: logins stored in the job,
// so that the wrapper can give them to the next agent.
type JobEvent struct {
	Login *Login `json:"login,omitempty"`
	Erase string `json:"erase,omitempty"`
	Close string `json:"close,omitempty"` // the agent ends the job: why
}

// Status answers GET /v1/status. It never holds secrets.
type Status struct {
	Schema   int             `json:"schema"`
	Version  string          `json:"version"`
	PID      int             `json:"pid"`
	Started  time.Time       `json:"started"`
	Socket   string          `json:"socket"`
	Config   string          `json:"config"`
	Store    string          `json:"store"` // in words: what protects saved secrets
	Locked   bool            `json:"locked"`
	Warnings []string        `json:"warnings,omitempty"`
	Accounts []AccountStatus `json:"accounts"`
	Jobs     []JobStatus     `json:"jobs"`
	Tokens   []TokenStatus   `json:"tokens"`
	// Rotations are the accounts whose secret is replaced on a schedule, and
	// those where a rotation was interrupted.
	Rotations []RotationStatus `json:"rotations,omitempty"`
	// Revocations are things made for jobs that have ended, and not taken back
	// yet.
	Revocations []RevocationStatus `json:"revocations,omitempty"`
	// RateLimits are set where one host was asked for: GET /v1/status?host=HOST.
	RateLimits []RateLimitStatus `json:"rate_limits,omitempty"`
}

// RateLimitStatus is what is left of a product's rate limit.
type RateLimitStatus struct {
	Host      string     `json:"host"`
	Account   string     `json:"account"`
	Unlimited bool       `json:"unlimited,omitempty"`
	Limit     int        `json:"limit,omitempty"`
	Remaining int        `json:"remaining"`
	Window    int64      `json:"window_seconds,omitempty"`
	ResetsAt  *time.Time `json:"resets_at,omitempty"`
	Who       string     `json:"who,omitempty"` // whose limit it is: a user, or an address
	At        time.Time  `json:"at"`            // when the product said so
}

// CheckResponse answers POST /v1/check, whose body is that of a get: what the
// get would answer, less its secret, and what the registry says about it.
type CheckResponse struct {
	Outcome   string           `json:"outcome"`
	Kind      string           `json:"kind,omitempty"`
	Message   string           `json:"message,omitempty"`
	NeedEnv   []string         `json:"need_env,omitempty"`
	Behind    string           `json:"behind,omitempty"`
	Account   string           `json:"account,omitempty"`
	Username  string           `json:"username,omitempty"`
	As        string           `json:"as,omitempty"`       // where the credential comes from, in words
	Verified  bool             `json:"verified,omitempty"` // the registry was asked, and said yes
	Native    bool             `json:"native,omitempty"`   // the rights of a clean-up are there
	Wider     bool             `json:"wider,omitempty"`
	ExpiresAt int64            `json:"expires_at,omitempty"` // Unix seconds; 0 = no known expiry
	RateLimit *RateLimitStatus `json:"rate_limit,omitempty"`
	Rotation  *RotationStatus  `json:"rotation,omitempty"` // of its secret, where that is in trouble
	Version   string           `json:"version,omitempty"`
}

// RotationStatus is the long-lived secret of one account.
type RotationStatus struct {
	Account   string     `json:"account"`
	Hosts     []string   `json:"hosts"`
	Every     int64      `json:"every_seconds,omitempty"`
	State     string     `json:"state"` // ok, failed, interrupted, or a kind of failure
	Message   string     `json:"message,omitempty"`
	Failures  int        `json:"failures,omitempty"` // in a row
	LastAt    *time.Time `json:"last_at,omitempty"`
	DueAt     *time.Time `json:"due_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// RevocationStatus is one thing to take back.
type RevocationStatus struct {
	Host      string     `json:"host"`
	Account   string     `json:"account"`
	Job       string     `json:"job"`
	Grants    string     `json:"grants,omitempty"`
	Created   time.Time  `json:"created"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	NextAt    *time.Time `json:"next_at,omitempty"`
	Message   string     `json:"message,omitempty"`
}

// AccountStatus is one account.
type AccountStatus struct {
	Name     string   `json:"name"`
	Provider string   `json:"provider"`
	Hosts    []string `json:"hosts"`
	Username string   `json:"username,omitempty"`
	Layer    string   `json:"layer"`  // configured, saved, ambient, job
	Source   string   `json:"source"` // config.toml:14
	State    string   `json:"state"`  // ok, idle, login_required, denied, misconfigured, unavailable; no_account: recognised, and no identity there
	Message  string   `json:"message,omitempty"`
	Default  bool     `json:"default,omitempty"`
	// Until is when a token that another tool fetched ends.
	Until *time.Time `json:"until,omitempty"`
}

// TokenStatus is one cached credential.
type TokenStatus struct {
	Host      string     `json:"host"`
	Account   string     `json:"account"`
	Username  string     `json:"username"`
	As        string     `json:"as,omitempty"` // who, in words, where the user name is the same for everybody
	Job       string     `json:"job,omitempty"`
	Grants    string     `json:"grants,omitempty"`
	IssuedAt  time.Time  `json:"issued_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // null: no known expiry
	RefreshAt *time.Time `json:"refresh_at,omitempty"`
	Wider     bool       `json:"wider,omitempty"`
	Origin    string     `json:"origin,omitempty"`
	Mints     int        `json:"mints"`
	LastError string     `json:"last_error,omitempty"`
}

// JobStatus is one open job.
type JobStatus struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Label   string    `json:"label,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Opened  time.Time `json:"opened"`
	Targets []string  `json:"targets,omitempty"`
	Only    bool      `json:"only,omitempty"`
	Gets    int       `json:"gets"`
}

// Recent is one of the last 200 answers: GET /v1/recent.
type Recent struct {
	Time    time.Time     `json:"time"`
	Client  string        `json:"client"`
	PID     int           `json:"pid"`
	Job     string        `json:"job,omitempty"`
	Key     string        `json:"key"`
	Account string        `json:"account,omitempty"`
	As      string        `json:"as,omitempty"`
	Outcome string        `json:"outcome"`
	Message string        `json:"message,omitempty"`
	Left    time.Duration `json:"left_ns,omitempty"`
	Life    time.Duration `json:"life_ns,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// HostRequest is the body of refresh, forget and unlock: Host "" is all.
type HostRequest struct {
	Host       string   `json:"host,omitempty"`
	Passphrase string   `json:"passphrase,omitempty"` // unlock
	Account    string   `json:"account,omitempty"`
	Env        []string `json:"env,omitempty"`
	Force      bool     `json:"force,omitempty"`
}
