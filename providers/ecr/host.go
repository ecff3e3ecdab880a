// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"strings"

	"github.com/regmint/regmint/providers"
)

// The names of ECR Public, the second one over IPv6 too. Its API lives in
// us-east-1 alone.
const (
	publicHost      = "public.ecr.aws"
	publicDualStack = "ecr-public.aws.com"
	publicRegion    = "us-east-1"
)

// domain is a suffix that AWS gives to private registries.
type domain struct {
	suffix    string
	partition string // "" = by region
	dual      bool   // reached over IPv6 too
}

// domains lists the suffixes of every partition
// (docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html).
var domains = []domain{
	{suffix: "amazonaws.com"},
	{suffix: "amazonaws.com.cn", partition: "aws-cn"},
	{suffix: "amazonaws.eu", partition: "aws-eusc"},
	{suffix: "c2s.ic.gov", partition: "aws-iso"},
	{suffix: "sc2s.sgov.gov", partition: "aws-iso-b"},
	{suffix: "cloud.adc-e.uk", partition: "aws-iso-e"},
	{suffix: "csp.hci.ic.gov", partition: "aws-iso-f"},
	{suffix: "on.aws", dual: true},
	{suffix: "on.amazonwebservices.com.cn", partition: "aws-cn", dual: true},
}

// partitions are the prefixes of regions outside the partition "aws".
var partitions = []struct{ prefix, name string }{
	{"us-gov-", "aws-us-gov"},
	{"cn-", "aws-cn"},
	{"eusc-", "aws-eusc"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
}

// partitionOf is the partition of a region; one nobody knows is of "aws".
func partitionOf(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}

// place is a registry of ECR, read from its host name.
type place struct {
	account   string // 12 digits; "" for ECR Public
	region    string
	partition string
	fips      bool
	dual      bool
	public    bool
	// prefix is put before repositories, for a custom domain that stands for a
	// part of a registry: "docker-hub/".
	prefix string
}

// placeOf reads a host name. Another port than 443 is another registry.
func placeOf(h providers.Host) (place, bool) {
	switch h.String() {
	case publicHost:
		return place{region: publicRegion, partition: "aws", public: true}, true
	case publicDualStack:
		return place{region: publicRegion, partition: "aws", public: true, dual: true}, true
	}
	for _, d := range domains {
		if labels, ok := h.Under(d.suffix); ok {
			if p, ok := d.read(labels); ok {
				return p, true
			}
		}
	}
	return place{}, false
}

// read takes ACCOUNT.dkr.ecr.REGION or ACCOUNT.dkr-ecr.REGION, each with -fips
// after ecr.
func (d domain) read(labels []string) (place, bool) {
	if len(labels) == 4 && labels[1] == "dkr" {
		labels = []string{labels[0], "dkr-" + labels[2], labels[3]}
	}
	if len(labels) != 3 || labels[1] != "dkr-ecr" && labels[1] != "dkr-ecr-fips" || !isAccount(labels[0]) || !isRegion(labels[2]) {
		return place{}, false
	}
	p := place{account: labels[0], region: labels[2], partition: d.partition, fips: labels[1] == "dkr-ecr-fips", dual: d.dual}
	of := partitionOf(p.region)
	switch {
	case p.partition == "" && of != "aws" && of != "aws-us-gov" && !(d.dual && of == "aws-cn"):
		return place{}, false // a region of a partition with names of its own
	case p.partition == "":
		p.partition = of
	case of != p.partition:
		return place{}, false
	}
	return p, true
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isRegion takes a label without an underscore; regions come up faster than
// lists of them are kept.
func isRegion(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
