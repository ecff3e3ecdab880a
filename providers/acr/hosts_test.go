// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

func TestLoginServersAreRecognisedAndLookAlikesAreNot(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{ // the cloud; "" = not ours; "!" = no host at all
		"acmeregistry.azurecr.io":                     "public",
		"ACMEregistry.AzureCR.io":                     "public",
		"acmeregistry.azurecr.io:443":                 "public",
		"acmeregistry.azurecr.io.":                    "public",
		"acme5.azurecr.io":                            "public",
		strings.Repeat("a", 50) + ".azurecr.io":       "public",
		"acmeregistry-b7f2ckd9.azurecr.io":            "public",
		"acmeregistry.eastus.geo.azurecr.io":          "public",
		"acmeregistry-b7f2ckd9.eastus.geo.azurecr.io": "public",
		"acmeregistry.azurecr.de":                     "public",
		"acmeregistry.azurecr.cn":                     "china",
		"acmeregistry.chinaeast2.geo.azurecr.cn":      "china",
		"acmeregistry.azurecr.us":                     "usgov",
		"acmeregistry-b7f2ckd9.azurecr.us":            "usgov",

		"azurecr.io":                                          "",
		".azurecr.io":                                         "!",
		"xazurecr.io":                                         "",
		"acmeregistryazurecr.io":                              "",
		"a.b.azurecr.io":                                      "",
		"a.b.c.azurecr.io":                                    "",
		"acme.azurecr.io":                                     "", // a name has five characters at least
		strings.Repeat("a", 51) + ".azurecr.io":               "",
		"acme_registry.azurecr.io":                            "",
		"acme-registry-x.azurecr.io":                          "",
		"acmeregistry-.azurecr.io":                            "!",
		"-acmeregistry.azurecr.io":                            "!",
		"acmeregistry.eastus.data.azurecr.io":                 "",
		"acmeregistry.eastus.geo.geo.azurecr.io":              "",
		"acmeregistry.geo.azurecr.io":                         "",
		"acmeregistry.east-us.geo.azurecr.io":                 "",
		"acmeregistry.azurecr.io.attacker.example":            "",
		"evil.azurecr.io.attacker.com":                        "",
		"acmeregistry.azurecr.io.azurecr.io.attacker.example": "",
		"acmeregistry.azurecr.io-attacker.example":            "",
		"attacker.example/acmeregistry.azurecr.io":            "!",
		"acmeregistry.azurecr.io@attacker.example":            "!",
		"acmeregistry.azurecr.io:443@attacker.example":        "!",
		"acmeregistry.azurecr.io%2eattacker.example":          "!",
		`acmeregistry.azurecr.io\@attacker.example`:           "!",
		"acmeregistry.azurecr.io#@attacker.example":           "!",
		"acmeregistry.azurecr.io:8443":                        "", // another port is another service
		"acmeregistry.azurecr.io:80":                          "",
		"acmeregistry.azurecr.com":                            "",
		"acmeregistry.azurecr.io.cn":                          "",
		"acmeregistry.azurecr":                                "",
		"acmeregistry.аzurecr.io":                             "!", // Cyrillic
		"acmeregistry.xn--zurecr-7ve.io":                      "",
		"acmeregistry.privatelink.azurecr.io":                 "",
		"mcr.microsoft.com":                                   "",
		"azurecr.azurecr.io.evil":                             "",
		"docker.io":                                           "",
		"10.0.0.1":                                            "",
		"[::1]:5000":                                          "",
	} {
		h, err := providers.ParseHost(s)
		if err != nil {
			if want != "!" {
				t.Errorf("%s: %v", s, err)
			}
			continue
		}
		got := ""
		if sv, ok := parseServer(h); ok {
			got = sv.cloud.name
		}
		if want == "!" || got != want || New().Match(h) != (want != "") {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
	if New().Match(providers.Host{}) {
		t.Error("claims no host")
	}
}

func TestOnlyTheGlobalServerSpeaksForARegionalOne(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"acmeregistry.eastus.geo.azurecr.io":            "acmeregistry.azurecr.io",
		"acmeregistry-b7f2ckd9.uswest.geo.azurecr.us":   "acmeregistry-b7f2ckd9.azurecr.us",
		"acmeregistry.azurecr.io":                       "",
		"acmeregistry.eastus.geo.azurecr.io.evil.examp": "",
	} {
		h, err := providers.ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, o := range siblings(h) {
			got += o.String()
		}
		if got != want {
			t.Errorf("%s: %q", s, got)
		}
	}
}

func TestOnlyTheThreeKnownCloudsAreTakenFromTheEnvironment(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"https://login.microsoftonline.com/": "public", "https://login.microsoftonline.com": "public",
		"https://login.microsoftonline.us": "usgov", "https://login.chinacloudapi.cn/": "china",
		"": "", "https://login.microsoftonline.com.evil.example/": "", "http://login.microsoftonline.com": "",
		"https://login.microsoftonline.com/evil": "", "https://u@login.microsoftonline.com": "", "login.microsoftonline.com": "",
	} {
		if c, _ := cloudAt(s); c.name != want {
			t.Errorf("%q: %q", s, c.name)
		}
	}
}
