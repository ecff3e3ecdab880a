// SPDX-License-Identifier: Apache-2.0

package gitlab

import "time"

// grant is a pair of OAuth2 tokens of a user.
type grant struct {
	id      int
	access  string
	refresh string
	app     *Application
	user    *User
	scopes  []string
	created time.Time
	expires time.Time // of the access token
	revoked bool
}
