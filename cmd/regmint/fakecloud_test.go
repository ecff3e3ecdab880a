// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// fakeCloud is a product with identities of its own, for scripts that have a
// file cloud.json in HOME: its hosts are below cloud.example.
type fakeCloud struct{}

// cloudState is cloud.json.
type cloudState struct {
	Profiles []string          // to choose from at a login
	Device   bool              // a login shows a code, and waits for the file cloud-entered
	Sessions map[string]string // session: "ok" or why not
	Login    string            // the secret that a login brings; "" = none
	Refuse   string            // why a login fails
}

type cloudOptions struct {
	Profile string              `toml:"profile" doc:"who"`
	Session string              `toml:"session" doc:"the session that several share"`
	Token   providers.SecretRef `toml:"token" doc:"refresh token"`
}

// scriptProviders adds the fake where a script wants it.
func scriptProviders(ps []providers.Provider) []providers.Provider {
	if _, err := os.Lstat(filepath.Join(config.Process().Home(), "robots")); err == nil {
		ps = append([]providers.Provider{fakeMaker{}}, ps...)
	}
	if _, err := os.Lstat(filepath.Join(config.Process().Home(), "rotator.url")); err == nil {
		ps = append([]providers.Provider{fakeRotator{}}, ps...)
	}
	if _, err := os.Lstat(filepath.Join(config.Process().Home(), "cloud.json")); err != nil {
		return ps
	}
	return append([]providers.Provider{fakeCloud{}}, ps...)
}

func (fakeCloud) Name() string  { return "cloud" }
func (fakeCloud) Env() []string { return []string{"CLOUD_PROFILE"} }
func (fakeCloud) Options() any  { return &cloudOptions{} }
func (fakeCloud) Match(h providers.Host) bool {
	_, ok := h.Under("cloud.example")
	return ok
}

func (fakeCloud) LoginGroup(a providers.Account) string {
	if o, ok := a.Options.(*cloudOptions); ok && o.Session != "" {
		return `cloud session "` + o.Session + `"`
	}
	return ""
}

func (fakeCloud) MintedUser(_ providers.Host, user string, _ providers.Secret, _ time.Time) (time.Duration, bool) {
	return 12 * time.Hour, user == "CLOUD"
}

func (fakeCloud) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	o, ok := a.Options.(*cloudOptions)
	if !ok {
		return nil, errors.New("no options")
	}
	return &cloudSource{a: a, d: d, o: o}, nil
}

type cloudSource struct {
	a providers.Account
	d providers.Deps
	o *cloudOptions
}

func readCloud(home string) (s cloudState) {
	if b, err := os.ReadFile(filepath.Join(home, "cloud.json")); err == nil {
		_ = json.Unmarshal(b, &s)
	}
	return s
}

func (s *cloudSource) Key(providers.Request) string { return s.o.Profile }

func (s *cloudSource) Watches() []string { return []string{filepath.Join(s.d.Home, "cloud.json")} }

func (s *cloudSource) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	who := s.o.Profile
	if who == "" {
		who = s.d.Env["CLOUD_PROFILE"]
	}
	if who == "" {
		return providers.Credential{}, &providers.Error{Kind: providers.NoAccount, Host: r.Host, Err: errors.New("no cloud identity here"), Hint: "set CLOUD_PROFILE"}
	}
	if why := readCloud(s.d.Home).Sessions[s.o.Session]; s.o.Session != "" && why != "ok" {
		return providers.Credential{}, &providers.Error{Kind: providers.LoginRequired, Host: r.Host, Err: errors.New("the session is over" + why)}
	}
	secret := "minted-for-" + who
	if !s.o.Token.IsZero() {
		t, err := s.d.Resolve(ctx, s.o.Token)
		if err != nil {
			return providers.Credential{}, err
		}
		secret += "-from-" + t.Reveal()
	}
	now := s.d.Now()
	return providers.Credential{
		Username: "CLOUD", Secret: providers.NewSecret(secret), IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		Origin: "profile " + who, Wider: len(r.Grants) > 0,
	}, nil
}

func (s *cloudSource) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	c, err := s.Mint(ctx, r)
	names := []string{"CLOUD_KEY", "CLOUD_SECRET"}
	if r.Host.String() == "aws.cloud.example" {
		names = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
	}
	n := providers.Native{Credential: c}
	for _, name := range names {
		n.Env = append(n.Env, providers.Variable{Name: name, Value: providers.NewSecret("it's $" + name)})
	}
	return n, err
}

func (fakeCloud) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	st := readCloud(q.Deps.Home)
	none := providers.LoginResult{}
	o, ok := q.Account.Options.(*cloudOptions)
	if !ok {
		return none, errors.New("no options")
	}
	if o.Profile == "" {
		n, err := q.UI.Choose(ctx, "Which profile?", st.Profiles)
		if err != nil {
			return none, err
		}
		o.Profile = st.Profiles[n]
	}
	if st.Device {
		err := q.UI.Device(ctx, providers.Device{
			For: "cloud", URL: "https://device.cloud.example/", Complete: "https://device.cloud.example/?code=ABCD-EFGH",
			Code: "ABCD-EFGH", ExpiresAt: q.Deps.Now().Add(10 * time.Minute),
		})
		if err != nil {
			return none, err
		}
		if err := waitEntered(ctx, filepath.Join(q.Deps.Home, "cloud-entered")); err != nil {
			return none, err
		}
	}
	if st.Refuse != "" {
		return none, &providers.Error{Kind: providers.Denied, Host: q.Host, Err: errors.New(st.Refuse)}
	}
	if o.Session != "" {
		st.Sessions[o.Session] = "ok"
		b, err := json.Marshal(st)
		if err == nil {
			err = os.WriteFile(filepath.Join(q.Deps.Home, "cloud.json"), b, 0o600)
		}
		if err != nil {
			return none, err
		}
	}
	acc := q.Account
	acc.Options = o
	out := providers.LoginResult{
		Account: acc, Write: acc.Layer != providers.LayerConfigured, Who: "profile " + o.Profile, Until: q.Deps.Now().Add(8 * time.Hour),
	}
	if st.Login != "" {
		out.Secret = providers.NewSecret(st.Login)
		o.Token = providers.SecretRef{Scheme: "keyring", Value: "cloud-token"}
	}
	return out, nil
}

func waitEntered(ctx context.Context, file string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
