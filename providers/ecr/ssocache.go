// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/smithy-go"

	"github.com/regmint/regmint/providers"
)

// refreshWindow is how long before its end a login's token is renewed.
const refreshWindow = 5 * time.Minute

// ssoToken is a login in the file that the AWS tools share.
type ssoToken struct {
	access, refresh      string
	clientID, clientPass string
	expires, registered  time.Time // end of the token, of the client's registration
	// all is the file as it was, with what other tools put into it.
	all map[string]json.RawMessage
}

// readToken reads the file. Errors repeat nothing of it.
func readToken(name string) (ssoToken, error) {
	b, err := readFile(name)
	if err != nil {
		return ssoToken{}, err
	}
	t := ssoToken{}
	if json.Unmarshal(b, &t.all) != nil {
		return ssoToken{}, errors.New("the file is no JSON object")
	}
	text := func(key string) (s string) {
		_ = json.Unmarshal(t.all[key], &s)
		return s
	}
	t.access, t.refresh, t.clientID, t.clientPass = text("accessToken"), text("refreshToken"), text("clientId"), text("clientSecret")
	t.expires, t.registered = ssoTime(text("expiresAt")), ssoTime(text("registrationExpiresAt"))
	if t.access == "" || t.expires.IsZero() {
		return ssoToken{}, errors.New("the file holds no token")
	}
	return t, nil
}

// ssoTime reads RFC 3339, and UTC spelled out as older tools wrote it.
func ssoTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05UTC"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

func (t ssoToken) refreshable(now time.Time) bool {
	return t.refresh != "" && t.clientID != "" && t.clientPass != "" && (t.registered.IsZero() || t.registered.After(now))
}

// ssoToken is a token that lives: the file's, or a refreshed one.
func (c *call) ssoToken(ctx context.Context, s center) (ssoToken, error) {
	if c.deps.Home == "" {
		return ssoToken{}, c.fail(providers.Misconfigured, "", errors.New("no home directory to read ~/.aws/sso/cache from"))
	}
	name := s.file(c.deps.Home)
	t, err := readToken(name)
	if err != nil {
		return t, c.noLogin(s, err)
	}
	now := c.deps.Now()
	if t.expires.After(now.Add(refreshWindow)) || !t.refreshable(now) && t.expires.After(now) {
		return t, nil
	}
	if !t.refreshable(now) {
		return t, c.loginOver(s, t.expires)
	}
	return c.refreshSSO(ctx, s, name)
}

func (c *call) noLogin(s center, err error) *providers.Error {
	text := fmt.Errorf("%s has no login", s)
	if !errors.Is(err, os.ErrNotExist) {
		text = fmt.Errorf("%s: its login cannot be read: %w", s, err)
	}
	return c.fail(providers.LoginRequired, loginHint, text)
}

func (c *call) loginOver(s center, end time.Time) *providers.Error {
	now := c.deps.Now()
	end = end.In(now.Location())
	layout := "15:04"
	if end.Format(time.DateOnly) != now.Format(time.DateOnly) {
		layout = "2006-01-02 15:04"
	}
	return c.fail(providers.LoginRequired, loginHint, fmt.Errorf("%s expired %s", s, end.Format(layout)))
}

// refreshSSO renews the login's token. The refresh token may work once only:
// one process at a time tries, in the state directory's lock, and the place of
// the new one is made before the old one is used.
func (c *call) refreshSSO(ctx context.Context, s center, name string) (ssoToken, error) {
	unlock, err := c.deps.Lock(ctx, "aws-sso-"+filepath.Base(name))
	if err != nil {
		return ssoToken{}, c.fail(providers.Unavailable, "", fmt.Errorf("%s: its login is being renewed by another process", s))
	}
	defer unlock()
	t, err := readToken(name)
	now := c.deps.Now()
	if err != nil {
		return t, c.noLogin(s, err)
	}
	if t.expires.After(now.Add(refreshWindow)) {
		return t, nil
	}
	fresh, err := c.renew(ctx, s, t, name)
	switch {
	case err == nil:
		return fresh, nil
	case t.expires.After(now): // the old one does as long as it lives
		c.deps.Log.Warn("AWS SSO login not renewed", "session", s.key(), "reason", err.Error())
		return t, nil
	}
	return t, err
}

