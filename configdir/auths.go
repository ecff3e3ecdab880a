// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// hubNames are the hosts under which files name Docker Hub (docker/cli
// configfile, containers/image pkg/docker/config).
var hubNames = []string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// hostOf is the normal form of the host in a key of auths or credHelpers:
// lower case, without scheme, path, trailing dot and :443; HubHost for Docker
// Hub. It reads what other tools wrote and decides nothing about hosts.
func hostOf(key string) string {
	host := key
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	host = strings.TrimSuffix(host, ".")
	if slices.Contains(hubNames, host) {
		return HubHost
	}
	return host
}

// oauthItem reports the two keys under which docker login keeps the tokens of
// its web login: they are no credential of the registry.
func oauthItem(key string) bool {
	return key == hubKey+"access-token" || key == hubKey+"refresh-token"
}

// isHostKey reports a key that names a host alone, without scheme or path.
func isHostKey(key string) bool { return key != "" && !strings.Contains(key, "/") }

// authFields are the fields of an auths entry that hold a login.
type authFields struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// decodeAuthEntry reads one entry; ok is false where it holds no login
// (docker leaves {} where a helper has it).
func decodeAuthEntry(e authEntry) (l Login, ok bool, err error) {
	var f authFields
	if err := json.Unmarshal(e.raw, &f); err != nil {
		return Login{}, false, errors.New("not an object with auth, username and password as strings")
	}
	l = Login{Key: e.key, Host: hostOf(e.key), Username: f.Username, Secret: Secret(f.Password)}
	if f.Auth != "" {
		user, secret, err := decodeAuth(f.Auth)
		if err != nil {
			return Login{}, false, err
		}
		l.Username, l.Secret = user, Secret(secret)
	}
	if f.IdentityToken != "" {
		l.Username, l.Secret = tokenUser, Secret(f.IdentityToken)
	}
	if l.Username == "" || l.Secret == "" {
		return Login{}, false, nil
	}
	if strings.ContainsAny(l.Username+string(l.Secret), "\x00\r\n") {
		return Login{}, false, errors.New("it has a control character")
	}
	return l, true, nil
}

// decodeAuth reads base64(user:secret) as docker does: trailing NULs of the
// secret are dropped.
func decodeAuth(s string) (user, secret string, err error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", "", errors.New("its auth is not base64")
	}
	user, secret, ok := strings.Cut(string(raw), ":")
	if !ok || user == "" {
		return "", "", errors.New("its auth is not base64 of user:password")
	}
	return user, strings.Trim(secret, "\x00"), nil
}

// encodeAuthEntry is the auths entry of a login.
func encodeAuthEntry(l StaticLogin) ([]byte, error) {
	secret := string(l.Secret)
	switch {
	case l.Username == "" || secret == "":
		return nil, errors.New("a user name and a secret are needed")
	case strings.ContainsRune(l.Username, ':'):
		return nil, fmt.Errorf("the user name %q has a colon: docker's auths cannot hold it", clean(l.Username))
	case strings.ContainsAny(l.Username+secret, "\x00\r\n"):
		return nil, errors.New("the user name or the secret has a control character")
	}
	enc := base64.StdEncoding.EncodeToString
	if l.Username == tokenUser {
		// containers/image takes the token only where auth has a colon.
		return concat(`{"auth": `, quote(enc([]byte(tokenUser+":"))), `, "identitytoken": `, quote(secret), "}"), nil
	}
	return concat(`{"auth": `, quote(enc([]byte(l.Username+":"+secret))), "}"), nil
}

// ReadAuth reads the auths entry of host (normal form) from a docker
// config.json as docker's file store does: the host's own key first, then any
// key of that host. ok is false where there is none or the file is absent.
func ReadAuth(path, host string) (l Login, ok bool, err error) {
	d, err := readDockerFile(path, os.Geteuid())
	if err != nil {
		return Login{}, false, err
	}
	e, found := d.authFor(host)
	if !found {
		return Login{}, false, nil
	}
	l, ok, err = decodeAuthEntry(e)
	if err != nil {
		return Login{}, false, fmt.Errorf("%s: the auths entry of %s cannot be used: %w", clean(path), clean(e.key), err)
	}
	return l, ok, nil
}

// authFor finds the entry that docker would use for host.
func (d *dockerFile) authFor(host string) (authEntry, bool) {
	exact := lookupKey(host)
	for _, e := range d.auths {
		if e.key == exact {
			return e, true
		}
	}
	for _, e := range d.auths {
		// docker.io/library and the like are podman's: no login for the host.
		if hostOf(e.key) == host && !oauthItem(e.key) && (isHostKey(e.key) || strings.Contains(e.key, "://")) {
			return e, true
		}
	}
	return authEntry{}, false
}

// lookupKey is the key docker looks a host up under (docker/cli
// configfile.getAuthConfigKey).
func lookupKey(host string) string {
	if host == HubHost {
		return hubKey
	}
	return host
}

// ReadAuths reads all logins in the auths of a docker config.json; a broken
// entry is left out and named.
func ReadAuths(path string) (logins []Login, warnings []string, err error) {
	d, err := readDockerFile(path, os.Geteuid())
	if err != nil {
		return nil, nil, err
	}
	logins, warnings = d.logins()
	return logins, warnings, nil
}

// ParseDockerAuthConfig reads the value of DOCKER_AUTH_CONFIG as strictly as
// docker 29 does: {"auths":{KEY:{"auth":BASE64}}} and nothing else. "" is no
// login.
func ParseDockerAuthConfig(data string) ([]Login, error) {
	if strings.TrimSpace(data) == "" {
		return nil, nil
	}
	logins, err := parseAuthConfig([]byte(data))
	if err != nil {
		return nil, fmt.Errorf("DOCKER_AUTH_CONFIG: %w", err)
	}
	return logins, nil
}

func parseAuthConfig(data []byte) ([]Login, error) {
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%w: larger than %d MiB", ErrMalformed, maxConfig>>20)
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	var out []Login
	for _, m := range o.members {
		if !strings.EqualFold(m.key, keyAuths) || o.folded(keyAuths) > 1 {
			return nil, fmt.Errorf("%w: %q has no place there: docker takes auths alone", ErrMalformed, clean(m.key))
		}
		auths, err := nested(m.rawValue)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyAuths, err)
		}
		for _, e := range auths.members {
			l, err := strictEntry(e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", clean(e.key), err)
			}
			out = append(out, l)
		}
	}
	return out, nil
}

func strictEntry(e member) (Login, error) {
	f, err := nested(e.rawValue)
	if err != nil {
		return Login{}, err
	}
	for _, m := range f.members {
		if m.key != "auth" {
			return Login{}, fmt.Errorf("%w: %q has no place there: docker takes auth alone", ErrMalformed, clean(m.key))
		}
	}
	l, ok, err := decodeAuthEntry(authEntry{key: e.key, raw: e.rawValue})
	if err != nil {
		return Login{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !ok {
		return Login{}, fmt.Errorf("%w: it has no user name and password", ErrMalformed)
	}
	return l, nil
}
