// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestLoginOfGlabIsOfferedAndUsed(t *testing.T) {
	t.Parallel()
	for name, logIn := range map[string]func(r *rig, p *fake.Glab, dir string){
		"OAuth": func(r *rig, p *fake.Glab, dir string) { p.LogIn(r.t, dir, r.jane) },
		"a token": func(r *rig, p *fake.Glab, dir string) {
			p.LogInToken(r.t, dir, r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fake.Options{})
			dir := t.TempDir()
			logIn(r, r.glab(dir), dir)
			who := &person{}
			res, err := r.login(who, gitlab.Options{}, saved)
			if err != nil || !res.Write || res.Who != "jane" || !res.Account.Options.(*gitlab.Options).Glab || !res.Secret.IsZero() || len(who.asked) != 1 {
				t.Fatalf("%+v, asked %q, %v", res, who.asked, err)
			}
			s := r.open(gitlab.Options{Glab: true})
			c := r.mint(s, r.request(""))
			if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
				t.Error(err)
			}
			if n, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("")); err != nil || !n.Secret.Equal(c.Secret) {
				t.Errorf("native: %v", err)
			}
			if _, err = r.login(&person{choice: 1}, gitlab.Options{}, saved); err == nil || !strings.Contains(err.Error(), "personal_access_tokens") {
				t.Errorf("another choice: %v", err)
			}
		})
	}
}

func TestLoginOfGlabThatIsOverIsRenewedByGlab(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dir := t.TempDir()
	p := r.glab(dir)
	pair := p.LogIn(t, dir, r.jane)
	r.cloud.Advance(3 * time.Hour)
	if c := r.mint(r.open(gitlab.Options{Glab: true}), r.request("")); c.Secret.Reveal() == pair.Access || c.Username != "oauth2" || !c.ExpiresAt.After(r.cloud.Now()) {
		t.Errorf("%+v", c)
	}
	if n := r.gl.Counts(); n.Refreshes != 1 {
		t.Errorf("%+v", n)
	}
}

func TestGlabThatCannotHelpIsAClearLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s := r.open(gitlab.Options{Glab: true})
	_, err := s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.Misconfigured, "glab is not installed", "regmint login registry.gitlab.com")
	dir := t.TempDir()
	p := r.glab(dir)
	s = r.open(gitlab.Options{Glab: true})
	for _, old := range []bool{false, true} {
		p.Old(old)
		_, err = s.Mint(t.Context(), r.request(""))
		r.wantError(err, providers.LoginRequired, "glab is not logged in to gitlab.com", "glab auth login --hostname gitlab.com")
	}
	p.Old(false)
	p.LogInJob(t, dir, r.app.Job(r.jane))
	_, err = s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.Misconfigured, "glab has the token of a CI job", `identity = "job"`)
	dead := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	p.LogInToken(t, dir, dead)
	dead.Revoke()
	_, err = s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "GitLab does not accept the token of glab", "glab auth login")
	p.LogInToken(t, dir, r.jane.Token(fake.TokenSpec{Scopes: []string{fake.ReadUser}}))
	_, err = s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.Denied, "pull needs read_registry, and the token has read_user")
}

func TestGlabThatFailsHangsOrPrintsJunkIsOneLine(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _ providers.Command) ([]byte, error) {
		<-ctx.Done()
		return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("glab did not answer in time: %w", ctx.Err())}
	}
	print := func(text string) func(context.Context, providers.Command) ([]byte, error) {
		return func(context.Context, providers.Command) ([]byte, error) { return []byte(text), nil }
	}
	for name, tt := range map[string]struct {
		run  func(context.Context, providers.Command) ([]byte, error)
		kind providers.Kind
		want []string
	}{
		"fails": {func(context.Context, providers.Command) ([]byte, error) {
			return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("glab failed: the keyring is locked")}
		}, providers.Unavailable, []string{"glab failed: the keyring is locked"}},
		"hangs":               {hang, providers.Unavailable, []string{"glab does not answer", "glab auth status"}},
		"a greeting":          {print("Welcome to glab!\n"), providers.Misconfigured, []string{"what glab prints is no token"}},
		"a page of help":      {print("Usage:\n  glab auth\n"), providers.Misconfigured, []string{"what glab prints is no token"}},
		"colours":             {print("\x1b[31mtoken\x1b[0m"), providers.Misconfigured, []string{"what glab prints is no token"}},
		"nothing":             {print(""), providers.LoginRequired, []string{"glab is not logged in"}},
		"null":                {print("null"), providers.LoginRequired, nil},
		"no token in success": {print(`{"type":"success","instance_url":"https://gitlab.com","token":{}}`), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fake.Options{})
			r.deps.Run = tt.run
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if name != "hangs" {
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
			}
			defer cancel()
			_, err := r.open(gitlab.Options{Glab: true}).Mint(ctx, r.request(""))
			if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%q", err)
			}
			if tt.kind != "" {
				r.wantError(err, tt.kind, tt.want...)
			}
		})
	}
}

// What current versions of glab print is taken at its word about who they are.
func TestAnswerOfGlabForAnotherInstanceIsNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	answer := func(instance, kind, more string) func(context.Context, providers.Command) ([]byte, error) {
		return func(_ context.Context, c providers.Command) ([]byte, error) {
			if c.Args[0] != "auth" || c.Args[1] != "credential-helper" {
				return nil, os.ErrInvalid
			}
			return fmt.Appendf(nil, `{"type":"success","instance_url":%q,"token":{"type":%q,"token":%q%s}}`, instance, kind, canary, more), nil
		}
	}
	ends := r.cloud.Now().Add(time.Hour).UTC().Truncate(time.Second)
	r.deps.Run = answer("https://gitlab.com", "oauth2", fmt.Sprintf(`,"expiry_timestamp":%q`, ends.Format(time.RFC3339)))
	if c := r.mint(r.open(gitlab.Options{Glab: true}), r.request("")); c.Secret.Reveal() != canary || !c.ExpiresAt.Equal(ends) {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct{ instance, kind, more, want string }{
		{"https://gitlab.corp.example", "pat", "", "answers for https://gitlab.corp.example"},
		{"https://gitlab.com", "oauth2", `,"expiry_timestamp":"2001-01-01T00:00:00Z"`, "has expired"},
		{"https://gitlab.com", "job-token", "", `identity = "job"`},
	} {
		r.deps.Run = answer(tt.instance, tt.kind, tt.more)
		_, err := r.open(gitlab.Options{Glab: true}).Mint(t.Context(), r.request(""))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Status == 401 }); n != 0 {
		t.Errorf("a foreign token was shown to GitLab %d times", n)
	}
	if w := r.open(gitlab.Options{Glab: true}).(providers.Watcher).Watches(); len(w) != 1 || filepath.Base(w[0]) != "config.yml" {
		t.Errorf("%q", w)
	}
}
