// SPDX-License-Identifier: Apache-2.0

package api

import "os"

// EnvNames is the union of Env() of all providers: the variables a caller
// sends with each get, because they may select an ambient identity. Sorted;
// cmd/regmint compares it with the providers.
var EnvNames = []string{}

// CallerEnv lists NAME=value for every variable of EnvNames and extra that is
// set in this process. Every name was asked about, so an unset one is listed
// too, as NAME alone: the agent then knows that asking again is no use.
func CallerEnv(extra []string) []string {
	out := []string{}
	for _, names := range [][]string{EnvNames, extra} {
		for _, n := range names {
			if v, ok := os.LookupEnv(n); ok {
				n += "=" + v
			}
			out = append(out, n)
		}
	}
	return out
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
