// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// Login implements providers.Loginer: an App's key is tried, gh's login is
// offered where it may use packages, a device code is shown where client_id
// says for which application; what is left is a classic token, and the error
// says where to make one.
func (Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	return logIn(ctx, q, nil)
}

func logIn(ctx context.Context, q providers.LoginRequest, pause func(context.Context, time.Duration) bool) (providers.LoginResult, error) {
	none := providers.LoginResult{}
	q.Deps.Env = map[string]string{} // a person logs in, not a job
	if q.Account.Layer == providers.LayerAmbient {
		q.Account.Layer = providers.LayerSaved
	}
	s, err := open(q.Account, q.Deps)
	if err != nil {
		return none, err
	}
	s.pause = pause
	at, err := s.site(q.Host)
	if err != nil {
		return none, err
	}
	own := q.Account.Layer == providers.LayerConfigured || q.Account.Layer == providers.LayerJobConfig
	switch {
	case !s.options.PrivateKey.IsZero():
		who, err := (&appSource{source: s}).try(ctx, providers.Request{Host: q.Host})
		return providers.LoginResult{Account: q.Account, Who: who}, err
	case own && s.options.GH:
		l, err := s.tryGH(ctx, q.Host, at)
		return providers.LoginResult{Account: q.Account, Who: l.user, Until: l.expires}, err
	case own && s.options.ClientID != "":
		if q.Account.Password.Scheme != "keyring" {
			return none, s.fail(q.Host, providers.Misconfigured, fmt.Sprintf("set password = \"keyring:%s\"", q.Host), fmt.Errorf("account %q says nowhere to keep the login", q.Account.Name))
		}
		return s.device(ctx, q, at)
	case own && q.Account.Password.Scheme == "keyring":
		return s.paste(ctx, q, at, "")
	case own:
		return none, s.byHand(q.Host, at, "this account takes a token")
	}
	return s.choose(ctx, q, at)
}

// choose offers what there is.
func (s *source) choose(ctx context.Context, q providers.LoginRequest, at site) (providers.LoginResult, error) {
	none := providers.LoginResult{}
	borrowed := &source{account: s.account, deps: s.deps, http: s.http, pause: s.pause}
	o := *s.options
	o.GH = true
	borrowed.options = &o
	borrowed.account.Password = providers.SecretRef{}
	l, ghErr := borrowed.tryGH(ctx, q.Host, at)
	var labels []string
	var ways []func() (providers.LoginResult, error)
	if ghErr == nil {
		labels = append(labels, fmt.Sprintf("%s, the login of gh", l.user))
		ways = append(ways, func() (providers.LoginResult, error) {
			a := q.Account
			a.Provider, a.Options, a.Username, a.Password = "github", &Options{GH: true, GHUser: l.user, GHPath: o.GHPath, Server: o.Server}, "", providers.SecretRef{}
			return providers.LoginResult{Account: a, Write: true, Who: l.user, Until: l.expires}, nil
		})
	}
	if s.options.ClientID != "" {
		labels = append(labels, "log in at "+at.web+" with a code")
		ways = append(ways, func() (providers.LoginResult, error) { return s.device(ctx, q, at) })
	}
	why := "gh's login can be used"
	if ghErr != nil {
		why = reason(ghErr)
	}
	if len(ways) == 0 {
		return s.paste(ctx, q, at, why)
	}
	labels = append(labels, "paste a token made at "+at.web)
	ways = append(ways, func() (providers.LoginResult, error) { return s.paste(ctx, q, at, "") })
	if ghErr != nil && !errors.Is(ghErr, fs.ErrNotExist) {
		q.UI.Say("%s", why)
	}
	i, err := q.UI.Choose(ctx, fmt.Sprintf("Who logs in to %s?", q.Host), labels)
	switch {
	case errors.Is(err, providers.ErrNobody) && ghErr != nil: // a code is shown where somebody sees it, and refused there
		i = 0
	case err != nil:
		return none, err
	case i < 0 || i >= len(ways):
		return none, s.fail(q.Host, providers.LoginRequired, "", errors.New("nothing was chosen"))
	}
	return ways[i]()
}

// reason is an error's own text with its hint, without the host.
func reason(err error) string {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok {
		return err.Error()
	}
	text := e.Err.Error()
	if strings.HasPrefix(e.Hint, "run: ") {
		text += " (" + e.Hint + ")"
	}
	return text
}

// tryGH is gh's login, where it may use packages.
func (s *source) tryGH(ctx context.Context, h providers.Host, at site) (login, error) {
	l, err := s.login(ctx, h, at)
	if err != nil {
		return l, err
	}
	return l, s.mayUse(providers.Request{Host: h, Grants: []providers.Grant{{Access: providers.Pull}}}, at, l)
}

// byHand says how a classic token is made and saved.
func (s *source) byHand(h providers.Host, at site, why string) error {
	run := "regmint login " + h.String()
	if _, ok := known(h); !ok {
		run += " --provider github"
	}
	return s.fail(h, providers.LoginRequired, fmt.Sprintf("make a token at %s and run: %s -u USER", at.newToken(scopeRead, scopeWrite), run), errors.New(why))
}

// device logs in with a code.
func (s *source) device(ctx context.Context, q providers.LoginRequest, at site) (providers.LoginResult, error) {
	none := providers.LoginResult{}
	c := s.oauth(q.Host, at)
	t, err := c.Device(ctx, q.UI, "GitHub ("+at.web+")")
	if err != nil {
		return none, s.explain(q.Host, err)
	}
	l := login{by: byDevice, secret: t.Access, origin: "device login"}
	me, err := s.whoAmI(ctx, q.Host, at, l)
	if err != nil {
		return none, err
	}
	l.origin += " of " + me.user
	l.scopes, l.scoped = me.scopes, me.scoped && !strings.HasPrefix(t.Access.Reveal(), prefixUser)
	if err := s.mayUse(providers.Request{Host: q.Host}, at, l); err != nil {
		return none, err
	}
	a := q.Account
	a.Provider = "github"
	write := a.Layer != providers.LayerConfigured && a.Layer != providers.LayerJobConfig
	if write {
		a.Username = ""
		o := *s.options
		o.GH, o.GHUser, o.GHPath = false, "", ""
		a.Options = &o
	}
	return providers.LoginResult{Account: a, Write: write, Secret: c.Keep(t, me.user).Secret(), Who: me.user, Until: t.RefreshExpiresAt}, nil
}
