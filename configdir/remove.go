// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove removes a job directory (and what --dir put elsewhere). It follows no
// symbolic link, mends modes, and tolerates another removal at the same time;
// an absent directory is no error.
func Remove(root string) error {
	g, err := setAside(root)
	if err != nil || g == nil {
		return err
	}
	return g.remove()
}

// gone is a job directory under its last name.
type gone struct {
	parent string
	name   string
	id     string
	docker string // the docker part elsewhere; "" = none
}

// setAside renames a job directory, so that it ends at one instant for
// everybody. nil is an absent one.
func setAside(root string) (*gone, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	g := &gone{parent: filepath.Dir(root), id: filepath.Base(root)}
	if !ValidID(g.id) {
		return nil, fmt.Errorf("%s is not a job directory: %w", clean(root), ErrForeign)
	}
	dir, err := os.OpenRoot(g.parent)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(g.parent, err)
	}
	defer dir.Close()
	if f, err := ReadJobFile(root); err == nil {
		g.docker = f.DockerDir
	}
	g.name = gonePrefix + NewID()
	switch err := dir.Rename(g.id, g.name); {
	case absent(err):
		return nil, nil
	case err != nil:
		// A directory whose mode was taken away cannot be renamed on some
		// systems: it is removed where it stands.
		g.name = g.id
	}
	return g, nil
}

// remove deletes what setAside put away.
func (g *gone) remove() error {
	if g == nil {
		return nil
	}
	dir, err := os.OpenRoot(g.parent)
	if absent(err) {
		return nil
	}
	if err != nil {
		return plain(g.parent, err)
	}
	defer dir.Close()
	err = plain(filepath.Join(g.parent, g.id), removeTree(dir, g.name))
	if g.docker != "" {
		err = errors.Join(err, releaseDir(g.docker, g.id))
	}
	return err
}

// removeRounds bounds the attempts against a process that goes on writing.
const removeRounds = 64

// removeTree removes name below dir. os.Root follows no link out of dir, and
// RemoveAll follows none at all.
func removeTree(dir *os.Root, name string) error {
	var err error
	for range removeRounds {
		if err = dir.RemoveAll(name); err == nil || absent(err) {
			return nil
		}
		if errors.Is(err, fs.ErrPermission) {
			mend(dir, name, 0)
		}
	}
	return err
}

// mendDepth bounds the descent of mend; deeper trees are mended round by round.
const mendDepth = 256

// mend gives the directories of a tree the mode that lets their owner remove
// what is in them. Errors show in the next RemoveAll.
func mend(dir *os.Root, name string, depth int) {
	info, err := dir.Lstat(name)
	if err != nil || !info.IsDir() || depth > mendDepth {
		return
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		_ = dir.Chmod(name, 0o700)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return
	}
	defer sub.Close()
	entries, err := fs.ReadDir(sub.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			mend(sub, e.Name(), depth+1)
		}
	}
}
