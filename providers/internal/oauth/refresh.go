// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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
	IssuedAt         time.Time `json:"issued_at,omitzero"`
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
		Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), IssuedAt: t.IssuedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(), RefreshExpiresAt: t.RefreshExpiresAt.UTC(),
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

// String keeps the secrets of a login that is printed by mistake.
func (Pair) String() string { return "[login]" }

// GoString is String, for %#v.
func (p Pair) GoString() string { return p.String() }

// LogValue is String, for slog.
func (p Pair) LogValue() slog.Value { return slog.StringValue(p.String()) }

// enough reports whether the access token has minLeft left, or where it lives
// for minutes only, two fifths of its life: a server whose tokens are short is
// not asked for another one each time.
func (p Pair) enough(now time.Time, minLeft time.Duration) bool {
	if life := p.ExpiresAt.Sub(p.IssuedAt); !p.IssuedAt.IsZero() && life > 0 {
		minLeft = min(minLeft, life*2/5)
	}
	return p.Live(now, minLeft)
}

// spare is what an access token needs to have left to be handed out without a
// refresh: a tenth of a typical life, and enough for one pull.
const spare = 10 * time.Minute

// Fresh is the login under ref with a live access token: refreshed where that
// is due, by one process of the user at a time, the new pair durable before it
// is used. minLeft is what the caller needs; 0 = the default of 10 minutes. A
// refresh that fails is no error while the token lives, unless the server says
// that the login is over.
func (c Client) Fresh(ctx context.Context, d providers.Deps, ref providers.SecretRef, minLeft time.Duration) (Pair, error) {
	if minLeft == 0 {
		minLeft = spare
	}
	p, err := c.stored(ctx, d, ref)
	if err != nil || p.enough(d.Now(), minLeft) {
		return p, err
	}
	if p.Refresh == "" && p.Live(d.Now(), 0) {
		return p, nil
	}
	fresh, err := c.replace(ctx, d, ref, p.Access)
	if err != nil && providers.KindOf(err) != providers.LoginRequired && p.Live(d.Now(), 0) {
		return p, nil
	}
	return fresh, err
}

// Renew is the login under ref with another access token than dead, which the
// server refused before its time. Many that found it dead are one refresh.
func (c Client) Renew(ctx context.Context, d providers.Deps, ref providers.SecretRef, dead string) (Pair, error) {
	return c.replace(ctx, d, ref, dead)
}

// replace refreshes the pair under ref, unless another process did meanwhile:
// its pair killed the one with the access token old.
func (c Client) replace(ctx context.Context, d providers.Deps, ref providers.SecretRef, old string) (Pair, error) {
	unlock, err := d.Lock(ctx, c.lockName(ref))
	if err != nil {
		return Pair{}, c.fail(providers.Unavailable, "", err)
	}
	defer unlock()
	p, err := c.stored(ctx, d, ref)
	if err != nil || p.Access != old && p.Live(d.Now(), 0) {
		return p, err
	}
	return c.refresh(ctx, d, ref, p)
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

// refreshLimit bounds a refresh whose caller has left: half a refresh is the
// end of a login.
const refreshLimit = 15 * time.Second

// refresh replaces the pair. The request is sent once: a lost answer may have
// killed both tokens, and only the server knows. From there on the new pair is
// saved whatever becomes of the caller.
func (c Client) refresh(ctx context.Context, d providers.Deps, ref providers.SecretRef, old Pair) (Pair, error) {
	switch {
	case old.Refresh == "":
		return old, c.loginAgain("expired and cannot be refreshed")
	case !old.RefreshExpiresAt.IsZero() && !old.RefreshExpiresAt.After(d.Now()):
		return old, c.loginAgain("expired")
	case ctx.Err() != nil:
		return old, c.fail(providers.Unavailable, "", errors.New(c.Product+": no time left for a token refresh"))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshLimit)
	defer cancel()
	asked := d.Now()
	secret := providers.NewSecret(old.Refresh)
	m, err := c.post(ctx, "token refresh", c.TokenURL, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {c.ClientID}, "refresh_token": {old.Refresh},
	}, secret)
	var oe *Error
	switch {
	case isPassing(err):
		return old, err
	case errors.As(err, &oe) && (oe.Code == "invalid_grant" || oe.Code == "bad_refresh_token"):
		return old, c.loginAgain("was ended (" + oe.Code + ")")
	case errors.As(err, &oe):
		return old, c.fail(providers.Denied, "run: regmint login "+c.Host.String(), err)
	case err != nil:
		return old, err
	}
	t, err := c.token(m, asked)
	if err != nil {
		return old, err
	}
	if t.Refresh.IsZero() { // not rotated: the old one goes on
		t.Refresh, t.RefreshExpiresAt = secret, old.RefreshExpiresAt
	}
	if t.Scopes == nil {
		t.Scopes = old.Scopes
	}
	p := c.Keep(t, old.User)
	p.Made = old.Made
	return c.settle(ctx, d, ref, old, p)
}

// settle saves p in the place of old. Where somebody logged in anew or out
// meanwhile, what they left is what counts.
func (c Client) settle(ctx context.Context, d providers.Deps, ref providers.SecretRef, old, p Pair) (Pair, error) {
	now, err := c.stored(ctx, d, ref)
	switch kind := providers.KindOf(err); {
	case err == nil && (now.Access != old.Access || now.Refresh != old.Refresh):
		return now, nil
	case kind == providers.LoginRequired, kind == providers.Misconfigured:
		return old, err
	}
	if err := c.keep(ctx, d, ref, p); err != nil {
		return old, c.fail(providers.Unavailable, "run: regmint login "+c.Host.String(), fmt.Errorf("the login of %s could not be saved: %w", c.Product, err))
	}
	return p, nil
}

// keep saves a pair whose predecessor is dead: a store that hiccups is asked
// again.
func (c Client) keep(ctx context.Context, d providers.Deps, ref providers.SecretRef, p Pair) error {
	for try := 1; ; try++ {
		err := d.Save(ctx, ref, p.Secret())
		if err == nil || try == 3 || !c.pause(ctx, time.Duration(try)*200*time.Millisecond) {
			return err
		}
	}
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
	was, err := c.stored(ctx, d, ref)
	if err != nil {
		return was, err
	}
	p := was
	if err := f(&p); err != nil {
		return was, err
	}
	return c.settle(ctx, d, ref, was, p)
}

func (c Client) lockName(ref providers.SecretRef) string {
	return "refresh " + c.TokenURL + " " + ref.String()
}

// End ends the login p at the server's endpoint at (RFC 7009): its refresh
// token, and with it the family. A login that was over already is no error.
func (c Client) End(ctx context.Context, at string, p Pair) error {
	if p.Issuer != c.TokenURL || p.ClientID != c.ClientID {
		return c.fail(providers.Misconfigured, "", errors.New("a login of another server or application than "+c.Product))
	}
	token := p.Refresh
	if token == "" {
		token = p.Access
	}
	_, err := c.HTTP.Do(ctx, httpx.Request{
		Host: c.Host, What: "end of the login", Method: http.MethodPost, URL: at, SameOrigin: true, Replay: true,
		Header:  http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		Body:    []byte(url.Values{"client_id": {c.ClientID}, "token": {token}}.Encode()),
		Secrets: []providers.Secret{providers.NewSecret(token)},
	})
	return err
}
