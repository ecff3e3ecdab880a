// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Tombstone leaves docker/, job.json and bin of a closed job, so that a late
// client reads why. No secret stays: config.json is written anew with nothing
// but our helper's name, everything else in docker/ goes. The lock ends with
// it; a directory that is gone already is no error, and a job.json that the job
// destroyed is made anew.
func Tombstone(root string, closed time.Time, reason string) error {
	dir, err := os.OpenRoot(root)
	if absent(err) {
		return nil
	}
	if err != nil {
		return plain(root, err)
	}
	defer dir.Close()
	f, err := ReadJobFile(root)
	if err != nil {
		f = JobFile{ID: filepath.Base(root), Kind: KindOpen}
		if !ValidID(f.ID) {
			return fmt.Errorf("%s is not a job directory: %w", clean(root), ErrForeign)
		}
		if info, err := dir.Lstat(JobFileName); err == nil && info.IsDir() {
			if err := removeTree(dir, JobFileName); err != nil {
				return plain(root, err)
			}
		}
	}
	f.Closed, f.Reason = &closed, reason
	if err := plain(filepath.Join(root, JobFileName), writeJobFile(dir, f)); err != nil {
		return err
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return plain(root, err)
	}
	keep := map[string]bool{DockerDir: true, BinDir: true, JobFileName: true}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, plain(filepath.Join(root, e.Name()), removeTree(dir, e.Name())))
		}
	}
	errs = append(errs, buryDocker(dir, DockerDir))
	if f.DockerDir != "" {
		errs = append(errs, buryElsewhere(f.DockerDir, f.ID))
	}
	return errors.Join(errs...)
}

// buryDocker makes the docker part below dir secret-free. A child may have put
// anything in its place.
func buryDocker(dir *os.Root, name string) error {
	if info, err := dir.Lstat(name); err == nil && !info.IsDir() {
		if err := dir.Remove(name); err != nil {
			return err
		}
	}
	if err := dir.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	mend(dir, name, 0)
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return bury(sub, func(string) bool { return false })
}

// bury rewrites config.json and removes everything else but the pointer and
// what spare names.
func bury(dir *os.Root, spare func(name string) bool) error {
	config, err := buriedConfig(dir)
	if err != nil {
		return err
	}
	if info, err := dir.Lstat(configName); err == nil && info.IsDir() {
		if err := removeTree(dir, configName); err != nil {
			return err
		}
	}
	if err := (writer{}).replace(dir, configName, config, 0o600); err != nil {
		return err
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if n := e.Name(); n != configName && n != PointerName && !spare(n) {
			errs = append(errs, removeTree(dir, n))
		}
	}
	return errors.Join(errs...)
}

// buriedConfig names our helper for the hosts that had it.
func buriedConfig(dir *os.Root) ([]byte, error) {
	s := Settings{}
	if f, err := dir.OpenFile(configName, os.O_RDONLY|openNonBlock, 0); err == nil {
		defer f.Close()
		data, _, err := readOpen(f, maxConfig)
		d := &dockerFile{}
		if err == nil && d.parse(data) == nil {
			for _, p := range d.helpers {
				if ours(p.value) {
					s.Hosts = append(s.Hosts, hostOf(p.key))
				}
			}
		}
	}
	members := []member{{key: keyStore, rawValue: quote(HelperName)}}
	if h := helperMembers(s, true, nil); len(h) > 0 {
		members = append(members, member{key: keyHelpers, rawValue: subObject(h)})
	}
	var b bytes.Buffer
	err := render(&b, members)
	return b.Bytes(), err
}

// openClaimed opens a docker part elsewhere if it is still this job's; nil
// where it is not.
func openClaimed(path, id string) (*os.Root, error) {
	dir, err := os.OpenRoot(path)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(path, err)
	}
	if p, err := readPointer(dir); err != nil || p.ID != id {
		return nil, dir.Close()
	}
	return dir, nil
}

// buryElsewhere is buryDocker for --dir, where other files may have come since:
// they are not ours.
func buryElsewhere(path, id string) error {
	dir, err := openClaimed(path, id)
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	return plain(path, bury(dir, func(name string) bool { return !ownDockerFile(name) }))
}

// releaseDir removes what we, and docker in our config directory, put into
// --dir. The directory stays: it may be a mount.
func releaseDir(path, id string) error {
	dir, err := openClaimed(path, id)
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return plain(path, err)
	}
	var errs []error
	for _, e := range entries {
		if ownDockerFile(e.Name()) && e.Name() != PointerName {
			errs = append(errs, removeTree(dir, e.Name()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", clean(path), err)
	}
	// The pointer last: without it nothing says that the rest is ours.
	return plain(path, ignoreAbsent(dir.Remove(PointerName)))
}

// ownDockerFile: files of ours, and of docker and buildx beside them.
func ownDockerFile(name string) bool {
	switch name {
	case configName, PointerName, "contexts", ".token_seed", ".token_seed.lock":
		return true
	}
	base, ok := tempFor(name)
	return ok && ownDockerFile(base)
}
