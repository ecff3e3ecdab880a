// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Settings say what Write puts into a job directory.
type Settings struct {
	Caller   Caller
	Hosts    []string               // normal form; HubHost is Docker Hub
	Behind   map[string]string      // hosts that a former helper answers behind us get a credHelpers line too; "*" does not
	Helper   string                 // absolute path of docker-credential-regmint
	Links    []string               // accounts (or "soft"): docker-credential-regmint-NAME beside the helper
	Portable bool                   // copy the helper instead of linking it
	Socket   string                 // absolute path of the job's socket (or its pipe)
	Only     bool                   // nothing of the caller's other hosts
	CAFile   string                 // added to the system's bundle; "" = none
	Static   map[string]StaticLogin // by host: auths instead of a helper; not empty = no credsStore
	Dir      string                 // docker part elsewhere: absent, empty or ours; implies Portable
	Mirrors  []Mirror               // added to registries.conf
}

// static jobs answer from their files; no client needs a helper for them.
func (s Settings) static() bool { return len(s.Static) > 0 }

// Mirror lists the mirrors of one registry, best first.
type Mirror struct {
	Host    string
	Mirrors []string // host[:port][/path]
}

// Report says what Write did beyond the job's own hosts.
type Report struct {
	DockerConfig   string   // directory for DOCKER_CONFIG
	AuthFile       string   // containers/auth.json
	RegistriesConf string   // "" where the caller's own stays in effect
	CABundle       string   // "" without CAFile
	Carried        []string // hosts of the caller's config that still work in the job
	LeftOut        []string // hosts of the caller's config that do not (--only, --static)
	Repointed      []string // variables the caller had set and that point into the job now, or are removed
	Notes          []string // sentences for a person
}

// Write writes the files of the job: docker/, containers/, registries.conf,
// ca.pem and bin/. It may be called again with other hosts. A config.json of
// the caller that docker could not read either is an error naming its path.
func (j *Job) Write(s Settings) (Report, error) {
	if err := s.check(); err != nil {
		return Report{}, err
	}
	d, err := s.Caller.userConfig()
	if err != nil {
		return Report{}, err
	}
	w, err := j.writer(s)
	if err != nil {
		return Report{}, err
	}
	defer w.job.Close()
	defer w.docker.Close()
	mine := s.mine()
	got := collect(s.Caller, d, mine, s)
	r := Report{
		DockerConfig: w.dockerDir,
		AuthFile:     filepath.Join(j.Root, ContainersDir, authName),
		Carried:      sorted(got.names),
		LeftOut:      sorted(got.leftOut),
		Repointed:    s.repointed(),
		Notes:        slices.Concat(w.notes, got.warnings, s.Caller.shadowed(mine)),
	}
	if err := w.files(d, got, &r); err != nil {
		return Report{}, err
	}
	return r, nil
}

// check refuses settings that would make files no tool could use.
func (s Settings) check() error {
	for _, h := range s.Hosts {
		if h == "" || h != hostOf(h) {
			return fmt.Errorf("host %q is not in its normal form", clean(h))
		}
	}
	for h := range s.Static {
		if h == "" || h != hostOf(h) {
			return fmt.Errorf("host %q is not in its normal form", clean(h))
		}
	}
	for _, l := range s.Links {
		if !validHelper(l) {
			return fmt.Errorf("account %q cannot be part of a helper's name (a-z, A-Z, 0-9, _ and - only)", clean(l))
		}
	}
	if s.Socket == "" {
		return errors.New("a job's files name its socket: none is given")
	}
	if !s.static() || s.Helper != "" {
		if !filepath.IsAbs(s.Helper) {
			return fmt.Errorf("the helper's path %q is not absolute", clean(s.Helper))
		}
		if info, err := os.Stat(s.Helper); err != nil {
			return fmt.Errorf("the helper is missing: %w", plain(s.Helper, err))
		} else if !isExecutable(info) {
			return fmt.Errorf("the helper %s is not a program", clean(s.Helper))
		}
	}
	return checkMirrors(s.Mirrors)
}

// mine are the hosts the job answers for itself.
func (s Settings) mine() map[string]bool {
	m := map[string]bool{}
	for _, h := range s.Hosts {
		m[h] = true
	}
	for h := range s.Static {
		m[h] = true
	}
	return m
}

// jobWriter writes into one job directory. Nothing is synced to disk: a job
// does not outlive the machine.
type jobWriter struct {
	s         Settings
	id        string
	root      string
	job       *os.Root
	docker    *os.Root // the docker part, here or elsewhere
	dockerDir string
	notes     []string
}

func (j *Job) writer(s Settings) (*jobWriter, error) {
	job, err := os.OpenRoot(j.Root)
	if err != nil {
		return nil, plain(j.Root, err)
	}
	w := &jobWriter{s: s, id: j.ID, root: j.Root, job: job, dockerDir: filepath.Join(j.Root, DockerDir)}
	if s.Dir != "" {
		w.dockerDir, w.notes, err = claimDir(s.Dir, j.ID)
	}
	if err == nil {
		w.docker, err = os.OpenRoot(w.dockerDir)
		err = plain(w.dockerDir, err)
	}
	if err != nil {
		return nil, errors.Join(err, job.Close())
	}
	return w, nil
}

func (w *jobWriter) files(d *dockerFile, got *carry, r *Report) error {
	config, err := dockerConfig(w.s, d, got)
	if err != nil {
		return err
	}
	auth, err := containersAuth(w.s, got)
	if err != nil {
		return err
	}
	pointer, err := json.Marshal(Pointer{Schema: jobSchema, ID: w.id, Socket: w.s.Socket})
	if err != nil {
		return err
	}
	// The pointer first: it is what makes a --dir ours.
	if err := w.put(w.docker, PointerName, append(pointer, '\n')); err != nil {
		return err
	}
	if err := w.put(w.docker, configName, config); err != nil {
		return err
	}
	if err := w.put(w.job, filepath.Join(ContainersDir, authName), auth); err != nil {
		return err
	}
	if err := w.registries(r); err != nil {
		return err
	}
	if err := w.bundle(r); err != nil {
		return err
	}
	if note := w.contexts(); note != "" {
		r.Notes = append(r.Notes, note)
	}
	if w.s.Helper == "" {
		return nil
	}
	return w.helpers()
}
