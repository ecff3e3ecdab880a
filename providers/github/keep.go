// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// KeepsLogin implements providers.LoginKeeper. Prefixes tell what GitHub
// Packages never takes.
func (Provider) KeepsLogin(h providers.Host, user string, secret providers.Secret) (bool, error) {
	if user == registryauth.TokenUser {
		return false, nil
	}
	at, ok := known(h)
	if !ok {
		at = instance(enterprise(h))
	}
	if err := at.refuses(h, secret); err != nil {
		return false, err
	}
	return true, nil
}

// NeedsUser implements providers.LoginKeeper.
func (Provider) NeedsUser() bool { return false }

// LoginOptions implements providers.LoginKeeper.
func (Provider) LoginOptions(like providers.Account) any {
	out := &Options{}
	if o, ok := like.Options.(*Options); ok && o != nil {
		out.Server = o.Server
	}
	return out
}

// refuses says what is certain by a registry's name or a token's form: nil where
// GitHub has to be asked.
func (t site) refuses(h providers.Host, secret providers.Secret) error {
	e := &providers.Error{Kind: providers.Misconfigured, Host: h}
	switch text := secret.Reveal(); {
	case t.retired:
		e.Hint, e.Err = "use ghcr.io/OWNER/IMAGE", errors.New("this registry is retired: its images were moved to ghcr.io")
	case strings.HasPrefix(text, prefixFine):
		e.Hint, e.Err = "make a classic one: "+t.newToken(scopeWrite), errors.New("GitHub Packages takes no fine-grained tokens")
	case strings.HasPrefix(text, prefixRefresh):
		e.Hint, e.Err = "make a classic one: "+t.newToken(scopeWrite), errors.New("a refresh token (ghr_…) is not to log in with")
	default:
		return nil
	}
	return e
}

// facts are what is known of the account's saved token.
type facts struct {
	mu     sync.Mutex
	secret providers.Secret // the token as it was read last
	asked  bool
	person person // what GitHub said about it, where asked
}

// read notes the saved token.
func (f *facts) read(secret providers.Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.secret.Equal(secret) {
		f.secret, f.asked, f.person = secret, false, person{}
	}
}

func (f *facts) keep(secret providers.Secret, p person) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secret.Equal(secret) {
		f.asked, f.person = true, p
	}
}

// about is what GitHub said about secret; saved is false for anything but the
// saved token.
func (f *facts) about(secret providers.Secret) (p person, asked, saved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	saved = !f.secret.IsZero() && f.secret.Equal(secret)
	return f.person, f.asked && saved, saved
}

// unseen hands a saved token out with what is known of it: a pull does not wait
// for an API that the registry does without. ok is false where GitHub is asked
// first: whose the token is, where the account does not say, for rights that
// somebody wants, and once its end has come.
func (s *source) unseen(r providers.Request, l login) (login, bool) {
	if l.by != byPassword || s.account.Username == "" || len(r.Grants) > 0 {
		return l, false
	}
	if p, asked, _ := s.facts.about(l.secret); asked {
		if !p.expires.IsZero() && !p.expires.After(s.deps.Now()) { // GitHub says what to do
			return l, false
		}
		l.tell(p)
	}
	return l, true
}

// tell adds what GitHub said.
func (l *login) tell(p person) {
	l.origin += " of " + cmp.Or(p.user, l.user)
	if !p.expires.IsZero() {
		l.expires = p.expires
	}
	l.scopes, l.scoped = p.scopes, p.scoped && !strings.HasPrefix(l.secret.Reveal(), prefixUser)
}

// Learned implements providers.Learner.
func (s *source) Learned(c providers.Credential) (providers.Learned, bool) {
	p, _, saved := s.facts.about(c.Secret)
	return providers.Learned{User: p.user, ExpiresAt: p.expires}, saved
}

// isPersonal reports what looks like a token of a person. Nothing else is shown
// to GitHub's API: what stands behind the registry's name may be a mirror with
// passwords of its own.
func isPersonal(secret providers.Secret) bool {
	text := secret.Reveal()
	for _, p := range []string{prefixClassic, prefixOAuth, prefixUser} {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == "" // before 2021
}

// learn asks GitHub about a saved token that its registry has taken: whose it
// is, when it ends, whether its scopes are enough. The registry's word counts,
// so that GitHub does not know the token is no refusal.
func (s *source) learn(ctx context.Context, r providers.Request, at site, c providers.Credential) error {
	if _, _, saved := s.facts.about(c.Secret); !saved || !isPersonal(c.Secret) {
		return nil
	}
	l := login{by: byPassword, secret: c.Secret, user: c.Username, origin: "token"}
	p, err := s.whoAmI(ctx, r.Host, at, l)
	if err != nil {
		s.deps.Log.Debug("GitHub did not say whose the token is", "err", err.Error())
		return nil
	}
	s.facts.keep(c.Secret, p)
	l.tell(p)
	return s.mayUse(r, at, l)
}
