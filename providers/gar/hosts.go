// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"strings"

	"github.com/regmint/regmint/providers"
)

// gcrNames are the names of Container Registry, which Artifact Registry serves
// today. mirror.gcr.io and k8s.gcr.io are public and in nobody's project: they
// are none of them.
var gcrNames = map[string]bool{
	"gcr.io": true, "us.gcr.io": true, "eu.gcr.io": true, "asia.gcr.io": true, "marketplace.gcr.io": true,
}

// isRegistry reports whether a host is Google's by its name:
//
//	gcr.io, {us,eu,asia,marketplace}.gcr.io
//	LOCATION-docker.pkg.dev
//	docker.REGION.rep.pkg.dev
func isRegistry(h providers.Host) bool {
	if gcrNames[h.String()] { // no other port
		return true
	}
	if labels, ok := h.Under("rep.pkg.dev"); ok {
		return len(labels) == 2 && labels[0] == "docker" && isLocation(labels[1])
	}
	labels, ok := h.Under("pkg.dev")
	if !ok || len(labels) != 1 {
		return false
	}
	location, ok := strings.CutSuffix(labels[0], "-docker")
	return ok && isLocation(location)
}

// isLocation holds for "us", "europe-west1", "me-central2".
func isLocation(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isService reports whether a host is Google's own endpoint of a service (sts,
// iamcredentials, oauth2) in a universe. Other names under googleapis.com are
// left out: some of them serve what their users wrote. The forms are those of
// Google's page on externally sourced credentials: sts.googleapis.com,
// sts.REGION.googleapis.com, REGION-sts.googleapis.com, REGION.sts.googleapis.com,
// sts.REGION.rep.googleapis.com, sts.mtls.googleapis.com, sts-NAME.p.googleapis.com.
func isService(h providers.Host, service, universe string) bool {
	labels, ok := h.Under(universe)
	if !ok {
		return false
	}
	switch len(labels) {
	case 1:
		region, cut := strings.CutSuffix(labels[0], "-"+service)
		return labels[0] == service || cut && isLocation(region)
	case 2:
		name, cut := strings.CutPrefix(labels[0], service+"-")
		return labels[0] == service && isLocation(labels[1]) || labels[1] == service && isLocation(labels[0]) ||
			labels[1] == "p" && cut && name != ""
	case 3:
		return labels[0] == service && isLocation(labels[1]) && labels[2] == "rep"
	}
	return false
}

// oldTokenHosts stand in key files of earlier years.
var oldTokenHosts = map[string]bool{"accounts.google.com": true, "www.googleapis.com": true}
