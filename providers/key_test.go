// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"strings"
	"testing"
)

// The forms are those measured at docker, ggcr, oras, helm, containers/image
// and regctl, plus what people write into configurations.
func TestKeyOfEveryClientForm(t *testing.T) {
	for _, tt := range []struct{ in, host, repo, item string }{
		{"ghcr.io", "ghcr.io", "", ""},
		{"ghcr.io/", "ghcr.io", "", ""},
		{"ghcr.io/org/img", "ghcr.io", "org/img", ""}, // H30
		{"ghcr.io/org/img/", "ghcr.io", "org/img", ""},
		{"https://ghcr.io", "ghcr.io", "", ""},
		{"https://ghcr.io/", "ghcr.io", "", ""},
		{"https://ghcr.io/v2/", "ghcr.io", "", ""}, // H30
		{"https://ghcr.io/v2", "ghcr.io", "", ""},
		{"https://ghcr.io/v1/", "ghcr.io", "", ""},
		{"ghcr.io/v2/", "ghcr.io", "", ""},
		{"HTTPS://GHCR.IO/v2/", "ghcr.io", "", ""},
		{"http://127.0.0.1:5055", "127.0.0.1:5055", "", ""},
		{"http://127.0.0.1:5055/w/p", "127.0.0.1:5055", "w/p", ""},
		{"127.0.0.1:5055/test/img", "127.0.0.1:5055", "test/img", ""},
		{"[::1]:5000/a/b", "[::1]:5000", "a/b", ""},
		{"localhost/v2", "localhost", "v2", ""}, // ggcr asks this for an image named v2
		{"localhost:5000/team/v1", "localhost:5000", "team/v1", ""},
		{"https://nexus.example/repository/docker/v2/", "nexus.example", "repository/docker", ""},
		{"https://reg.example/acme/app", "reg.example", "acme/app", ""},
		{"reg.example/Group/Sub.x/a_b-c", "reg.example", "Group/Sub.x/a_b-c", ""},
		{"docker.io", "docker.io", "", ""}, // H31
		{"index.docker.io", "docker.io", "", ""},
		{"registry-1.docker.io", "docker.io", "", ""},
		{"registry.hub.docker.com", "docker.io", "", ""},
		{"https://registry.hub.docker.com/v2/", "docker.io", "", ""},
		{"https://index.docker.io/v1/", "docker.io", "", ""},
		{"https://index.docker.io/v1", "docker.io", "", ""},
		{"https://index.docker.io/", "docker.io", "", ""},
		{"http://index.docker.io/v1/", "docker.io", "", ""},
		{"index.docker.io/v1/", "docker.io", "", ""},
		{"index.docker.io/v1", "docker.io", "", ""},
		{"https://docker.io/v2/", "docker.io", "", ""},
		{"index.docker.io/library/alpine", "docker.io", "library/alpine", ""},
		{"docker.io/acme", "docker.io", "acme", ""},
		{"https://index.docker.io/v1/access-token", "docker.io", "", "access-token"},
		{"https://index.docker.io/v1/refresh-token", "docker.io", "", "refresh-token"},
		{"https://index.docker.io/v1/refresh-token/", "docker.io", "", "refresh-token"},
		{"index.docker.io/v1/refresh-token", "docker.io", "", "refresh-token"},
		{"https://ghcr.io/v1/access-token", "ghcr.io", "v1/access-token", ""},
		{"evil.example/ghcr.io", "evil.example", "ghcr.io", ""}, // H29: not ghcr.io
		{"ghcr.io.evil.example", "ghcr.io.evil.example", "", ""},
		{"reg.io/team-evil/x", "reg.io", "team-evil/x", ""},
	} {
		k, err := ParseKey(tt.in)
		if err != nil || k.Host.String() != tt.host || k.Repository != tt.repo || k.Item != tt.item {
			t.Errorf("ParseKey(%q) = %+v, %v; want %+v", tt.in, k, err, tt)
			continue
		}
		if again, err := ParseKey(k.String()); err != nil || again != k {
			t.Errorf("%q: %q reads back as %+v, %v", tt.in, k, again, err)
		}
	}
}

func TestKeyIsRefused(t *testing.T) {
	for _, in := range []string{
		"https://", "https:///x", "http://", "://h", "//evil", "/", "/ghcr.io", "https:ghcr.io", ":443/x", // CVE-2020-11008
		"oci://ghcr.io", "docker://ghcr.io", "ftp://ghcr.io", "file:///etc/passwd", "https://https://ghcr.io", "javascript://ghcr.io",
		"reg.io/team/../other", "reg.io/./x", "reg.io/..", "https://reg.io/../v2/", "reg.io/.../x", // H36
		"reg.io/a//b", "reg.io//a", "reg.io/a//", "https://reg.io//",
		"reg.io/team/app:1.0", "reg.io/team/app@sha256:00", "reg.io/a b", "reg.io/a%2fb", `reg.io/a\b`, "reg.io/a\tb", "reg.io/a?b", "reg.io/a#b",
		"reg.io/*", "reg.io/a*", "reg.io/é", "reg.io/a,b", "reg.io/a;b", "reg.io/a=pull", "reg.io/<a>",
		"reg.io/" + strings.Repeat("a", 256),
	} {
		k, err := ParseKey(in)
		if err == nil {
			t.Errorf("ParseKey(%q) = %+v", in, k)
		}
		checkShown(t, in, err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{
		"ghcr.io/acme/app", "https://index.docker.io/v1/", "https://index.docker.io/v1/access-token", "http://[::1]:5000/v2/",
		"index.docker.io/v1/v2", "reg.io/a/v1/v2/", "docker.io/v2/v1", "https://u:p@reg.io/a", "reg.io/../x", "localhost/v2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		k, err := ParseKey(in)
		if err != nil {
			if k != (Key{}) {
				t.Fatalf("%q: a key beside the error", in)
			}
			checkShown(t, in, err)
			return
		}
		if again, err := ParseKey(k.String()); err != nil || again != k {
			t.Fatalf("%q: %+v prints as %q and reads back as %+v, %v", in, k, k, again, err)
		}
		if h, err := ParseHost(k.Host.String()); err != nil || h != k.Host {
			t.Fatalf("%q: host %q is not normal: %v", in, k.Host, err)
		}
		for seg := range strings.SplitSeq(k.Repository, "/") {
			if k.Repository != "" && strings.Trim(seg, ".") == "" {
				t.Fatalf("%q: segment %q", in, seg)
			}
		}
	})
}
