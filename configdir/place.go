// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

func (w *jobWriter) put(dir *os.Root, name string, data []byte) error {
	return plain(filepath.Join(dir.Name(), name), writer{}.replace(dir, name, data, 0o600))
}

// contexts links the caller's docker contexts: a docker with another
// DOCKER_CONFIG would lose the engine it talks to.
func (w *jobWriter) contexts() (note string) {
	const name = "contexts"
	dir := w.s.Caller.DockerConfigDir()
	if dir == "" || dir == w.dockerDir || !dirExists(filepath.Join(dir, name)) {
		return ""
	}
	target, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if err == nil {
		err = relink(w.docker, target, name)
	}
	if err != nil {
		return fmt.Sprintf("docker's contexts of %s are not in the job: %v", clean(dir), err)
	}
	return ""
}

// helpers puts docker-credential-regmint, and one name for each account, into
// bin.
func (w *jobWriter) helpers() error {
	names := []string{helperPrefix + HelperName + exeSuffix}
	for _, l := range w.s.Links {
		names = append(names, helperPrefix+HelperName+"-"+l+exeSuffix)
	}
	for i, name := range names {
		name = filepath.Join(BinDir, name)
		var err error
		switch {
		case w.s.Portable || w.s.Dir != "" || runtime.GOOS == "windows":
			if i == 0 {
				err = w.copyHelper(name)
				break
			}
			// Names of one program: further copies would only cost space.
			if err = replaceWith(w.job, name, func(tmp string) error {
				return w.job.Link(filepath.Join(BinDir, names[0]), tmp)
			}); err != nil {
				err = w.copyHelper(name)
			}
		default:
			err = relink(w.job, w.s.Helper, name)
		}
		if err != nil {
			return plain(filepath.Join(w.root, name), err)
		}
	}
	return nil
}

func (w *jobWriter) copyHelper(name string) error {
	src, err := os.Open(w.s.Helper)
	if err != nil {
		return err
	}
	defer src.Close()
	return replaceWith(w.job, name, func(tmp string) error {
		dst, err := w.job.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
		if err != nil {
			return err
		}
		_, err = io.Copy(dst, src)
		if runtime.GOOS != "windows" {
			err = errors.Join(err, dst.Chmod(0o700))
		}
		return errors.Join(err, dst.Close())
	})
}

// relink makes name a symbolic link to target; one that is right stays.
func relink(dir *os.Root, target, name string) error {
	if old, err := dir.Readlink(name); err == nil && old == target {
		return nil
	}
	return replaceWith(dir, name, func(tmp string) error { return dir.Symlink(target, tmp) })
}

// replaceWith makes something under a temporary name and renames it.
func replaceWith(dir *os.Root, name string, make func(tmp string) error) error {
	tmp := tempName(name)
	err := make(tmp)
	if err == nil {
		err = dir.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, ignoreAbsent(dir.Remove(tmp)))
	}
	// A rename between two links of one file does nothing (rename(2)).
	return ignoreAbsent(dir.Remove(tmp))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sorted drops repetitions; nil stays nil.
func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
