// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/regmint/regmint/providers"
)

const acct = "123456789012"

// Every form of host that AWS gives out, in every partition (H26: upper case
// and a dot at the end are the same registry).
func TestHostsOfEveryPartitionAreRead(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]place{
		acct + ".dkr.ecr.us-east-1.amazonaws.com":                    {account: acct, region: "us-east-1", partition: "aws"},
		acct + ".dkr.ecr.us-east-1.amazonaws.com:443":                {account: acct, region: "us-east-1", partition: "aws"},
		acct + ".DKR.ecr.US-east-1.amazonaws.com.":                   {account: acct, region: "us-east-1", partition: "aws"},
		acct + ".dkr.ecr-fips.us-east-1.amazonaws.com":               {account: acct, region: "us-east-1", partition: "aws", fips: true},
		acct + ".dkr-ecr.eu-west-1.on.aws":                           {account: acct, region: "eu-west-1", partition: "aws", dual: true},
		acct + ".dkr-ecr-fips.us-west-2.on.aws":                      {account: acct, region: "us-west-2", partition: "aws", dual: true, fips: true},
		acct + ".dkr.ecr.us-gov-west-1.amazonaws.com":                {account: acct, region: "us-gov-west-1", partition: "aws-us-gov"},
		acct + ".dkr.ecr-fips.us-gov-east-1.amazonaws.com":           {account: acct, region: "us-gov-east-1", partition: "aws-us-gov", fips: true},
		acct + ".dkr-ecr.us-gov-west-1.on.aws":                       {account: acct, region: "us-gov-west-1", partition: "aws-us-gov", dual: true},
		acct + ".dkr.ecr.cn-north-1.amazonaws.com.cn":                {account: acct, region: "cn-north-1", partition: "aws-cn"},
		acct + ".dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn": {account: acct, region: "cn-northwest-1", partition: "aws-cn", dual: true},
		acct + ".dkr.ecr.cn-north-1.on.amazonwebservices.com.cn":     {account: acct, region: "cn-north-1", partition: "aws-cn", dual: true},
		acct + ".dkr-ecr.cn-north-1.on.aws":                          {account: acct, region: "cn-north-1", partition: "aws-cn", dual: true},
		acct + ".dkr.ecr.eusc-de-east-1.amazonaws.eu":                {account: acct, region: "eusc-de-east-1", partition: "aws-eusc"},
		acct + ".dkr.ecr.us-iso-east-1.c2s.ic.gov":                   {account: acct, region: "us-iso-east-1", partition: "aws-iso"},
		acct + ".dkr.ecr.us-isob-east-1.sc2s.sgov.gov":               {account: acct, region: "us-isob-east-1", partition: "aws-iso-b"},
		acct + ".dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":              {account: acct, region: "eu-isoe-west-1", partition: "aws-iso-e"},
		acct + ".dkr.ecr.us-isof-south-1.csp.hci.ic.gov":             {account: acct, region: "us-isof-south-1", partition: "aws-iso-f"},
		acct + ".dkr.ecr.ap-nowhere-9.amazonaws.com":                 {account: acct, region: "ap-nowhere-9", partition: "aws"},
		"public.ecr.aws":     {region: "us-east-1", partition: "aws", public: true},
		"ecr-public.aws.com": {region: "us-east-1", partition: "aws", public: true, dual: true},
	} {
		h, err := providers.ParseHost(host)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := placeOf(h); !ok || got != want || !New().Match(h) {
			t.Errorf("%s: %+v, %v", host, got, ok)
		}
	}
}

// The SDK's own rules say where the API of each partition is.
func TestTheAPIIsWhereTheSDKFindsIt(t *testing.T) {
	t.Parallel()
	for _, region := range []string{"us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "ap-nowhere-9"} {
		for _, kind := range []struct{ fips, dual bool }{{}, {fips: true}, {dual: true}, {true, true}} {
			p := place{account: acct, region: region, partition: partitionOf(region), fips: kind.fips, dual: kind.dual}
			if kind.dual && apiDomains[p.partition].dual == "" {
				continue
			}
			want, err := ecr.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), ecr.EndpointParameters{Region: aws.String(region), UseFIPS: aws.Bool(kind.fips), UseDualStack: aws.Bool(kind.dual)})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.api(); got != want.URI.String()+"/" {
				t.Errorf("%s %+v: %s, the SDK asks %s", region, kind, got, want.URI.String())
			}
		}
	}
	for _, dual := range []bool{false, true} {
		want, err := ecrpublic.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), ecrpublic.EndpointParameters{Region: aws.String(publicRegion), UseDualStack: aws.Bool(dual), UseFIPS: aws.Bool(false)})
		if err != nil {
			t.Fatal(err)
		}
		p := place{region: publicRegion, partition: "aws", public: true, dual: dual}
		if got := p.api(); got != want.URI.String()+"/" {
			t.Errorf("public: %s, the SDK asks %s", got, want.URI.String())
		}
	}
}

