// SPDX-License-Identifier: Apache-2.0

package acr

import "net/http"

// notAzure is the metadata service of another cloud under the same address.
type notAzure struct{}

func (notAzure) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
}
