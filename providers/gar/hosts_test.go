// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

func host(t *testing.T, s string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// H25, H28, H29, H32.
func TestGooglesRegistriesAndNothingThatLooksLikeThem(t *testing.T) {
	t.Parallel()
	p := New()
	for _, s := range []string{
		"gcr.io", "gcr.io.", "GCR.IO", "gcr.io:443", "us.gcr.io", "eu.gcr.io", "asia.gcr.io", "marketplace.gcr.io",
		"us-docker.pkg.dev", "europe-docker.pkg.dev", "asia-docker.pkg.dev", "europe-west1-docker.pkg.dev", "us-central1-docker.pkg.dev", "me-central2-docker.pkg.dev",
		"docker.us-central1.rep.pkg.dev", "docker.europe-west3.rep.pkg.dev",
	} {
		if !p.Match(host(t, s)) {
			t.Errorf("%s is Google's", s)
		}
	}
	for _, s := range []string{
		"mirror.gcr.io", "k8s.gcr.io", "registry.k8s.io", "staging-k8s.gcr.io", "l.gcr.io", "launcher.gcr.io", "gcr.io.evil.example", "evil-gcr.io", "xgcr.io", "a.us.gcr.io", "gcr.io:5000",
		"us.gcr.io.evil.example", "pkg.dev", "docker.pkg.dev", "europe-docker.pkg.dev.evil.example", "europe-docker.pkg.dev:8443", "pkg.dev.evil.example", "europe-docker.pkg.devil.example",
		"europe-dockerxpkg.dev", "europe-west1-docker.evil-pkg.dev", "europe-west1-npm.pkg.dev", "europe-west1-python.pkg.dev", "a.europe-docker.pkg.dev", "1-docker.pkg.dev", "eu_rope-docker.pkg.dev", "europedocker.pkg.dev",
		"europe--docker.pkg.dev", "rep.pkg.dev", "docker.rep.pkg.dev", "npm.us-central1.rep.pkg.dev", "docker.us-central1.rep.pkg.dev.evil.example", "evil.docker.us-central1.rep.pkg.dev", "docker.us-central1.evil-rep.pkg.dev",
		"docker.us-central1.rep.pkg.dev:444", "docker.us_central1.rep.pkg.dev", "googleapis.com", "docker.io", "ghcr.io", "localhost:5000", "127.0.0.1",
	} {
		if p.Match(host(t, s)) {
			t.Errorf("%s is not Google's registry", s)
		}
	}
	if p.Match(providers.Host{}) {
		t.Error("claims no host at all")
	}
}

func TestGooglesEndpointsAndNothingThatLooksLikeThem(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"sts.googleapis.com": true, "sts.us-east1.googleapis.com": true, "us-east1-sts.googleapis.com": true, "us-east1.sts.googleapis.com": true,
		"sts.europe-west3.rep.googleapis.com": true, "sts.mtls.googleapis.com": true, "sts-acme.p.googleapis.com": true,
		"googleapis.com": false, "storage.googleapis.com": false, "sts.googleapis.com.evil.example": false, "evilsts.googleapis.com": false, "sts.evil-googleapis.com": false,
		"sts.googleapis.com:8443": false, "-sts.googleapis.com.x": false, "x.y.sts.googleapis.com": false, "sts.p.q.googleapis.com": false, "stsp.p.googleapis.com": false, "iamcredentials.googleapis.com": false,
	} {
		h, err := providers.ParseHost(s)
		if err != nil {
			continue // no host at all
		}
		if got := isService(h, "sts", googleapis); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if !isService(host(t, "sts.s3nsapis.fr"), "sts", "s3nsapis.fr") || isService(host(t, "sts.googleapis.com"), "sts", "s3nsapis.fr") {
		t.Error("universes are mixed up")
	}
}

func TestNamesOfGooglesShortTokens(t *testing.T) {
	t.Parallel()
	p, h := New(), host(t, "gcr.io")
	for name, want := range map[string]bool{
		"oauth2accesstoken": true, "_dcgcr_2_1_25_token": true, "_dcgcr_0_0_0_token": true,
		"_json_key": false, "_json_key_base64": false, "jane": false, "": false, "_dcgcr_": false, "AWS": false,
	} {
		life, ok := p.MintedUser(h, name, providers.NewSecret("x"), time.Now())
		if ok != want || ok && life != time.Hour {
			t.Errorf("%s: %v %s", name, ok, life)
		}
	}
	if _, ok := p.MintedUser(host(t, "reg.example"), user, providers.NewSecret("x"), time.Now()); ok {
		t.Error("the name means nothing elsewhere")
	}
}
