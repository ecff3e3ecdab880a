// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"strings"
)

var partitionNames = []string{"aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"}

// regionPrefixes are those of regions outside the partition aws.
var regionPrefixes = []struct{ prefix, partition string }{
	{"us-gov-", "aws-us-gov"},
	{"cn-", "aws-cn"},
	{"eusc-", "aws-eusc"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
}

func partitionOf(region string) string {
	for _, p := range regionPrefixes {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// suffix is what names of a partition end in.
type suffix struct {
	partitions []string
	classic    string // of APIs and registries
	dual       string // of APIs over IPv6 too, "" for none
	registry   string // of registries over IPv6 too, "" for none
}

var suffixes = []suffix{
	{[]string{"aws", "aws-us-gov"}, "amazonaws.com", "api.aws", "on.aws"},
	{[]string{"aws-cn"}, "amazonaws.com.cn", "api.amazonwebservices.com.cn", "on.amazonwebservices.com.cn"},
	{[]string{"aws-eusc"}, "amazonaws.eu", "api.amazonwebservices.eu", ""},
	{[]string{"aws-iso"}, "c2s.ic.gov", "", ""},
	{[]string{"aws-iso-b"}, "sc2s.sgov.gov", "", ""},
	{[]string{"aws-iso-e"}, "cloud.adc-e.uk", "", ""},
	{[]string{"aws-iso-f"}, "csp.hci.ic.gov", "", ""},
}

// endpoint is what a host name says.
type endpoint struct {
	host      string
	partition string
	region    string
	account   string // of a registry
	public    bool   // ECR Public
}

// serving is a service's handler, for a host of a region that exists.
type serving func(http.ResponseWriter, *http.Request, endpoint)

// serve registers every name. Names of a region in the wrong partition have no
// address: their connections end.
func (a *AWS) serve() {
	public := func(w http.ResponseWriter, r *http.Request) {
		a.ecrPublic(w, r, endpoint{host: hostOf(r), partition: "aws", region: "us-east-1", public: true})
	}
	a.c.Handle("api.ecr-public.us-east-1.amazonaws.com", http.HandlerFunc(public))
	a.c.Handle("ecr-public.us-east-1.api.aws", http.HandlerFunc(public))
	a.c.Handle("public.ecr.aws", http.HandlerFunc(a.servePublic))
	a.c.Handle("ecr-public.aws.com", http.HandlerFunc(a.servePublic))
	a.c.Handle("sts.amazonaws.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.sts(w, r, endpoint{host: hostOf(r), partition: "aws", region: "us-east-1"})
	}))
	for _, s := range suffixes {
		a.api(s, s.classic, "sts.*.", a.sts)
		a.api(s, s.classic, "sts-fips.*.", a.sts)
		a.api(s, s.classic, "api.ecr.*.", a.ecr)
		a.api(s, s.classic, "api.ecr-fips.*.", a.ecr)
		a.api(s, s.classic, "oidc.*.", a.oidc)
		a.api(s, s.classic, "portal.sso.*.", a.portal)
		a.api(s, s.classic, "*.s3.*.", a.blob)
		if s.dual != "" {
			a.api(s, s.dual, "sts.*.", a.sts)
			a.api(s, s.dual, "sts-fips.*.", a.sts)
			a.api(s, s.dual, "ecr.*.", a.ecr)
			a.api(s, s.dual, "ecr-fips.*.", a.ecr)
			a.api(s, s.dual, "oidc.*.", a.oidc)
			a.api(s, s.dual, "portal.sso.*.", a.portal)
		}
		for _, p := range []string{"*.dkr.ecr.*.", "*.dkr.ecr-fips.*."} {
			a.c.Handle(p+s.classic, http.HandlerFunc(a.serveRegistry))
		}
		if s.registry != "" {
			for _, p := range []string{"*.dkr-ecr.*.", "*.dkr-ecr-fips.*."} {
				a.c.Handle(p+s.registry, http.HandlerFunc(a.serveRegistry))
			}
		}
	}
}

// api registers names of one service; the last star is the region.
func (a *AWS) api(s suffix, domain, pattern string, f serving) {
	at := strings.Count(pattern[:strings.LastIndex(pattern, "*")], ".")
	a.c.Handle(pattern+domain, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ep := endpoint{host: hostOf(r), region: strings.Split(hostOf(r), ".")[at]}
		ep.partition = partitionOf(ep.region)
		if !s.has(ep.partition) {
			panic(http.ErrAbortHandler)
		}
		f(w, r, ep)
	}))
}

func (s suffix) has(partition string) bool {
	for _, p := range s.partitions {
		if p == partition {
			return true
		}
	}
	return false
}

func hostOf(r *http.Request) string {
	return strings.ToLower(strings.TrimSuffix(r.Host, ":443"))
}

// registryOf reads a registry's name. The lock is held.
func (a *AWS) registryOf(host string) (endpoint, bool) {
	if host == "public.ecr.aws" || host == "ecr-public.aws.com" {
		return endpoint{host: host, partition: "aws", region: "us-east-1", public: true}, true
	}
	name := host
	if to, ok := a.domains[host]; ok {
		name = to
	}
	for _, s := range suffixes {
		for _, form := range []struct{ mark, domain string }{
			{".dkr.ecr.", s.classic}, {".dkr.ecr-fips.", s.classic}, {".dkr-ecr.", s.registry}, {".dkr-ecr-fips.", s.registry},
		} {
			rest, ok := strings.CutSuffix(name, "."+form.domain)
			account, region, found := strings.Cut(rest, form.mark)
			if form.domain == "" || !ok || !found || !isAccount(account) || region == "" || strings.Contains(region, ".") || !s.has(partitionOf(region)) {
				continue
			}
			return endpoint{host: host, partition: partitionOf(region), region: region, account: account}, true
		}
	}
	return endpoint{}, false
}

// classic is a registry's first name, as the API gives it.
func (e endpoint) classic(account string) string {
	for _, s := range suffixes {
		if s.has(e.partition) {
			return account + ".dkr.ecr." + e.region + "." + s.classic
		}
	}
	return ""
}
