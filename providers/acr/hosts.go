// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"strings"

	"github.com/regmint/regmint/providers"
)

// cloud is one of the separate clouds of Azure: nothing is shared between them.
type cloud struct {
	name      string // as in the option cloud
	authority string // origin of the token endpoints
	arm       string // audience of the Resource Manager
	suffixes  []string
}

// The clouds. Azure Germany ended in 2021: its suffix is known, its token
// endpoints are gone, and what is left under the name is asked for with the
// public ones.
var clouds = []cloud{
	{"public", "https://login.microsoftonline.com", "https://management.azure.com", []string{"azurecr.io", "azurecr.de"}},
	{"china", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn", []string{"azurecr.cn"}},
	{"usgov", "https://login.microsoftonline.us", "https://management.usgovcloudapi.net", []string{"azurecr.us"}},
}

// The length of a registry's name, without the hash of a domain name label.
const (
	minName = 5
	maxName = 50
)

// server is a login server taken apart.
type server struct {
	registry string // "acme", or "acme-b7f2ckd9" with a domain name label
	region   string // "" for the global login server
	suffix   string // "azurecr.io"
	cloud    cloud
}

// parseServer reads a login server:
//
//	NAME[-HASH][.REGION.geo].azurecr.{io,cn,us,de}
//
// Data endpoints (NAME.REGION.data.azurecr.io) get signed redirects and never a
// credential, so they are none.
func parseServer(h providers.Host) (server, bool) {
	for _, c := range clouds {
		for _, suffix := range c.suffixes {
			labels, ok := h.Under(suffix)
			if !ok {
				continue
			}
			s := server{registry: labels[0], suffix: suffix, cloud: c}
			switch {
			case len(labels) == 3 && labels[2] == "geo" && isAlnum(labels[1]):
				s.region = labels[1]
			case len(labels) != 1:
				return server{}, false
			}
			return s, validRegistry(s.registry)
		}
	}
	return server{}, false
}

func validRegistry(s string) bool {
	name, hash, labelled := strings.Cut(s, "-")
	return len(name) >= minName && len(name) <= maxName && isAlnum(name) && (!labelled || isAlnum(hash))
}

func isAlnum(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// siblings are the hosts whose token server may speak for h: a regional login
// server may name the global one.
func siblings(h providers.Host) []providers.Host {
	s, ok := parseServer(h)
	if !ok || s.region == "" {
		return nil
	}
	global, err := providers.ParseHost(s.registry + "." + s.suffix)
	if err != nil {
		return nil
	}
	return []providers.Host{global}
}

// cloudNamed is the cloud with a name of the option cloud.
func cloudNamed(name string) (cloud, bool) {
	for _, c := range clouds {
		if c.name == name {
			return c, true
		}
	}
	return cloud{}, false
}

// cloudOf is the cloud a host is in; the public one for hosts of other names.
func cloudOf(h providers.Host) cloud {
	if s, ok := parseServer(h); ok {
		return s.cloud
	}
	return clouds[0]
}

// cloudAt is the cloud whose authority a caller's AZURE_AUTHORITY_HOST names.
// Any other value is ignored: the environment of a caller does not choose who
// gets its secret.
func cloudAt(authority string) (cloud, bool) {
	a := strings.ToLower(strings.TrimRight(authority, "/"))
	for _, c := range clouds {
		if a == c.authority {
			return c, true
		}
	}
	return cloud{}, false
}
