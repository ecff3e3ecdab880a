// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// AuthsPrefix marks a Behind value that is no program: "auths:/abs/config.json"
// means that the auths entries of that file answer. Read them with ReadAuth.
const AuthsPrefix = "auths:"

// backupSuffix is added to the name of a file that Install edits.
const backupSuffix = ".before-regmint"

// InstallOptions say what Install plans.
type InstallOptions struct {
	Caller      Caller
	ConfigPath  string   // docker's config.json; "" = $DOCKER_CONFIG, else ~/.docker
	Hosts       []string // normal form
	All         bool     // credsStore too; implied where Hosts has HubHost
	JournalPath string   // in the state directory, which exists
	HelperDir   string   // where docker-credential-regmint lies: checked against the caller's PATH; "" = not checked
	Containers  bool     // the drop-in for podman, buildah and skopeo too
}

// Change is one key of a file, or a whole file (no Key).
type Change struct {
	File   string   `json:"-"`
	Key    []string `json:"key"`    // credHelpers, ghcr.io
	Before *string  `json:"before"` // raw JSON; nil = absent
	After  *string  `json:"after"`
}

// Plan is what Install would do. Record Behind in regmint's configuration
// before Apply, so that no login is out of reach in between.
type Plan struct {
	Changes    []Change
	Behind     map[string]string // host or "*" → absolute path of the former helper, or AuthsPrefix + file
	PlainAuths []Login           // entries docker will not read itself any more; Behind covers them
	Notes      []string

	journal string
	files   []plannedFile
	steps   steps
}

// plannedFile is one file before and after.
type plannedFile struct {
	path    string // as the person knows it
	target  string // path with symbolic links resolved
	before  []byte // nil = absent
	after   []byte
	info    fs.FileInfo // of before
	uid     int
	changes []Change

	madeHelpers bool // credHelpers is new
}

// installer collects a plan.
type installer struct {
	o     InstallOptions
	p     *Plan
	d     *dockerFile
	text  []byte
	store string // what docker asks by default today
	auto  bool   // docker chose store by itself
}

// Install plans the edits; nothing is written before Apply. A config.json that
// docker could not read is an error, and stays as it is.
func Install(o InstallOptions) (*Plan, error) {
	if o.ConfigPath == "" {
		dir := o.Caller.DockerConfigDir()
		if dir == "" {
			return nil, errors.New("no docker config directory: HOME and DOCKER_CONFIG are not set")
		}
		o.ConfigPath = filepath.Join(dir, configName)
	}
	for _, h := range o.Hosts {
		if h == "" || h != hostOf(h) {
			return nil, fmt.Errorf("host %q is not in its normal form", clean(h))
		}
	}
	i := &installer{o: o, p: &Plan{Behind: map[string]string{}, journal: o.JournalPath}}
	if err := i.docker(); err != nil {
		return nil, err
	}
	if o.Containers {
		if err := i.containers(); err != nil {
			return nil, err
		}
	}
	i.checkPath()
	return i.p, nil
}

// docker plans the edits in docker's config.json.
func (i *installer) docker() error {
	f, err := openPlanned(i.o.ConfigPath, i.o.Caller.UID)
	if err != nil {
		return err
	}
	i.d = &dockerFile{path: f.path}
	i.text = []byte("{}\n")
	if f.before != nil {
		i.text = f.before
		if err := i.d.parse(f.before); err != nil {
			return fmt.Errorf("%s is %w: mend it first, it was not touched", clean(f.path), err)
		}
	}
	i.store = i.d.store
	if !i.d.containsAuth() {
		i.store = i.o.Caller.detectStore()
		i.auto = i.store != ""
	}
	all := i.o.All || slices.Contains(i.o.Hosts, HubHost)
	if all && !i.o.All {
		i.note("docker asks for Docker Hub under a key with a scheme, which podman cannot read in credHelpers: credsStore is set instead")
	}
	i.formerHelpers(all)
	helpers, err := getPath(i.text, []string{keyHelpers})
	if err != nil {
		return fmt.Errorf("%s: %w", clean(f.path), err)
	}
	f.madeHelpers = helpers == nil
	f.changes, err = i.edits(all)
	if err != nil {
		return fmt.Errorf("%s: %w", clean(f.path), err)
	}
	f.after = i.text
	if len(f.changes) > 0 {
		i.p.files = append(i.p.files, *f)
	}
	for _, c := range f.changes {
		c.File = f.path
		i.p.Changes = append(i.p.Changes, c)
	}
	return nil
}

// openPlanned reads a file that will be edited. A link is followed to a file of
// the person or root; a dangling one is refused.
func openPlanned(path string, uid int) (*plannedFile, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f := &plannedFile{path: abs, target: abs, uid: uid}
	if f.before, f.info, err = readTrusted(abs, uid); err != nil {
		return nil, err
	}
	link, err := os.Lstat(abs)
	if f.before == nil {
		if err == nil && link.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s is a link to a file that does not exist: remove it or make the file", clean(abs))
		}
		return f, nil
	}
	if f.target, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, plain(abs, err)
	}
	if len(f.before) == 0 {
		f.before = []byte{}
	}
	return f, nil
}

// edits changes i.text and returns what changed.
func (i *installer) edits(all bool) ([]Change, error) {
	var out []Change
	set := func(value []byte, path ...string) error {
		c, err := i.set(path, value)
		if c != nil {
			out = append(out, *c)
		}
		return err
	}
	store := i.d.store
	switch {
	case all:
		store = HelperName
	case i.auto && len(i.o.Hosts) > 0:
		// One credHelpers line ends docker's own choice of a keychain: name it,
		// or every login in it is lost.
		store = i.store
	}
	if store != i.d.store {
		if err := set(quote(store), keyStore); err != nil {
			return nil, err
		}
	}
	for _, host := range i.o.Hosts {
		for _, key := range helperKeys(host) {
			if err := set(quote(HelperName), keyHelpers, key); err != nil {
				return nil, err
			}
		}
	}
	if _, named := i.d.helper(hubKey); named && slices.Contains(i.o.Hosts, HubHost) {
		// It would answer before credsStore.
		if err := set(nil, keyHelpers, hubKey); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// set edits one key; nil where it has the value already. A helper of ours with
// an account's name stays.
func (i *installer) set(path []string, value []byte) (*Change, error) {
	have, err := getPath(i.text, path)
	if err != nil {
		return nil, err
	}
	if string(have) == string(value) && (have == nil) == (value == nil) {
		return nil, nil
	}
	if len(path) == 2 && value != nil {
		if h, ok := i.d.helper(path[1]); ok && ours(h) {
			return nil, nil
		}
	}
	c := &Change{Key: slices.Clone(path), Before: rawText(have), After: rawText(value)}
	i.text, err = setPath(i.text, path, value)
	return c, err
}

func rawText(raw []byte) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}

// checkPath: docker says nothing when it does not find its helper.
func (i *installer) checkPath() {
	if i.o.HelperDir == "" {
		return
	}
	want := filepath.Join(i.o.HelperDir, helperPrefix+HelperName+exeSuffix)
	got, ok := i.o.Caller.findHelper(HelperName)
	switch {
	case !ok:
		i.note(fmt.Sprintf("%s is not on the PATH: docker would not find %s%s", clean(i.o.HelperDir), helperPrefix, HelperName))
	case !sameFile(got, want):
		i.note(fmt.Sprintf("docker would run %s, not %s: it comes first on the PATH", clean(got), clean(want)))
	}
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func digest(data []byte) string {
	if data == nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
