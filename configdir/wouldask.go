// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"os"
)

// WouldAsk reports whether docker, with this config.json, asks regmint for
// host, and says why (not). It is docker's own rule: credHelpers for the exact
// key, else credsStore, else the file.
func WouldAsk(configPath, host string) (ok bool, why string) {
	d, err := readDockerFile(configPath, os.Geteuid())
	if err != nil {
		return false, err.Error()
	}
	file := clean(configPath)
	key := lookupKey(host)
	if h, named := d.helper(key); named {
		if h == "" {
			return false, fmt.Sprintf("docker reads the passwords in %s for %s: credHelpers has an empty value for it", file, clean(key))
		}
		return ours(h), fmt.Sprintf("docker uses credHelpers[%q]=%s (%s)", clean(key), h, file)
	}
	if d.store != "" {
		return ours(d.store), fmt.Sprintf("docker uses credsStore=%s (%s)", d.store, file)
	}
	if d.text == nil {
		return false, fmt.Sprintf("docker has no configuration (%s does not exist)", file)
	}
	return false, fmt.Sprintf("docker has neither a credsStore nor a credHelpers entry for %s (%s)", clean(key), file)
}