func (c *call) renew(ctx context.Context, s center, t ssoToken, name string) (ssoToken, error) {
	file, err := openBeside(name)
	if err != nil {
		return t, c.fail(providers.Misconfigured, "make it writable, or "+loginHint, errors.New("~/.aws/sso/cache cannot be written to: a renewed login would be lost"))
	}
	defer file.discard()
	o := op{name: "sso-oidc:CreateToken", sess: session{who: s.String(), renew: loginHint, secrets: []providers.Secret{
		providers.NewSecret(t.refresh), providers.NewSecret(t.clientPass), providers.NewSecret(t.access),
	}}}
	out, err := c.oidc(s).CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: aws.String(t.clientID), ClientSecret: aws.String(t.clientPass), GrantType: aws.String("refresh_token"), RefreshToken: aws.String(t.refresh),
	})
	if now, err := c.replaced(s, t, name); err != nil || now != nil {
		if err != nil {
			return t, err
		}
		return *now, nil
	}
	if err != nil {
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			switch api.ErrorCode() {
			case "InvalidGrantException", "ExpiredTokenException", "InvalidClientException", "UnauthorizedClientException", "AccessDeniedException":
				return t, c.loginOver(s, t.expires)
			}
		}
		return t, c.explain(ctx, o, err)
	}
	if aws.ToString(out.AccessToken) == "" || out.ExpiresIn <= 0 {
		return t, c.unusable(o, errors.New("the answer holds no token"))
	}
	t.access, t.expires = *out.AccessToken, c.deps.Now().Add(time.Duration(out.ExpiresIn)*time.Second)
	if r := aws.ToString(out.RefreshToken); r != "" {
		t.refresh = r
	}
	if err := file.save(t); err != nil {
		return t, c.fail(providers.Unavailable, "", fmt.Errorf("%s: its renewed login cannot be saved", s))
	}
	return t, nil
}

// replaced looks at the file again: while AWS was asked somebody may have
// logged in, which then counts, or out, which then stays. nil: it is as it was.
func (c *call) replaced(s center, t ssoToken, name string) (*ssoToken, error) {
	now, err := readToken(name)
	switch {
	case err != nil:
		return nil, c.noLogin(s, err)
	case now.access == t.access && now.refresh == t.refresh:
		return nil, nil
	case !now.expires.After(c.deps.Now()):
		return nil, c.loginOver(s, now.expires)
	}
	return &now, nil
}

// beside is a file that takes another one's place when it is whole.
type beside struct {
	f    *os.File
	name string
}

// openBeside makes the directory 0700 and a file 0600 in it. A link to the
// real file is followed.
func openBeside(name string) (*beside, error) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".regmint-*.tmp") // 0600
	if err != nil {
		return nil, err
	}
	return &beside{f: f, name: name}, nil
}

func (b *beside) discard() {
	if b.f != nil {
		_ = b.f.Close()
		_ = os.Remove(b.f.Name())
	}
}

// save writes the token in the format of the aws command line.
func (b *beside) save(t ssoToken) error {
	all := map[string]any{}
	for k, v := range t.all {
		all[k] = v
	}
	for k, v := range map[string]string{"accessToken": t.access, "refreshToken": t.refresh, "clientId": t.clientID, "clientSecret": t.clientPass} {
		if v != "" {
			all[k] = v
		}
	}
	all["expiresAt"] = clock(t.expires)
	if !t.registered.IsZero() {
		all["registrationExpiresAt"] = clock(t.registered)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if _, err := b.f.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := errors.Join(b.f.Sync(), b.f.Close()); err != nil {
		return err
	}
	if err := os.Rename(b.f.Name(), b.name); err != nil {
		return err
	}
	b.f = nil
	return nil
}
