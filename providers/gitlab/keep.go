// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// KeepsLogin implements providers.LoginKeeper: access tokens, deploy tokens with
// their names, passwords; not the identity tokens of other products. Prefixes
// tell what is no login (docs.gitlab.com/security/tokens, token prefixes).
func (Provider) KeepsLogin(h providers.Host, user string, secret providers.Secret) (bool, error) {
	for prefix, what := range notForPeople {
		if strings.HasPrefix(secret.Reveal(), prefix) {
			return false, &providers.Error{
				Kind: providers.Misconfigured, Host: h, Hint: "make an access token with read_registry and write_registry",
				Err: errors.New("this is " + what + " (" + prefix + "…), which no registry of GitLab takes"),
			}
		}
	}
	return user != registryauth.TokenUser && (user != "" || !isDeploy(user, secret)), nil
}

// notForPeople are tokens of GitLab that look like a login and are none.
var notForPeople = map[string]string{
	"glrt-": "the token of a runner", "glrtr-": "a runner's registration token", "glptt-": "a pipeline's trigger token",
	"glft-": "a feed token", "glagent-": "the token of an agent for Kubernetes", "gloas-": "the secret of an application",
}

// NeedsUser implements providers.LoginKeeper: GitLab goes by an access token
// alone.
func (Provider) NeedsUser() bool { return false }

// LoginOptions implements providers.LoginKeeper.
func (Provider) LoginOptions(like providers.Account) any {
	out := &Options{}
	if o, ok := like.Options.(*Options); ok && o != nil {
		out.URL = o.URL
	}
	return out
}

// facts are what is known of the account's saved token.
type facts struct {
	mu     sync.Mutex
	secret providers.Secret // the token as it was read last
	asked  bool
	known  token // as GitLab described it, where asked
}

// read notes the saved token.
func (f *facts) read(secret providers.Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.secret.Equal(secret) {
		f.secret, f.asked, f.known = secret, false, token{}
	}
}

func (f *facts) keep(t token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secret.Equal(t.secret) {
		f.asked, f.known = true, t
	}
}

// about is what GitLab said about secret; saved is false for anything but the
// saved token.
func (f *facts) about(secret providers.Secret) (t token, asked, saved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	saved = !f.secret.IsZero() && f.secret.Equal(secret)
	return f.known, f.asked && saved, saved
}

// unseen makes t, the saved token, ready to be handed out with what is known of
// it: a pull does not wait for an API that the registry does without. It is
// false where GitLab is asked first: for rights that somebody wants, and where
// the account says nothing but the token.
func (s *source) unseen(r providers.Request, t *token) (ok bool, err error) {
	if s.plan.kind != byToken {
		return false, nil
	}
	s.facts.read(t.secret)
	if s.account.Username == "" || len(r.Grants) > 0 {
		return false, nil
	}
	if err := s.refusedLately(t.secret); err != nil {
		return true, err
	}
	if known, asked, _ := s.facts.about(t.secret); asked {
		known.user = t.user
		*t = known
	}
	return true, nil
}

// refusedLately is why GitLab did not take secret, where that was lately.
func (s *source) refusedLately(secret providers.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused.secret.IsZero() || !s.refused.secret.Equal(secret) || !s.deps.Now().Before(s.refused.until) {
		return nil
	}
	return s.refused.err
}

// refuse notes that GitLab does not take secret.
func (s *source) refuse(secret providers.Secret, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = refusal{secret: secret, until: s.deps.Now().Add(refusedFor), err: err}
}

// tell adds what GitLab said.
func (t *token) tell(i info) {
	t.name, t.scopes, t.expires = i.Name, i.Scopes, i.expires()
	t.origin = "access token"
	if i.Name != "" {
		t.origin += " " + fmt.Sprintf("%q", httpx.Printable(i.Name, 60))
	}
}

// Learned implements providers.Learner.
func (s *source) Learned(c providers.Credential) (providers.Learned, bool) {
	t, _, saved := s.facts.about(c.Secret)
	return providers.Learned{ExpiresAt: t.expires}, saved
}

// learn asks GitLab about a saved token that its registry has taken: when it
// ends, and whether its scopes are enough. The registry's word counts, so that
// the API does not know the token (a password, a deploy token without its usual
// looks) is no refusal.
func (s *source) learn(ctx context.Context, r providers.Request, c providers.Credential) error {
	if _, _, saved := s.facts.about(c.Secret); !saved || s.plan.kind != byToken {
		return nil
	}
	t := token{user: c.Username, secret: c.Secret, checked: true, origin: c.Origin}
	if isDeploy(s.account.Username, c.Secret) {
		return nil
	}
	ctx, cancel := hurry(ctx)
	defer cancel()
	i, err := s.self(ctx, r.Host, t)
	if err != nil {
		s.deps.Log.Debug("nothing is known of the token", "host", r.Host.String(), "reason", err.Error())
		return nil
	}
	t.tell(i)
	s.facts.keep(t)
	return s.allows(ctx, r, t)
}
