// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// dockerConfig is docker/config.json of a job: our answers, what is carried
// over, then every setting of the caller that is not about logins, as it was.
func dockerConfig(s Settings, d *dockerFile, got *carry) ([]byte, error) {
	var members []member
	auths, err := authMembers(s.Static, false, got.auths)
	if err != nil {
		return nil, err
	}
	if len(auths) > 0 {
		members = append(members, member{key: keyAuths, rawValue: subObject(auths)})
	}
	if !s.static() {
		// Also without any host: an empty config makes docker pick the keychain
		// of whoever runs it.
		members = append(members, member{key: keyStore, rawValue: quote(HelperName)})
	}
	if h := helperMembers(s, true, got.helpers); len(h) > 0 {
		members = append(members, member{key: keyHelpers, rawValue: subObject(h)})
	}
	members = append(members, settings(s.Caller, d)...)
	var b bytes.Buffer
	err = render(&b, members)
	return b.Bytes(), err
}

// containersAuth is containers/auth.json of a job. podman and its kin know
// credHelpers there and no credsStore.
func containersAuth(s Settings, got *carry) ([]byte, error) {
	auths, err := authMembers(s.Static, true, slices.Concat(got.auths, got.podman))
	if err != nil {
		return nil, err
	}
	var members []member
	if len(auths) > 0 {
		members = append(members, member{key: keyAuths, rawValue: subObject(auths)})
	}
	if h := helperMembers(s, false, got.helpers); len(h) > 0 {
		members = append(members, member{key: keyHelpers, rawValue: subObject(h)})
	}
	if len(members) == 0 {
		members = append(members, member{key: keyAuths, rawValue: []byte("{}")})
	}
	var b bytes.Buffer
	err = render(&b, members)
	return b.Bytes(), err
}

// authMembers are the static logins by host, then the carried entries as they
// were.
func authMembers(static map[string]StaticLogin, containers bool, carried []authEntry) ([]member, error) {
	var out []member
	for _, host := range slices.Sorted(maps.Keys(static)) {
		raw, err := encodeAuthEntry(static[host])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clean(host), err)
		}
		out = append(out, member{key: authKey(host, containers), rawValue: raw})
	}
	for _, e := range carried {
		out = append(out, member{key: e.key, rawValue: e.raw})
	}
	return out, nil
}

// authKey is the key of a host's entry in auths: docker knows Docker Hub by its
// long key alone, containers/image takes the short one.
func authKey(host string, containers bool) string {
	if containers {
		return host
	}
	return lookupKey(host)
}

// helperMembers are the credHelpers lines: ours by host, then the carried ones.
// Never a key with a scheme: podman --remote refuses the whole file for one.
func helperMembers(s Settings, docker bool, carried []pair) []member {
	hosts := map[string]bool{}
	for _, h := range s.Hosts {
		hosts[h] = true
	}
	if !s.Only {
		for h := range s.Behind {
			if h != "*" && isHostKey(h) {
				hosts[hostOf(h)] = true
			}
		}
	}
	for h := range s.Static {
		delete(hosts, h)
	}
	var out []member
	used := map[string]bool{}
	for _, h := range slices.Sorted(maps.Keys(hosts)) {
		for _, key := range helperKeys(h) {
			used[key] = true
			out = append(out, member{key: key, rawValue: quote(HelperName)})
		}
	}
	for _, p := range carried {
		// containers/image asks with the bare host; docker.io alone names the Hub.
		if !used[p.key] && (docker || p.key != "index.docker.io") {
			used[p.key] = true
			out = append(out, member{key: p.key, rawValue: quote(p.value)})
		}
	}
	return out
}

// helperKeys are the credHelpers keys of a host.
func helperKeys(host string) []string {
	if host == HubHost {
		return []string{"docker.io", "index.docker.io"}
	}
	return []string{host}
}

// settings are the caller's keys that are not about logins, as raw JSON in
// their order, with the directory of the caller's CLI plugins added.
func settings(c Caller, d *dockerFile) []member {
	const key = "cliPluginsExtraDirs"
	out := slices.Clone(d.rest)
	dir := c.DockerConfigDir()
	if dir == "" || !dirExists(filepath.Join(dir, "cli-plugins")) {
		return out
	}
	plugins := quote(filepath.Join(dir, "cli-plugins"))
	for i, m := range out {
		if !strings.EqualFold(m.key, key) {
			continue
		}
		if inner, ok := bytes.CutPrefix(m.rawValue, []byte("[")); ok && !bytes.Contains(inner, plugins) {
			sep := ", "
			if strings.TrimSpace(string(inner)) == "]" {
				sep = ""
			}
			out[i].rawValue = concat("[", plugins, sep, inner)
		}
		if string(m.rawValue) == "null" {
			out[i].rawValue = concat("[", plugins, "]")
		}
		return out
	}
	return append(out, member{key: key, rawValue: concat("[", plugins, "]")})
}

// subObject is the text of an object one level deep.
func subObject(members []member) []byte {
	var b bytes.Buffer
	b.WriteString("{")
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(concat("\n\t\t", quote(m.key), ": ", m.rawValue))
	}
	b.WriteString("\n\t}")
	return b.Bytes()
}
