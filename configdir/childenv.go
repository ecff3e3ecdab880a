// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"os"
	"path/filepath"
)

// authVariable beats every helper in docker 29 and in werf 3.
const authVariable = "DOCKER_AUTH_CONFIG"

// fallbackPath is used where the caller has no PATH at all.
const fallbackPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Env is what a job's child gets, given the report of Write: variables to set
// and names to remove.
func (j *Job) Env(s Settings, r Report) (set map[string]string, unset []string) {
	set = map[string]string{
		"DOCKER_CONFIG":        r.DockerConfig,
		"WERF_DOCKER_CONFIG":   r.DockerConfig,
		"HELM_REGISTRY_CONFIG": filepath.Join(r.DockerConfig, configName),
		"REGISTRY_AUTH_FILE":   r.AuthFile,
		"REGMINT_SOCKET":       s.Socket,
		"PATH":                 j.path(s.Caller),
	}
	if r.RegistriesConf != "" {
		set["CONTAINERS_REGISTRIES_CONF"] = r.RegistriesConf
	}
	if r.CABundle != "" {
		set["SSL_CERT_FILE"] = r.CABundle
	}
	// Buildx keeps its builders beside docker's config: without this the
	// caller's would vanish in the job.
	if dir := s.Caller.DockerConfigDir(); s.Caller.env("BUILDX_CONFIG") == "" && dir != "" {
		set["BUILDX_CONFIG"] = filepath.Join(dir, "buildx")
	}
	return set, []string{authVariable}
}

// path puts the job's bin before the caller's PATH; an empty element, which
// would mean the working directory, never arises.
func (j *Job) path(c Caller) string {
	bin := filepath.Join(j.Root, BinDir)
	rest := c.env("PATH")
	if rest == "" && exeSuffix == "" {
		rest = fallbackPath
	}
	if rest == "" {
		return bin
	}
	return bin + string(os.PathListSeparator) + rest
}

// repointed are the variables of the caller that Env changes or removes.
func (s Settings) repointed() []string {
	names := []string{"DOCKER_CONFIG", "WERF_DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "HELM_REGISTRY_CONFIG", "CONTAINERS_REGISTRIES_CONF", authVariable}
	if s.CAFile != "" {
		names = append(names, "SSL_CERT_FILE")
	}
	var out []string
	for _, n := range names {
		if s.Caller.env(n) != "" {
			out = append(out, n)
		}
	}
	return out
}
