// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/providers"
)

// WriteRecord puts data at path, 0600 in a directory of 0700: the old record or
// the new one is there at any moment, and the new one is durable on return.
func WriteRecord(path string, data []byte) error {
	if !filepath.IsAbs(path) {
		return errors.New("there is no state directory; set REGMINT_STATE_DIR")
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return writeAtomic(path, data)
}

// maxRecord bounds what is read of our own state.
const maxRecord = 1 << 20

// ReadRecord reads what WriteRecord wrote: a regular file of whom the
// directory belongs to, or of ours. fs.ErrNotExist: there is none.
func ReadRecord(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !owned(path, info) {
		return nil, fmt.Errorf("%s is no record of ours", path)
	}
	data, _, err := readRegular(path, maxRecord)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// Feed runs the program of an exec: reference with a secret on its stdin and
// nothing else: what it prints is not kept. env is what every program gets (see
// ExecEnv).
func Feed(ctx context.Context, env []string, ref providers.SecretRef, secret providers.Secret) error {
	if ref.Scheme != "exec" || !filepath.IsAbs(ref.Value) {
		return misconfigured("%s takes no secret: name a program by its absolute path", ref)
	}
	_, err := program{
		path: ref.Value, args: ref.Args, env: env, limit: feedTimeout, label: ref.String(),
		stdin: []byte(secret.Reveal()),
	}.run(ctx)
	if err == nil || !strings.Contains(err.Error(), secret.Reveal()) {
		return err
	}
	return &providers.Error{Kind: providers.KindOf(err), Err: fmt.Errorf("%s failed", clean(filepath.Base(ref.Value)))}
}
