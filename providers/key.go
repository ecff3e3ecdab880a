// SPDX-License-Identifier: Apache-2.0

package providers

import "strings"

// Key is a server URL as a client asks for it, understood.
type Key struct {
	Host       Host
	Repository string // "" where the client named the host alone
	// Item is "access-token" or "refresh-token" for the two extra items that
	// docker login's web flow stores under the Hub's URL, else "".
	Item string
}

// ParseKey reads every form clients send: H, H:PORT, H/REPO, http(s)://H[/v1/|/v2/|/REPO],
// all Docker Hub aliases. Errors are as those of ParseHost.
func ParseKey(raw string) (Key, error) {
	if err := checkBytes(raw); err != nil {
		return Key{}, err
	}
	rest, isURL, err := cutScheme(raw)
	if err != nil {
		return Key{}, err
	}
	name, path, _ := strings.Cut(rest, "/")
	host, err := parseHost(name, raw)
	if err != nil {
		return Key{}, err
	}
	path, slash, err := cutSlash(path, raw)
	if err != nil {
		return Key{}, err
	}
	if item, ok := strings.CutPrefix(path, "v1/"); ok && host == DockerHub {
		// A helper that cut the path off would overwrite the Hub credential.
		if item == "access-token" || item == "refresh-token" {
			return Key{Host: host, Item: item}, nil
		}
	}
	if isURL || slash {
		path = cutVersion(path)
	}
	if host == DockerHub && !strings.Contains(path, "/") {
		path = cutVersion(path) // an image of one segment is asked for as library/NAME
	}
	if path == "" {
		return Key{Host: host}, nil
	}
	if err := parsePath(path, raw); err != nil {
		return Key{}, err
	}
	return Key{Host: host, Repository: path}, nil
}

// String is a form ParseKey reads back.
func (k Key) String() string {
	switch {
	case k.Item != "":
		return hubKey + k.Item
	case k.Repository != "":
		return k.Host.String() + "/" + k.Repository
	}
	return k.Host.String()
}

// cutScheme removes http:// or https://.
func cutScheme(raw string) (rest string, isURL bool, err error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return raw, false, nil
	}
	switch strings.ToLower(scheme) {
	case "http", "https":
		return rest, true, nil
	}
	return "", false, badAddress(raw, "the scheme is neither http nor https")
}

// cutSlash removes one slash at the end of a path.
func cutSlash(path, whole string) (rest string, found bool, err error) {
	rest, found = strings.CutSuffix(path, "/")
	if found && rest == "" {
		return "", true, badAddress(whole, "the path has an empty segment")
	}
	return rest, found, nil
}

// cutVersion removes the API root that ends a registry's URL.
func cutVersion(path string) string {
	for _, v := range []string{"v1", "v2"} {
		if path == v {
			return ""
		}
		if rest, ok := strings.CutSuffix(path, "/"+v); ok {
			return rest
		}
	}
	return path
}