// lookAlikes have the right letters in the wrong place: H25, H27, H29.
var lookAlikes = []string{
	acct + ".dkr.ecr.us-east-1.amazonaws.com.evil.example",
	acct + ".dkr.ecr.us-east-1.amazonaws.com.cn.evil.example",
	acct + ".dkr.ecr.us-east-1.xamazonaws.com",
	acct + ".dkr.ecr.us-east-1.amazonaws.com.fake.example.com",
	acct + ".dkr.ecr.us-east-1.amazonaws.co",
	acct + ".dkr.ecr.us-east-1.amazonaws.com.cn",
	acct + ".dkr.ecr.cn-north-1.amazonaws.com",
	acct + ".dkr.ecr.us-iso-east-1.amazonaws.com",
	acct + ".dkr.ecr.us-east-1.amazonaws.eu",
	acct + ".dkr.ecr.us-east-1.c2s.ic.gov",
	acct + ".dkr.ecr.us-isob-east-1.c2s.ic.gov",
	acct + ".dkr.ecr.us-east-1.amazonaws.com:8443",
	acct + ".dkr.ecr.us-east-1.on.aws.com.cn",
	acct + ".dkr.ecr.amazonaws.com",
	acct + ".dkr.ecr.us-east-1.extra.amazonaws.com",
	"x." + acct + ".dkr.ecr.us-east-1.amazonaws.com",
	"12345678901.dkr.ecr.us-east-1.amazonaws.com",
	"1234567890123.dkr.ecr.us-east-1.amazonaws.com",
	"12345678901a.dkr.ecr.us-east-1.amazonaws.com",
	acct + ".dkr.ecrfips.us-east-1.amazonaws.com",
	acct + ".dkr.ecr-fips-x.us-east-1.amazonaws.com",
	acct + ".dkr-ecr.us-east-1.on.aws.evil.example",
	acct + ".ecr.us-east-1.amazonaws.com",
	acct + ".dkr.s3.us-east-1.amazonaws.com",
	acct + ".dkr.ecr.us_east.amazonaws.com",
	"dkr.ecr.us-east-1.amazonaws.com",
	"amazonaws.com", "on.aws", "ecr.aws",
	"public.ecr.aws.evil.example", "xpublic.ecr.aws", "x.public.ecr.aws", "public.ecr.aws:5000", "public-ecr.aws",
	"ecr-public.aws.com.evil.example", "api.ecr-public.us-east-1.amazonaws.com", "api.ecr.us-east-1.amazonaws.com",
	"s3.amazonaws.com", "lambda.eu-west-1.on.aws", "localhost:5000",
}

func TestLookAlikesAreNotMatched(t *testing.T) {
	t.Parallel()
	for _, host := range lookAlikes {
		h, err := providers.ParseHost(host)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := placeOf(h); ok || New().Match(h) {
			t.Errorf("%s is taken for %+v", host, p)
		}
	}
	for _, host := range []string{ // what no host is cannot even be asked for
		acct + ".dkr.ecr.us-east-1.amazonaws.com@evil.example", acct + ".dkr.ecr.us-east-1.amazonaws.com%2eevil", "evil/" + acct + ".dkr.ecr.us-east-1.amazonaws.com",
		acct + `.dkr.ecr.us-east-1.amazonaws.com\@evil`, acct + ".dkr.ecr.us-east-1.amazonaws.com#@evil", acct + ".dkr.ecr.us-east-1.amazonaws.com:443@evil",
	} {
		if h, err := providers.ParseHost(host); err == nil {
			t.Errorf("%s is the host %s", host, h)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range append([]string{acct + ".dkr.ecr.us-east-1.amazonaws.com", "public.ecr.aws"}, lookAlikes...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := providers.ParseHost(s)
		if err != nil {
			return
		}
		p, ok := placeOf(h)
		if ok && !p.public && (!isAccount(p.account) || !isRegion(p.region) || h.Labels()[0] != p.account || h.Port() != "" || p.partition == "") {
			t.Fatalf("%s is %+v", h, p)
		}
	})
}
