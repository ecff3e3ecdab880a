// SPDX-License-Identifier: Apache-2.0

package configdir

// Settings say what Write puts into a job directory.
type Settings struct {
	Caller   Caller
	Hosts    []string               // normal form; HubHost is Docker Hub
	Behind   map[string]string      // hosts with a former helper of their own (rule 17); "*" is ignored here
	Helper   string                 // absolute path of docker-credential-regmint
	Links    []string               // more helper links: docker-credential-regmint-NAME
	Portable bool                   // copy the helper instead of linking it
	Socket   string                 // absolute path of the job's socket (or its pipe)
	Only     bool                   // nothing of the caller's other hosts
	CAFile   string                 // added to the system's bundle; "" = none
	Static   map[string]StaticLogin // by host: auths instead of a helper; not empty = no credsStore
	Dir      string                 // docker part elsewhere; must be absent, empty or ours
	Mirrors  []Mirror               // added to registries.conf
}

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
	Repointed      []string // variables the caller had set and that point into the job now
	Notes          []string // sentences for a person
}

// Write writes the files of the job. It may be called again with other hosts.
func (j *Job) Write(s Settings) (Report, error) { return Report{}, nil }

// Env is what a job's child gets: variables to set and names to remove.
func (j *Job) Env(s Settings, r Report) (set map[string]string, unset []string) { return nil, nil }

// CarriedLogins reads the plain auths of the caller's effective config.json,
// to be given to the agent as logins of lowest rank before the job opens:
// docker ignores an auths entry where a credsStore is named.
func CarriedLogins(c Caller) (logins []Login, warnings []string, err error) { return nil, nil, nil }

// ParseDockerAuthConfig reads the value of DOCKER_AUTH_CONFIG as strictly as
// docker does.
func ParseDockerAuthConfig(data string) ([]Login, error) { return nil, nil }

// RewriteStatic sets the auths entries of want in a config.json or auth.json
// and leaves everything else; a nil login removes the entry.
func RewriteStatic(data []byte, want map[string]*StaticLogin, containers bool) (out []byte, changed bool, err error) {
	return nil, false, nil
}

// RewriteStaticFile is RewriteStatic on a file, atomically; an absent file is
// made anew. Call it again to put entries back that another tool overwrote.
func RewriteStaticFile(path string, want map[string]*StaticLogin, containers bool) (changed bool, err error) {
	return false, nil
}
