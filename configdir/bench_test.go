// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkJobDirectory is what `run` pays for its files: make, write, remove.
func BenchmarkJobDirectory(b *testing.B) {
	base := b.TempDir()
	helper := filepath.Join(base, "docker-credential-regmint"+exeSuffix)
	if err := os.WriteFile(helper, nil, 0o755); err != nil {
		b.Fatal(err)
	}
	c := Caller{Home: base, UID: os.Geteuid(), Root: base}
	if err := os.MkdirAll(filepath.Join(base, ".docker"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, ".docker", configName), []byte(richConfig), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := CreateNew(filepath.Join(base, "j"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := j.Write(Settings{Caller: c, Hosts: []string{"ghcr.io", HubHost}, Helper: helper, Socket: filepath.Join(j.Root, SocketName)}); err != nil {
			b.Fatal(err)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		if err := Remove(j.Root); err != nil {
			b.Fatal(err)
		}
	}
}
