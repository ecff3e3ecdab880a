// SPDX-License-Identifier: Apache-2.0

package store

// ringLimit is CRED_MAX_CREDENTIAL_BLOB_SIZE.
const ringLimit = 2560

const ringName = "Windows Credential Manager"

func childEnv(env []string) []string {
	return pick(env, "SystemRoot", "SYSTEMROOT", "SystemDrive", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TEMP", "TMP")
}
