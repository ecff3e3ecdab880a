// SPDX-License-Identifier: Apache-2.0

package config

import "os"

// Var is one environment variable of regmint.
type Var struct {
	Name      string
	Meaning   string
	Expects   string
	Sensitive bool // its value is never printed
}

// Env reads environment variables; Process is the real one.
type Env func(name string) (string, bool)

// Process is this process's environment.
func Process() Env { return os.LookupEnv }

// Vars is the one table of all environment variables regmint reads or sets.
func Vars() []Var { return nil }

// ExecEnv filters an environment (NAME=value) down to what exec: programs get.
func ExecEnv(environ []string) []string { return nil }

// Paths names the files of all layers. flag is --config, "" where absent.
func (e Env) Paths(flag string) (Paths, error) { return Paths{}, nil }
