// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"strings"
	"testing"
)

func TestTargetGrammar(t *testing.T) {
	for _, tt := range []struct {
		in, host, repo string
		access         Access
		text           string
	}{
		{"ghcr.io", "ghcr.io", "", 0, "ghcr.io"},
		{"ghcr.io=pull", "ghcr.io", "", Pull, "ghcr.io=pull"},
		{"ghcr.io/acme/app=push", "ghcr.io", "acme/app", Push, "ghcr.io/acme/app=push"},
		{"ghcr.io/acme/app=pull,push", "ghcr.io", "acme/app", Push, "ghcr.io/acme/app=push"},
		{"ghcr.io/acme/app=delete", "ghcr.io", "acme/app", Delete, "ghcr.io/acme/app=delete"},
		{"ghcr.io/acme/app=push,delete", "ghcr.io", "acme/app", Push | Delete, "ghcr.io/acme/app=push,delete"},
		{"GHCR.io:443/acme/app", "ghcr.io", "acme/app", 0, "ghcr.io/acme/app"},
		{"https://index.docker.io/v1/=pull", "docker.io", "", Pull, "docker.io=pull"},
		{"docker.io/alpine=pull", "docker.io", "library/alpine", Pull, "docker.io/library/alpine=pull"},
		{"index.docker.io/acme/app", "docker.io", "acme/app", 0, "docker.io/acme/app"},
		{"[::1]:5000/a=push", "[::1]:5000", "a", Push, "[::1]:5000/a=push"},
		{"localhost/v2", "localhost", "v2", 0, "localhost/v2"},
	} {
		got, err := ParseTarget(tt.in)
		if err != nil || got.Host.String() != tt.host || got.Repository != tt.repo || got.Access != tt.access || got.String() != tt.text {
			t.Errorf("ParseTarget(%q) = %+v, %v", tt.in, got, err)
		}
	}
}

func TestTargetIsRefused(t *testing.T) {
	for in, reason := range map[string]string{
		"":                       "empty",
		"=push":                  "empty",
		"ghcr.io=":               "unknown access",
		"ghcr.io=admin":          `ghcr.io: unknown access "admin"`,
		"ghcr.io=push=pull":      "unknown access",
		"ghcr.io=Push":           "unknown access",
		"ghcr.io=push,":          "unknown access",
		"ghcr.io= push":          "unknown access",
		"ghcr.io/acme/app:1.0":   "without tag",
		"ghcr.io/*=pull":         "no wildcard",
		"*.azurecr.io":           "character",
		"oci://ghcr.io/acme":     "scheme",
		"u:pw@ghcr.io/acme=push": "user name or password",
		"https://index.docker.io/v1/refresh-token": "not a registry",
	} {
		got, err := ParseTarget(in)
		if err == nil || !strings.Contains(err.Error(), reason) || KindOf(err) != Misconfigured {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %q", in, got, err, reason)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"ghcr.io/acme/app=push", "docker.io/alpine=pull,delete", "https://index.docker.io/v1/=push", "[::1]:5000", "a=", "localhost/v2=pull", "docker.io/v1/v2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseTarget(in)
		if err != nil {
			if got != (Target{}) {
				t.Fatalf("%q: a target beside the error", in)
			}
			return
		}
		if again, err := ParseTarget(got.String()); err != nil || again != got {
			t.Fatalf("%q: %q reads back as %+v, %v", in, got, again, err)
		}
	})
}
