// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Pair is a login as the store keeps it: one JSON object, so that both tokens
// are replaced in one write.
type Pair struct {
	Access           string    `json:"access_token"`
	Refresh          string    `json:"refresh_token,omitempty"`
	ExpiresAt        time.Time `json:"expires_at,omitzero"`
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	Scopes           []string  `json:"scopes,omitempty"`
	User             string    `json:"user,omitempty"`
	// Made is a secret that was made with the login, where the registry takes
	// that and no access token.
	Made string `json:"made,omitempty"`
	// Issuer is the token endpoint it came from, ClientID the application: a
	// pair is never sent elsewhere.
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
}

// Keep makes the stored form of a login.
func (c Client) Keep(t Token, user string) Pair {
	return Pair{
		Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), ExpiresAt: t.ExpiresAt.UTC(), RefreshExpiresAt: t.RefreshExpiresAt.UTC(),
		Scopes: t.Scopes, User: user, Issuer: c.TokenURL, ClientID: c.ClientID,
	}
}

// Secret is the text to store.
func (p Pair) Secret() providers.Secret {
	b, err := json.Marshal(p)
	if err != nil { // times of another century; nothing else can fail
		return providers.Secret{}
	}
	return providers.NewSecret(string(b))
}

// ParsePair reads a stored login; ok is false where s is something else, such
// as a password that was saved by hand.
func ParsePair(s providers.Secret) (p Pair, ok bool) {
	text := s.Reveal()
	if len(text) == 0 || text[0] != '{' || json.Unmarshal([]byte(text), &p) != nil {
		return Pair{}, false
	}
	return p, p.Access != "" && p.Issuer != ""
}

// Live reports whether the access token has more than spare left.
func (p Pair) Live(now time.Time, spare time.Duration) bool {
	return p.ExpiresAt.IsZero() || p.ExpiresAt.Sub(now) > spare
}

// spare is what an access token needs to have left to be handed out without a
// refresh: a tenth of a typical life, and enough for one pull.
const spare = 10 * time.Minute

// Fresh is the login under ref with a live access token: refreshed where that
// is due, by one process of the user at a time, the new pair durable before it
// is used. minLeft is what the caller needs; 0 = the default of 10 minutes.
func (c Client) Fresh(ctx context.Context, d providers.Deps, ref providers.SecretRef, minLeft time.Duration) (Pair, error) {
	if minLeft == 0 {
		minLeft = spare
	}
	p, err := c.stored(ctx, d, ref)
	if err != nil || p.Live(d.Now(), minLeft) {
		return p, err
	}
	if p.Refresh == "" {
		if p.Live(d.Now(), 0) {
			return p, nil
		}
		return p, c.loginAgain("expired and cannot be refreshed")
	}
	unlock, err := d.Lock(ctx, c.lockName(ref))
	if err != nil {
		return p, c.orOld(p, d, c.fail(providers.Unavailable, "", err))
	}
	defer unlock()
	// Another process may have refreshed while this one waited: its pair killed
	// the one read before.
	if p, err = c.stored(ctx, d, ref); err != nil || p.Live(d.Now(), minLeft) {
		return p, err
	}
	return c.refresh(ctx, d, ref, p)
}

// orOld answers the pair that still lives instead of err.
func (c Client) orOld(p Pair, d providers.Deps, err error) error {
	if p.Live(d.Now(), 0) && providers.KindOf(err) == providers.Unavailable {
		return nil
	}
	return err
}

func (c Client) stored(ctx context.Context, d providers.Deps, ref providers.SecretRef) (Pair, error) {
	s, err := httpx.Resolve(ctx, d, c.Host, ref)
	if err != nil {
		return Pair{}, err
	}
	p, ok := ParsePair(s)
	if !ok {
		return Pair{}, c.fail(providers.Misconfigured, "run: regmint login "+c.Host.String(), errors.New(ref.String()+" holds no login of "+c.Product))
	}
	if p.Issuer != c.TokenURL || p.ClientID != c.ClientID {
		return Pair{}, c.fail(providers.Misconfigured, "run: regmint login "+c.Host.String(), errors.New(ref.String()+" is a login of another server or application"))
	}
	return p, nil
}

// refresh replaces the pair. The request is sent once: a lost answer may have
// killed both tokens, and only the server knows.
func (c Client) refresh(ctx context.Context, d providers.Deps, ref providers.SecretRef, old Pair) (Pair, error) {
	if !old.RefreshExpiresAt.IsZero() && !old.RefreshExpiresAt.After(d.Now()) {
		return old, c.loginAgain("expired")
	}
	asked := d.Now()
	secret := providers.NewSecret(old.Refresh)
	m, err := c.post(ctx, "token refresh", c.TokenURL, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {c.ClientID}, "refresh_token": {old.Refresh},
	}, secret)
	var oe *Error
	switch {
	case errors.As(err, &oe) && (oe.Code == "invalid_grant" || oe.Code == "bad_refresh_token"):
		return old, c.loginAgain("was ended: " + oe.Error())
	case errors.As(err, &oe):
		return old, c.fail(providers.Denied, "run: regmint login "+c.Host.String(), err)
	case err != nil:
		return old, c.orOld(old, d, err)
	}
	t, err := c.token(m, asked)
	if err != nil {
		return old, c.orOld(old, d, err)
	}
	if t.Refresh.IsZero() { // not rotated: the old one goes on
		t.Refresh, t.RefreshExpiresAt = secret, old.RefreshExpiresAt
	}
	if t.Scopes == nil {
		t.Scopes = old.Scopes
	}
	p := c.Keep(t, old.User)
	p.Made = old.Made
	if err := d.Save(ctx, ref, p.Secret()); err != nil {
		return old, c.fail(providers.Unavailable, "", errors.Join(errors.New("the refreshed login of "+c.Product+" could not be saved"), err))
	}
	return p, nil
}

func (c Client) loginAgain(what string) error {
	return c.fail(providers.LoginRequired, "run: regmint login "+c.Host.String(), errors.New("the login of "+c.Product+" "+what))
}

// Update changes the login under ref: f sees it as it is stored, while no other
// process refreshes it, and what f leaves is durable when Update returns. f must
// not call Fresh.
func (c Client) Update(ctx context.Context, d providers.Deps, ref providers.SecretRef, f func(*Pair) error) (Pair, error) {
	unlock, err := d.Lock(ctx, c.lockName(ref))
	if err != nil {
		return Pair{}, c.fail(providers.Unavailable, "", err)
	}
	defer unlock()
	p, err := c.stored(ctx, d, ref)
	if err != nil {
		return p, err
	}
	if err := f(&p); err != nil {
		return p, err
	}
	if err := d.Save(ctx, ref, p.Secret()); err != nil {
		return p, c.fail(providers.Unavailable, "", errors.Join(errors.New("the login of "+c.Product+" could not be saved"), err))
	}
	return p, nil
}

func (c Client) lockName(ref providers.SecretRef) string {
	return "refresh " + c.TokenURL + " " + ref.String()
}
