// SPDX-License-Identifier: Apache-2.0

package api

import (
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// EnvNames is the union of Env() of all providers: the variables that may
// select an ambient identity. Callers send them with each get, so that the
// agent need not ask. Sorted; a test of cmd/regmint compares it with the
// providers.
var EnvNames = []string{
	"ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	"ACTIONS_ID_TOKEN_REQUEST_URL",
	"AWS_ACCESS_KEY_ID",
	"AWS_CONFIG_FILE",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_DEFAULT_PROFILE",
	"AWS_DEFAULT_REGION",
	"AWS_EC2_METADATA_DISABLED",
	"AWS_PROFILE",
	"AWS_REGION",
	"AWS_ROLE_ARN",
	"AWS_ROLE_SESSION_NAME",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN",
	"AWS_SHARED_CREDENTIALS_FILE",
	"AWS_WEB_IDENTITY_TOKEN_FILE",
	"AZURE_AUTHORITY_HOST",
	"AZURE_CLIENT_CERTIFICATE_PASSWORD",
	"AZURE_CLIENT_CERTIFICATE_PATH",
	"AZURE_CLIENT_ID",
	"AZURE_CLIENT_SECRET",
	"AZURE_CONFIG_DIR",
	"AZURE_FEDERATED_TOKEN_FILE",
	"AZURE_TENANT_ID",
	"BITBUCKET_STEP_OIDC_TOKEN",
	"BUILDKITE_AGENT_ACCESS_TOKEN",
	"BUILDKITE_JOB_ID",
	"CIRCLE_OIDC_TOKEN",
	"CIRCLE_OIDC_TOKEN_V2",
	"CI_DEPENDENCY_PROXY_SERVER",
	"CI_DEPLOY_PASSWORD",
	"CI_DEPLOY_USER",
	"CI_JOB_TOKEN",
	"CI_PROJECT_PATH",
	"CI_REGISTRY",
	"CI_SERVER_HOST",
	"CI_SERVER_PORT",
	"CLOUDSDK_ACTIVE_CONFIG_NAME",
	"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",
	"CLOUDSDK_CONFIG",
	"CLOUDSDK_CORE_ACCOUNT",
	"DOCKERHUB_OIDC_CONNECTIONID",
	"DOCKERHUB_OIDC_EXPIREIN",
	"DOCKERHUB_ORGANIZATION",
	"GCP_ID_TOKEN",
	"GCP_PROJECT_NUMBER",
	"GCP_SERVICE_ACCOUNT",
	"GCP_WORKLOAD_IDENTITY_FEDERATION_POOL_ID",
	"GCP_WORKLOAD_IDENTITY_FEDERATION_PROVIDER_ID",
	"GITHUB_ACTIONS",
	"GITHUB_ACTOR",
	"GITHUB_SERVER_URL",
	"GITHUB_TOKEN",
	"GITLAB_OIDC_TOKEN",
	"GOOGLE_APPLICATION_CREDENTIALS",
}

// envTable marks a list as complete for a table of names: those of the table
// that the list does not name are unset. An agent that knows another table asks
// for what it misses. No variable has a "*" in its name.
var envTable = sync.OnceValue(func() string {
	h := fnv.New32a()
	for _, n := range EnvNames {
		_, _ = h.Write([]byte(n + "="))
	}
	return "*" + strconv.FormatUint(uint64(h.Sum32()), 16)
})

// CompletesEnv reports the entry of CallerEnv that says: of EnvNames, what this
// list does not name is unset.
func CompletesEnv(entry string) bool { return entry == envTable() }

// CallerEnv lists the variables of EnvNames that are set, as NAME=value, and
// those of extra, NAME alone where one is not set (GetRequest.Env). It is on the
// path of every get: most of the table is unset in most processes.
func CallerEnv(extra []string) []string {
	out := make([]string, 1, 8+len(extra))
	out[0] = envTable()
	for _, n := range EnvNames {
		if v, ok := os.LookupEnv(n); ok {
			out = append(out, n+"="+v)
		}
	}
	for i, n := range extra {
		if _, set := os.LookupEnv(n); set && slices.Contains(EnvNames, n) {
			continue
		}
		if n != "" && !strings.ContainsAny(n, "=*\x00") && !slices.Contains(extra[:i], n) {
			out = append(out, envEntry(n))
		}
	}
	return out
}

// UnsetEnv is CallerEnv of a caller in whose environment none of them is set.
func UnsetEnv(extra []string) []string { return append([]string{envTable()}, extra...) }

func envEntry(name string) string {
	if v, ok := os.LookupEnv(name); ok {
		return name + "=" + v
	}
	return name
}

// SocketEnv is REGMINT_SOCKET: the socket of the job this process is in.
func SocketEnv() string { return os.Getenv("REGMINT_SOCKET") }

// AccountEnv is REGMINT_ACCOUNT.
func AccountEnv() string { return os.Getenv("REGMINT_ACCOUNT") }

// AgentEnv is REGMINT_AGENT: auto, require, off or "".
func AgentEnv() string { return os.Getenv("REGMINT_AGENT") }

// ConfigEnv is REGMINT_CONFIG.
func ConfigEnv() string { return os.Getenv("REGMINT_CONFIG") }

// DockerConfigEnv is DOCKER_CONFIG.
func DockerConfigEnv() string { return os.Getenv("DOCKER_CONFIG") }

// behindMark is set for a helper that runs behind us.
const behindMark = "REGMINT_BEHIND"

// IsBehind reports that a regmint helper runs this process as the helper
// behind it: it must not run another one.
func IsBehind() bool { return os.Getenv(behindMark) != "" }

// BehindEnviron is the environment for a helper behind us: this process's own
// and the mark that IsBehind sees.
func BehindEnviron() []string { return environWith(behindMark, "1") }

// DirectEnviron is the environment for `regmint direct`: this process's own,
// with REGMINT_ACCOUNT where the helper's link names an account.
func DirectEnviron(account string) []string {
	if account == "" {
		return os.Environ()
	}
	return environWith("REGMINT_ACCOUNT", account)
}

// environWith replaces a variable: where a name comes twice readers differ on
// which one counts.
func environWith(name, value string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	return append(env, name+"="+value)
}

// environment looks up variables; os.LookupEnv outside tests.
type environment func(name string) (string, bool)

func processEnv(name string) (string, bool) { return os.LookupEnv(name) }

func processEnviron() []string { return os.Environ() }

func (e environment) get(name string) string {
	v, _ := e(name)
	return v
}

// sudoUID is the user who called sudo; ok is false outside sudo.
func (e environment) sudoUID() (uid int, ok bool) {
	n, err := strconv.ParseUint(e.get("SUDO_UID"), 10, 31)
	return int(n), err == nil
}

// agentEnv are the variables an agent keeps when it is started in the
// background: DESIGN §4, auto-start. REGMINT_STATE_DIR belongs to them, else
// the agent would look for saved logins elsewhere than its caller.
var agentEnv = []string{
	"HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR",
	"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"REGMINT_CONFIG", "REGMINT_RUNTIME_DIR", "REGMINT_STATE_DIR", "REGMINT_LOG",
	"RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "BUILD_ID",
}

// agentEnvOf picks what an agent keeps from environ; windows adds what its
// programs cannot start without, whose names have no case.
func agentEnvOf(environ []string, windows bool) []string {
	out := []string{}
	for _, kv := range environ {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			continue
		}
		keep := slices.Contains(agentEnv, name) || strings.HasPrefix(name, "XDG_")
		if windows {
			upper := strings.ToUpper(name)
			keep = keep || slices.Contains(agentEnv, upper) || slices.Contains(windowsEnv, upper)
		}
		if keep {
			out = append(out, kv)
		}
	}
	return out
}

var windowsEnv = []string{
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "USERDOMAIN",
	"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "TEMP", "TMP",
}
